"""Surfaces as files for programs of three-dimensional graphics: lifted and coloured like figures.

VTK, for ParaView, has the points that were computed and every value there. glTF, OBJ and PLY, for
Blender and others, have the smooth relief of figures. The only module that imports meshio.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import Normalize

from landscape.errors import from_extra, printable, require
from landscape.io.layouts import (
    LAYOUTS,
    Layout,
    left_out,
    point_coordinates,
    point_values,
)
from landscape.plot.field import Field, scale_of, select_field
from landscape.plot.look import DEFAULT_LOOK
from landscape.plot.plane_maps import select_plane
from landscape.plot.relief import HEIGHT, LiftedMesh, lift
from landscape.plot.scale import Scale
from landscape.plot.style import color_map
from landscape.plot.surface3d import scales_of
from landscape.results.surface import Surface
from landscape.runtime.files import writing

_VTK_SUFFIXES = (".vtu", ".vtk")
_UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # from a third coordinate up to a second up
_FLOAT, _UINT16, _UINT32 = 5126, 5123, 5125  # types of glTF
_VERTICES, _INDICES = 34962, 34963  # targets of glTF
_MATERIAL = {
    "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.7},
    "doubleSided": True,
}


def write_vtk(path: Path, surface: Surface) -> tuple[str, ...]:
    """Write the points of a surface that are done as a mesh of VTK, whole or not at all.

    Points are at (x, y, z): z is the loss of the first split on the scale of a figure, from 0 to
    57 % of the mean length of the sides, and `color` its colour there; both end where a figure's
    do. A loss that is not finite is at the top and grey. Data are loss, accuracy, standard error
    and maps, and the common logarithm of the loss (NaN where the loss is not positive). A whole
    plane is a mesh of quadrilaterals; of one with points left out, what is there is joined by
    triangles. A line is a chain of segments; several lines lie in one plane and are told apart by
    the data `line`.

    Args:
        path: With the suffix .vtu (XML) or .vtk (legacy).
        surface: With one point done at least.

    Returns:
        What the heights are, and what the mesh cannot hold, a sentence each.

    Raises:
        InputError: If no point is done, the suffix is another, or meshio is not installed.
        StoreError: If the file cannot be written; an older one of that name stays.
    """
    require(
        path.suffix in _VTK_SUFFIXES,
        f"a VTK file has the suffix {' or '.join(_VTK_SUFFIXES)}, got {path.name!r}.",
        hint="Pass `out='a.vtu'`.",
    )
    require(surface.done.any(), "a mesh needs at least one computed point, this surface has none.")
    with from_extra("vtk", "meshio"):
        import meshio
    named = escape if path.suffix == ".vtu" else str  # meshio writes names into XML as they are
    data = {named(printable(name)): values for name, values in _point_data(surface).items()}
    heights, colors, said = _lifted_points(surface)
    mesh = meshio.Mesh(
        _positions(surface, heights), _cells(surface), point_data={**data, "color": colors}
    )
    with writing(path) as beside:
        mesh.write(beside)
    return (*said, *left_out(surface))


def _lifted_points(surface: Surface) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return the height (n,) and colour (n, 3) of each point done, and what the heights are."""
    field = select_field(surface, None, "loss")
    values = field.values[surface.done]
    num_done = int(surface.done.sum())
    if not field.finite.size:
        return np.zeros(num_done), np.full((num_done, 3), 160, np.uint8), []
    if surface.y is None:
        tints = heights = scale_of([field])
    else:
        tints, heights = scales_of([field], DEFAULT_LOOK)
    lifted, shares = (
        Normalize(*scale.limits)(
            scale.transform(np.clip(values.filled(scale.high), scale.low, scale.high))
        )
        for scale in (heights, tints)
    )
    colors = color_map("loss", tints)(shares, bytes=True)[:, :3]
    colors[np.ma.getmaskarray(values)] = 160
    size = np.mean([high - low for low, high in field.view])
    return np.asarray(lifted * HEIGHT * size), colors, [_said(field, heights)]


