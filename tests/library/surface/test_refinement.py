"""Points are left out only where interpolation gives them."""

import numpy as np
import pytest

from landscape.surface.grid import interpolated, refined_rounds

FUNCTIONS = {
    "bowl": lambda x, y: 1 + x**2 + 3 * y**2 + x * y,
    "bump": lambda x, y: 1 + 5 * np.exp(-((x - 0.37) ** 2 + (y + 0.21) ** 2) / 0.02),
    "valley": lambda x, y: 0.1 + (1 - x) ** 2 + 10 * (y - x**2) ** 2,
    "steep": lambda x, y: 0.4 + np.exp(6 * (x**2 + y**2)),
    "wave": lambda x, y: 3 + np.cos(6 * x) * np.cos(5 * y),
}


def _refined(function, shape, tolerance, center=None):
    """Values (ny, nx) of all points, and which of them refinement computed."""
    x, y = np.linspace(-1, 1, shape[1]), np.linspace(-1, 1, shape[0])
    true = function(x[None], y[:, None]) + np.zeros(shape)
    values, known = np.full(shape, np.nan), np.zeros(shape, dtype=bool)
    for indices in refined_rounds(
        {"train": values}, {"train": center or float(function(0.0, 0.0))}, tolerance
    ):
        for index in indices:
            values[index], known[index] = true[index], True
    return true, known


@pytest.mark.parametrize("tolerance", [0.1, 0.03])
@pytest.mark.parametrize("shape", [(51, 51), (40, 101)])
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_smooth_functions_are_interpolated_to_the_tolerance(function, shape, tolerance):
    true, known = _refined(function, shape, tolerance)
    errors = np.abs(interpolated(true, known, function(0.0, 0.0)) - true) / np.maximum(
        np.abs(true), function(0.0, 0.0)
    )
    assert known.mean() < 1 or function is FUNCTIONS["steep"]
    assert errors.max() < tolerance


def test_a_loss_that_is_straight_on_the_scale_is_computed_on_the_first_levels_alone():
    true, known = _refined(lambda x, y: 3 * np.sinh(0.1 + x + 2 * y), (65, 65), 1e-6, center=3.0)
    assert known.sum() == 81
    np.testing.assert_allclose(interpolated(true, known, 3.0), true, rtol=1e-10)


def test_a_finer_tolerance_computes_more_points_and_no_point_less():
    _, coarse = _refined(FUNCTIONS["valley"], (65, 65), 0.1)
    _, fine = _refined(FUNCTIONS["valley"], (65, 65), 0.01)
    assert (fine | coarse == fine).all()
    assert fine.sum() > coarse.sum()


def test_a_kink_is_refined_along_its_line_alone():
    _, known = _refined(lambda x, y: np.sinh(2 * np.abs(x - 0.13)), (65, 65), 0.02, center=1.0)
    is_near = np.abs(np.linspace(-1, 1, 65) - 0.13) < 0.05
    assert known[:, is_near].mean() > 0.5
    assert known[:, :30].mean() < 0.1


def test_the_border_of_values_that_are_not_finite_is_refined():
    true, known = _refined(lambda x, y: np.where(x > 0.4, np.inf, 2.0 + y), (65, 65), 0.1)
    border = np.linspace(-1, 1, 65).searchsorted(0.4)
    assert known[:, border - 1].all()
    assert not known[:, :24].all()
    np.testing.assert_allclose(
        interpolated(true, known, 2.0)[:, :border], true[:, :border], rtol=0.1
    )


def test_a_line_is_refined_too():
    x = np.linspace(-1, 1, 129)
    true, values = 1 + np.abs(x - 0.13), np.full(129, np.nan)
    for indices in refined_rounds({"train": values}, {"train": 1.13}, 0.01):
        for index in indices:
            values[index] = true[index]
    known = np.isfinite(values)
    assert known.sum() < 40
    assert np.abs(interpolated(values, known, 1.13) - true).max() < 0.02


def test_two_splits_are_both_interpolated_to_the_tolerance():
    x = np.linspace(-1, 1, 65)
    true = {"train": 1 + np.abs(x - 0.5), "test": 1 + np.abs(x + 0.4)}
    values = {split: np.full(65, np.nan) for split in true}
    for indices in refined_rounds(values, {"train": 1.5, "test": 1.4}, 0.01):
        for split in true:
            for index in indices:
                values[split][index] = true[split][index]
    known = np.isfinite(values["train"])
    assert known.sum() < 50
    for split in true:
        assert np.abs(interpolated(values[split], known, 1.5) - true[split]).max() < 0.02
