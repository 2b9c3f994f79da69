"""Snapshots of a training run in a folder."""

import numpy as np
import pytest
import torch
from cases import classification, images, seeded, tiny_cnn, tiny_mlp
from torch import nn

from landscape.errors import CheckpointError
from landscape.io.checkpoint import Recipe, save_checkpoint
from landscape.io.snapshots import SnapshotFiles, find_snapshots
from landscape.io.store import write_result
from landscape.problem.problem import Problem
from landscape.results.history import History


def names(paths):
    return [path.name for path in paths]


def test_files_are_in_the_order_of_the_numbers_in_their_names(tmp_path):
    for name in ("epoch-10.pt", "epoch-9.pt", "epoch-9b.pt", "epoch-100.pt"):
        (tmp_path / name).touch()
    assert names(find_snapshots(tmp_path)) == [
        "epoch-9.pt",
        "epoch-9b.pt",
        "epoch-10.pt",
        "epoch-100.pt",
    ]


def test_only_checkpoints_that_are_whole_are_taken(tmp_path):
    for name in ("a.pt", ".b.pt.12.pt", "history.h5", "c.safetensors", "notes.txt"):
        (tmp_path / name).touch()
    assert names(find_snapshots(tmp_path)) == ["a.pt", "c.safetensors"]


def test_those_of_a_run_are_found_in_its_folder(tmp_path):
    (tmp_path / "checkpoint.pt").touch()
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / "epoch-0000.pt").touch()
    assert (
        names(find_snapshots(tmp_path))
        == names(find_snapshots(tmp_path / "snapshots"))
        == ["epoch-0000.pt"]
    )


def test_a_folder_without_checkpoints_is_refused_with_the_way_to_get_them(tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no snapshots.*`save_every=1`"):
        find_snapshots(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"), [("none", "does not exist"), ("file.pt", "is a file")]
)
def test_what_is_no_folder_is_refused(tmp_path, name, message):
    (tmp_path / "file.pt").touch()
    with pytest.raises(CheckpointError, match=f"read from a folder, .*{name} {message}"):
        find_snapshots(tmp_path / name)


def flat(model):
    return torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])


def files_in(folder, model, data, **options):
    return SnapshotFiles(
        find_snapshots(folder), {"train": Problem(model, data, device="cpu", **options)}
    )


def test_each_snapshot_is_read_afresh_from_ours_and_from_a_bare_state_dict(tmp_path):
    first, second = tiny_mlp(), tiny_mlp()
    nn.init.ones_(second[0].weight)
    save_checkpoint(tmp_path / "epoch-0007.pt", first.state_dict(), Recipe(), {})
    torch.save({"state_dict": second.state_dict()}, tmp_path / "model_8.th")
    one, other = files_in(tmp_path, tiny_mlp(), classification()).snapshots
    assert (one.label, other.label) == ("epoch 7", "model_8")
    before = one.load()
    assert torch.equal(other.load(), flat(second))
    assert torch.equal(before, flat(first))


def test_a_snapshot_of_another_model_is_named(tmp_path):
    torch.save(tiny_cnn().state_dict(), tmp_path / "epoch-0001.pt")
    (snapshot,) = files_in(tmp_path, tiny_mlp(), classification()).snapshots
    with pytest.raises(CheckpointError, match=r"epoch-0001\.pt does not fit the model"):
        snapshot.load()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_loss_of_a_snapshot_is_that_of_its_own_model_with_its_own_running_statistics(
    tmp_path, dtype
):
    last, early = tiny_cnn(), tiny_cnn()
    seeded(lambda: early[1].running_mean.normal_(mean=3.0), seed=5)
    nn.init.ones_(early[5].weight)
    torch.save(early.state_dict(), tmp_path / "epoch-0000.pt")
    (point,) = files_in(tmp_path, last, images(), dtype=dtype)
    assert (point.label, point.kind) == ("epoch 0", "snapshot")
    assert point.loss == {"train": Problem(early, images(), device="cpu", dtype=dtype).loss()}


def test_points_can_be_gone_through_again(tmp_path):
    torch.save(tiny_mlp().state_dict(), tmp_path / "epoch-0000.pt")
    files = files_in(tmp_path, tiny_mlp(), classification())
    assert [point.label for point in files] == [point.label for point in files] == ["epoch 0"]


def history(learning_rates):
    epochs = np.arange(1, len(learning_rates) + 1)
    return History(epochs, np.array(learning_rates), *(np.ones(len(epochs)) for _ in range(8)))


def save_epochs(folder, *epochs, model):
    for epoch in epochs:
        save_checkpoint(folder / f"epoch-{epoch:04d}.pt", model.state_dict(), Recipe(), {})


def test_training_points_have_the_epoch_and_the_learning_rate_of_their_run(tmp_path):
    (tmp_path / "snapshots").mkdir()
    save_epochs(tmp_path / "snapshots", 0, 2, 3, model=tiny_mlp())
    write_result(tmp_path / "history.h5", history([0.3, 0.2, 0.1]))
    found = files_in(tmp_path, tiny_mlp(), classification()).training_points("train")
    assert [(point.epoch, point.learning_rate) for point in found] == [(0, 0.3), (2, 0.2), (3, 0.1)]


def test_training_points_of_a_folder_without_a_history_have_no_learning_rate(tmp_path):
    save_epochs(tmp_path, 1, model=tiny_mlp())
    (point,) = files_in(tmp_path, tiny_mlp(), classification()).training_points("train")
    assert np.isnan(point.learning_rate)


def test_training_points_whose_names_say_no_epoch_are_counted(tmp_path):
    for name in ("epoch-7.pt", "last.pt"):
        save_checkpoint(tmp_path / name, tiny_mlp().state_dict(), Recipe(), {})
    found = files_in(tmp_path, tiny_mlp(), classification()).training_points("train")
    assert [point.epoch for point in found] == [0, 1]


def test_training_points_have_their_own_weights_and_running_statistics(tmp_path):
    model, other, data = tiny_cnn(), tiny_cnn(), images()
    nn.init.ones_(other[0].weight)
    other[1].running_mean.add_(1.0)
    for i, each in enumerate((model, other)):
        save_epochs(tmp_path, i, model=each)
    found = files_in(tmp_path, model, data).training_points("train")
    expected = [Problem(each, data, device="cpu") for each in (model, other)]
    assert [point.load().loss() for point in found] == [problem.loss() for problem in expected]
    assert [point.load().weights_hash for point in found] == [
        problem.weights_hash for problem in expected
    ]