def _said(field: Field, heights: Scale) -> str:
    return f"Heights and colours: {field.name}. {heights.summary}."


def _positions(surface: Surface, heights: np.ndarray) -> np.ndarray:
    """Return (number of points done, 3)."""
    coordinates = point_coordinates(surface)
    axes = (coordinates["x"], coordinates.get("y", np.zeros(surface.done.shape)))
    return np.stack([*(axis[surface.done] for axis in axes), heights], axis=1)


def _point_data(surface: Surface) -> dict[str, Any]:
    data = {}
    for name, values in point_values(surface).items():
        data[name] = np.asarray(values[surface.done], dtype=np.float64)
        if name.startswith("loss_"):
            unknown = np.full_like(data[name], np.nan)
            data[f"log10_{name}"] = np.log10(data[name], out=unknown, where=data[name] > 0)
    lines = point_coordinates(surface).get("line")
    return data if lines is None else {**data, "line": lines[surface.done].astype(np.int32)}


def _cells(surface: Surface) -> list[Any]:
    """Join neighbouring points, numbered as in `_positions`; isolated points become vertices."""
    numbers = np.full(surface.done.shape, -1)
    numbers[surface.done] = np.arange(surface.done.sum())
    if surface.y is None:
        rows = [row[row >= 0] for row in np.atleast_2d(numbers)]
        cells = [("line", np.concatenate([np.stack([row[:-1], row[1:]], axis=1) for row in rows]))]
    elif surface.is_complete:
        corners = (numbers[:-1, :-1], numbers[:-1, 1:], numbers[1:, 1:], numbers[1:, :-1])
        cells = [("quad", np.stack([corner.reshape(-1) for corner in corners], axis=1))]
    else:
        cells = [("triangle", _triangles(np.argwhere(surface.done)))]
    alone = np.setdiff1d(np.arange(surface.done.sum()), cells[0][1])
    cells.append(("vertex", alone[:, None]))
    return [(kind, members) for kind, members in cells if len(members)]


def _triangles(indices: np.ndarray) -> np.ndarray:
    """Triangulate grid points (n, 2) by their indices, so that axis scales do not matter."""
    from scipy.spatial import Delaunay, QhullError

    try:
        return Delaunay(indices).simplices
    except (QhullError, ValueError):  # too few, or all on one line
        return np.empty((0, 3), dtype=np.int64)


def _writer(encode: Callable[[LiftedMesh], bytes]) -> Callable[[Path, Surface], tuple[str, ...]]:
    """Return a function that writes the relief of a plane's first loss as a figure has it."""

    def write(path: Path, surface: Surface) -> tuple[str, ...]:
        field = select_plane(surface, None, "loss")
        scales = scales_of([field], DEFAULT_LOOK)
        mesh = lift(field, scales)
        require(
            mesh.quads.size,
            "a mesh needs a cell whose four corners are known, got none.",
            hint="Compute more points, or convert it with `to='csv'`.",
        )
        with writing(path) as beside:
            beside.write_bytes(encode(mesh))
        return _said(field, scales[1]), *left_out(surface)

    return write


