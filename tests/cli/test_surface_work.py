"""`landscape surface` in time, refined, by several processes, and by one at a time."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from cases import ROOT

from landscape import read_result

PLUGIN = """
import os, signal, time
import torch
from torch import nn

def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))

def data():
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(40, 5, generator=generator), torch.randint(3, (40,), generator=generator)
    return (x, y), None

calls = 0

def loss(outputs, targets):
    global calls
    calls += 1
    time.sleep(float(os.environ.get("SLOW", "0")))
    is_first_try = os.environ.get("TORCHELASTIC_RESTART_COUNT") == "0"
    if os.environ.get("DIES") and os.environ.get("RANK") == "1" and is_first_try and calls == 30:
        os.kill(os.getpid(), signal.SIGKILL)
    return nn.functional.cross_entropy(outputs, targets)
"""
GRID = ("--grid", "13x11", "--points-per-pass", 1)
ENVIRONMENT = {**os.environ, "COLUMNS": "160", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a plugin and a checkpoint of its model."""
    import torch

    folder = tmp_path_factory.mktemp("work")
    (folder / "mine.py").write_text(PLUGIN)
    namespace = {}
    exec(PLUGIN, namespace)
    torch.save(namespace["model"]().state_dict(), folder / "weights.pt")
    return folder


def words(folder, name, *more):
    own = [
        word
        for part in ("model", "data", "loss")
        for word in (f"--{part}", f"{folder}/mine.py:{part}")
    ]
    return ["surface", folder / "weights.pt", *own, *GRID, "--out", folder / name, *more]


def start(arguments, *launcher, **environment):
    command = [sys.executable, *launcher, "-m", "landscape_cli", *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**ENVIRONMENT, **environment},
        cwd=ROOT,
    )


@pytest.fixture(scope="module")
def whole(folder):
    """The surface of one process."""
    process = start(words(folder, "whole.h5"))
    assert process.wait() == 0, process.stderr.read()
    return read_result(folder / "whole.h5")


TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def test_two_processes_write_the_file_of_one(folder, whole):
    process = start(words(folder, "two.h5"), *TWO, SLOW="0.005")
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert output.count("Saved to") == 1
    found = read_result(folder / "two.h5")
    np.testing.assert_array_equal(found.loss["train"], whole.loss["train"])
    assert found.provenance.plan == whole.provenance.plan


def test_a_lost_process_is_started_again_and_the_run_goes_on(folder, whole):
    process = start(words(folder, "lost.h5"), *TWO, "--max-restarts", "1", DIES="1", SLOW="0.005")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "SIGKILL" in errors or "exitcode: -9" in errors
    np.testing.assert_array_equal(
        read_result(folder / "lost.h5").loss["train"], whole.loss["train"]
    )


def test_a_lost_process_of_a_forced_run_does_not_go_on_with_the_old_file(folder, whole):
    assert start([*words(folder, "old.h5"), "--seed", 1]).wait() == 0
    arguments = words(folder, "old.h5", "--force")
    process = start(arguments, *TWO, "--max-restarts", "1", DIES="1", SLOW="0.005")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    np.testing.assert_array_equal(read_result(folder / "old.h5").loss["train"], whole.loss["train"])


def _wait_for(path, process):
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_saves_and_says_how_to_go_on(folder, whole, number, code):
    name = f"signal-{code}.h5"
    process = start(words(folder, name), SLOW="0.02")
    _wait_for(folder / name, process)
    time.sleep(0.3)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "--resume" in errors
    part = read_result(folder / name)
    assert 1 < part.done.sum() < part.done.size
    resumed = start(words(folder, name, "--resume"))
    assert resumed.wait() == 0, resumed.stderr.read()
    np.testing.assert_array_equal(read_result(folder / name).loss["train"], whole.loss["train"])


def test_a_second_process_on_one_output_is_refused_while_the_first_works(folder):
    process = start(words(folder, "shared.h5"), SLOW="0.05")
    _wait_for(folder / "shared.h5", process)
    second = start(words(folder, "shared.h5", "--resume"))
    _, errors = second.communicate(timeout=60)
    assert second.returncode == 1
    assert "is being written by another process" in errors
    process.kill()
    process.wait()
    third = start(words(folder, "shared.h5", "--resume"))
    assert third.wait() == 0, third.stderr.read()
    assert read_result(folder / "shared.h5").is_complete


def test_minutes_end_a_run_in_time_with_a_part_of_the_points(folder, whole):
    process = start(words(folder, "minutes.h5", "--minutes", 0.15, "--json"), SLOW="0.2")
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    answer = json.loads(output)
    assert not answer["is_complete"]
    assert (
        1 < answer["num_points"] <= 45 < whole.done.size
    )  # in nine seconds, at a fifth of a second or more a point
    assert "Stopped in time" in errors


def test_a_refined_surface_says_how_many_points_it_saved(folder):
    arguments = [*words(folder, "refined.h5"), "--grid", 33, "--refine", 0.05]
    process = start(arguments)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    found = read_result(folder / "refined.h5")
    assert f"Computed {found.done.sum()} of 1089 points; interpolation gives the others." in output
    assert found.done.sum() < 0.8 * 1089
    assert f"{found.deviations['interpolation, train']:.2g}" in output


def test_curvature_and_spectrum_are_in_the_file(folder):
    process = start([*words(folder, "maps.h5"), "--grid", 3, "--curvature", "--spectrum"])
    assert process.wait() == 0, process.stderr.read()
    found = read_result(folder / "maps.h5")
    assert list(found.maps)[:4] == ["curvature_xx", "curvature_xy", "curvature_yy", "lambda_max"]
    assert (found.maps["lambda_max"] > found.maps["lambda_min"]).all()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--minutes", 0), "must be a positive number"),
        (("--refine", 0), "must be a positive number"),
        (
            ("--refine", 0.1, "--dims", 1, "--grid", 5, "--repeats", 2),
            "several lines cannot be refined",
        ),
    ],
)
def test_options_out_of_range_are_refused(folder, option, message):
    process = start([*words(folder, "bad.h5"), *option])
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert message in errors
    assert not (folder / "bad.h5").exists()
