"""Training that starts from a checkpoint."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from landscape.io.checkpoint import load_checkpoint
from landscape.runtime.files import locked

# A learning rate of 0 keeps the weights, so that the run ends with those that it started from.
STILL = ("--epochs", 1, "--lr", 0, "--weight-decay", 0)


def state_dict(path):
    return load_checkpoint(path).state_dict


def assert_equal(first, second):
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_checkpoint_of_ours_brings_weights_model_and_arguments(run, checkpoint, tmp_path):
    answer = run("train", "--init", checkpoint, *STILL, "--out", tmp_path)
    assert answer.code == 0, answer.err
    assert_equal(state_dict(checkpoint), state_dict(tmp_path / "checkpoint.pt"))
    assert load_checkpoint(tmp_path / "checkpoint.pt").recipe == load_checkpoint(checkpoint).recipe


def test_a_foreign_state_dict_brings_its_weights(run, checkpoint, tmp_path):
    weights = {f"module.{name}": value for name, value in state_dict(checkpoint).items()}
    torch.save({"state_dict": weights}, tmp_path / "theirs.pth")
    words = ("--model", "mlp", "--model-arg", "width=8", "--data", "digits")
    answer = run(
        "train", "--init", tmp_path / "theirs.pth", *words, *STILL, "--out", tmp_path / "run"
    )
    assert answer.code == 0, answer.err
    assert_equal(state_dict(checkpoint), state_dict(tmp_path / "run" / "checkpoint.pt"))


@pytest.mark.parametrize(
    ("words", "message"), [((), "which model"), (("--model", "mlp"), "which data")]
)
def test_a_foreign_state_dict_needs_a_model_and_data(run, tmp_path, words, message):
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "theirs.pt")
    answer = run("train", "--init", tmp_path / "theirs.pt", *words, "--out", tmp_path / "run")
    assert answer.code == 1
    assert message in answer.err


def test_weights_that_do_not_fit_are_refused(run, checkpoint, tmp_path):
    answer = run("train", "--init", checkpoint, "--model-arg", "width=9", "--out", tmp_path)
    assert answer.code == 1
    assert "does not fit the model" in answer.err


def test_an_import_string_in_the_checkpoint_is_printed_and_not_run(run, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\ndef model(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    name = f"{tmp_path}/mine.py:model"
    assert run("train", "--model", name, "--epochs", 1, "--out", tmp_path / "first").code == 0
    (tmp_path / "mine.py").write_text("raise SystemExit('ran')\n")
    answer = run(
        "train", "--init", tmp_path / "first" / "checkpoint.pt", "--out", tmp_path / "second"
    )
    assert answer.code == 1
    assert "a file never chooses code" in answer.err
    assert f"--model {name}" in answer.err


@pytest.mark.parametrize("other", [(), ("--init", "{other}")], ids=["none", "other"])
def test_resuming_from_another_start_is_refused(run, checkpoint, tmp_path, other):
    words = ("train", "--model", "mlp", "--model-arg", "width=8", "--data", "digits", "--epochs", 1)
    assert run(*words, "--init", checkpoint, "--out", tmp_path / "run").code == 0
    other = [word.format(other=tmp_path / "run" / "checkpoint.pt") for word in other]
    answer = run(*words, *other, "--out", tmp_path / "run", "--resume")
    assert answer.code == 1
    assert "was trained with init" in answer.err


def test_a_folder_in_which_another_run_trains_is_refused(run, tmp_path):
    words = ("train", "--model-arg", "width=4", "--epochs", 1)
    with ThreadPoolExecutor(1) as pool:
        lock = locked(tmp_path / "run-1" / "checkpoint.pt")
        pool.submit(lock.__enter__).result()
        for more in (("--out", tmp_path / "run-1"), ("--seeds", "0,1", "--out", tmp_path / "run")):
            answer = run(*words, *more)
            assert answer.code == 1
            assert "is being written by another process" in answer.err
        assert not (tmp_path / "run-0").exists()
        pool.submit(lock.__exit__, None, None, None).result()
    assert run(*words, "--seeds", "0,1", "--out", tmp_path / "run").code == 0
    assert {each.name for each in (tmp_path / "run-1").iterdir()} == {"checkpoint.pt", "history.h5"}


def test_the_checkpoint_that_a_run_starts_from_is_never_replaced(run, tmp_path):
    folder = tmp_path / "run"
    first = ("--model-arg", "width=4", "--epochs", 1, "--save-every", 1, "--out", folder)
    assert run("train", *first).code == 0
    snapshot = folder / "snapshots" / "epoch-0001.pt"
    for init in (folder / "checkpoint.pt", folder / "." / "checkpoint.pt", snapshot):
        before = init.read_bytes()
        answer = run("train", "--init", init, *STILL, "--out", folder, "--force")
        assert answer.code == 1
        assert answer.err.splitlines() == [
            f"Error: --init {init} is in the folder of this run, where it would be replaced.",
            "Hint: Write to another --out.",
        ]
        assert init.read_bytes() == before
