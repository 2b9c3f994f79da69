"""Values between the points that were computed: of missing points, and of smooth lines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.tri import LinearTriInterpolator, Triangulation
from scipy.interpolate import Akima1DInterpolator
from scipy.ndimage import distance_transform_edt

from landscape.plot.scale import Scale

_FLAT = 1e-9  # area of a triangle, of a plane of area 1, below which its corners are on one line
_FINE = 200  # cells along a direction of a plane from which lines look smooth
_MOST_PARTS = 10  # of a cell


def interpolate_plane(
    x: np.ndarray, y: np.ndarray, values: np.ma.MaskedArray, done: np.ndarray
) -> np.ma.MaskedArray:
    """Interpolate a plane's missing points linearly on the Delaunay triangulation of the others.

    Nothing is extrapolated, and nothing is interpolated across a point that was evaluated and is
    not finite: a triangle with such a corner stays empty.

    Args:
        x: Coordinates along the first direction, (nx,).
        y: Along the second, (ny,).
        values: (ny, nx), masked where not evaluated or not finite, as is what is returned.
        done: Which points were evaluated, (ny, nx).
    """
    rows, columns = np.nonzero(done)
    places = np.stack([_scaled(x)[columns], _scaled(y)[rows]], axis=1)
    is_line = len(places) < 3 or np.linalg.matrix_rank(places - places[0], tol=_FLAT) < 2
    if done.all() or is_line:
        return values
    triangulation = Triangulation(*places.T)
    corners = places[triangulation.triangles]
    is_lost = np.ma.getmaskarray(values)[rows, columns][triangulation.triangles].any(axis=1)
    areas = np.abs(np.linalg.det(corners[:, 1:] - corners[:, :1])) / 2
    is_hidden = is_lost | (areas < _FLAT)
    if is_hidden.all():
        return values
    triangulation.set_mask(is_hidden)
    interpolate = LinearTriInterpolator(triangulation, values.filled(0.0)[rows, columns])
    return np.ma.where(done, values, interpolate(*np.meshgrid(_scaled(x), _scaled(y))))


def interpolate_line(
    x: np.ndarray, values: np.ma.MaskedArray, done: np.ndarray
) -> np.ma.MaskedArray:
    """Fill the points of a line that lie between two neighbours that were evaluated and are finite.

    All are (nx,), and the values masked where not evaluated or not finite.
    """
    if done.all() or not done.any():
        return values
    known = np.where(np.ma.getmaskarray(values), np.nan, values.filled(0.0))[done]
    return np.ma.where(
        done, values, np.ma.masked_invalid(np.interp(x, x[done], known, left=np.nan, right=np.nan))
    )


def _scaled(coordinates: np.ndarray) -> np.ndarray:
    """Map coordinates to [0, 1], so that the shapes of triangles do not depend on the units."""
    return (coordinates - coordinates[0]) / (coordinates[-1] - coordinates[0])


def smooth_plane(
    x: np.ndarray, y: np.ndarray, values: np.ma.MaskedArray, scale: Scale, fine: int = _FINE
) -> tuple[np.ndarray, np.ndarray, np.ma.MaskedArray]:
    """Interpolate a plane between its points for drawing, with curves in place of corners.

    Akima's curves go through all points, follow a wall without waves beside it, and are taken of
    the heights on the scale. No height leaves the range of those of the points. A cell stays empty
    where one of its corners is.

    Args:
        x: Coordinates along the first direction, (nx,).
        y: Along the second, (ny,).
        values: (ny, nx), masked where unknown.
        scale: On which the values are drawn.
        fine: Cells along a direction from which it looks smooth.

    Returns:
        The same with each cell in equal parts, so many that lines look smooth.

    Source:
        Akima (1970), J. ACM 17(4).
    """
    parts = [int(np.clip(-(-fine // (axis.size - 1)), 3, _MOST_PARTS)) for axis in (x, y)]
    heights = np.ma.masked_invalid(scale.transform(values))
    is_empty = np.ma.getmaskarray(heights)
    if min(values.shape) < 3 or values.size > fine**2 or is_empty.all():
        return x, y, values
    columns, rows = (_subdivided(*each) for each in zip((x, y), parts, strict=True))
    nearest = distance_transform_edt(is_empty, return_distances=False, return_indices=True)
    row, column = np.asarray(nearest)
    known = heights.filled(0.0)[row, column]
    between = Akima1DInterpolator(y, Akima1DInterpolator(x, known, axis=1)(columns), axis=0)(rows)
    between = np.clip(between, known.min(), known.max())
    is_hidden = _is_in_empty_cells(is_empty, parts)
    return columns, rows, np.ma.masked_array(scale.inverse(between), is_hidden)


def _subdivided(points: np.ndarray, parts: int) -> np.ndarray:
    """Return points with equal parts between neighbours, ((n - 1) * parts + 1,)."""
    places = np.arange((len(points) - 1) * parts + 1) / parts
    return np.interp(places, np.arange(len(points)), points)


def _is_in_empty_cells(is_empty: np.ndarray, parts: Sequence[int]) -> np.ndarray:
    """Return the points of a finer grid that touch no cell with four known corners.

    Args:
        is_empty: Unknown points of the coarse grid, (ny, nx).
        parts: Parts of a cell along the first and the second direction.
    """
    pairs = is_empty[1:] | is_empty[:-1]
    cells = pairs[:, 1:] | pairs[:, :-1]
    fine = np.repeat(np.repeat(cells, parts[0], axis=1), parts[1], axis=0)
    around = np.pad(fine, 1, constant_values=True)
    return around[1:, 1:] & around[:-1, 1:] & around[1:, :-1] & around[:-1, :-1]
