import numpy as np
import pytest
import torch
from cases import DUMMY_DATA, Quadratic, quadratic_loss, symmetric_with_spectrum

from landscape import Axis, Plane, Problem, evaluate_surface
from landscape.surface.planes import make_mark

MATRIX, LINEAR = (
    symmetric_with_spectrum([5.0, 2.0, 0.5, -1.0]),
    torch.tensor([0.1, -0.2, 0.3, 0.0]).double(),
)
W0 = torch.tensor([1.0, 0.0, -0.5, 2.0]).double()
BASIS = torch.linalg.qr(
    torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
)[0]
SKEWED = Plane(W0, (3 * BASIS[0], BASIS[1] + 2 * BASIS[0]))


def _problems():
    loss = quadratic_loss(MATRIX, LINEAR)
    return {"train": Problem(Quadratic(W0), DUMMY_DATA, loss, device="cpu", dtype="float64")}


def _formula(w):
    return float(0.5 * w @ MATRIX @ w + LINEAR @ w)


def test_a_point_of_the_plane_has_its_coordinates_no_distance_and_twice_its_loss():
    w = SKEWED.point(0.3, -1.2)
    mark = make_mark("a", "checkpoint", w, SKEWED, _problems())
    np.testing.assert_allclose(mark.coordinates, [0.3, -1.2], rtol=1e-12)
    assert mark.distance == pytest.approx(0, abs=1e-12)
    assert mark.loss["train"] == pytest.approx(_formula(w), rel=1e-12)
    assert mark.plane_loss["train"] == pytest.approx(mark.loss["train"], rel=1e-12)


def test_a_point_off_the_plane_has_its_distance_its_own_loss_and_that_of_the_nearest_point():
    nearest = SKEWED.point(0.3, -1.2)
    w = nearest + 0.7 * BASIS[2]
    mark = make_mark("a", "snapshot", w, SKEWED, _problems())
    np.testing.assert_allclose(mark.coordinates, [0.3, -1.2], rtol=1e-12)
    assert mark.distance == pytest.approx(0.7)
    assert mark.loss["train"] == pytest.approx(_formula(w))
    assert mark.plane_loss["train"] == pytest.approx(_formula(nearest))


def test_the_origin_is_marked_at_zero_with_the_loss_of_the_centre_bit_for_bit():
    problems = _problems()
    mark = make_mark("a", "checkpoint", W0, SKEWED, problems)
    assert mark.coordinates == (0.0, 0.0)
    assert mark.distance == 0.0
    assert mark.loss["train"] == mark.plane_loss["train"] == problems["train"].loss()


def test_a_loss_that_is_known_otherwise_stands_beside_that_of_the_plane():
    mark = make_mark("a", "checkpoint", W0, SKEWED, _problems(), loss={"train": 17.0})
    assert mark.loss == {"train": 17.0}
    assert mark.plane_loss["train"] == pytest.approx(_formula(W0))


def test_a_surface_carries_its_marks_and_the_explained_variance():
    problems = _problems()
    mark = make_mark("a", "checkpoint", W0, SKEWED, problems)
    share = np.array([0.7, 0.2])
    axes = (Axis(-1, 1, 2), Axis(-1, 1, 2))
    found = evaluate_surface(problems, SKEWED, axes, marks=[mark], explained_variance=share)
    assert found.marks == (mark,)
    np.testing.assert_array_equal(found.explained_variance, share)
