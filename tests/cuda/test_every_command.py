"""Every command on a CUDA device prints the numbers that the CPU prints."""

import itertools
import json
import math
import re
import signal

import pytest
from landscape_cli.app import app
from typer.testing import CliRunner

from landscape.optim import SAM

pytestmark = pytest.mark.gpu
DEVICES = ("cpu", "cuda")
OWN = re.compile(
    r"out|checkpoint|ema_checkpoint|history|certificate|seconds|memory|created|deviations"
    r"|(bottom_|loss_|trace_)?(rounding|residuals|estimates)|layer_shares|gradient_overlaps|\w*intervals"
)
"""Keys of what is the device's own: paths, times, the plan, and errors near the last digits."""


def run(*words):
    """Run a command in this process and return what it printed as JSON."""
    result = CliRunner().invoke(app, [*map(str, words), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def differences(cpu, cuda, tolerance, path=""):
    """Yield where two answers differ: the path of keys and both values."""
    if isinstance(cpu, dict):
        for key in sorted(cpu.keys() | cuda.keys()):
            if not OWN.fullmatch(key):
                yield from differences(cpu.get(key), cuda.get(key), tolerance, f"{path}/{key}")
    elif isinstance(cpu, list) and isinstance(cuda, list) and len(cpu) == len(cuda):
        for number, pair in enumerate(zip(cpu, cuda, strict=True)):
            yield from differences(*pair, tolerance, f"{path}/{number}")
    elif isinstance(cpu, float) and isinstance(cuda, float):
        if not math.isclose(cpu, cuda, rel_tol=tolerance, abs_tol=1e-6):
            yield path, cpu, cuda
    elif cpu != cuda:
        yield path, cpu, cuda


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of two runs with snapshots, trained on the CPU."""
    folder = tmp_path_factory.mktemp("cuda")
    for name, optimizer in (("a", "sgd"), ("b", "sam")):
        words = ("train", "--epochs", 2, "--optim", optimizer, "--save-every", 1, "--device", "cpu")
        run(*words, "--model-arg", "width=16", "--out", folder / name)
    return folder


def answers(folder, line):
    """Return what a command prints on each device; OUT in it is a name of the device's own."""
    found = []
    for device in DEVICES:
        words = line.replace("OUT", str(folder / device)).replace("IN", str(folder)).split()
        found.append(run(*words, "--device", device))
    return found


TRAINING = [
    "--optim sgd",
    "--optim adamw --ema 0.9",
    "--optim sam",
    "--optim asam --base adam --rho 0.5",
    "--optim gsam",
    "--optim rand-sam",
    "--optim friendly-sam",
    "--optim sam --ascent-steps 2 --radius sphere",
    "--optim sam --scope micro-batch --batch-size 64 --micro-batch 16",
]


@pytest.mark.parametrize("options", TRAINING)
def test_training(folder, options):
    name = options.replace("-", "").replace(" ", "-")
    line = f"train --epochs 2 --model-arg width=16 {options} --out OUT-{name}"
    assert not [*differences(*answers(folder, line), 1e-4)]


def test_training_in_mixed_precision(folder):
    cpu, cuda = answers(folder, "train --epochs 2 --amp bf16 --optim sam --out OUT-bf16")
    assert not [*differences(cpu, cuda, 2e-2)]


def test_training_goes_on_from_the_middle_of_an_epoch(folder, monkeypatch):
    words = ("train", "--epochs", 2, "--optim", "sam", "--device", "cuda", "--out")
    whole = run(*words, folder / "whole")
    steps, step = itertools.count(1), SAM.step

    def stopping(self, *arguments, **named):
        if next(steps) == 5:
            signal.raise_signal(signal.SIGTERM)
        return step(self, *arguments, **named)

    monkeypatch.setattr(SAM, "step", stopping)
    assert CliRunner().invoke(app, [*map(str, words), str(folder / "part")]).exit_code == 143
    monkeypatch.undo()
    assert not [*differences(whole, run(*words, folder / "part", "--resume"), 0)]


SURFACES = {
    "1d": "a/checkpoint.pt --dims 1 --grid 5 --split both",
    "2d": "a/checkpoint.pt --grid 3",
    "points": "a/checkpoint.pt --grid 5 --points-per-pass 4",
    "refined": "a/checkpoint.pt --grid 17 --refine 0.1",
    "curvature": "a/checkpoint.pt --grid 3 --curvature --spectrum",
    "float64": "a/checkpoint.pt --grid 3 --dtype float64",
    "to": "a/checkpoint.pt --x to:IN/b/checkpoint.pt --dims 1 --grid 5",
    "pca": "b/checkpoint.pt --x pca:IN/b --grid 3",
    "eigen": "a/checkpoint.pt --x eigen:1 --y eigen:-1 --grid 3",
    "ascent": "a/checkpoint.pt --x gradient --y random --grid 3",
}


@pytest.mark.parametrize("name", SURFACES)
def test_surfaces(folder, name):
    line = f"surface IN/{SURFACES[name]} --out OUT-{name}.h5"
    assert not [*differences(*answers(folder, line), 1e-5)]


def test_a_surface_in_tf32(folder):
    words = ("surface", folder / "a/checkpoint.pt", "--grid", 3)
    cpu = run(*words, "--out", folder / "cpu-float32.h5", "--device", "cpu")
    tf32 = run(*words, "--dtype", "tf32", "--out", folder / "tf32.h5", "--device", "cuda")
    assert not [*differences(cpu["splits"], tf32["splits"], 1e-2)]


def test_a_surface_in_bfloat16(folder):
    line = "surface IN/a/checkpoint.pt --grid 3 --dtype bfloat16 --out OUT-bfloat16.h5"
    assert not [*differences(*answers(folder, line), 1e-2)]


SPECTRA = {
    "both ends": "a/checkpoint.pt --top-k 2",
    "basis on the host": "a/checkpoint.pt --top-k 1 --memory 4MiB",
    "trace": "a/checkpoint.pt --top-k 1 --trace --density",
    "ggn": "a/checkpoint.pt --top-k 1 --curvature ggn",
    "fisher": "a/checkpoint.pt --top-k 1 --curvature fisher",
    "folds": "a/checkpoint.pt --top-k 1 --samples 128 --folds 2",
    "polish": "a/checkpoint.pt --top-k 1 --polish",
    "blocks": "a/checkpoint.pt --top-k 1 --blocks",
    "engines": "a/checkpoint.pt --top-k 1 --verify pyhessian",
    "along training": "b --top-k 1 --out OUT-along.h5",
}


@pytest.mark.parametrize("name", SPECTRA)
def test_spectra(folder, name):
    assert not [*differences(*answers(folder, f"hessian IN/{SPECTRA[name]}"), 2e-4)]


RISES = {
    "all": "a/checkpoint.pt --all --rho 0.05",
    "adaptive": "a/checkpoint.pt --all --rho 0.5 --adaptive --samples 256",
    "batches": "a/checkpoint.pt --m 128",
    "two": "a/checkpoint.pt IN/b/checkpoint.pt --rho 0.05",
    "invariance": "a/checkpoint.pt --invariance",
}


@pytest.mark.parametrize("name", RISES)
def test_sharpness(folder, name):
    assert not [*differences(*answers(folder, f"sharpness IN/{RISES[name]}"), 1e-4)]


def test_a_certificate_is_verified_on_the_other_device(folder):
    line = "sharpness IN/a/checkpoint.pt --measures max --rho 0.05 --certify OUT-max.h5"
    assert not [*differences(*answers(folder, line), 1e-4)]
    for by, on in zip(DEVICES, reversed(DEVICES), strict=True):
        run("verify", folder / f"{by}-max.h5", folder / "a/checkpoint.pt", "--device", on)


def test_comparisons_and_conditions(folder):
    line = "compare IN/a/checkpoint.pt IN/b/checkpoint.pt --quick --out OUT-report"
    cpu, cuda = answers(folder, line)
    assert not [*differences(cpu, cuda, 1e-4)]
    cpu, cuda = answers(folder, "assert IN/a/checkpoint.pt lambda_max<50 asc@0.05<1")
    assert not [*differences(cpu, cuda, 1e-4)]
