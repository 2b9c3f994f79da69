"""Two processes on two CUDA devices compute what one process does on the CPU."""

import json
import os
import subprocess
import sys

import pytest
import torch

IS_SIMULATED = "fakecuda" in sys.modules

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not IS_SIMULATED and torch.cuda.device_count() < 2, reason="fewer than two CUDA devices"
    ),
]


def run(*words, processes=0):
    """Run a command in processes of its own and return what it printed as JSON."""
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    program = ["-m", *(["fakecuda", "-m"] if IS_SIMULATED else []), "landscape_cli"]
    if processes:
        program = [*launcher, *program]
    done = subprocess.run(
        [sys.executable, *program, *map(str, words), "--json"],
        env={**os.environ, "FAKECUDA_DEVICES": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    run("train", "--epochs", 1, "--device", "cpu", "--out", folder / "a")
    return folder / "a" / "checkpoint.pt"


@pytest.mark.parametrize(
    "words",
    [("surface", "--grid", 3), ("hessian", "--top-k", 1), ("sharpness", "--all", "--rho", 0.05)],
    ids=lambda words: words[0],
)
def test_two_devices_compute_the_numbers_of_one_processor(checkpoint, words):
    command, *options = words
    found = []
    for device, processes in (("cpu", 0), ("cuda", 2)):
        out = checkpoint.parent / f"{command}-{device}.h5"
        arguments = (*options, "--device", device, "--out", out)
        found.append(run(command, checkpoint, *arguments, processes=processes))
    one, two = found
    if command == "hessian":
        assert two["eigenvalues"] == pytest.approx(one["eigenvalues"], rel=1e-4)
    elif command == "surface":
        assert two["max_loss"] == pytest.approx(one["max_loss"], rel=1e-5)
        assert two["center_loss"] == pytest.approx(one["center_loss"], rel=1e-5)
    else:
        rises = [[each["sharpness"] for each in answer["measures"]] for answer in (one, two)]
        assert rises[1] == pytest.approx(rises[0], rel=1e-4)


@pytest.mark.skipif(IS_SIMULATED, reason="a simulated device has no DistributedDataParallel")
def test_two_devices_train_one_network(checkpoint):
    words = ("train", "--optim", "sam", "--epochs", 1, "--seed", 1)
    one = run(*words, "--device", "cpu", "--out", checkpoint.parent / "one")
    two = run(*words, "--device", "cuda", "--out", checkpoint.parent / "two", processes=2)
    assert two["train_loss"] == pytest.approx(one["train_loss"], rel=1e-4)
    assert two["test_loss"] == pytest.approx(one["test_loss"], rel=1e-4)
