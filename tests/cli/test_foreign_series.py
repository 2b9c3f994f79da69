"""Checkpoints of others with several state dicts, also where they are ends or trajectories."""

import numpy as np
import pytest
import torch
from torch import nn

from landscape import read_result

CODE = """
import torch
from torch import nn

def model():
    return nn.Linear(3, 2)

def data():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(40, 3, generator=g)
    return (x, (x[:, 0] > 0).long()), None
"""
OPTIONS = ("--model", "net.py:model", "--data", "net.py:data", "--state-key", "nets.G")
OPTIONS = (*OPTIONS, "--dtype", "float64")
STEPS = (100, 900, 1000)


def _weights(step):
    return {
        "weight": torch.tensor([[1.0, 0.5, -1.0], [0.2, 0.0, 1.0]]) * step / 500,
        "bias": torch.tensor([0.1, (step / 500 - 1) ** 2]),
    }


def _loss(step):
    """Return the loss of a snapshot in float64."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 3, generator=generator)
    weights = {name: value.double() for name, value in _weights(step).items()}
    logits = x.double() @ weights["weight"].T + weights["bias"]
    return float(nn.functional.cross_entropy(logits, (x[:, 0] > 0).long()))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(CODE)
    (tmp_path / "series").mkdir()
    for step in STEPS:
        nets = {"D": {"weight": torch.zeros(4, 4)}, "G": _weights(step)}
        torch.save({"nets": nets, "global_step": step}, tmp_path / f"series/gan_{step}.pt")
    return tmp_path / "series"


def test_the_end_of_a_line_is_the_named_part_of_its_file(run, folder):
    line = ("--x", f"to:{folder / 'gan_100.pt'}", "--dims", 1, "--grid", 2, "--range", "0:1")
    answer = run("surface", folder / "gan_1000.pt", *OPTIONS, *line, "--out", "s.h5")
    assert answer.code == 0, answer.err
    found = read_result("s.h5").loss["train"]
    assert found == pytest.approx([_loss(1000), _loss(100)], rel=1e-12)


def test_a_trajectory_is_of_the_named_parts_in_the_order_of_their_steps(run, folder):
    plane = ("--x", f"pca:{folder}", "--grid", 2, "--range", "0:1")
    answer = run("surface", folder / "gan_1000.pt", *OPTIONS, *plane, "--out", "s.h5")
    assert answer.code == 0, answer.err
    marks = [mark for mark in read_result("s.h5").marks if mark.kind == "snapshot"]
    assert [mark.label for mark in marks] == [f"step {step}" for step in STEPS]
    assert [mark.loss["train"] for mark in marks] == pytest.approx([*map(_loss, STEPS)], rel=1e-12)


def test_curvature_along_a_series_is_of_the_named_parts_and_says_their_steps(run, folder):
    answer = run("hessian", folder, *OPTIONS, "--top-k", 1, "--json", "--out", "c.h5")
    assert answer.code == 0, answer.err
    assert (answer.json["unit"], answer.json["epoch"]) == ("step", list(STEPS))
    assert answer.json["loss"] == pytest.approx([*map(_loss, STEPS)], rel=1e-12)
    assert "placed by the step in their files" in answer.err
    shown = run("hessian", folder, *OPTIONS, "--top-k", 1, "--out", "c.h5", "--resume")
    assert "step" in shown.out
    assert run("convert", "c.h5", "--to", "csv", "--out", "c.csv").code == 0
    rows = np.genfromtxt("c.csv", delimiter=",", names=True)
    assert rows["step"].tolist() == list(STEPS)


def test_a_part_that_another_file_lacks_is_named(run, folder):
    torch.save(_weights(1), "bare.pt")
    line = ("--x", "to:bare.pt", "--dims", 1, "--grid", 2)
    answer = run("surface", folder / "gan_1000.pt", *OPTIONS, *line, "--out", "s.h5")
    assert answer.code == 1
    assert "bare.pt has nothing under 'nets.G'; it holds: weight, bias" in answer.err
