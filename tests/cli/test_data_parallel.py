"""Training in two real processes on the CPU, torchrun's where its own part matters."""

import dataclasses
import re

import numpy as np
import pytest
import torch
from processes import run_cli, run_two_cli, torchrun_cli

from landscape import read_result
from landscape.io.checkpoint import load_checkpoint

PLUGIN = """
import os, signal
import torch
from torch import nn

class Model(nn.Module):
    def __init__(self, noisy=False, unused=False, fail=0, stop=0):
        super().__init__()
        noise = [nn.BatchNorm1d(8), nn.Dropout(0.2)] if noisy else []
        self.layers = nn.Sequential(nn.Linear(6, 8), *noise, nn.Tanh(), nn.Linear(8, 7))
        self.spare = nn.Linear(2, 2) if unused else None
        self.fail, self.stop, self.num_passes = fail, stop, 0
    def forward(self, x):
        self.num_passes += self.training
        if os.environ.get("RANK") == "1" and self.training:
            if self.num_passes == self.fail:
                raise ValueError("no more")
            if str(self.num_passes) == os.environ.get("STOP_AT"):
                os.kill(os.getpid(), signal.SIGTERM)
        return self.layers(x)

def model(**options): return Model(**options).double()

def counted(outputs, targets):
    losses = nn.functional.cross_entropy(outputs, targets, reduction="none") * (targets > 1)
    return losses.sum(), (targets > 1).sum()

def data():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(73, 6, generator=generator, dtype=torch.float64)
    y = torch.randint(7, (73,), generator=generator)
    return (x[:50], y[:50]), (x[50:], y[50:])

def batches():
    (x, y), test = data()
    return [(x[:25], y[:25]), (x[25:], y[25:])], None
"""

RTOL = 1e-10  # float64 sums in another order, through 24 steps


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parallel")
    (folder / "mine.py").write_text(PLUGIN)
    return folder


# 50 examples in batches of 7 leave one, so that one of the two processes has none.
def words(folder, name, *more):
    own = ("--model", f"{folder}/mine.py:model", "--data", f"{folder}/mine.py:data")
    return ("train", *own, "--epochs", 3, "--batch-size", 7, "--out", folder / name, *more)


def curves(folder, name):
    history = read_result(folder / name / "history.h5")
    columns = {field.name: getattr(history, field.name) for field in dataclasses.fields(history)}
    return {name: column for name, column in columns.items() if name not in ("seconds", "settings")}


def state_dict(folder, name):
    return load_checkpoint(folder / name / "checkpoint.pt").state_dict


def test_two_processes_keep_the_snapshots_of_the_first(folder):
    noisy = (
        "--model-arg",
        "noisy=true",
        "--batch-size",
        10,
        "--save-every",
        1,
    )  # running statistics differ
    run_two_cli(*words(folder, "kept", *noisy), must_succeed=True)
    kept = sorted((folder / "kept" / "snapshots").iterdir())
    assert [path.name for path in kept] == [f"epoch-{epoch:04d}.pt" for epoch in range(4)]
    last = load_checkpoint(kept[-1]).state_dict
    assert all(torch.equal(value, last[key]) for key, value in state_dict(folder, "kept").items())


@pytest.mark.parametrize(
    "more",
    [
        ("--optim", "sgd", "--model-arg", "unused=true"),
        ("--optim", "sam", "--rho", 0.5),
        ("--optim", "sam", "--rho", 0.5, "--micro-batch", 2),
        ("--optim", "sgd", "--loss", "{folder}/mine.py:counted", "--micro-batch", 2),
    ],
    ids=["sgd", "sam", "sam-micro", "counted"],
)
def test_two_processes_take_the_steps_of_one(folder, more, request):
    name = request.node.callspec.id
    more = [str(word).format(folder=folder) for word in more]
    one = run_cli(*words(folder, f"{name}-one", *more))
    assert one.returncode == 0, one.stderr
    both = run_two_cli(*words(folder, f"{name}-two", *more), must_succeed=True)
    assert [process.stdout.count("Saved to") for process in both] == [1, 0]
    torch.testing.assert_close(
        state_dict(folder, f"{name}-two"), state_dict(folder, f"{name}-one"), rtol=RTOL, atol=0
    )
    expected = curves(folder, f"{name}-one")
    for column, values in curves(folder, f"{name}-two").items():
        np.testing.assert_allclose(values, expected[column], rtol=RTOL, err_msg=column)


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_and_the_resumed_run_is_exact(folder):
    noisy = ("--model-arg", "noisy=true", "--optim", "sam", "--batch-size", 10)
    run_two_cli(*words(folder, "whole", *noisy), must_succeed=True)
    # 5 steps per epoch and 2 passes per step
    stopped = torchrun_cli(*words(folder, "parts", *noisy), STOP_AT="15")
    assert stopped.returncode != 0
    assert stopped.stderr.count("Stopped in epoch 2, after step 3 of 5") == 1
    assert "torchrun --nproc-per-node 2 -m landscape_cli train" in stopped.stderr
    assert set(re.findall(r"exitcode  : (-?\d+)", stopped.stderr)) == {"143"}
    run_two_cli(*words(folder, "parts", *noisy), "--resume", must_succeed=True)
    whole, parts = state_dict(folder, "whole"), state_dict(folder, "parts")
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    expected = curves(folder, "whole")
    for column, values in curves(folder, "parts").items():
        np.testing.assert_array_equal(values, expected[column], err_msg=column)


FAILURES = [
    (("--model-arg", "fail=5"), "ValueError: no more"),  # in the second process only
    (("--lr", "1e200"), "training diverged"),
    (
        ("--data", "{folder}/mine.py:batches"),
        "cannot be cut into pieces or shared between processes",
    ),
]


@pytest.mark.parametrize(("more", "message"), FAILURES)
def test_an_error_ends_all_processes_with_one_message(folder, tmp_path, more, message):
    more = (str(word).format(folder=folder) for word in more)
    done = run_two_cli(*words(folder, tmp_path / "run", *more))
    said = [process.stderr for process in done]
    assert all(process.returncode > 0 for process in done)
    assert sum(("\n" + each).count("\nError: ") for each in said) == 1
    assert "Traceback" not in "".join(said)
    assert message in "".join(said)
    assert "Hint: " in "".join(said)


@pytest.mark.slow
def test_an_error_under_torchrun_is_one_message_and_a_report_of_its_own(folder, tmp_path):
    more, message = FAILURES[0]
    done = torchrun_cli(*words(folder, tmp_path / "run", *more))
    assert done.returncode != 0
    assert ("\n" + done.stderr).count("\nError: ") == 1
    assert done.stderr.count("Traceback") == 1  # torchrun's own
    assert message in done.stderr
    assert "Hint: " in done.stderr
