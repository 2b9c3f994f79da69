import pytest
import torch
from cases import DUMMY_DATA, Quadratic, classification, quadratic_loss, seeded, tiny_cnn, tiny_mlp
from torch import nn

from landscape.doctor.check_network import check_filters, check_minimum, check_range
from landscape.doctor.findings import Severity
from landscape.problem.problem import Problem


def bowl(start, matrix=None, constant=0.0):
    """A problem of loss 1/2 w' A w + c."""
    start = torch.tensor(start, dtype=torch.float64)
    matrix = torch.eye(len(start)) if matrix is None else matrix
    plain = quadratic_loss(matrix, torch.zeros(len(start)))
    return Problem(
        Quadratic(start), DUMMY_DATA, lambda o, t: plain(o, t) + constant, dtype="float64"
    )


class Filters(nn.Module):
    """A weight (2, 3) whose loss is of its length alone."""

    def __init__(self, weight):
        super().__init__()
        self.w = nn.Parameter(weight)

    def forward(self, inputs):
        return self.w


def of_length(function, weight=None):
    """A problem whose loss is a function of ||w||^2."""
    weight = torch.ones(2, 3) if weight is None else weight
    loss = lambda outputs, targets: function(outputs.square().sum())  # noqa: E731
    return Problem(Filters(weight), DUMMY_DATA, loss, dtype="float64")


def test_at_the_bottom_of_a_bowl_the_gradient_is_zero():
    assert check_minimum(bowl([0.0, 0.0])).message == "The gradient is 0."


def test_the_gradient_and_the_first_order_are_those_of_the_bowl():
    found = check_minimum(bowl([3.0, 4.0]))
    assert found.values["gradient_norm"] == pytest.approx(5)
    assert found.values["step"] == pytest.approx(0.05)
    assert "lowers the loss by 0.25;" in found.message


def test_far_up_the_slope_is_a_problem_and_the_loss_after_descent_is_less():
    found = check_minimum(bowl([3.0, 4.0]))
    assert found.severity == Severity.PROBLEM
    assert found.values["loss_after_descent"] < 0.01 * found.values["loss"]
    assert "`init=CKPT`" in found.remedy


def test_a_loss_that_hardly_falls_is_a_minimum():
    assert check_minimum(bowl([0.1, 0.1], constant=1.0)).severity == Severity.OK


def test_a_loss_that_falls_by_a_fifth_is_a_warning():
    found = check_minimum(bowl([0.7, 0.0], constant=1.0))  # from 1.245 to 1
    assert found.severity == Severity.WARNING
    assert found.values["loss_after_descent"] == pytest.approx(1.0, abs=0.01)


def test_a_descent_into_nan_goes_no_further():
    found = check_minimum(of_length(lambda square: (square - 5.9).sqrt()))
    assert 0 <= found.values["loss_after_descent"] <= found.values["loss"]


def test_filters_with_a_length_are_fine():
    found = check_filters(Problem(tiny_mlp(), classification()))
    assert (found.severity, found.values["num_filters"]) == (Severity.OK, 10)


@pytest.mark.parametrize("length", [0.0, 1e-12])
def test_dead_filters_are_counted_layer_by_layer(length):
    model = tiny_cnn()
    with torch.no_grad():
        model[0].weight[1] *= length
        model[5].weight[:2] *= length
    found = check_filters(Problem(model, (torch.ones(4, 1, 6, 6), torch.tensor([0, 1, 2, 0]))))
    assert found.severity == Severity.WARNING
    assert "3 of 6 filters have norm 0" in found.message
    assert "0.weight (1 of 3), 5.weight (2 of 3)" in found.message
    assert "`normalization='layer'`" in found.remedy


def test_a_layer_of_zeros_is_dead_altogether():
    model = tiny_mlp()
    with torch.no_grad():
        model[2].weight.zero_()
    assert check_filters(Problem(model, classification())).values["num_dead"] == 3


def test_a_loss_that_rises_is_seen_in_the_range():
    found = check_range(of_length(lambda square: square - 5), seed=0)
    assert found.severity == Severity.OK
    assert found.values["loss"] == 1.0


def test_along_a_random_direction_the_values_are_those_at_both_ends():
    found = check_range(of_length(lambda square: square), seed=0)
    # |w + d|^2 + |w - d|^2 = 2 |w|^2 + 2 |d|^2, and a normalized d is as long as w, filter by
    # filter
    assert found.values["loss_at_minus_1"] + found.values["loss_at_1"] == pytest.approx(4 * 6.0)


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda square: 1 + (square - 6).abs() * 1e4, "too far to see the minimum"),
        (lambda square: 1 + (square - 6).abs().mul(1e4).exp(), "too far to see the minimum"),
        (lambda square: 1 + 1e-4 * square, "too near to see it rise"),
        (lambda square: -square, "lower than at the weights"),
    ],
)
def test_a_range_that_shows_nothing_is_a_warning(function, text):
    found = check_range(of_length(function), seed=0)
    assert found.severity == Severity.WARNING
    assert text in found.message
    assert found.remedy


def test_a_network_without_filters_has_no_random_direction():
    found = check_range(bowl([1.0, 2.0]), seed=0)
    assert found.severity == Severity.PROBLEM
    assert "`with_1d=True`" in found.remedy


def test_another_seed_is_another_direction():
    problem = Problem(seeded(lambda: tiny_mlp()), classification())
    assert check_range(problem, seed=0).values != check_range(problem, seed=1).values
