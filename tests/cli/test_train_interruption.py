"""A training that is stopped by a signal, or killed, and continued: as real processes."""

import dataclasses
import shlex
import signal

import numpy as np
import pytest
import torch
from processes import run_cli, start_cli

from landscape import read_result
from landscape.io.checkpoint import load_checkpoint

# The model stops in a step of its own choice and waits there for the signal that the test sends.
PLUGIN = """
import os, pathlib, signal
from torch import nn
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        noise = nn.BatchNorm1d(8), nn.Dropout(0.2)
        self.layers = nn.Sequential(nn.Linear(64, 8), *noise, nn.Linear(8, 10))
        self.num_passes = 0
    def forward(self, x):
        self.num_passes += self.training
        if os.environ.get("PAUSE_AT") == str(self.num_passes):
            print("here", flush=True)
            input()
        return self.layers(x.flatten(1))
def model(): return Model()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interruption")
    (folder / "mine.py").write_text(PLUGIN)
    assert run_cli(*words(folder, "whole")).returncode == 0
    return folder


def words(folder, name):
    return (
        "train",
        "--model",
        f"{folder}/mine.py:model",
        "--optim",
        "sam",
        "--epochs",
        "3",
        "--out",
        folder / name,
    )


def paused(arguments, at):
    """Start a process and return it where it waits."""
    process = start_cli(*arguments, PAUSE_AT=str(at))
    assert any("here" in line for line in iter(process.stderr.readline, ""))
    return process


def stopped(process, *numbers):
    """Send signals, let the process go on, and return its exit code and what it says."""
    for number in numbers[:-1]:
        process.send_signal(number)
        while (
            "Finishing" not in process.stderr.readline()
        ):  # signals that arrive together count as one
            pass
    process.send_signal(numbers[-1])
    _, err = process.communicate("\n")
    return process.returncode, err


def assert_same_run(folder, name):
    first, second = (
        load_checkpoint(folder / run / "checkpoint.pt").state_dict for run in ("whole", name)
    )
    assert all(torch.equal(first[key], second[key]) for key in first)
    first, second = (read_result(folder / run / "history.h5") for run in ("whole", name))
    for field in dataclasses.fields(first):
        if field.name not in ("seconds", "settings"):
            np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name))


# 12 steps an epoch and 2 passes a step: pass 35 is in step 6 of epoch 2.
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_after_the_step_and_the_printed_command_goes_on_exactly(
    folder, number, code
):
    name = f"stopped-{code}"
    process = paused(words(folder, name), at=35)
    found, err = stopped(process, number)
    assert found == code
    assert "Stopped in epoch 2, after step 6 of 12" in err
    assert "Traceback" not in err
    command = shlex.split(err.strip().splitlines()[-1])
    assert command[0] == "landscape"
    assert run_cli(*command[1:]).returncode == 0
    assert_same_run(folder, name)


def test_a_killed_process_goes_on_from_the_epoch_that_was_saved_last(folder):
    process = paused(words(folder, "killed"), at=35)
    process.kill()
    process.communicate()
    assert load_checkpoint(folder / "killed" / "checkpoint.pt").training["state"]["epoch"] == 1
    assert run_cli(*words(folder, "killed"), "--resume").returncode == 0
    assert_same_run(folder, "killed")


def test_a_second_ctrl_c_interrupts_at_once_and_the_last_saved_state_stays(folder):
    process = paused(words(folder, "twice"), at=35)
    before = (folder / "twice" / "checkpoint.pt").read_bytes()
    code, err = stopped(process, signal.SIGINT, signal.SIGINT)
    assert code == 130
    assert "The last saved state is in" in err
    assert "--resume" in err
    assert (folder / "twice" / "checkpoint.pt").read_bytes() == before


def test_a_second_sigterm_does_not_disturb_the_first(folder):
    process = paused(words(folder, "again"), at=35)
    code, err = stopped(process, signal.SIGTERM, signal.SIGTERM)
    assert code == 143
    assert "Stopped in epoch 2, after step 6 of 12" in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_before_training_ends_the_command_at_once(tmp_path, number, code):
    (tmp_path / "slow.py").write_text("def model():\n    print('here', flush=True)\n    input()\n")
    process = paused(
        ("train", "--model", f"{tmp_path}/slow.py:model", "--out", tmp_path / "run"), at=0
    )
    found, err = stopped(process, number)
    assert found == code
    assert "--resume" not in err
    assert not (tmp_path / "run" / "checkpoint.pt").exists()
