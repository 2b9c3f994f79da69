"""glTF, OBJ and PLY are read back by parsers of their own here, or by meshio."""

import json
import struct
from dataclasses import replace

import meshio
import numpy as np
import pytest
from matplotlib import colormaps
from surfaces import formula, line_surface, plane_surface

from landscape.errors import InputError, StoreError
from landscape.plot.mesh_files import ALL_LAYOUTS
from landscape.results.surface import Surface

SIZES = {5126: np.dtype("<f4"), 5123: np.dtype("<u2"), 5125: np.dtype("<u4")}
SHAPES = {"SCALAR": (), "VEC3": (3,), "VEC4": (4,)}
LOW, HIGH = 10.0, 431.0 + 1.0  # of the formula on its plane


def _write(path, to, surface):
    return ALL_LAYOUTS[to].writers[Surface](path, surface)


def _read_gltf(path):
    """Return points with the third coordinate up, normals, colours of the screen and triangles."""
    content = path.read_bytes()
    magic, version, size, length, kind = struct.unpack_from("<4sIII4s", content)
    assert (magic, version, size, kind) == (b"glTF", 2, len(content), b"JSON")
    scene = json.loads(content[20 : 20 + length])
    number, kind = struct.unpack_from("<I4s", content, 20 + length)
    binary = content[28 + length :]
    assert (number, kind) == (len(binary), b"BIN\0")
    assert scene["buffers"] == [{"byteLength": number}]
    arrays = []
    for accessor in scene["accessors"]:
        view = scene["bufferViews"][accessor["bufferView"]]
        assert view["byteOffset"] % 4 == 0
        part = binary[view["byteOffset"] :][: view["byteLength"]]
        shape = (accessor["count"], *SHAPES[accessor["type"]])
        arrays.append(np.frombuffer(part, SIZES[accessor["componentType"]]).reshape(shape))
    points, normals, colors, corners = arrays
    assert scene["accessors"][0]["max"] == points.max(axis=0).tolist()
    linear = colors[:, :3] / 65535
    screen = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    back = [[1, 0, 0], [0, 0, 1], [0, -1, 0]]  # a quarter turn about the first coordinate
    return points @ back, normals @ back, screen, corners.reshape(-1, 3)


def _read_obj(path):
    rows = {"v": [], "vn": [], "f": []}
    for line in path.read_text().splitlines():
        kind, *words = line.split()
        rows[kind].append([float(word.partition("//")[0]) for word in words])
    points, normals, quads = (np.array(rows[kind]) for kind in ("v", "vn", "f"))
    back = [[1, 0, 0], [0, 0, 1], [0, -1, 0]]
    quads = quads.astype(int) - 1
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    return points[:, :3] @ back, normals @ back, points[:, 3:], triangles


def _read_ply(path):
    mesh = meshio.read(path, "ply")
    normals = np.stack([mesh.point_data[name] for name in ("nx", "ny", "nz")], axis=1)
    colors = np.stack([mesh.point_data[name] for name in ("red", "green", "blue")], axis=1)
    colors = colors.astype(np.uint8)  # meshio takes unsigned bytes for signed ones
    quads = mesh.cells_dict["quad"]
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    return mesh.points, normals, colors / 255, triangles


READERS = {"gltf": _read_gltf, "obj": _read_obj, "ply": _read_ply}


@pytest.mark.parametrize("to", READERS)
def test_a_mesh_is_the_relief_of_the_loss_in_its_colours(tmp_path, to):
    (said,) = _write(tmp_path / "a", to, plane_surface(41, 41))
    assert said.startswith("Heights and colours: train loss. Linear scale")
    points, normals, colors, triangles = READERS[to](tmp_path / "a")
    x, y = 2 * points[:, 0], 2 * points[:, 1] + 1
    loss = formula(x, y)
    share = (loss - LOW) / (HIGH - LOW)
    np.testing.assert_allclose(points[:, 2], 0.8 / 1.4 * share, atol=2e-4)
    expected = colormaps["viridis"](points[:, 2] / points[:, 2].max())[:, :3]
    assert np.abs(colors - expected).max() < 0.02
    # The normal of z = f(x, y) is along (-df/dx, -df/dy, 1).
    factor = 0.8 / 1.4 / (HIGH - LOW) * 2
    slopes = factor * np.stack([10 + y, 200 * y + x], axis=1)
    gradient = np.column_stack([-slopes, np.ones(len(slopes))])
    gradient /= np.linalg.norm(gradient, axis=1, keepdims=True)
    inside = (np.abs(points[:, :2]) < 0.45).all(axis=1)
    assert np.abs(normals - gradient)[inside].max() < 0.01
    one, two, three = np.moveaxis(points[triangles], 1, 0)
    across = np.cross(two - one, three - one)
    assert (across[:, 2] > 0).all()
    assert across[:, 2].sum() / 2 == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("to", READERS)
def test_where_points_are_missing_a_mesh_has_a_hole_and_no_point_of_its_own(tmp_path, to):
    surface = plane_surface(5, 5)
    surface.loss["train"][2, 2] = np.nan
    _write(tmp_path / "a", to, surface)
    points, _, _, triangles = READERS[to](tmp_path / "a")
    one, two, three = np.moveaxis(points[triangles], 1, 0)
    assert np.cross(two - one, three - one)[:, 2].sum() / 2 == pytest.approx(0.75)
    assert np.unique(triangles).tolist() == list(range(len(points)))


@pytest.mark.parametrize("to", READERS)
def test_lines_and_planes_without_a_cell_are_refused(tmp_path, to):
    with pytest.raises(InputError, match="plane"):
        _write(tmp_path / "a", to, line_surface())
    few = plane_surface(3, 3, left_out=range(3, 9))
    with pytest.raises(InputError, match="a cell whose four corners are known, got none"):
        _write(tmp_path / "a", to, few)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("to", READERS)
def test_a_full_disk_leaves_the_old_mesh(tmp_path, full_disk, to):
    (tmp_path / "a").write_text("old")
    with full_disk, pytest.raises(StoreError, match="No space left"):
        _write(tmp_path / "a", to, plane_surface())
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old")]


def test_heights_end_where_those_of_a_figure_do(tmp_path):
    x, y = np.meshgrid(np.linspace(-1, 1, 41), np.linspace(0, 2, 41))
    loss = 1 + x**2 + (y - 1) ** 2
    loss[0, 0] = 1e4
    surface = replace(plane_surface(41, 41), loss={"train": loss})
    (said,) = _write(tmp_path / "a", "ply", surface)
    assert "clipped at" in said
    points = meshio.read(tmp_path / "a", "ply").points
    assert points[:, 2].max() == pytest.approx(0.8 / 1.4)
    assert (points[:, 2] > 0.28).mean() > 0.2
