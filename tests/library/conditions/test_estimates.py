import math

import pytest
from scipy.stats import binom

from landscape.conditions import Interval, Known
from landscape.results.sharpness import Measure
from landscape.results.spectrum import Trace


def measured(name="avg", **values):
    """A measure of 0.2."""
    plain = {"standard_error": None, "p": 2.0, "adaptive": False, "steps": 0, "radius_share": None}
    return Measure(name, 0.05, 1.2, 0.2, **{**plain, **values})


def test_a_mean_without_an_error_is_exact():
    assert Known.of_mean(0.3).interval == Interval(0.3, 0.3, 0.3)


def test_a_mean_is_within_two_standard_errors():
    found = Known.of_mean(0.3, 0.1).interval
    assert (found.low, found.high) == pytest.approx((0.3 - 0.196, 0.3 + 0.196), abs=1e-4)


def test_few_directions_widen_the_interval_as_students_t_says():
    found = Known.of_measure(measured(standard_error=0.01, num_directions=5)).interval
    assert found.error == pytest.approx(
        2.776 * 0.01, rel=1e-3
    )  # t of 4 degrees of freedom, from its table


def test_errors_of_directions_and_data_add_up_in_squares():
    found = Known.of_measure(
        measured(standard_error=0.03, num_directions=1000, data_error=0.04)
    ).interval
    assert found.error == pytest.approx(1.96 * 0.05, rel=2e-3)


def test_a_maximum_is_open_upwards_by_its_gap():
    found = Known.of_measure(measured("max", gap=0.1))
    assert (found.interval.low, found.interval.high) == pytest.approx((0.2, 0.22))
    assert "the largest that was found" in found.remark
    assert Known.of_measure(measured("max")).interval.high == math.inf


def test_the_ball_of_a_measure_is_said_where_it_is_another():
    found = Known.of_measure(measured("asc", p=math.inf, adaptive=True, m=8))
    assert found.remark == "p = inf, adaptive, m = 8"
    assert Known.of_measure(measured("asc")).remark == ""


@pytest.mark.parametrize("truth", [0.5, 0.9, 0.99])
def test_the_interval_of_a_share_holds_the_truth_as_often_as_it_says(truth):
    intervals = [Known.of_share(k / 200, 200).interval for k in range(201)]
    coverage = sum(
        binom.pmf(k, 200, truth) for k, i in enumerate(intervals) if i.low <= truth <= i.high
    )
    assert coverage > 0.92  # Wilson's interval is around .95, not above it everywhere


def test_a_perfect_sample_does_not_prove_a_perfect_set():
    assert Known.of_share(1.0, 100).interval.low == pytest.approx(100 / (100 + 1.96**2), rel=1e-4)
    assert Known.of_share(1.0, 100).interval.high == 1.0


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_rounding_leaves_no_share_outside_its_own_interval(value):
    found = [Known.of_share(value, n).interval for n in range(2, 500)]
    assert all(interval.low <= value <= interval.high for interval in found)


def test_a_share_of_nearly_all_examples_is_nearly_exact():
    assert (
        Known.of_share(0.8, 999, 0.999).interval.error
        < Known.of_share(0.8, 999).interval.error / 10
    )


def test_an_eigenvalue_is_within_its_error():
    found = Known.of_extreme(5.0, 0.1, is_largest=True, converged=True).interval
    assert found == Interval(5.0, 4.9, 5.1)


def test_before_convergence_a_larger_eigenvalue_may_exist():
    largest = Known.of_extreme(5.0, 0.1, is_largest=True, converged=False)
    smallest = Known.of_extreme(-5.0, 0.1, is_largest=False, converged=False)
    assert (largest.interval.low, largest.interval.high) == (4.9, math.inf)
    assert (smallest.interval.low, smallest.interval.high) == (-math.inf, -4.9)
    assert largest.remark == "not converged"


def test_a_trace_has_its_own_interval():
    found = Known.of_trace(Trace(3.0, 0.5, 1.8, 4.2, 0.95, 50, 60, converged=False))
    assert found.interval == Interval(3.0, 1.8, 4.2)
    assert found.remark == "not converged"
