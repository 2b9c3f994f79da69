import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from landscape.directions.plane import Plane
from landscape.errors import InputError

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


@pytest.mark.parametrize("directions", [(X,), (X, Y)])
def test_a_point_written_in_place_has_the_same_bits_whatever_was_there(directions):
    plane, coordinates = Plane(ORIGIN, directions), (0.3, -2.0)[: len(directions)]
    out = torch.full_like(ORIGIN, torch.nan)
    assert plane.point(*coordinates, out=out) is out
    assert torch.equal(out, plane.point(*coordinates))


def test_a_point_leaves_origin_and_directions_as_they_are():
    origin, x, y = ORIGIN.clone(), X.clone(), Y.clone()
    Plane(origin, (x, y)).point(0.3, -2.0, out=torch.empty_like(origin))
    assert torch.equal(torch.stack([origin, x, y]), torch.stack([ORIGIN, X, Y]))


class _Allocations(TorchDispatchMode):
    """Counts the large tensors that operations make."""

    def __init__(self, size):
        super().__init__()
        self.size, self.count = size, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        known = {
            value.data_ptr()
            for value in (*args, *(kwargs or {}).values())
            if isinstance(value, torch.Tensor)
        }
        if (
            isinstance(result, torch.Tensor)
            and result.numel() >= self.size
            and result.data_ptr() not in known
        ):
            self.count += 1
        return result


@pytest.mark.parametrize(("is_given", "expected"), [(True, 0), (False, 1)])
def test_a_point_makes_no_vector_but_itself(is_given, expected):
    out = torch.empty_like(ORIGIN) if is_given else None
    with _Allocations(30) as made:
        Plane(ORIGIN, (X, Y)).point(0.3, -2.0, out=out)
    assert made.count == expected
