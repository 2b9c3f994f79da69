"""Values between the points of a grid that were evaluated, for the drawing of the others."""

from __future__ import annotations

import numpy as np
from matplotlib.tri import LinearTriInterpolator, Triangulation

_FLAT = 1e-9  # area of a triangle, of a plane of area 1, below which its corners are on one line


def interpolate_plane(
    x: np.ndarray, y: np.ndarray, values: np.ma.MaskedArray, done: np.ndarray
) -> np.ma.MaskedArray:
    """Interpolate a plane's missing points linearly on the Delaunay triangulation of the others.

    Nothing is extrapolated, and nothing is interpolated across a point that was evaluated and is
    not finite: a triangle with such a corner stays empty.

    Args:
        x: Coordinates along the first direction, (nx,).
        y: Along the second, (ny,).
        values: (ny, nx), masked where not evaluated or not finite.
        done: Which points were evaluated, (ny, nx).

    Returns:
        The values, masked where nothing is known, (ny, nx).
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

    Args:
        x: Coordinates, (nx,).
        values: (nx,), masked where not evaluated or not finite.
        done: Which points were evaluated, (nx,).

    Returns:
        The values, masked where nothing is known, (nx,).
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
