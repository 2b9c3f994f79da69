"""The points of a grid: their coordinates and order, and which of them interpolation can give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from landscape.errors import require

_MOST_POINTS = 10_000  # along one axis

FIRST_LEVELS = 3
"""Halvings of each axis that are computed whole, before anything is left out: 9 points along an
axis."""

_REACH = 1.5
"""How far a surplus makes points be computed, in spacings of its level."""

_SAFETY = 0.5
"""Share of the tolerance that a surplus may have; with 1 and a reach of 1, errors reached 2.5
tolerances."""


@dataclass(frozen=True)
class Axis:
    """Evenly spaced coordinates, both ends included.

    Attributes:
        start: First coordinate.
        stop: Last coordinate, greater than `start`.
        num_points: At least 2.
    """

    start: float
    stop: float
    num_points: int

    def __post_init__(self) -> None:
        require(
            self.num_points >= 2,
            f"grid must have at least 2 points per axis, got {self.num_points}.",
            hint="Pass `grid=21`.",
        )
        require(
            np.isfinite([self.start, self.stop]).all() and self.start < self.stop,
            f"range must go from a smaller to a larger number, got {self.start:g}:{self.stop:g}.",
            hint="Pass `range='-1:1'`.",
        )
        require(
            self.num_points <= _MOST_POINTS and np.isfinite(self.stop - self.start),
            f"an axis must be a finite range of at most {_MOST_POINTS} points, "
            f"got {self.start:g}:{self.stop:g} in {self.num_points}.",
        )

    def coordinates(self) -> np.ndarray:
        """Return the coordinates (num_points,); one that is 0 up to rounding is exactly 0."""
        values = np.linspace(self.start, self.stop, self.num_points)
        values[np.abs(values) < 1e-12 * (self.stop - self.start)] = 0.0
        return values


def coarse_to_fine(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return all indices of a grid, such that those visited so far cover it evenly at any time.

    First the corners, then the middles between them, then the middles between those: after a share
    s of the points, the grid is known at 1/s of its resolution or nearly so.

    Args:
        shape: Number of points along each axis.
    """
    levels = axis_grids(shape)
    order = np.lexsort([levels.sum(axis=0).ravel(), levels.max(axis=0).ravel()])
    return list(zip(*(axis.tolist() for axis in np.unravel_index(order, shape)), strict=True))


def axis_grids(shape: tuple[int, ...]) -> np.ndarray:
    """Return the levels of each point of a grid along each axis, (dimensions, *shape)."""
    return np.stack(np.meshgrid(*map(axis_levels, shape), indexing="ij"))


def axis_levels(length: int) -> np.ndarray:
    """Return the number of halvings of an axis until each of its points is hit, (length,)."""
    if length < 3:
        return np.zeros(length, dtype=int)
    middle = (length - 1) // 2
    levels = np.concatenate([axis_levels(middle + 1), axis_levels(length - middle)[1:]])
    levels[levels > 0] += 1
    levels[middle] = 1
    return levels


def refined_rounds(
    values: Mapping[str, np.ndarray], centers: Mapping[str, float], tolerance: float
) -> Iterator[list[tuple[int, ...]]]:
    """Yield the points to compute, level by level.

    Their values must be available when the next level is requested.

    A level halves the spacing of the one before. How far a value is from the interpolation between
    coarser points is the surplus. A point is computed if a surplus nearby, one level up, is above
    the tolerance; where the loss is smooth, leaving it out then costs a quarter of that. Values are
    interpolated multilinearly on a scale that is linear up to the loss c at the centre and
    logarithmic far above, asinh(L / c), for losses grow like that. A difference there is one
    relative to the larger of L and c, nearly.

    Args:
        values: Split name -> losses on the grid, (ny, nx) or (nx,), which the caller fills in. NaN
            where not known.
        centers: Split name -> loss at the centre.
        tolerance: Relative, positive.

    Source:
        Hierarchical surpluses as in sparse grids: Bungartz & Griebel (2004), Acta Numerica 13,
        section 3.
    """
    fields = [_Field(array, centers[split], tolerance) for split, array in values.items()]
    levels = axis_grids(next(iter(values.values())).shape).max(axis=0)
    for level in range(int(levels.max()) + 1):
        at_level = levels == level
        needed = at_level & (level <= FIRST_LEVELS)
        for field in fields:
            needed |= at_level & field.is_bent
        yield [tuple(index) for index in np.argwhere(needed).tolist()]
        for field in fields:
            field.take(levels, level, needed)


