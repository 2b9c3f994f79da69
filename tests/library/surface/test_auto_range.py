import math

import numpy as np
import pytest
import torch
from cases import DUMMY_DATA, Quadratic, classification, tiny_mlp

from landscape import Axis, Plane, Problem, random_directions
from landscape.errors import InputError
from landscape.surface.auto_range import (
    LEAST_RISE,
    center_on_grid,
    find_common_range,
    find_range,
    range_of_marks,
    rise_level,
)

FEW_PER_CENT = 0.035  # 2.2 of bisection and 1 of rounding outwards


def _problem(function, size=1):
    """A problem whose loss is a function of its weights (size,), which are all 1 at the centre."""
    return Problem(
        Quadratic(torch.ones(size).double()), DUMMY_DATA, lambda w, _: function(w), dtype="float64"
    )


def _line(problem, scale=1.0):
    return Plane(problem.weights, (torch.full_like(problem.weights, scale),))


def _parabola(left, right, center=1.0):
    """A loss along w = 1 + t that reaches 5 times its centre at t = -left and t = right."""

    def loss(w):
        t = w.sum() - 1
        return center + 4 * center * torch.where(t < 0, t / left, t / right) ** 2

    return loss


@pytest.mark.parametrize(("left", "right"), [(1.0, 1.0), (0.03, 2.5), (1e-4, 0.125), (6.0, 0.7)])
def test_each_side_ends_where_the_loss_reaches_five_times_the_centre(left, right):
    problem = _problem(_parabola(left, right))
    found = find_range(problem, _line(problem))
    assert -found.start == pytest.approx(left * (1 + FEW_PER_CENT / 2), rel=FEW_PER_CENT / 2)
    assert found.stop == pytest.approx(right * (1 + FEW_PER_CENT / 2), rel=FEW_PER_CENT / 2)
    assert found.has_reached == (True, True)


@pytest.mark.parametrize("multiple", [2.0, 10.0])
def test_another_multiple_is_reached_at_another_place(multiple):
    problem = _problem(_parabola(1.0, 1.0))
    expected = math.sqrt((multiple - 1) / 4)
    found = find_range(problem, _line(problem), multiple=multiple)
    assert expected <= found.stop <= expected * (1 + FEW_PER_CENT)


def test_the_length_of_the_direction_does_not_matter():
    problem = _problem(_parabola(0.5, 0.5))
    short, long = (find_range(problem, _line(problem, scale)) for scale in (0.01, 100.0))
    assert short.stop == pytest.approx(10_000 * long.stop, rel=0.01)


def test_a_centre_of_zero_asks_for_a_rise_that_can_be_seen():
    problem = _problem(lambda w: (w.sum() - 1) ** 2)
    found = find_range(problem, _line(problem))
    assert found.stop == pytest.approx(math.sqrt(LEAST_RISE), rel=FEW_PER_CENT)


def test_a_negative_centre_asks_for_a_rise_by_its_magnitude():
    assert rise_level(-2.0, 5.0) == 6.0


def test_a_loss_that_is_not_finite_counts_as_reached():
    problem = _problem(
        lambda w: torch.where((w.sum() - 1).abs() > 0.3, torch.nan, 1.0) + 0 * w.sum()
    )
    found = find_range(problem, _line(problem))
    assert found.stop == pytest.approx(0.3, rel=FEW_PER_CENT)
    assert found.has_reached == (True, True)


def test_a_loss_that_never_rises_ends_at_eight_norms_of_the_weights_and_says_so():
    problem = _problem(lambda w: 1 + 0 * w.sum(), size=4)
    found = find_range(problem, _line(problem))
    assert (found.start, found.stop) == (-8.0, 8.0)
    assert found.has_reached == (False, False)


def test_what_has_to_be_in_view_is_with_a_tenth_to_spare():
    problem = _problem(_parabola(0.5, 0.5))
    found = find_range(problem, _line(problem), include=(0.0, 3.0, -0.1))
    assert found.stop == pytest.approx(3.3)
    assert found.start == pytest.approx(-0.5, rel=FEW_PER_CENT)


