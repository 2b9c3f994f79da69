"""Surfaces as meshes for VTK readers such as ParaView. The only module that imports meshio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from landscape.errors import InputError, from_extra
from landscape.io.store import writing
from landscape.io.table import marks_left_out, point_coordinates, point_values
from landscape.results.surface import Surface

SUFFIXES = (".vtu", ".vtk")


def write_mesh(path: Path, surface: Surface) -> tuple[str, ...]:
    """Write the points of a surface that are done as a flat mesh, whole or not at all.

    Points are at (x, y, 0): the filter Warp By Scalar lifts them. Their data are loss, accuracy,
    standard error and maps, and the common logarithm of the loss (NaN where the loss is not
    positive). A whole plane is a mesh of quadrilaterals; of one with points left out, what is there
    is joined by triangles. A line is a chain of segments; several lines lie on each other and are
    told apart by the data `line`.

    Args:
        path: With the suffix .vtu (XML) or .vtk (legacy).
        surface: With one point done at least.

    Returns:
        What the mesh cannot hold of it, a sentence each.

    Raises:
        InputError: If no point is done, the suffix is another, or meshio is not installed.
        StoreError: If the file cannot be written; an older one of that name stays.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(
            f"a VTK file has the suffix {' or '.join(SUFFIXES)}, got {path.name!r}.",
            hint="Pass `out='a.vtu'`.",
        )
    if not surface.done.any():
        raise InputError("a mesh needs a point at least, none of this surface is done.")
    with from_extra("vtk", "meshio"):
        import meshio
    mesh = meshio.Mesh(_positions(surface), _cells(surface), point_data=_point_data(surface))
    with writing(path) as beside:
        mesh.write(beside)
    return marks_left_out(surface)


def _positions(surface: Surface) -> np.ndarray:
    """Return (number of points done, 3)."""
    coordinates = point_coordinates(surface)
    zeros = np.zeros(surface.done.shape)
    axes = (coordinates["x"], coordinates.get("y", zeros), zeros)
    return np.stack([axis[surface.done] for axis in axes], axis=1)


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
