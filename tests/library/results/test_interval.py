import itertools
import math
import operator

import pytest

from landscape.conditions import Interval

INF = math.inf
SOME = [
    Interval(1.0, 0.5, 2.0),
    Interval(-1.0, -3.0, 0.5),
    Interval(4.0, 3.0, 4.0),
    Interval(-2.0, -2.5, -1.0),
]
OPERATIONS = [operator.add, operator.sub, operator.mul, operator.truediv]


def inside(interval):
    """Points from end to end."""
    return [interval.low + (interval.high - interval.low) * i / 8 for i in range(9)]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_result_holds_every_result_of_members_and_no_more(operation):
    for a, b in itertools.product(SOME, SOME):
        if operation is operator.truediv and b.low <= 0 <= b.high:
            continue
        found = [operation(x, y) for x in inside(a) for y in inside(b)]
        result = operation(a, b)
        assert (result.low, result.high) == pytest.approx((min(found), max(found)))
        assert result.value == operation(a.value, b.value)


@pytest.mark.parametrize("a", SOME)
def test_a_magnitude_goes_down_to_zero_where_zero_is_inside(a):
    ends = [abs(x) for x in (*inside(a), *([0.0] if a.low < 0 < a.high else []))]
    assert (abs(a).low, abs(a).high, abs(a).value) == (min(ends), max(ends), abs(a.value))


def test_division_by_what_may_be_zero_may_give_anything():
    result = Interval(1.0, 0.5, 2.0) / Interval(0.1, -0.1, 0.3)
    assert (result.value, result.low, result.high) == (10.0, -INF, INF)


def test_division_by_zero_is_no_number():
    assert math.isnan((Interval.exact(1.0) / Interval.exact(0.0)).value)


def test_an_unknown_error_leaves_the_ends_open():
    assert Interval.around(3.0, math.nan) == Interval(3.0, -INF, INF)
    assert Interval(1.0, 1.0, INF) - Interval(1.0, 1.0, INF) == Interval(0.0, -INF, INF)


def test_zero_times_anything_is_not_taken_for_zero():
    assert Interval.exact(0.0) * Interval(1.0, 0.0, INF) == Interval(0.0, -INF, INF)


def test_the_error_is_the_distance_of_the_farther_end():
    assert Interval(2.0, 1.0, 2.5).error == 1.0


def test_an_interval_is_written_with_its_error_only_if_both_ends_are_known_and_as_far_away():
    assert Interval(2.0, 1.0, 3.0).text == "2.0 \N{PLUS-MINUS SIGN} 1.0"
    assert Interval(2.0, 1.0, 2.5).text == "2.00 [1.00, 2.50]"
    assert Interval(2.0, -INF, INF).text == "2.0000"
    assert Interval.exact(2.0).text == "2.0000"
