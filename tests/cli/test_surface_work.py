"""`landscape surface` in time, refined, by several processes, and by one at a time."""

import json
import signal

import numpy as np
import pytest
from processes import run_cli, run_two_cli, start_cli, torchrun_cli

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
    if str(calls) == os.environ.get("PAUSE_AT"):
        print("here", flush=True)
        input()
    is_first_try = os.environ.get("TORCHELASTIC_RESTART_COUNT") == "0"
    if os.environ.get("DIES") and os.environ.get("RANK") == "1" and is_first_try and calls == 30:
        os.kill(os.getpid(), signal.SIGKILL)
    return nn.functional.cross_entropy(outputs, targets)
"""
GRID = ("--grid", "13x11", "--points-per-pass", 1)


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


def paused(arguments, at):
    """Start a process and return it where it waits, at a point of the surface."""
    process = start_cli(*arguments, PAUSE_AT=str(at))
    assert "here" in process.stderr.readline()
    return process


def succeed(*arguments):
    """Run a process of its own to its end."""
    done = run_cli(*arguments)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def whole(folder):
    """The surface of one process."""
    succeed(*words(folder, "whole.h5"))
    return read_result(folder / "whole.h5")


def test_two_processes_write_the_file_of_one(folder, whole):
    both = run_two_cli(*words(folder, "two.h5"), must_succeed=True)
    assert [process.stdout.count("Saved to") for process in both] == [1, 0]
    found = read_result(folder / "two.h5")
    np.testing.assert_array_equal(found.loss["train"], whole.loss["train"])
    assert found.provenance.plan == whole.provenance.plan


@pytest.mark.slow
def test_a_lost_process_is_started_again_and_the_run_goes_on(folder, whole):
    restarts = ("--max-restarts", "1")
    done = torchrun_cli(*words(folder, "lost.h5"), options=restarts, DIES="1", SLOW="0.005")
    assert done.returncode == 0, done.stderr
    assert "SIGKILL" in done.stderr or "exitcode: -9" in done.stderr
    np.testing.assert_array_equal(
        read_result(folder / "lost.h5").loss["train"], whole.loss["train"]
    )


@pytest.mark.slow
def test_a_lost_process_of_a_forced_run_does_not_go_on_with_the_old_file(folder, whole):
    succeed(*words(folder, "old.h5"), "--seed", 1)
    arguments = words(folder, "old.h5", "--force")
    restarts = ("--max-restarts", "1")
    done = torchrun_cli(*arguments, options=restarts, DIES="1", SLOW="0.005")
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(read_result(folder / "old.h5").loss["train"], whole.loss["train"])


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_saves_and_says_how_to_go_on(folder, whole, number, code):
    name = f"signal-{code}.h5"
    process = paused(words(folder, name), at=40)
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == code, errors
    assert "--resume" in errors
    part = read_result(folder / name)
    assert 1 < part.done.sum() < part.done.size
    succeed(*words(folder, name, "--resume"))
    np.testing.assert_array_equal(read_result(folder / name).loss["train"], whole.loss["train"])


def test_a_second_process_on_one_output_is_refused_while_the_first_works(folder):
    process = paused(words(folder, "shared.h5"), at=40)
    second = run_cli(*words(folder, "shared.h5", "--resume"))
    assert second.returncode == 1
    assert "is being written by another process" in second.stderr
    process.kill()
    process.communicate()
    succeed(*words(folder, "shared.h5", "--resume"))
    assert read_result(folder / "shared.h5").is_complete


@pytest.mark.slow
def test_minutes_end_a_run_in_time_with_a_part_of_the_points(folder, whole):
    arguments = words(folder, "minutes.h5", "--minutes", 0.05, "--json")
    done = run_cli(*arguments, SLOW="0.1")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert not answer["is_complete"]
    # in three seconds, at a tenth of a second or more per point
    assert 1 < answer["num_points"] <= 30 < whole.done.size
    assert "Stopped in time" in done.stderr


def test_a_refined_surface_says_how_many_points_it_saved(run, folder):
    answer = run(*words(folder, "refined.h5"), "--grid", 33, "--refine", 0.05)
    assert answer.code == 0, answer.err
    found = read_result(folder / "refined.h5")
    assert (
        f"Computed {found.done.sum()} of 1089 points; interpolation gives the others." in answer.out
    )
    assert found.done.sum() < 0.8 * 1089
    assert f"{found.deviations['interpolation, train']:.2g}" in answer.out


def test_curvature_and_spectrum_are_in_the_file(run, folder):
    answer = run(*words(folder, "maps.h5"), "--grid", 3, "--curvature", "--spectrum")
    assert answer.code == 0, answer.err
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
def test_options_out_of_range_are_refused(run, folder, option, message):
    answer = run(*words(folder, "bad.h5"), *option)
    assert answer.code == 1
    assert message in answer.err
    assert not (folder / "bad.h5").exists()
