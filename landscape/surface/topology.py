"""The shape of a stored surface: its basins, and the barriers between its checkpoints.

Nothing here needs the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from landscape.errors import require
from landscape.results.surface import Surface
from landscape.surface.grid import interpolated
from landscape.surface.persistence import sublevel_topology

SHALLOW = 0.01
"""Share of the height of the median value over the lowest one below which a dip is not counted as a
basin."""

STANDARD_ERRORS = 4.0
"""Likewise of the loss: two for a difference that is significant, twice, for each of its ends has
one."""

_SAME_LOSS = 1e-3
"""Share of an end's own loss by which its loss on the plane may differ, for rounding."""

CENTER = "center"
"""What the checkpoint at the origin is called where it has no mark."""


@dataclass(frozen=True)
class Barrier:
    """What lies between two checkpoints, each at the point of the grid that is nearest to it.

    Attributes:
        first: Label of a mark, or `CENTER`.
        second: Label of another mark.
        height: Of the lowest pass above the higher of the two; inf where no path joins them, None
            where an end has another loss on the plane than by itself.
        misplaced: Label of that end; empty where both have their own.
    """

    first: str
    second: str
    height: float | None
    misplaced: str = ""


@dataclass(frozen=True)
class TopologySummary:
    """What a summary says about the topology of the loss on one split.

    Attributes:
        num_basins: Basins whose persistence is the threshold or more.
        threshold: In units of the loss.
        second_persistence: Persistence of the deepest basin but one, however shallow; None where
            there is one only.
        barriers: Between each two of the marked checkpoints and the center.
    """

    num_basins: int
    threshold: float
    second_persistence: float | None
    barriers: tuple[Barrier, ...]


def basin_threshold(values: np.ndarray, standard_error: np.ndarray | None = None) -> float:
    """Return the persistence below which a basin is not counted by default.

    `SHALLOW` of the height of the median finite value over the lowest one, since the highest is
    decided by how far the grid goes; `STANDARD_ERRORS` of the median standard error, where that is
    more.

    Args:
        values: Of any shape.
        standard_error: Of the values, shaped alike; None where they are exact.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0
    share = SHALLOW * float(np.median(finite) - finite.min())
    if standard_error is None or not np.isfinite(standard_error).any():
        return share
    return max(
        share, STANDARD_ERRORS * float(np.median(standard_error[np.isfinite(standard_error)]))
    )


def surface_values(surface: Surface, split: str) -> np.ndarray:
    """Return the loss on one split of a surface that has a topology, (ny, nx) or (nx,).

    Points that were left out on purpose are interpolated, as they were left out for that.

    Raises:
        InputError: If the surface does not have the split, is several lines, or has points that
            were not computed yet: the gaps of a grid that is filled coarse to fine would separate
            every point from every other.
    """
    require(
        split in surface.loss,
        f"the split must be one that was evaluated, got {split!r}.",
        hint=f"Splits: {', '.join(surface.loss)}.",
    )
    require(
        surface.num_lines in (None, 1),
        f"the topology is that of a plane or of one line, got {surface.num_lines} lines.",
        hint="Compute a surface without `repeats`.",
    )
    require(
        _is_known(surface),
        f"the topology is that of a whole grid, got {int((~surface.done).sum())} points that "
        "were not computed.",
        hint="Finish it with `resume=True`.",
    )
    values, done = np.asarray(surface.loss[split], dtype=np.float64), surface.done
    if surface.y is None:
        values, done = values.ravel(), done.ravel()
    return values if surface.is_complete else interpolated(values, done, surface.center_loss[split])


def nearest_point(surface: Surface, coordinates: tuple[float, ...]) -> tuple[int, ...] | None:
    """Return the indices of the grid point nearest to coordinates; None if they are off the grid.

    Off the grid is more than half a spacing beyond its edge.
    """
    axes = [surface.x] if surface.y is None else [surface.x, surface.y]
    indices = [_nearest(*each) for each in zip(axes, coordinates, strict=True)]
    found = tuple(index for index in reversed(indices) if index is not None)
    return found if len(found) == len(axes) else None


def checkpoint_points(surface: Surface, values: np.ndarray) -> dict[str, tuple[int, ...]]:
    """Return label -> indices of the grid point nearest to each checkpoint.

    Checkpoints off the grid or at a NaN are left out.

    The checkpoints are those that are marked, and the one at the origin as `CENTER` where no mark
    is there.
    """
    found = {
        mark.label: nearest_point(surface, mark.coordinates)
        for mark in surface.marks
        if mark.kind == "checkpoint"
    }
    origin = nearest_point(surface, (0.0,) * values.ndim)
    if origin not in found.values():
        found = {CENTER: origin, **found}
    return {
        label: point
        for label, point in found.items()
        if point is not None and not np.isnan(values[point])
    }


def describe_topology(surface: Surface, split: str) -> TopologySummary | None:
    """Sum up the loss topology on one split: basins, and barriers between marked checkpoints.

    A checkpoint whose loss on the plane is not its own, since it is beside the plane or has other
    statistics of batch normalization, is no end of a barrier.

    Returns:
        None for a surface that has none: several lines, or points that were not computed.

    Raises:
        InputError: If the surface does not have the split.
    """
    if surface.num_lines not in (None, 1) or not _is_known(surface):
        return None
    values = surface_values(surface, split)
    topology = sublevel_topology(values)
    threshold = basin_threshold(values, surface.standard_error.get(split))
    ends = combinations(checkpoint_points(surface, values).items(), 2)
    moved = _misplaced(surface, split, least=_SAME_LOSS * threshold)
    return TopologySummary(
        num_basins=topology.num_basins(threshold),
        threshold=threshold,
        second_persistence=float(topology.persistence[1]) if len(topology.births) > 1 else None,
        barriers=tuple(
            Barrier(first, second, None, first if first in moved else second)
            if moved & {first, second}
            else Barrier(first, second, topology.barrier(values, a, b))
            for (first, a), (second, b) in ends
        ),
    )


def _misplaced(surface: Surface, split: str, *, least: float) -> set[str]:
    """Return the labels of the checkpoints whose loss on the plane is not their own, by `least`."""
    slack = max(_SAME_LOSS, surface.rounding.get(split, 0.0), *surface.deviations.values())
    return {
        mark.label
        for mark in surface.marks
        if mark.kind == "checkpoint" and split in mark.loss and split in mark.plane_loss
        if not np.isclose(mark.plane_loss[split], mark.loss[split], rtol=slack, atol=least)
    }


def _is_known(surface: Surface) -> bool:
    """Whether all points were computed, or left out on purpose."""
    corners = np.ix_(*[(0, -1)] * surface.done.ndim)
    return surface.is_complete or (
        surface.tolerance is not None and bool(surface.done[corners].all())
    )


def _nearest(axis: np.ndarray, coordinate: float) -> int | None:
    index = int(np.abs(axis - coordinate).argmin())
    reach = 0.5 * np.abs(np.diff(axis)).max() if len(axis) > 1 else 0.0
    return index if abs(axis[index] - coordinate) <= reach * (1 + 1e-9) else None
