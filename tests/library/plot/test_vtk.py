"""Meshes are read back with meshio, and compared with the formula at their own points."""

from dataclasses import replace

import meshio
import numpy as np
import pytest
from matplotlib import colormaps
from surfaces import formula, line_surface, plane_surface

from landscape.errors import InputError, StoreError
from landscape.plot.mesh_files import write_vtk
from landscape.results.surface import Mark


def _written(path, surface):
    write_vtk(path, surface)
    return meshio.read(path)


def _area(mesh):
    """The area that the cells of a flat mesh cover, by the shoelace formula."""
    total = 0.0
    for block in mesh.cells:
        x, y, _ = np.moveaxis(mesh.points[block.data], -1, 0)
        total += (
            0.5
            * np.abs((x * np.roll(y, -1, axis=1) - y * np.roll(x, -1, axis=1)).sum(axis=1)).sum()
        )
    return total


@pytest.mark.parametrize("suffix", [".vtu", ".vtk"])
def test_values_are_at_their_points(tmp_path, suffix):
    mesh = _written(tmp_path / f"s{suffix}", plane_surface(4, 3))
    x, y, _ = mesh.points.T
    loss = formula(x, y)
    np.testing.assert_allclose(mesh.point_data["loss_train"].reshape(-1), loss, rtol=1e-12)
    np.testing.assert_allclose(mesh.point_data["loss_test"].reshape(-1), loss + 1, rtol=1e-12)
    np.testing.assert_allclose(
        mesh.point_data["accuracy_train"].reshape(-1), loss / 1000, rtol=1e-12
    )
    np.testing.assert_allclose(mesh.point_data["lambda_max"].reshape(-1), loss + 2, rtol=1e-12)
    np.testing.assert_allclose(
        mesh.point_data["log10_loss_train"].reshape(-1), np.log10(loss), rtol=1e-12
    )


def test_points_are_lifted_by_their_loss_and_coloured_by_it(tmp_path):
    mesh = _written(tmp_path / "s.vtu", plane_surface(4, 3))
    loss = formula(*mesh.points.T[:2])
    # Even in the loss, from its lowest value; the sides are 2 long.
    share = (loss - loss.min()) / (loss.max() - loss.min())
    np.testing.assert_allclose(mesh.points[:, 2], 2 * 0.8 / 1.4 * share, rtol=1e-12, atol=1e-12)
    expected = colormaps["viridis"](share, bytes=True)[:, :3]
    np.testing.assert_array_equal(mesh.point_data["color"], expected)


def test_a_loss_that_is_not_finite_is_grey_and_nothing_is_lifted_without_one_that_is(tmp_path):
    surface = plane_surface(4, 3)
    surface.loss["train"][0, 0] = np.nan
    mesh = _written(tmp_path / "s.vtu", surface)
    assert mesh.point_data["color"][0].tolist() == [160, 160, 160]
    assert np.isfinite(mesh.points).all()
    surface.loss["train"][:] = np.inf
    assert (_written(tmp_path / "s.vtu", surface).points[:, 2] == 0).all()


@pytest.mark.parametrize("suffix", [".vtu", ".vtk"])
def test_names_are_printable(tmp_path, suffix):
    surface = replace(plane_surface(2, 2), maps={"a\x1b[2J\udcff<&": np.ones((2, 2))})
    mesh = _written(tmp_path / f"s{suffix}", surface)
    assert r"a\x1b[2J\udcff<&" in mesh.point_data
    assert b"\x1b" not in (tmp_path / f"s{suffix}").read_bytes()


def test_a_whole_plane_is_covered_by_quadrilaterals_once(tmp_path):
    mesh = _written(tmp_path / "s.vtu", plane_surface(4, 3))
    assert [(block.type, len(block.data)) for block in mesh.cells] == [("quad", 6)]
    assert _area(mesh) == pytest.approx(4.0)


def test_points_that_are_not_done_are_left_out_and_the_others_joined(tmp_path):
    mesh = _written(tmp_path / "s.vtu", plane_surface(5, 5, left_out=(1, 6, 7, 12, 18)))
    assert len(mesh.points) == 20
    np.testing.assert_allclose(
        mesh.point_data["loss_train"], formula(*mesh.points.T[:2]), rtol=1e-12
    )
    assert [block.type for block in mesh.cells] == ["triangle"]
    assert _area(mesh) == pytest.approx(4.0)


def test_points_on_one_line_of_a_plane_are_vertices(tmp_path):
    mesh = _written(tmp_path / "s.vtu", plane_surface(3, 3, left_out=range(3, 9)))
    assert [(block.type, len(block.data)) for block in mesh.cells] == [("vertex", 3)]


def test_a_line_is_a_chain_of_the_points_done(tmp_path):
    mesh = _written(tmp_path / "s.vtu", line_surface(left_out=(2,)))
    assert mesh.points[:, 0].tolist() == [-1.0, -0.5, 0.5, 1.0]
    assert [(block.type, block.data.tolist()) for block in mesh.cells] == [
        ("line", [[0, 1], [1, 2], [2, 3]])
    ]


def test_several_lines_are_not_joined_to_each_other(tmp_path):
    mesh = _written(tmp_path / "s.vtu", line_surface(3))
    line = mesh.point_data["line"]
    np.testing.assert_allclose(
        mesh.point_data["loss_train"], formula(mesh.points[:, 0], line), rtol=1e-12
    )
    (block,) = mesh.cells
    assert len(block.data) == 12
    assert (line[block.data[:, 0]] == line[block.data[:, 1]]).all()


def test_nan_and_inf_stay_and_the_logarithm_of_what_is_not_positive_is_nan(tmp_path):
    surface = line_surface()
    surface.loss["train"][:4] = [np.nan, np.inf, 0.0, -1.0]
    mesh = _written(tmp_path / "s.vtu", surface)
    np.testing.assert_array_equal(mesh.point_data["loss_train"][:4], [np.nan, np.inf, 0.0, -1.0])
    np.testing.assert_array_equal(
        mesh.point_data["log10_loss_train"][:4], [np.nan, np.inf, np.nan, np.nan]
    )


def test_marks_are_said_to_be_left_out(tmp_path):
    assert len(write_vtk(tmp_path / "s.vtu", plane_surface())) == 1
    marked = replace(plane_surface(), marks=(Mark("b", "checkpoint", (1.0, 0.0)),))
    assert "1 marks are left out" in write_vtk(tmp_path / "s.vtu", marked)[1]


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"suffix .vtu or .vtk, got 's.vtp'"):
        write_vtk(tmp_path / "s.vtp", plane_surface())


def test_a_surface_without_points_is_refused(tmp_path):
    with pytest.raises(InputError, match="this surface has none"):
        write_vtk(tmp_path / "s.vtu", plane_surface(2, 2, left_out=range(4)))


def test_a_full_disk_leaves_the_old_file(tmp_path, full_disk):
    (tmp_path / "s.vtu").write_text("old")
    with full_disk, pytest.raises(StoreError, match="No space left"):
        write_vtk(tmp_path / "s.vtu", plane_surface())
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("s.vtu", "old")]
