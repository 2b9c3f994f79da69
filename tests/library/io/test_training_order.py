"""The epochs and steps of foreign snapshots: from their records, else from their names."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from landscape.io.snapshots import find_snapshots
from landscape.io.training_order import training_order

STATE = {"weight": torch.ones(2)}


def order_of(folder, contents):
    """Return positions, unit and remark of files of such content, written in this order."""
    for name, content in contents.items():
        torch.save({"state_dict": STATE, **content}, folder / name)
    return training_order(find_snapshots(folder))


RECORDS = {
    "li2018": ("model_{}.t7", lambda n: {"epoch": n}, "epoch"),
    "another name": ("{:c}.pt", lambda n: {"epoch": n}, "epoch"),
    "tensor": ("{:c}.pt", lambda n: {"epoch": torch.tensor(n)}, "epoch"),
    "numpy": ("{:c}.pt", lambda n: {"epoch": np.int64(n)}, "epoch"),
    "lightning": ("epoch={}.ckpt", lambda n: {"epoch": n, "global_step": 4 * n}, "epoch"),
    "one epoch": ("{:c}.ckpt", lambda n: {"epoch": 0, "global_step": n}, "step"),
    "mmengine": ("{:c}.pth", lambda n: {"meta": {"epoch": n, "iter": 7 * n}}, "epoch"),
    "iterations": ("{:c}.pth", lambda n: {"iteration": n}, "step"),
    "nanogpt": ("{:c}.pt", lambda n: {"iter_num": n, "config": {"step": 7}}, "step"),
    "name and file": ("epoch-{}-of-3.pt", lambda n: {"step": n}, "step"),
}


@pytest.mark.parametrize("layout", RECORDS)
def test_positions_are_what_the_files_record(tmp_path, layout):
    name, content, unit = RECORDS[layout]
    numbers = [65, 100, 70, 120]
    order = order_of(tmp_path, {name.format(n): content(n) for n in numbers})
    assert order.positions == (65, 70, 100, 120)
    assert [path.name for path in order.paths] == [name.format(n) for n in sorted(numbers)]
    assert order.unit == unit
    assert order.labels == [f"{unit} {n}" for n in sorted(numbers)]


def test_a_record_goes_before_the_number_in_the_name(tmp_path):
    order = order_of(tmp_path, {"last_1.pt": {"epoch": 9}, "last_2.pt": {"epoch": 3}})
    assert [path.name for path in order.paths] == ["last_2.pt", "last_1.pt"]
    assert order.positions == (3, 9)
    assert "the epoch in their files" in order.remark


NAMES = {
    "model_{}.t7": "number",
    "checkpoint-{}.safetensors": "number",
    "checkpoint-{}.pth.tar": "number",
    "resnet56_{}_seed1.pth": "number",
    "resnet56-{}-acc=0.93.pth": "number",
    "epoch={}-step=340.ckpt": "epoch",
    "epoch=0-step={}.ckpt": "step",
    "val_loss=0.5-epoch={}.ckpt": "epoch",
    "Epoch {}.pt": "epoch",
    "net_epoch{}.pth": "epoch",
    "iter_{}.pth": "step",
    "global_step{}.pt": "step",
    "step-{:08d}.pt": "step",
}


@pytest.mark.parametrize("name", NAMES)
def test_positions_are_the_numbers_in_names_where_nothing_is_recorded(tmp_path, name):
    for number in (500, 10, 90, 1_234_567):
        (tmp_path / name.format(number)).touch()
        torch.save(STATE, tmp_path / name.format(number))
    found = [path for path in find_snapshots(tmp_path) if path.suffix != ".safetensors"]
    if not found:
        from safetensors.torch import save_file

        found = find_snapshots(tmp_path)
        for path in found:
            save_file(STATE, path)
    order = training_order(found)
    assert (order.unit, order.positions) == (NAMES[name], (10, 90, 500, 1_234_567))
    assert f"by the {order.unit} in their names" in order.remark


@pytest.mark.parametrize(
    "names",
    [
        ("model_7.pt", "last.pt"),
        ("step-9k.pt", "other-10k.pt"),
        ("acc0.91.pt", "acc0.92.pt"),
        ("a.pt", "b.pt"),
    ],
)
def test_snapshots_without_any_number_in_common_are_counted_and_that_is_said(tmp_path, names):
    order = order_of(tmp_path, {name: {} for name in names})
    assert (order.unit, order.positions) == ("snapshot", (0, 1))
    assert "counted from 0" in order.remark


def test_what_is_no_count_is_no_record(tmp_path):
    odd = [True, -1, float("nan"), float("inf"), "3", [4], torch.ones(2), 2**70, None]
    contents = {f"{chr(97 + i)}.pt": {"epoch": value} for i, value in enumerate(odd)}
    assert order_of(tmp_path, contents).unit == "snapshot"


def test_snapshots_of_a_run_of_ours_are_not_read_for_their_epochs(tmp_path):
    for epoch in (10, 9, 10_000):
        (tmp_path / f"epoch-{epoch:04d}.pt").touch()
    order = training_order(find_snapshots(tmp_path))
    assert (order.positions, order.unit, order.remark) == ((9, 10, 10_000), "epoch", None)
