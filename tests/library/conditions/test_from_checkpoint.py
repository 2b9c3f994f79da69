"""Quantities of networks, against dense references."""

from __future__ import annotations

import math

import pytest
import torch
from cases import (
    DUMMY_DATA,
    Quadratic,
    classification,
    quadratic_loss,
    symmetric_with_spectrum,
    tiny_mlp,
)
from networks import dense_curvature

from landscape.conditions import from_checkpoint as measured
from landscape.conditions import judge, parse_condition
from landscape.conditions.from_checkpoint import Effort, measure_quantities, splits_of
from landscape.errors import InputError
from landscape.problem.problem import Problem
from landscape.problem.reading import as_data

SPECTRUM = [5.0, 3.0, 1.0, 0.5, -2.0, -4.0]
START = torch.tensor([1.0, 0, 0, 0, 0, 0], dtype=torch.float64)


def named(*names):
    """The quantities that a condition on these names."""
    return [quantity for name in names for quantity in parse_condition(f"{name} < 1").quantities]


@pytest.fixture
def quadratic():
    """A problem whose curvature is known."""
    matrix = symmetric_with_spectrum(SPECTRUM)
    return matrix, Problem(
        Quadratic(START), DUMMY_DATA, quadratic_loss(matrix, torch.zeros(6)), dtype="float64"
    )


def found_in(problem, *names, **effort):
    """Name -> interval."""
    wanted = named(*names)
    known = measure_quantities({"train": problem}, wanted, effort=Effort(**effort))
    assert list(known) == wanted
    return {str(quantity): each.interval for quantity, each in known.items()}


def test_curvature_is_that_of_the_matrix(quadratic):
    matrix, problem = quadratic
    found = found_in(problem, "lambda_max", "lambda_min", "lambda_ratio", "trace")
    values = {
        "lambda_max": 5.0,
        "lambda_min": -4.0,
        "lambda_ratio": -1.25,
        "trace": float(matrix.trace()),
    }
    assert {name: interval.value for name, interval in found.items()} == pytest.approx(values)
    assert all(interval.low <= values[name] + 1e-12 for name, interval in found.items())
    assert all(interval.high >= values[name] - 1e-12 for name, interval in found.items())


def test_gradient_and_sharpness_are_those_of_the_quadratic(quadratic):
    matrix, problem = quadratic
    gradient = matrix @ START
    step = 0.1 * gradient / gradient.norm()
    found = found_in(problem, "gradient_norm", "first_order@0.1", "asc@0.1", "loss")
    values = {
        "gradient_norm": float(gradient.norm()),
        "first_order@0.1": 0.1 * float(gradient.norm()),
        "asc@0.1": float(gradient @ step + step @ matrix @ step / 2),
        "train_loss": float(START @ matrix @ START / 2),
    }
    assert {name: interval.value for name, interval in found.items()} == pytest.approx(values)
    assert all(interval.low == interval.high for interval in found.values())


def test_the_average_is_within_its_interval_of_the_closed_form(quadratic):
    matrix, problem = quadratic
    interval = found_in(problem, "avg@0.5", num_directions=50)["avg@0.5"]
    assert interval.low < 0.5**2 * float(matrix.trace()) / 12 < interval.high  # rho^2 tr(H) / (2 P)


def test_radii_are_measured_each_for_itself(quadratic):
    found = found_in(quadratic[1], "first_order@0.1", "first_order@0.2")
    assert found["first_order@0.2"].value == pytest.approx(2 * found["first_order@0.1"].value)


def test_the_smallest_eigenvalue_is_sought_only_where_it_is_named(quadratic, monkeypatch):
    asked = []
    real = measured.hessian_spectrum

    def spy(*args, **options):
        asked.append((options["bottom_k"], options["trace"]))
        return real(*args, **options)

    monkeypatch.setattr(measured, "hessian_spectrum", spy)
    found_in(quadratic[1], "lambda_max")
    found_in(quadratic[1], "lambda_min", "trace")
    found_in(quadratic[1], "loss", "gradient_norm")
    assert asked == [(0, False), (1, True)]


def test_the_splits_are_those_that_are_named():
    assert splits_of(named("loss", "lambda_max")) == ("train",)
    assert splits_of(named("test_accuracy")) == ("test",)
    assert splits_of(named("generalization_gap")) == ("train", "test")
    assert splits_of(named("asc@0.1", "test_loss")) == ("train", "test")


def test_the_gap_is_test_loss_minus_train_loss():
    problems = {
        "train": Problem(tiny_mlp(), classification()),
        "test": Problem(tiny_mlp(), classification(seed=5)),
    }
    (known,) = measure_quantities(problems, named("generalization_gap")).values()
    assert known.interval.value == problems["test"].loss() - problems["train"].loss()


def test_on_a_network_the_largest_eigenvalue_is_that_of_the_dense_hessian():
    model, data = tiny_mlp(), classification()
    found = found_in(Problem(model, data, dtype="float64"), "lambda_max")["lambda_max"]
    truth = float(torch.linalg.eigvalsh(dense_curvature(model, data, "hessian"))[-1])
    assert found.low - 1e-12 <= truth <= found.high + 1e-12


def test_an_accuracy_that_does_not_exist_is_refused(quadratic):
    with pytest.raises(InputError, match="accuracy needs scores of classes"):
        found_in(quadratic[1], "accuracy")


@pytest.mark.parametrize("name", ["loss", "accuracy", "gradient_norm", "asc@0.1"])
def test_the_interval_of_a_subset_mostly_holds_the_value_of_the_whole(name):
    whole = as_data(classification(400))
    truth = found_in(Problem(tiny_mlp(), whole), name)
    hits = 0
    for seed in range(20):
        rows = torch.randperm(400, generator=torch.Generator().manual_seed(seed))[:100]
        subset = Problem(tiny_mlp(), whole.take(rows), num_population=400)
        interval = found_in(subset, name)[str(named(name)[0])]
        hits += interval.low <= truth[str(named(name)[0])].value <= interval.high
    assert hits >= 16  # of 20 intervals of 95 %, fewer than 16 happen in .3 % of the cases


def test_curvature_of_a_subset_says_that_its_error_is_not_counted():
    problem = Problem(tiny_mlp(), classification(20), num_population=40)
    (known,) = measure_quantities({"train": problem}, named("lambda_max")).values()
    assert "of a subset of 20 examples" in known.remark


def test_too_few_products_leave_a_condition_undecided():
    problem = Problem(tiny_mlp(), classification(), dtype="float64")
    wanted = named("lambda_max")
    known = measure_quantities({"train": problem}, wanted, effort=Effort(max_matvecs=4))
    assert known[wanted[0]].interval.high == math.inf
    assert judge(parse_condition("lambda_max < 1000"), known).verdict == "undecided"


def test_the_maximum_is_at_least_the_ascent(quadratic):
    found = found_in(quadratic[1], "max@0.1", "asc@0.1")
    assert found["max@0.1"].value >= found["asc@0.1"].value
