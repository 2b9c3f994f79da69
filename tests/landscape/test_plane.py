import numpy as np
import pytest
import torch

from landscape.errors import InputError
from landscape.plane import Plane

GENERATOR = torch.Generator().manual_seed(0)
ORIGIN, X, Y, Z = torch.randn(4, 30, generator=GENERATOR, dtype=torch.float64)


def test_the_centre_is_the_origin_bit_for_bit():
    plane = Plane(ORIGIN.float(), (X.float(), Y.float()))
    assert torch.equal(plane.point(0.0, 0.0), ORIGIN.float())


def test_a_point_is_origin_plus_coordinates_times_directions():
    torch.testing.assert_close(Plane(ORIGIN, (X, Y)).point(0.3, -2.0), ORIGIN + 0.3 * X - 2.0 * Y)


def test_projection_recovers_coordinates_on_directions_that_are_neither_unit_nor_orthogonal():
    skewed = Plane(ORIGIN, (5 * X, 0.1 * Y + 2 * X))
    found = skewed.project(skewed.point(0.7, -1.3))
    np.testing.assert_allclose(found.coordinates, [0.7, -1.3], rtol=1e-10)
    assert found.distance == pytest.approx(0.0, abs=1e-10)


def test_projection_reports_the_distance_out_of_the_plane():
    basis, _ = torch.linalg.qr(torch.stack([X, Y, Z], dim=1))
    plane = Plane(ORIGIN, (3 * basis[:, 0], basis[:, 1]))
    found = plane.project(plane.point(1.0, 2.0) + 0.25 * basis[:, 2])
    np.testing.assert_allclose(found.coordinates, [1.0, 2.0], rtol=1e-10)
    assert found.distance == pytest.approx(0.25)


def test_the_cosine_is_that_of_the_directions():
    expected = float(torch.nn.functional.cosine_similarity(X, Y, dim=0))
    assert Plane(ORIGIN, (X, Y)).cosine == pytest.approx(expected)


def test_a_line_has_no_cosine():
    assert Plane(ORIGIN, (X,)).cosine is None


def test_directions_of_another_size_are_refused():
    with pytest.raises(InputError, match="shape of the weights"):
        Plane(ORIGIN, (X[:3],))


def test_three_directions_are_refused():
    with pytest.raises(InputError, match="one or two directions, got 3"):
        Plane(ORIGIN, (X, Y, Z))
