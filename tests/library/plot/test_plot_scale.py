import numpy as np
import pytest

from landscape.errors import InputError
from landscape.plot.scale import (
    MAX_LOG_LEVELS,
    choose_diverging_scale,
    choose_scale,
    choose_share_scale,
    linear_levels,
    log_levels,
)


def is_rounded(level, digits=(1, 2, 5)):
    mantissa = float(f"{level:e}".split("e")[0])
    return mantissa in digits


def test_values_within_a_factor_of_fifty_are_on_a_linear_scale():
    assert choose_scale([np.array([0.1, 4.9])]).kind == "linear"


def test_values_over_more_than_a_factor_of_fifty_are_on_a_log_scale():
    assert choose_scale([np.array([0.1, 5.1])]).kind == "log"


def test_all_arrays_together_decide_the_scale():
    assert choose_scale([np.array([0.01, 0.02]), np.array([10.0, 20.0])]).kind == "log"


def test_percentages_are_on_a_linear_scale_whatever_their_ratio():
    assert choose_scale([np.array([0.5, 99.0])], is_share=True).kind == "linear"


@pytest.mark.parametrize("value", [0.0, 37.0, 100.0])
def test_levels_of_percentages_do_not_leave_0_to_100(value):
    levels = choose_scale([np.full(3, value)], is_share=True).levels
    assert levels[0] >= 0
    assert levels[-1] <= 100
    assert len(levels) > 1


def test_values_that_are_not_finite_do_not_change_the_scale():
    values = np.array([1.0, 2.0, 3.0])
    with_others = np.append(values, [np.nan, np.inf, -np.inf])
    np.testing.assert_array_equal(choose_scale([with_others]).levels, choose_scale([values]).levels)


def test_no_finite_value_is_an_error():
    with pytest.raises(InputError, match="at least one finite value"):
        choose_scale([np.array([np.nan, np.inf])])


def test_a_parabola_down_to_zero_is_on_a_linear_scale():
    assert choose_scale([np.linspace(-1, 1, 51) ** 2]).kind == "linear"


def test_decades_down_to_zero_are_on_a_symmetric_log_scale():
    assert choose_scale([np.append(np.logspace(-3, 3, 50), 0.0)]).kind == "symlog"


def test_a_symmetric_log_scale_has_zero_and_both_signs_as_levels():
    values = np.concatenate([np.logspace(-3, 3, 50), -np.logspace(-3, 1, 30)])
    levels = choose_scale([values]).levels
    assert 0.0 in levels
    assert levels[0] <= -10
    assert levels[-1] >= 1000


@pytest.mark.parametrize(
    "values",
    [
        np.array([0.013, 380.0]),
        np.array([2.0, 7.9]),
        np.array([0.3, 0.7]),
        np.array([-3.0, 5.0]),
        np.array([1e-300, 1e300]),
        np.array([1e9, 1e9 + 1]),
        np.append(np.logspace(-6, 6, 40), [0.0, -3.0]),
        np.array([2.3, 2.3]),
        np.array([0.0, 0.0]),
    ],
)
def test_levels_increase_and_enclose_the_values(values):
    levels = choose_scale([values]).levels
    assert (np.diff(levels) > 0).all()
    assert levels[0] <= values.min()
    assert levels[-1] >= values.max()


@pytest.mark.parametrize(("low", "high"), [(0.013, 380.0), (0.9, 1100.0), (3e-5, 0.07)])
def test_log_levels_are_one_two_or_five_times_a_power_of_ten(low, high):
    assert all(is_rounded(level) for level in log_levels(low, high))


@pytest.mark.parametrize("high", [1.0, 1e3, 1e8, 1e40, 1e300])
def test_log_levels_stay_few_over_any_number_of_decades(high):
    assert len(log_levels(1e-3, high)) <= MAX_LOG_LEVELS + 1


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.13, 0.77), (-20.0, 333.0), (0.3, 0.7)])
def test_linear_steps_are_one_two_two_and_a_half_or_five_times_a_power_of_ten(low, high):
    assert is_rounded(np.diff(linear_levels(low, high)).mean(), digits=(1, 2, 2.5, 5))


@pytest.mark.parametrize(
    "values",
    [np.array([1.0, 2.0]), np.array([0.01, 10.0]), np.append(np.logspace(-3, 3, 50), [0.0, -1.0])],
)
def test_levels_become_increasing_heights(values):
    scale = choose_scale([values])
    assert (np.diff(scale.transform(scale.levels)) > 0).all()


def test_heights_on_a_log_scale_are_logarithms():
    np.testing.assert_allclose(
        choose_scale([np.array([0.01, 100.0])]).transform(np.array([0.01, 100.0])), [-2, 2]
    )


def test_a_constant_has_no_level_inside_its_range():
    values = np.full(4, 2.3)
    assert choose_scale([values]).levels_within(values).size == 0


def test_a_diverging_scale_is_symmetric_about_zero():
    scale = choose_diverging_scale([np.array([-0.2, 0.7])])
    assert (scale.kind, scale.is_diverging) == ("linear", True)
    np.testing.assert_array_equal(scale.levels, -scale.levels[::-1])


def test_a_diverging_scale_over_decades_is_symmetric_log():
    scale = choose_diverging_scale(
        [np.concatenate([-np.logspace(-3, 0, 30), np.logspace(-3, 2, 50)])]
    )
    assert scale.kind == "symlog"
    np.testing.assert_array_equal(scale.levels, -scale.levels[::-1])
    assert scale.high >= 100


def test_the_linear_part_of_a_diverging_scale_is_no_smaller_than_a_ten_thousandth():
    assert (
        choose_diverging_scale([np.append(np.full(90, 1e-12), np.full(9, 1.0))]).threshold >= 5e-5
    )


@pytest.mark.parametrize("values", [np.zeros(4), np.full(4, -2.0), np.array([1e-300, -1e300])])
def test_a_diverging_scale_encloses_any_values(values):
    scale = choose_diverging_scale([values])
    assert (np.diff(scale.levels) > 0).all()
    assert scale.low <= values.min()
    assert scale.high >= values.max()


def test_shares_are_on_a_linear_scale_from_zero():
    scale = choose_share_scale([np.array([1e-6, 0.3])])
    assert (scale.kind, scale.low) == ("linear", 0.0)


def test_shares_far_above_one_are_on_a_log_scale():
    assert choose_share_scale([np.array([0.01, 30.0])]).kind == "log"


def test_shares_that_are_all_zero_have_a_scale():
    assert len(choose_share_scale([np.zeros(3)]).levels) > 1
