"""Curvature on a plane against closed forms and dense matrices."""

import numpy as np
import pytest
import torch
from cases import (
    DUMMY_DATA,
    MemorySink,
    Quadratic,
    classification,
    quadratic_loss,
    symmetric_with_spectrum,
    tiny_mlp,
)

from landscape import Axis, Plane, Problem, evaluate_surface
from landscape.errors import StoreError
from landscape.surface.probes import PlaneCurvature, SpectrumMap

MATRIX = symmetric_with_spectrum([5.0, 2.0, 0.5, -1.0])
W0 = torch.tensor([1.0, 0.0, -0.5, 2.0]).double()
DX, DY = torch.randn(2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
AXES = (Axis(-1, 1, 3), Axis(-1, 2, 4))


def _quadratic():
    loss = quadratic_loss(MATRIX, torch.zeros(4).double())
    return Problem(Quadratic(W0), DUMMY_DATA, loss, device="cpu", dtype="float64")


def test_on_a_quadratic_it_is_the_projected_matrix_at_every_point():
    problem = _quadratic()
    found = evaluate_surface(
        {"train": problem}, Plane(W0, (DX, DY)), AXES, probes=[PlaneCurvature(problem, 2)]
    )
    expected = {
        "curvature_xx": DX @ MATRIX @ DX,
        "curvature_xy": DX @ MATRIX @ DY,
        "curvature_yy": DY @ MATRIX @ DY,
    }
    assert set(found.maps) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found.maps[name], float(value), rtol=1e-12)


def test_on_a_network_it_is_the_second_derivative_along_the_line():
    problem = Problem(tiny_mlp(), classification(), device="cpu", dtype="float64")
    direction = torch.randn(
        problem.spec.size, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    plane, step = Plane(problem.weights, (direction,)), 1e-3
    found = evaluate_surface(
        {"train": problem}, plane, (Axis(-1, 1, 3),), probes=[PlaneCurvature(problem, 1)]
    )
    for x, curvature in zip(found.x, found.maps["curvature_xx"], strict=True):
        low, middle, high = (problem.loss(plane.point(x + s)) for s in (-step, 0, step))
        assert curvature == pytest.approx((high - 2 * middle + low) / step**2, rel=1e-5)


def test_eigenvalues_of_a_quadratic_are_those_of_its_matrix_at_every_point():
    problem = _quadratic()
    found = evaluate_surface(
        {"train": problem}, Plane(W0, (DX, DY)), AXES, probes=[SpectrumMap(problem, tolerance=1e-8)]
    )
    np.testing.assert_allclose(found.maps["lambda_max"], 5.0, rtol=1e-8)
    np.testing.assert_allclose(found.maps["lambda_min"], -1.0, rtol=1e-8)
    np.testing.assert_allclose(found.maps["lambda_ratio"], 0.2, rtol=1e-8)
    assert (found.maps["lambda_error"] < 1e-6).all()


def test_a_search_that_is_cut_short_shows_its_error():
    spectrum = np.linspace(-1, 1, 60).tolist()
    matrix = symmetric_with_spectrum(spectrum)
    loss = quadratic_loss(matrix, torch.zeros(60).double())
    start = torch.zeros(60).double()
    problem = Problem(Quadratic(start), DUMMY_DATA, loss, device="cpu", dtype="float64")
    probe = SpectrumMap(problem, tolerance=1e-8, max_matvecs=8)
    values = probe(Plane(start, (torch.ones(60).double(),)), start)
    assert values["lambda_error"] > 1e-3
    nearest = min(spectrum, key=lambda eigenvalue: abs(eigenvalue - values["lambda_max"]))
    assert abs(values["lambda_max"] - nearest) <= values["lambda_error"]


def test_where_the_loss_is_not_finite_eigenvalues_are_nan_and_the_rest_goes_on():
    def loss(w, _):
        return torch.where(w[0] > 0.5, torch.nan, 1.0) * (w @ w)

    problem = Problem(
        Quadratic(torch.zeros(2).double()), DUMMY_DATA, loss, device="cpu", dtype="float64"
    )
    plane = Plane(problem.weights, (torch.tensor([1.0, 0.0]).double(),))
    probes = (PlaneCurvature(problem, 1), SpectrumMap(problem))
    found = evaluate_surface({"train": problem}, plane, (Axis(-1, 1, 3),), probes=probes)
    np.testing.assert_allclose(found.maps["lambda_max"], [2.0, 2.0, np.nan], rtol=1e-6)
    np.testing.assert_allclose(found.maps["curvature_xx"], [2.0, 2.0, np.nan], rtol=1e-12)


def test_a_surface_with_maps_is_not_continued_without_them():

    problem, sink = _quadratic(), MemorySink()
    evaluate_surface(
        {"train": problem},
        Plane(W0, (DX, DY)),
        AXES,
        probes=[PlaneCurvature(problem, 2)],
        sink=sink,
    )
    with pytest.raises(StoreError, match="another set of maps"):
        evaluate_surface({"train": problem}, Plane(W0, (DX, DY)), AXES, sink=sink)
