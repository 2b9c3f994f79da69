"""Evaluate the loss on a plane: every point afresh from the origin, saved as it goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from landscape.batches import hash_tensors
from landscape.errors import InputError, StoreError
from landscape.plane import Plane
from landscape.problem import Problem
from landscape.progress import SILENT, Progress
from landscape.provenance import make_provenance
from landscape.results import Surface
from landscape.sink import NullSink, Sink

_MOST_POINTS = 10_000  # along one axis
_SAME_SETTINGS = ("model", "model_args", "data", "data_args", "loss")  # what a resumed run must repeat


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
        if self.num_points < 2:
            raise InputError(
                f"grid must have at least 2 points per axis, got {self.num_points}.", hint="Pass --grid 21."
            )
        if not (np.isfinite([self.start, self.stop]).all() and self.start < self.stop):
            raise InputError(
                f"range must go from a smaller to a larger number, got {self.start:g}:{self.stop:g}.",
                hint="Pass --range -1:1.",
            )
        if self.num_points > _MOST_POINTS or not np.isfinite(self.stop - self.start):
            raise InputError(
                f"an axis must be a finite range of at most {_MOST_POINTS} points, "
                f"got {self.start:g}:{self.stop:g} in {self.num_points}."
            )

    def coordinates(self) -> np.ndarray:
        """Return the coordinates (num_points,); one that is 0 up to rounding is exactly 0."""
        values = np.linspace(self.start, self.stop, self.num_points)
        values[np.abs(values) < 1e-12 * (self.stop - self.start)] = 0.0
        return values


def evaluate_surface(
    problems: Mapping[str, Problem],
    plane: Plane,
    axes: tuple[Axis, ...],
    *,
    normalization: str = "none",
    settings: Mapping[str, Any] | None = None,
    sink: Sink[Surface] | None = None,
    progress: Progress = SILENT,
) -> Surface:
    """Evaluate loss and accuracy at every point of a grid on a plane.

    The centre is evaluated first, whether or not it is a grid point. What the sink holds already is
    not computed again; on any exception, Ctrl-C included, what was computed is in the sink.

    Args:
        problems: Split name -> problem, all of them on the same weights.
        plane: Origin and directions.
        axes: One for each direction, x before y.
        normalization: How the directions were scaled, to be recorded.
        settings: What the user asked for, to be recorded.
        sink: Takes the surface after each point.
        progress: Counts points.

    Returns:
        The complete surface.

    Raises:
        InputError: If axes and directions do not match in number.
        StoreError: If the sink holds a surface of something else; its centre, computed again, must be
            the same bit for bit.
    """
    if len(axes) != len(plane.directions):
        raise InputError(f"a plane of {len(plane.directions)} directions needs as many axes, got {len(axes)}.")
    sink = sink or NullSink()
    surface = _empty_surface(problems, plane, axes, normalization, dict(settings or {}))
    surface = _with_center(surface, problems, plane)
    stored = sink.load()
    if stored is not None:
        _require_same(stored, surface)
        surface = stored
    progress.start("surface", surface.done.size)
    try:
        _fill(surface, problems, plane, sink, progress)
    finally:
        sink.save(surface)
        sink.flush()
        progress.stop()
    return surface


def _fill(
    surface: Surface, problems: Mapping[str, Problem], plane: Plane, sink: Sink[Surface], progress: Progress
) -> None:
    """Compute the points that are missing, into the arrays of `surface`."""
    for index, coordinates in _missing_points(surface):
        w = plane.point(*coordinates)
        for split, problem in problems.items():
            value = problem.evaluate(w)
            surface.loss[split][index] = value.loss
            if value.accuracy is not None:
                surface.accuracy[split][index] = value.accuracy
        surface.done[index] = True
        sink.save(surface)
        progress.update(int(surface.done.sum()), **_shown(surface))


def _missing_points(surface: Surface) -> Iterator[tuple[tuple[int, ...], tuple[float, ...]]]:
    """Yield array index and coordinates (x first) of every point that is not done."""
    for index in map(tuple, np.argwhere(~surface.done).tolist()):
        if surface.y is None:
            yield index, (float(surface.x[index[0]]),)
        else:
            yield index, (float(surface.x[index[1]]), float(surface.y[index[0]]))


def _shown(surface: Surface) -> dict[str, float]:
    """Return smallest and largest loss of the first split, if there is a finite one."""
    lowest, highest = (ends[surface.splits[0]] for ends in surface.extremes())
    return {} if lowest is None or highest is None else {"min": lowest, "max": highest}


def _empty_surface(
    problems: Mapping[str, Problem], plane: Plane, axes: tuple[Axis, ...], normalization: str, settings: dict[str, Any]
) -> Surface:
    shape = tuple(axis.num_points for axis in reversed(axes))
    return Surface(
        x=axes[0].coordinates(),
        y=axes[1].coordinates() if len(axes) == 2 else None,
        loss={split: np.full(shape, np.nan) for split in problems},
        accuracy={},
        done=np.zeros(shape, dtype=bool),
        center_loss={},
        center_accuracy={},
        normalization=normalization,
        direction_norms=plane.norms,
        direction_hashes=tuple(hash_tensors([direction]) for direction in plane.directions),
        cosine=plane.cosine,
        provenance=make_provenance(problems, settings),
    )


def _with_center(surface: Surface, problems: Mapping[str, Problem], plane: Plane) -> Surface:
    center = {split: problem.evaluate(plane.origin) for split, problem in problems.items()}
    accuracy = {split: value.accuracy for split, value in center.items() if value.accuracy is not None}
    return replace(
        surface,
        center_loss={split: value.loss for split, value in center.items()},
        center_accuracy=accuracy,
        accuracy={split: np.full(surface.done.shape, np.nan) for split in accuracy},
    )


def _require_same(stored: Surface, wanted: Surface) -> None:
    """Raise StoreError naming the first thing in which a stored surface is another one."""
    if not isinstance(stored, Surface):
        raise StoreError(
            f"the stored result is a {type(stored).__name__.lower()}, not a surface.", hint="Write to another --out."
        )
    for name, before, now in _identity(stored, wanted):
        if before != now:
            raise StoreError(
                f"the stored surface has another {name}: {before} in the file, {now} now.",
                hint="Repeat the options of the first run, or write to another --out.",
            )


def _identity(stored: Surface, wanted: Surface) -> Iterator[tuple[str, Any, Any]]:
    for name in ("x", "y"):
        yield f"{name} axis", _axis(getattr(stored, name)), _axis(getattr(wanted, name))
    yield "set of splits", stored.splits, wanted.splits
    yield "normalization", stored.normalization, wanted.normalization
    for name in ("weights_hash", "num_examples", "data_hash", "batchnorm", "dtype", "plan"):
        yield name, getattr(stored.provenance, name), getattr(wanted.provenance, name)
    for name in _SAME_SETTINGS:
        yield name, stored.provenance.settings.get(name), wanted.provenance.settings.get(name)
    yield "pair of directions", stored.direction_hashes, wanted.direction_hashes
    for name in ("center_loss", "center_accuracy"):  # whatever else the loss depends on shows here
        yield name, _bits(getattr(stored, name)), _bits(getattr(wanted, name))


def _axis(values: np.ndarray | None) -> str:
    """Describe coordinates so that two axes read the same only if they are evenly spaced and equal."""
    return "none" if values is None else f"{float(values[0])!r}:{float(values[-1])!r} in {len(values)} points"


def _bits(values: Mapping[str, float]) -> str:
    """Write numbers so that they read the same only if they are equal bit for bit, NaN included."""
    return ", ".join(f"{split} {value!r}" for split, value in values.items())
