"""A deadline is met, not missed by a step."""

import pytest

from landscape.errors import InputError
from landscape.runtime import progress
from landscape.runtime.progress import Deadline


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless told to go on."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_it_stops_before_a_step_that_would_end_too_late(clock):
    limit = Deadline(10.0)
    clock.now += 2  # before the first step, preparations
    steps = 0
    while not limit.is_reached():
        clock.now += 3
        steps += 1
    assert steps == 2
    assert clock.now == 108.0


def test_the_longest_step_decides(clock):
    limit = Deadline(20.0)
    assert not limit.is_reached()
    for step in (1, 7, 1):
        clock.now += step
        assert not limit.is_reached()
    clock.now += 5
    assert limit.is_reached()


def test_what_has_no_time_at_all_stops_at_once(clock):
    limit = Deadline(1.0)
    clock.now += 1.5
    assert limit.is_reached()


def test_without_minutes_it_never_comes(clock):
    limit = Deadline.after_minutes(None)
    clock.now += 1e9
    assert not limit.is_reached()


@pytest.mark.parametrize("minutes", [0, -1.0, float("nan")])
def test_minutes_must_be_positive(minutes):
    with pytest.raises(InputError, match="must be a positive number"):
        Deadline.after_minutes(minutes)


def test_it_leaves_time_for_the_steps_that_must_follow(clock):
    limit = Deadline(20.0)
    steps = 0
    while not limit.is_reached(1 + 3):
        clock.now += 2
        steps += 1
    assert 2 * (steps + 3) <= 20 < 2 * (steps + 1 + 4)


def test_that_it_has_come_is_kept_where_shorter_steps_still_fit(clock):
    limit = Deadline(10.0)
    assert not limit.is_reached()
    clock.now += 2
    assert limit.is_reached(5)
    assert not limit.is_reached(1)
    assert limit.has_come
