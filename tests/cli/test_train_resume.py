"""Which run `--resume` goes on with, and which it refuses."""

import numpy as np
import pytest

from landscape.io.checkpoint import load_checkpoint

PLUGIN = """
import numpy as np
import torch
def model(): return torch.nn.Linear(4, 3)
def data(data_dir):
    inputs = torch.from_numpy(np.load(data_dir + "/inputs.npy"))
    return (inputs, torch.arange(len(inputs)) % 3), None
"""


@pytest.fixture
def words(run, tmp_path):
    """The words of a run of one epoch that was trained on a folder of data."""
    (tmp_path / "mine.py").write_text(PLUGIN)
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data" / "inputs.npy", np.arange(48, dtype=np.float32).reshape(12, 4) / 48)
    parts = (f"--{part}={tmp_path}/mine.py:{part}" for part in ("model", "data"))
    words = ("train", *parts, "--out", tmp_path / "run", "--epochs", 1)
    answer = run(*words, "--data-dir", tmp_path / "data")
    assert answer.code == 0, answer.err
    return words


def test_a_run_goes_on_where_its_data_have_moved(run, words, tmp_path):
    (tmp_path / "data").rename(tmp_path / "moved")
    answer = run(*words, "--data-dir", tmp_path / "moved", "--resume")
    assert answer.code == 0, answer.err


def test_a_run_does_not_go_on_with_other_data_in_the_same_place(run, words, tmp_path):
    np.save(tmp_path / "data" / "inputs.npy", np.ones((12, 4), np.float32))
    answer = run(*words, "--data-dir", tmp_path / "data", "--resume")
    assert answer.code == 1
    assert "was trained with train-data" in answer.err


def test_more_epochs_are_another_run_which_may_start_from_the_weights_of_this(
    run, checkpoint, tmp_path
):
    recorded = load_checkpoint(checkpoint).training["settings"]["epochs"]
    words = ("train", "--optim", "sam", "--model-arg", "width=8", "--epochs", recorded + 1)
    answer = run(*words, "--out", checkpoint.parent, "--resume")
    assert answer.code == 1
    assert f"was trained with epochs {recorded}, not {recorded + 1}" in answer.err
    assert f"pass --init {checkpoint} and another --out" in answer.err
    answer = run("train", "--epochs", 1, "--init", checkpoint, "--out", tmp_path / "further")
    assert answer.code == 0, answer.err
