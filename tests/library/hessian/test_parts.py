import numpy as np
import pytest
import torch
from cases import Quadratic, classification, images, seeded, tiny_cnn, tiny_mlp
from reference import dense_hessian
from torch import nn

from landscape import Problem
from landscape.data import build_data
from landscape.data.subset import disjoint_subsets
from landscape.hessian.krylov.lanczos import lanczos
from landscape.hessian.operator import CurvatureOperator
from landscape.hessian.parts import block_curvatures, folds
from landscape.problem.reading import as_data
from landscape.results.curvature_parts import Fold, fold_summary


def test_a_fold_has_the_extremes_of_its_own_hessian_and_the_curvature_on_the_others():
    model, (x, y) = tiny_cnn(), images(30)
    problem = Problem(model, (x, y), device="cpu", dtype="float64", batch_size=7)
    found = folds(problem, as_data((x, y)), folds=3, seed=1)
    for fold, inside in zip(found, disjoint_subsets(y, 3, seed=1), strict=True):
        values, vectors = np.linalg.eigh(dense_hessian(model, x[inside], y[inside]).numpy())
        outside = np.setdiff1d(np.arange(30), inside)
        rest = dense_hessian(model, x[outside], y[outside]).numpy()
        assert fold.lambda_max == pytest.approx(values[-1], rel=1e-8)
        assert fold.lambda_min == pytest.approx(values[0], rel=1e-8, abs=1e-8 * values[-1])
        assert fold.held_out == pytest.approx(vectors[:, -1] @ rest @ vectors[:, -1], rel=1e-6)
        assert fold.num_examples == 10


def regression(outputs, targets):
    """The mean of (row . w)^2 / 2: its Hessian is the mean outer product of the rows."""
    return ((targets @ outputs) ** 2).mean() / 2


def test_the_means_over_a_partition_enclose_the_largest_eigenvalue():
    rows = torch.randn(60, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    data = as_data((torch.zeros(60, 1), rows))
    problem = Problem(Quadratic(torch.ones(8)), data, regression, device="cpu", dtype="float64")
    truth = float(torch.linalg.eigvalsh(rows.T @ rows / 60)[-1])
    summary = fold_summary(folds(problem, data, folds=5))
    assert summary["held_out"][0] < truth < summary["lambda_max"][0]


@pytest.fixture(scope="module")
def trained():
    """A network on the digits after twenty steps on everything, and the data."""
    data = as_data(build_data("digits")[0]).examples
    inputs, targets = data.inputs.flatten(1), data.targets
    model = seeded(
        lambda: nn.Sequential(nn.Linear(inputs.shape[1], 16), nn.Tanh(), nn.Linear(16, 10))
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    return model, as_data((inputs, targets))


def test_small_subsets_enclose_the_largest_eigenvalue_of_all_data_on_average(trained):
    model, data = trained
    problem = Problem(model, data, device="cpu", batch_size=2000)
    truth = lanczos(CurvatureOperator(problem), top_k=1).eigenvalues[0]
    found = folds(problem, data, folds=10, num_samples=50, tolerance=1e-2)
    summary = fold_summary(found)
    below, above = summary["held_out"], summary["lambda_max"]
    assert truth < above[0] - 3 * above[1] / np.sqrt(len(found))  # not by chance
    assert below[0] < truth + 3 * below[1] / np.sqrt(len(found))
    assert above[0] < 3 * truth
    assert below[0] > truth / 3


def test_folds_leave_the_problem_as_it_was(trained):
    model, data = trained
    problem = Problem(model, data, device="cpu", batch_size=2000)
    before = problem.loss()
    folds(problem, data, folds=2, num_samples=20, tolerance=1e-1)
    assert (problem.loss(), problem.num_examples) == (before, data.num_examples)


def test_a_summary_has_means_and_sample_deviations():
    one, two = Fold(4, 1.0, -1.0, 0.0, 0.5, True), Fold(4, 3.0, -1.0, 0.0, 0.5, True)
    found = fold_summary([one, two])
    assert found["lambda_max"] == pytest.approx((2.0, np.sqrt(2.0)))
    assert (found["lambda_min"], found["held_out"]) == ((-1.0, 0.0), (0.5, 0.0))


def test_subsets_that_there_is_no_time_for_are_left_out(trained):
    model, data = trained
    problem = Problem(model, data, device="cpu")
    left = iter([False] * 60)
    found = folds(
        problem,
        data,
        folds=3,
        num_samples=100,
        should_stop=lambda num_matvecs=1: next(left, True),
    )
    assert 1 <= len(found) < 3
    assert all(fold.converged for fold in found)


def test_one_fold_has_no_deviation():
    mean, deviation = fold_summary([Fold(10, 2.0, -1.0, 0.0, 1.0, True)])["lambda_max"]
    assert mean == 2
    assert np.isnan(deviation)


def test_the_largest_eigenvalue_of_a_layer_is_within_residual_and_rounding():
    model, data = tiny_mlp(), classification()
    hessian = dense_hessian(model, *data)
    found = block_curvatures(Problem(model, data, device="cpu"))
    for block, place in zip(found, (slice(0, 42), slice(42, 66)), strict=True):
        true = float(torch.linalg.eigvalsh(hessian[place, place])[-1])
        assert block.rounding > 0
        assert abs(block.lambda_max - true) <= block.residual + block.rounding
