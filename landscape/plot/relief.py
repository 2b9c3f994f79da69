"""A field on a plane as a lifted, coloured mesh: the one of every renderer and file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.colors import Normalize

from landscape.plot.field import Field
from landscape.plot.interpolation import smooth_plane
from landscape.plot.look import DEFAULT_LOOK, Look
from landscape.plot.relief_view import BOX, FLOOR_DROP
from landscape.plot.scale import Scale
from landscape.plot.style import color_map

HEIGHT = BOX[2] / (1 + FLOOR_DROP)
"""Height of a relief whose sides are 1 long."""

_FINE = 100  # cells along a direction, from which a lit relief looks smooth


@dataclass(frozen=True)
class Relief:
    """A smooth surface over a plane, on the scales of its heights and colours.

    Attributes:
        x: Coordinates along the first direction, (nx,).
        y: Coordinates along the second direction, (ny,).
        values: (ny, nx), masked where unknown.
        heights: On the scale of the heights, between its limits, (ny, nx).
        tints: On the scale of the colours, between its limits, (ny, nx).
        is_whole: Cells whose four corners are known, (ny - 1, nx - 1).
    """

    x: np.ndarray
    y: np.ndarray
    values: np.ma.MaskedArray
    heights: np.ndarray
    tints: np.ndarray
    is_whole: np.ndarray


def relief_of(field: Field, scales: tuple[Scale, Scale]) -> Relief:
    """Return the relief of a field, with the scale of its colours and that of its heights."""
    x, y, values = smooth_plane(field.x, field.y, field.drawn, scales[1], _FINE)
    tints, heights = (
        scale.transform(np.clip(values.filled(scale.low), scale.low, scale.high))
        for scale in scales
    )
    is_whole = np.asarray(~corners_of(np.ma.getmaskarray(values)).any(axis=2))
    return Relief(x, y, values, heights, tints, is_whole)


def corners_of(points: np.ndarray) -> np.ndarray:
    """Return the four corners of each cell of a grid, counterclockwise, (ny - 1, nx - 1, 4, ...).

    Args:
        points: What is at each point of the grid, (ny, nx, ...).
    """
    return np.stack([points[:-1, :-1], points[:-1, 1:], points[1:, 1:], points[1:, :-1]], axis=2)


@dataclass(frozen=True)
class LiftedMesh:
    """Lit, coloured quadrilaterals in three dimensions, in a box with sides of length 1.

    Attributes:
        points: The third coordinate is the height, from 0 to `HEIGHT`, (n, 3).
        normals: Upward unit normals of the vertices, (n, 3).
        colors: Red, green, blue in [0, 1], as on a screen (sRGB), (n, 3).
        heights: On the scale of the colours, (n,).
        quads: Numbers of the corners, counterclockwise seen from above, (m, 4).
    """

    points: np.ndarray
    normals: np.ndarray
    colors: np.ndarray
    heights: np.ndarray
    quads: np.ndarray


def lift(field: Field, scales: tuple[Scale, Scale], look: Look = DEFAULT_LOOK) -> LiftedMesh:
    """Return the relief of a field as a mesh, without the points that no whole cell has.

    Args:
        field: On a plane.
        scales: The scale of the colours and that of the heights.
        look: Whose colour map is taken.
    """
    relief = relief_of(field, scales)
    numbers = np.arange(relief.heights.size).reshape(relief.heights.shape)
    used, quads = np.unique(corners_of(numbers)[relief.is_whole], return_inverse=True)
    quads = quads.reshape(-1, 4)
    x, y = np.meshgrid(*[(axis - axis[0]) / np.ptp(axis) - 0.5 for axis in (relief.x, relief.y)])
    heights = HEIGHT * np.asarray(Normalize(*scales[1].limits)(relief.heights))
    points = np.stack([x, y, heights], axis=-1).reshape(-1, 3)[used]
    tints = relief.tints.reshape(-1)[used]
    colors = color_map(field.quantity, scales[0], look.colormap)
    colors = np.asarray(colors(Normalize(*scales[0].limits)(tints)))
    return LiftedMesh(points, _normals(points, quads), colors[:, :3], tints, quads)


def _normals(points: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """Return the mean direction of the cells around each point, by their areas, (n, 3)."""
    corners = points[quads]
    across = np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
    sums = np.zeros_like(points)
    np.add.at(sums, quads, across[:, None])
    return sums / np.linalg.norm(sums, axis=1, keepdims=True)
