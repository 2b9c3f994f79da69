"""The order in which the points of a grid are visited."""

from __future__ import annotations

import numpy as np


def coarse_to_fine(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return all indices of a grid, such that those visited so far cover it evenly at any time.

    First the corners, then the middles between them, then the middles between those: after a share
    s of the points, the grid is known at 1/s of its resolution or nearly so.

    Args:
        shape: Number of points along each axis.
    """
    levels = [axis_levels(length).tolist() for length in shape]
    return sorted(
        np.ndindex(*shape),
        key=lambda index: _rank([at[i] for at, i in zip(levels, index, strict=True)]),
    )


def _rank(levels: list[int]) -> tuple[int, ...]:
    return (max(levels), sum(levels))


def axis_levels(length: int) -> np.ndarray:
    """Return the number of halvings of an axis until each of its points is hit, (length,)."""
    levels = np.zeros(length, dtype=int)
    intervals, level = [(0, length - 1)], 0
    while intervals:
        level += 1
        halves = []
        for start, stop in intervals:
            if stop - start > 1:
                middle = (start + stop) // 2
                levels[middle] = level
                halves += [(start, middle), (middle, stop)]
        intervals = halves
    return levels