def encode_gltf(mesh: LiftedMesh) -> bytes:
    """Return a mesh in binary glTF 2.0 (.glb), the second coordinate up.

    Its colours are linear, as the format has them, with 16 bits each.

    Source:
        Khronos Group (2021), glTF 2.0 specification, sections 3.7.2 and 4.4.
    """
    linear = np.where(
        mesh.colors <= 0.04045, mesh.colors / 12.92, ((mesh.colors + 0.055) / 1.055) ** 2.4
    )
    points = (mesh.points @ _UP.T).astype("<f4")
    colors = np.pad(np.rint(linear * 65535), ((0, 0), (0, 1)), constant_values=65535)
    arrays = (
        (points, _FLOAT, "VEC3", _VERTICES),
        ((mesh.normals @ _UP.T).astype("<f4"), _FLOAT, "VEC3", _VERTICES),
        (colors.astype("<u2"), _UINT16, "VEC4", _VERTICES),
        (_triangles_of(mesh).astype("<u4").reshape(-1), _UINT32, "SCALAR", _INDICES),
    )
    ends = np.cumsum([0, *(array.nbytes for array, *_ in arrays)]).tolist()
    accessors: list[dict[str, Any]] = [
        {"bufferView": i, "componentType": kind, "count": len(array), "type": shape}
        for i, (array, kind, shape, _) in enumerate(arrays)
    ]
    accessors[0] |= {"min": points.min(axis=0).tolist(), "max": points.max(axis=0).tolist()}
    accessors[2]["normalized"] = True
    attributes = {"POSITION": 0, "NORMAL": 1, "COLOR_0": 2}
    scene = {
        "asset": {"version": "2.0", "generator": "landscape"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "surface"}],
        "meshes": [{"primitives": [{"attributes": attributes, "indices": 3, "material": 0}]}],
        "materials": [_MATERIAL],
        "buffers": [{"byteLength": ends[-1]}],
        "bufferViews": [
            {"buffer": 0, "byteOffset": start, "byteLength": array.nbytes, "target": target}
            for start, (array, _, _, target) in zip(ends, arrays, strict=False)
        ],
        "accessors": accessors,
    }
    text = json.dumps(scene).encode()
    text += b" " * (-len(text) % 4)
    binary = b"".join(array.tobytes() for array, *_ in arrays)  # of multiples of four bytes each
    chunks = [(b"JSON", text), (b"BIN\0", binary)]
    body = b"".join(struct.pack("<I", len(part)) + kind + part for kind, part in chunks)
    return b"glTF" + struct.pack("<II", 2, 12 + len(body)) + body


def encode_obj(mesh: LiftedMesh) -> bytes:
    """Return a mesh in Wavefront's text format, the second coordinate up, colours at points."""
    text = BytesIO()
    np.savetxt(text, np.hstack([mesh.points @ _UP.T, mesh.colors]), "v" + " %.6g" * 6)
    np.savetxt(text, mesh.normals @ _UP.T, "vn" + " %.4g" * 3)
    np.savetxt(text, np.repeat(mesh.quads + 1, 2, axis=1), "f" + " %d//%d" * 4)
    return text.getvalue()


def encode_ply(mesh: LiftedMesh) -> bytes:
    """Return a mesh in Stanford's binary format, the third coordinate up, colours at points."""
    vertices: list[Any] = [(name, "<f4") for name in ("x", "y", "z", "nx", "ny", "nz")]
    vertices += [(name, "u1") for name in ("red", "green", "blue")]
    points = np.empty(len(mesh.points), dtype=vertices)
    rows = np.hstack([mesh.points, mesh.normals, np.rint(mesh.colors * 255)])
    for (name, _), column in zip(vertices, rows.T, strict=True):
        points[name] = column
    faces = np.empty(len(mesh.quads), dtype=[("count", "u1"), ("corners", "<i4", 4)])
    faces["count"], faces["corners"] = 4, mesh.quads
    properties = [f"property {'uchar' if kind == 'u1' else 'float'} {n}" for n, kind in vertices]
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"element vertex {len(points)}",
        *properties,
        f"element face {len(faces)}",
        "property list uchar int vertex_indices",
        "end_header\n",
    ]
    return "\n".join(header).encode() + points.tobytes() + faces.tobytes()


def _triangles_of(mesh: LiftedMesh) -> np.ndarray:
    """Return two triangles for each quadrilateral, (2 m, 3)."""
    return mesh.quads[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3)


ALL_LAYOUTS: dict[str, Layout] = {
    **LAYOUTS,
    "vtk": Layout(".vtu", {Surface: write_vtk}),
    "gltf": Layout(".glb", {Surface: _writer(encode_gltf)}),
    "obj": Layout(".obj", {Surface: _writer(encode_obj)}),
    "ply": Layout(".ply", {Surface: _writer(encode_ply)}),
}
"""Name -> layout, those of meshes too."""
