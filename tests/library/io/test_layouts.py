import numpy as np
import pytest
from surfaces import PROVENANCE, formula, plane_surface

from landscape.errors import InputError, StoreError
from landscape.io import li2018
from landscape.io.layouts import convert, read_any
from landscape.io.store import read_result, write_result
from landscape.plot.mesh_files import ALL_LAYOUTS
from landscape.results.spectrum import Spectrum
from landscape.results.surface import Directions

DIRECTIONS = Directions(
    np.arange(12, dtype=np.float32).reshape(2, 6),
    ("random", "gradient"),
    ("w", "b"),
    ((2, 2), (2,)),
    "filter",
)
SPECTRUM = Spectrum(
    *(np.ones(1) for _ in range(4)), 2, True, 1e-4, 1e-6, "lanczos", 0.5, None, "train", PROVENANCE
)


@pytest.mark.parametrize("shape", [(4, 4), (4, 3), (3, 5)])
def test_a_surface_goes_to_their_layout_and_back(tmp_path, shape):
    surface = plane_surface(*shape, left_out=(1, 2))
    write_result(tmp_path / "a.h5", surface)
    convert(tmp_path / "a.h5", tmp_path / "b.h5", "li2018")
    convert(tmp_path / "b.h5", tmp_path / "c.h5", "landscape")
    found = read_result(tmp_path / "c.h5")
    for name in ("x", "y", "done"):
        np.testing.assert_array_equal(getattr(found, name), getattr(surface, name))
    at_points = formula(*np.meshgrid(found.x, found.y))[found.done]
    np.testing.assert_allclose(found.loss["train"][found.done], at_points, rtol=1e-12)
    np.testing.assert_array_equal(found.loss["test"][found.done], surface.loss["test"][found.done])
    np.testing.assert_array_equal(
        found.maps["lambda_max"][found.done], surface.maps["lambda_max"][found.done]
    )
    np.testing.assert_allclose(
        found.accuracy["train"][found.done], surface.accuracy["train"][found.done], rtol=1e-15
    )


def test_directions_go_to_their_layout_and_back(tmp_path):
    write_result(tmp_path / "a.h5", DIRECTIONS)
    convert(tmp_path / "a.h5", tmp_path / "b.h5", "li2018")
    convert(tmp_path / "b.h5", tmp_path / "c.h5", "landscape")
    found = read_result(tmp_path / "c.h5")
    np.testing.assert_array_equal(found.vectors, DIRECTIONS.vectors)
    assert found.weight_shapes == DIRECTIONS.weight_shapes


def test_the_layout_is_told_by_what_is_in_the_file(tmp_path):
    write_result(tmp_path / "ours", plane_surface())
    li2018.write_surface(tmp_path / "theirs", plane_surface())
    assert read_any(tmp_path / "ours")[1] == "landscape"
    assert read_any(tmp_path / "theirs")[1] == "li2018"


def test_what_is_lost_is_said(tmp_path):
    write_result(tmp_path / "a.h5", plane_surface())
    (lost,) = convert(tmp_path / "a.h5", tmp_path / "b.h5", "li2018")
    parts = "normalization, hashes and norms of the directions, provenance"
    assert lost == f"The layout li2018 does not hold: {parts}."
    assert convert(tmp_path / "a.h5", tmp_path / "c.h5", "landscape") == ()


def test_an_unknown_layout_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(InputError, match="landscape, li2018, csv, vtk, gltf, obj, ply, got 'xml'"):
        convert(tmp_path / "a.h5", tmp_path / "b", "xml", ALL_LAYOUTS)


@pytest.mark.parametrize(
    ("result", "to", "hint"),
    [
        (SPECTRUM, "vtk", "`to='landscape'` or `to='csv'`"),
        (DIRECTIONS, "csv", "`to='landscape'` or `to='li2018'`"),
    ],
)
def test_a_layout_that_is_not_for_the_result_is_refused(tmp_path, result, to, hint):
    write_result(tmp_path / "a.h5", result)
    with pytest.raises(InputError, match=f"the layout {to} is not for a .* file") as caught:
        convert(tmp_path / "a.h5", tmp_path / "b", to, ALL_LAYOUTS)
    assert hint in caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def _truncated(path):
    write_result(path, plane_surface(50, 50))
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize("to", ALL_LAYOUTS)
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_truncated, "is damaged or is no HDF5 file"),
        (lambda path: path.write_text("text"), "is damaged or is no HDF5 file"),
        (lambda path: None, "does not exist"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_and_nothing_written(tmp_path, to, make, message):
    make(tmp_path / "a.h5")
    with pytest.raises(StoreError, match=message):
        convert(tmp_path / "a.h5", tmp_path / "b", to, ALL_LAYOUTS)
    assert not (tmp_path / "b").exists()
