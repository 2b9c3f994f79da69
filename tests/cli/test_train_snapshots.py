"""The snapshots that a training run keeps, for the plane of its trajectory."""

import pytest
import torch

from landscape.io.checkpoint import load_checkpoint

SMALL = ("train", "--model-arg", "width=4")


def snapshots(folder):
    return sorted(path.name for path in (folder / "snapshots").iterdir())


def same_weights(first, second):
    one, other = (load_checkpoint(path).state_dict for path in (first, second))
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_no_snapshots_are_kept_by_default(run, tmp_path):
    assert run(*SMALL, "--epochs", 1, "--out", tmp_path).code == 0
    assert not (tmp_path / "snapshots").exists()


def test_the_start_and_every_nth_epoch_are_kept(run, tmp_path):
    assert run(*SMALL, "--epochs", 5, "--save-every", 2, "--out", tmp_path).code == 0
    assert snapshots(tmp_path) == ["epoch-0000.pt", "epoch-0002.pt", "epoch-0004.pt"]


def test_the_last_snapshot_is_the_checkpoint(trained):
    assert same_weights(trained / "snapshots" / "epoch-0002.pt", trained / "checkpoint.pt")


def test_the_first_snapshot_is_where_the_run_began(run, trained, tmp_path):
    words = ("--epochs", 1, "--save-every", 1, "--init", trained / "checkpoint.pt")
    assert run("train", *words, "--out", tmp_path).code == 0
    assert same_weights(tmp_path / "snapshots" / "epoch-0000.pt", trained / "checkpoint.pt")


def test_each_seed_keeps_its_own(run, tmp_path):
    words = (*SMALL, "--epochs", 1, "--save-every", 1)
    assert run(*words, "--seeds", "0,1", "--out", tmp_path / "run").code == 0
    folders = [tmp_path / f"run-{seed}" for seed in (0, 1)]
    assert [snapshots(folder) for folder in folders] == [["epoch-0000.pt", "epoch-0001.pt"]] * 2
    assert not same_weights(*(folder / "snapshots" / "epoch-0000.pt" for folder in folders))


@pytest.mark.parametrize("words", [(), ("--save-every", 2)])
def test_a_run_does_not_go_on_with_gaps_between_its_snapshots(run, trained, words):
    first = ("train", "--optim", "sam", "--model-arg", "width=8", "--epochs", 2, "--out", trained)
    answer = run(*first, *words, "--resume")
    assert answer.code == 1
    assert "was trained with save-every 1, not" in answer.err