def test_the_number_of_evaluations_is_counted():
    problem = _problem(_parabola(0.5, 3.0))
    evaluate, calls = problem.evaluate, []
    problem.evaluate = lambda w=None: calls.append(w) or evaluate(w)
    assert find_range(problem, _line(problem)).num_evaluations == len(calls) < 25


def test_a_network_gets_the_same_range_every_time_and_its_ends_are_at_the_level():
    problem = Problem(tiny_mlp(), classification(), device="cpu")
    direction = random_directions(1, problem.weights, problem.spec, seed=0, normalization="filter")
    line = Plane(problem.weights, direction)
    found = find_range(problem, line, multiple=2)
    assert found == find_range(problem, line, multiple=2)
    for end in (found.start, found.stop):
        assert problem.loss(line.point(end)) >= 2 * problem.loss()
        assert problem.loss(line.point(0.95 * end)) < 2 * problem.loss()


def test_a_common_range_holds_that_of_each_line():
    problem = _problem(lambda w: 1 + (w[0] - 1) ** 2 + 25 * (w[1] - 1) ** 2, size=2)
    lines = [Plane(problem.weights, (torch.eye(2).double()[i],)) for i in range(2)]
    each, both = [find_range(problem, line) for line in lines], find_common_range(problem, lines)
    assert each[0].stop > 4 * each[1].stop
    assert (both.start, both.stop) == (each[0].start, each[0].stop)
    assert both.num_evaluations == sum(found.num_evaluations for found in each)


@pytest.mark.parametrize(("start", "stop"), [(-0.518, 1.71), (-3.0, 0.02), (-1.0, 1.0)])
@pytest.mark.parametrize("num_points", [3, 10, 21])
def test_the_centre_becomes_a_point_of_the_grid_at_the_least_cost(start, stop, num_points):
    wide = center_on_grid(start, stop, num_points)
    coordinates = Axis(*wide, num_points).coordinates()
    assert 0.0 in coordinates
    assert wide[0] <= start
    assert wide[1] >= stop
    step = coordinates[1] - coordinates[0]
    least = min(
        max(-start / num, stop / (num_points - 1 - num)) for num in range(1, num_points - 1)
    )
    assert step == pytest.approx(least, rel=0.01)


def test_a_grid_of_two_points_has_no_place_for_the_centre():
    assert center_on_grid(-0.5, 2.0, 2) == (-0.5, 2.0)


@pytest.mark.parametrize("multiple", [1.0, -5.0, math.nan, math.inf])
def test_a_multiple_that_is_no_rise_is_refused(multiple):
    problem = _problem(_parabola(1.0, 1.0))
    with pytest.raises(InputError, match="multiple of an automatic range must be greater than 1"):
        find_range(problem, _line(problem), multiple=multiple)


def test_a_centre_that_is_not_finite_is_refused():
    problem = _problem(lambda w: w.sum() * np.inf)
    with pytest.raises(InputError, match="needs a finite loss at the centre, got inf"):
        find_range(problem, _line(problem))


@pytest.mark.parametrize("num_points", range(4, 60))
def test_both_checkpoints_of_a_line_are_on_its_grid_with_a_margin(num_points):
    start, stop = range_of_marks([0.0, 1.0], num_points)
    assert start <= -0.15
    assert stop >= 1.15
    if num_points >= 5:
        grid = np.linspace(start, stop, num_points)
        assert np.abs(grid).min() < 1e-12
        assert np.abs(grid - 1.0).min() < 1e-12


def test_everything_marked_is_in_view_with_a_margin_and_nothing_else():
    start, stop = range_of_marks([0.0, 18.0, 23.0, -2.0, math.nan, math.inf], 25)
    assert -2.0 - 0.3 * 25 < start <= -2.0 - 0.15 * 25
    assert 23.0 + 0.15 * 25 <= stop < 23.0 + 0.3 * 25


def test_the_origin_is_on_the_grid_of_a_range_of_marks():
    for low, high in ((-2.0, 23.0), (-5.0, 0.0), (0.0, 3.0), (0.0, 0.0)):
        grid = np.linspace(*range_of_marks([low, high], 21), 21)
        assert np.abs(grid).min() < 1e-9
