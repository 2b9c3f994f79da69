"""The coordinates of a grid, and the order in which its points are visited."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from landscape.errors import require

_MOST_POINTS = 10_000  # along one axis


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
    levels = np.zeros(length, dtype=int)
    _halve(levels, 1)
    return levels


def _halve(levels: np.ndarray, level: int) -> None:
    """Enter the level of the middle of an interval, and those of its halves; the ends stay."""
    if len(levels) > 2:
        middle = (len(levels) - 1) // 2
        levels[middle] = level
        _halve(levels[: middle + 1], level + 1)
        _halve(levels[middle:], level + 1)
