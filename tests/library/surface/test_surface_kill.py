"""A surface whose process is killed, again and again."""

import os
import random
import subprocess
import sys
import time

import killed_surface
import numpy as np

from landscape import read_result

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
KILLS = 3


def _start(folder, name):
    command = [
        sys.executable,
        "-P",
        killed_surface.__file__,
        folder / f"{name}.h5",
        folder / f"{name}.log",
    ]
    return subprocess.Popen(list(map(str, command)), env=ENVIRONMENT)


def _points(log):
    """(number done, time) of each point, as far as the lines are whole."""
    lines = log.read_text().split("\n")[:-1] if log.exists() else []
    return [(int(number), float(moment)) for number, moment in map(str.split, lines)]


def _kill_at_a_random_moment(folder, chance):
    """Kill a run some time after its first point of this start; return the least that must have
    been kept."""
    log = folder / "parts.log"
    before = len(_points(log))
    process = _start(folder, "parts")
    while len(_points(log)) == before:
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(chance.uniform(0, 0.5))
    process.kill()
    process.wait()
    killed_at = time.time()
    slack = killed_surface.INTERVAL + 0.25  # the interval, and a write on a busy machine
    return max(
        (number for number, moment in _points(log)[before:] if moment < killed_at - slack),
        default=0,
    )


def test_kill_9_at_random_moments_loses_no_more_than_the_interval(tmp_path):
    chance = random.Random(0)
    for _ in range(KILLS):
        kept = _kill_at_a_random_moment(tmp_path, chance)
        assert read_result(tmp_path / "parts.h5").done.sum() >= kept
    assert _start(tmp_path, "parts").wait() == 0
    assert _start(tmp_path, "whole").wait() == 0
    parts, whole = (read_result(tmp_path / f"{name}.h5") for name in ("parts", "whole"))
    assert whole.is_complete
    np.testing.assert_array_equal(parts.loss["train"], whole.loss["train"])