def interpolated(values: np.ndarray, known: np.ndarray, center: float) -> np.ndarray:
    """Fill in a grid level by level from its known points, on the scale of `refined_rounds`.

    Args:
        values: (ny, nx) or (nx,).
        known: Which of them are known, shaped as `values`; the corners must be.
        center: Value at the centre.

    Returns:
        A copy; where a point's own parents are not finite it is not either.
    """
    levels, unit = axis_grids(values.shape).max(axis=0), _unit(center)
    filled = np.where(known, np.arcsinh(values / unit), np.nan)
    for level in range(1, int(levels.max()) + 1):
        wanted = (levels == level) & ~known
        filled[wanted] = _between_parents(filled, levels, level)[wanted]
    return np.where(known, values, unit * np.sinh(filled))


def _unit(center: float) -> float:
    """Where the scale goes over from linear to logarithmic."""
    return abs(center) if np.isfinite(center) and center else 1.0


def relative_errors(found: np.ndarray, true: np.ndarray, center: float) -> np.ndarray:
    """Return |found - true| over the larger of |true| and |the value at the centre|.

    The error is 0 where neither of `found` and `true` is finite.
    """
    scale = np.maximum(np.abs(np.where(np.isfinite(true), true, 0.0)), _unit(center))
    return _differences(found, true) / scale


def _differences(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """|found - true|; 0 where neither is finite, infinite where one is not."""
    with np.errstate(invalid="ignore"):
        differences = np.abs(found - true)
    is_same = (found == true) | (~np.isfinite(found) & ~np.isfinite(true))
    return np.where(is_same, 0.0, np.where(np.isnan(differences), np.inf, differences))


class _Field:
    """One split's values, with the points left out interpolated, and where they bend."""

    def __init__(self, values: np.ndarray, center: float, tolerance: float) -> None:
        self._values = values  # which the caller fills in
        self._filled = np.full(values.shape, np.nan)
        self._unit = _unit(center)
        self._tolerance = tolerance
        self.is_bent = np.zeros(values.shape, dtype=bool)

    def take(self, levels: np.ndarray, level: int, known: np.ndarray) -> None:
        """Take in a level, of which some points are known, and see where the next one is needed."""
        at_level = levels == level
        values = np.arcsinh(self._values / self._unit)
        expected = _between_parents(self._filled, levels, level) if level else values
        self._filled[at_level] = np.where(known, values, expected)[at_level]
        is_border = at_level & _is_border(self._filled, levels, level) if level else False
        is_off = known & (_differences(expected, self._filled) > _SAFETY * self._tolerance)
        self.is_bent = _near(is_off | is_border, level)


def _is_border(filled: np.ndarray, levels: np.ndarray, level: int) -> np.ndarray:
    """Whether some of the coarser points around a point are finite and some are not."""
    share = _between_parents(np.isfinite(filled).astype(float), levels, level)
    return (share > 0) & (share < 1)


def _near(marked: np.ndarray, level: int) -> np.ndarray:
    """Whether a point marked is within one and a half spacings of its level."""
    from scipy.ndimage import maximum_filter1d  # only refinement pays for the import

    near = marked.astype(np.uint8)
    for axis, length in enumerate(marked.shape):
        reach = int(np.ceil(_REACH * (length - 1) / 2**level))
        near = maximum_filter1d(near, 2 * reach + 1, axis, mode="constant")
    return near.astype(bool)


def _between_parents(filled: np.ndarray, levels: np.ndarray, level: int) -> np.ndarray:
    """Multilinear interpolation on the whole grid between the points of all coarser levels."""
    result = filled
    for axis, length in enumerate(filled.shape):
        result = _along(result, axis, np.flatnonzero(axis_levels(length) < level))
    return result


def _along(values: np.ndarray, axis: int, coarse: np.ndarray) -> np.ndarray:
    """Interpolate linearly along an axis between some of its points.

    At those points, the values are kept as they are.
    """
    places = np.arange(values.shape[axis])
    right = np.minimum(np.searchsorted(coarse, places), len(coarse) - 1)
    is_hit = coarse[right] == places
    left = np.where(is_hit, right, np.maximum(right - 1, 0))
    span = np.maximum(coarse[right] - coarse[left], 1)
    share = np.where(is_hit, 0.0, (places - coarse[left]) / span)
    moved = np.moveaxis(values, axis, 0)
    share = share.reshape(-1, *[1] * (values.ndim - 1))
    low, high = moved[coarse[left]], moved[coarse[right]]
    with np.errstate(invalid="ignore"):
        between = np.where(share == 0, low, (1 - share) * low + share * high)
    return np.moveaxis(between, 0, axis)
