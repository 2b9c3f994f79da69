"""A surface whose process is killed, again and again."""

import itertools
import random

import killed_surface
import numpy as np
import pytest
from processes import Started

from landscape import read_result

KILLS = 3
SLACK = 0.25  # seconds of a write on a busy machine


def _kill_after(num_points, path):
    """Kill a run that has told of some points of this start; return the least that must have been
    kept."""
    process = Started(killed_surface.main, path)
    lines = list(itertools.islice(process.stdout, num_points))
    process.kill()
    lines += process.communicate()[0].splitlines()
    told = [(int(number), float(moment)) for number, moment in map(str.split, lines)]
    killed_at = told[-1][1]
    early = (
        number for number, moment in told if moment < killed_at - killed_surface.INTERVAL - SLACK
    )
    return max(early, default=0)


@pytest.mark.slow
def test_kill_9_at_random_moments_loses_no_more_than_the_interval(tmp_path):
    path, chance = tmp_path / "parts.h5", random.Random(0)
    for _ in range(KILLS):
        kept = _kill_after(chance.randrange(150, 300), path)
        assert read_result(path).done.sum() >= kept
    process = Started(killed_surface.main, path)
    _, err = process.communicate()
    assert process.returncode == 0, err
    parts, whole = read_result(path), killed_surface.evaluate()
    assert parts.is_complete
    np.testing.assert_array_equal(parts.loss["train"], whole.loss["train"])
