"""The basins of a field on a grid and how they merge: persistent homology of its sublevel sets.

Neighbours are the 8 around a point of a plane, the 2 next to a point of a line. Values are compared
as they are: +inf is the highest value there is, and NaN is a hole. Of equal values the one with the
smaller index counts as lower, so that every field has one decomposition.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from landscape.errors import require

_HALF = [(0, 1), (1, -1), (1, 0), (1, 1)]  # of the neighbours; the others are their mirror images


@dataclass(frozen=True)
class Topology:
    """The basins of a field on a grid: first those that never die, then by falling persistence.

    A basin is born at its minimum and dies at the saddle where it meets a deeper one (the elder
    rule). A minimum that would die at its own height is part of a plateau and no basin. The deepest
    basin never dies; where holes separate parts of the grid, nor does the deepest of each part.

    Attributes:
        minima: Indices of the lowest point of each basin, (n, dimensions).
        births: Value there, (n,).
        deaths: Value at the saddle, (n,); inf for a basin that never dies.
        saddles: Indices of the saddle, (n, dimensions); -1 for a basin that never dies.
        elders: Row of the basin that it joins, (n,), always an earlier one; -1 for a basin that
            never dies.
        regions: Row of the basin that each point of the grid descends to, shaped as the field; -1
            for a hole.
    """

    minima: np.ndarray
    births: np.ndarray
    deaths: np.ndarray
    saddles: np.ndarray
    elders: np.ndarray
    regions: np.ndarray

    @property
    def persistence(self) -> np.ndarray:
        """Death minus birth, (n,); inf for a basin that never dies."""
        return _persistence(self.births, self.deaths, self.elders >= 0)

    def num_basins(self, threshold: float = 0.0) -> int:
        """Count the basins whose persistence is the threshold or more."""
        return int((self.persistence >= threshold).sum())

    def pass_height(self, first: int, second: int) -> float:
        """Return the lowest level at which two basins, given by row, are one.

        The level is -inf for a basin and itself, and inf if there is none.

        A basin joins its elder before that one joins its own: climbing from whichever of the two
        joins first leads to where they meet.
        """
        height = -np.inf
        while first != second:
            first, second = sorted(
                (first, second), key=lambda row: (self.elders[row] < 0, self.deaths[row])
            )
            if self.elders[first] < 0:
                return np.inf
            height, first = float(self.deaths[first]), int(self.elders[first])
        return height

    def barrier(self, values: np.ndarray, a: tuple[int, ...], b: tuple[int, ...]) -> float:
        """Return how far above the higher of two points every path on the grid has to climb.

        Args:
            values: The field.
            a: Indices of one point: (row, column) on a plane.
            b: Indices of the other.

        Returns:
            The height of the lowest pass minus that of the higher end; inf where no path joins
            them.

        Raises:
            InputError: If a point is not on the grid, or is a hole.
        """
        for point in (a, b):
            _require_value(values, point)
        higher = float(max(values[a], values[b]))
        lowest_pass = self.pass_height(int(self.regions[a]), int(self.regions[b]))
        return lowest_pass - higher if lowest_pass > higher else 0.0

    def branch_at(self, row: int, height: float, *, threshold: float = 0.0) -> int:
        """Return the row of the basin that a basin has become part of at a height.

        Args:
            row: Of a basin.
            height: At its minimum or higher.
            threshold: Persistence of what is a basin of its own.
        """
        count = self.num_basins(threshold)
        while self.elders[row] >= 0 and (self.deaths[row] <= height or row >= count):
            row = int(self.elders[row])
        return row


def sublevel_topology(values: np.ndarray) -> Topology:
    """Find the basins of a field and the saddles at which they merge.

    A path of steepest descent stays within every sublevel set that holds its start. The components
    of a sublevel set are therefore those of a graph whose nodes are the minima, joined where the
    regions that descend to them touch, and the union-find runs over the edges of that graph alone.

    Args:
        values: (ny, nx) for a plane, (nx,) for a line; NaN is a hole.

    Source:
        Edelsbrunner & Harer (2010), Computational Topology, chapter VII.
    """
    descent = _descend(values)
    merges = _merge(descent)
    is_plateau = descent.heights[descent.minima[merges[0]]] == descent.heights[merges[2]]
    return _ordered(descent, merges[:, ~is_plateau], merges[:, is_plateau])


@dataclass(frozen=True)
class _Descent:
    """Where steepest descent leads. Points are numbered in ascending order of their values.

    Attributes:
        shape: Of the grid.
        heights: Value of each point, (n,).
        places: Flat index of each point, (n,).
        minima: Points that have no lower neighbour, (k,), ascending.
        basins: Which of the minima each point descends to, (n,).
        touching: A basin, another one, and the higher of two neighbours of which one descends to
            each, (3, m), by ascending point.
    """

    shape: tuple[int, ...]
    heights: np.ndarray
    places: np.ndarray
    minima: np.ndarray
    basins: np.ndarray
    touching: np.ndarray

    def indices(self, points: np.ndarray) -> np.ndarray:
        """Return the indices of points, (len(points), dimensions)."""
        return np.stack(np.unravel_index(self.places[points], self.shape), axis=-1)


def _descend(values: np.ndarray) -> _Descent:
    """Number the points, let each descend by lowest neighbours, and find what touches."""
    flat = np.ravel(values)
    # NaN is sorted last.
    places = np.argsort(flat, kind="stable")[: np.count_nonzero(~np.isnan(flat))]
    numbers = np.full(flat.size, len(places), dtype=np.int32)
    numbers[places] = np.arange(len(places), dtype=np.int32)
    numbers = np.pad(numbers.reshape(-1, values.shape[-1]), 1, constant_values=len(places))
    goals = _lowest_around(numbers).ravel()[places]
    while (goals != (further := goals[goals])).any():
        goals = further
    minima = np.flatnonzero(goals == np.arange(len(places)))
    basins = np.searchsorted(minima, goals).astype(np.int32)
    return _Descent(values.shape, flat[places], places, minima, basins, _touching(numbers, basins))


def _lowest_around(numbers: np.ndarray) -> np.ndarray:
    """Return the smallest of the 3x3 numbers around each inner one, (ny - 2, nx - 2)."""
    rows = np.minimum(np.minimum(numbers[:-2], numbers[1:-1]), numbers[2:])
    return np.minimum(np.minimum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])


def _touching(numbers: np.ndarray, basins: np.ndarray) -> np.ndarray:
    """Find neighbours in different basins, (3, m), as in `_Descent`; holes touch nothing."""
    hole = len(basins)
    labels = np.append(basins, np.int32(-1))[numbers]
    found = [np.empty((3, 0), dtype=np.int32)]
    for rows, columns in _HALF:
        here = (
            slice(0, len(numbers) - rows),
            slice(max(0, -columns), numbers.shape[1] - max(0, columns)),
        )
        there = (slice(rows, None), slice(max(0, columns), numbers.shape[1] - max(0, -columns)))
        differs = labels[here] != labels[there]
        higher = np.maximum(numbers[here][differs], numbers[there][differs])
        found.append(
            np.stack([labels[here][differs], labels[there][differs], higher])[:, higher < hole]
        )
    return _lowest(np.concatenate(found, axis=1).astype(np.int64), hole)


def _lowest(touching: np.ndarray, num_basins: int) -> np.ndarray:
    """Keep of each two basins the lowest point at which they touch, (3, m), by ascending point."""
    pairs = touching[:2].min(axis=0) * num_basins + touching[:2].max(axis=0)
    by_pair = np.lexsort((touching[2], pairs))
    is_first = np.diff(pairs[by_pair], prepend=-1) != 0
    lowest = touching[:, by_pair[is_first]]
    return lowest[:, np.argsort(lowest[2], kind="stable")]


def _merge(descent: _Descent) -> np.ndarray:
    """Join basins where they touch, from below; return basin, deeper basin and point, (3, p)."""
    roots = list(range(len(descent.minima)))
    merges = []
    for first, second, point in zip(*descent.touching.tolist(), strict=True):
        while roots[first] != first:
            roots[first] = first = roots[roots[first]]
        while roots[second] != second:
            roots[second] = second = roots[roots[second]]
        if first != second:
            elder, young = sorted((first, second))  # minima are numbered from below
            roots[young] = elder
            merges.append((young, elder, point))
    return np.array(merges, dtype=int).reshape(-1, 3).T


def _ordered(descent: _Descent, merges: np.ndarray, plateaus: np.ndarray) -> Topology:
    """Return the topology, given the merges of dying basins and those of parts of a plateau."""
    young, elders, saddles = merges
    immortal = np.setdiff1d(np.arange(len(descent.minima)), np.append(young, plateaus[0]))
    basins = np.concatenate([immortal, young])
    births = descent.heights[descent.minima[basins]]
    is_dying = np.arange(len(basins)) >= len(immortal)
    deaths = np.where(
        is_dying, descent.heights[np.append(np.zeros_like(immortal), saddles)], np.inf
    )
    order = np.lexsort((basins, -_persistence(births, deaths, is_dying), is_dying))
    rows = np.full(len(descent.minima), -1)
    rows[basins[order]] = np.arange(len(basins))
    # The last merges come first, so that an elder has its row.
    for part, elder in zip(*plateaus[:2, ::-1].tolist(), strict=True):
        rows[part] = rows[elder]
    regions = np.full(int(np.prod(descent.shape)), -1)
    regions[descent.places] = rows[descent.basins]
    never = np.full((len(immortal), len(descent.shape)), -1)
    return Topology(
        minima=descent.indices(descent.minima[basins[order]]),
        births=births[order],
        deaths=deaths[order],
        saddles=np.concatenate([never, descent.indices(saddles)])[order],
        elders=np.append(np.full(len(immortal), -1), rows[elders])[order],
        regions=regions.reshape(descent.shape),
    )


def _persistence(births: np.ndarray, deaths: np.ndarray, is_dying: np.ndarray) -> np.ndarray:
    return np.subtract(deaths, births, out=np.full(len(births), np.inf), where=is_dying)


def _require_value(values: np.ndarray, point: tuple[int, ...]) -> None:
    """Check that a point is on the grid and no hole."""
    shape = values.shape
    is_inside = len(point) == len(shape) and all(
        0 <= index < size for index, size in zip(point, shape, strict=True)
    )
    require(
        is_inside and not np.isnan(values[point]),
        f"the ends of a barrier must be points of the grid with a value, got {point} "
        f"{'where the value is NaN' if is_inside else f'on a grid of shape {shape}'}.",
        hint="Pass the indices of computed points, (row, column) on a plane.",
    )
