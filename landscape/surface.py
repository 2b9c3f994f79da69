"""Evaluate the loss on a plane or on lines: every point afresh from the origin, coarse to fine, saved as it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from landscape.batches import hash_tensors
from landscape.errors import InputError, StoreError
from landscape.order import coarse_to_fine
from landscape.plane import Plane
from landscape.problem import Evaluation, Problem
from landscape.progress import SILENT, Progress
from landscape.provenance import make_provenance
from landscape.results import Mark, Surface
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


def _never() -> bool:
    return False


def evaluate_surface(
    problems: Mapping[str, Problem],
    plane: Plane | Sequence[Plane],
    axes: tuple[Axis, ...],
    *,
    normalization: str = "none",
    direction_names: tuple[str, ...] = (),
    marks: Sequence[Mark] = (),
    explained_variance: np.ndarray | None = None,
    settings: Mapping[str, Any] | None = None,
    sink: Sink[Surface] | None = None,
    progress: Progress = SILENT,
    should_stop: Callable[[], bool] = _never,
) -> Surface:
    """Evaluate loss and accuracy at every point of a grid on a plane, or on one or several lines.

    The centre is evaluated first, whether or not it is a grid point. What the sink holds already is
    not computed again; on any exception, Ctrl-C included, what was computed is in the sink.

    Args:
        problems: Split name -> problem, all of them on the same weights.
        plane: Origin and directions; or several lines through one origin.
        axes: One for each direction, x before y.
        normalization: How the directions were scaled, to be recorded.
        direction_names: What the directions are, to be recorded.
        marks: Points of interest, to be recorded.
        explained_variance: Share of a trajectory's variance along each direction, to be recorded.
        settings: What the user asked for, to be recorded.
        sink: Takes the surface after each point.
        progress: Counts points.
        should_stop: Is asked after each point; if it says so, the points left are not done.

    Returns:
        The surface; complete unless `should_stop` said so.

    Raises:
        InputError: If axes and directions do not match in number.
        StoreError: If the sink holds a surface of something else; its centre, computed again, must be
            the same bit for bit.
    """
    planes = (plane,) if isinstance(plane, Plane) else tuple(plane)
    _require_match(planes, axes)
    sink = sink or NullSink()
    surface = _empty_surface(problems, planes, axes, normalization, dict(settings or {}))
    surface = replace(
        _with_center(surface, problems, planes[0]),
        direction_names=direction_names,
        marks=tuple(marks),
        explained_variance=explained_variance,
    )
    stored = sink.load()
    if stored is not None:
        _require_same(stored, surface)
        surface = stored
    progress.start("surface", surface.done.size)
    try:
        _fill(surface, problems, planes, sink, progress, should_stop)
    finally:
        sink.save(surface)
        sink.flush()
        progress.stop()
    return surface


def _require_match(planes: Sequence[Plane], axes: Sequence[Axis]) -> None:
    """Raise InputError unless the axes fit the directions, and several planes are lines."""
    if not planes:
        raise InputError("a surface needs a plane, got none.")
    for plane in planes:
        if len(axes) != len(plane.directions):
            raise InputError(f"a plane of {len(plane.directions)} directions needs as many axes, got {len(axes)}.")
    if len(planes) > 1 and len(axes) > 1:
        raise InputError("several directions at once must be lines, got planes.", hint="Pass --dims 1.")


def _fill(
    surface: Surface,
    problems: Mapping[str, Problem],
    planes: Sequence[Plane],
    sink: Sink[Surface],
    progress: Progress,
    should_stop: Callable[[], bool],
) -> None:
    """Compute the points that are missing, into the arrays of `surface`."""
    for index in coarse_to_fine(surface.done.shape):
        if surface.done[index]:
            continue
        if should_stop():
            return
        plane, coordinates = _place(surface, planes, index)
        w = plane.point(*coordinates)
        for split, problem in problems.items():
            _write(surface, split, index, problem.evaluate(w))
        surface.done[index] = True
        sink.save(surface)
        progress.update(int(surface.done.sum()), **_shown(surface))


def _write(surface: Surface, split: str, index: tuple[int, ...], value: Evaluation) -> None:
    """Put what was computed at a point into the arrays."""
    surface.loss[split][index] = value.loss
    if value.accuracy is not None:
        surface.accuracy[split][index] = value.accuracy
    if value.standard_error is not None:
        surface.standard_error[split][index] = value.standard_error


def _place(surface: Surface, planes: Sequence[Plane], index: tuple[int, ...]) -> tuple[Plane, tuple[float, ...]]:
    """Return the plane or line that a grid point is on, and its coordinates there, x first."""
    x = float(surface.x[index[-1]])
    if surface.y is not None:
        return planes[0], (x, float(surface.y[index[0]]))
    return planes[index[0] if len(index) == 2 else 0], (x,)


def _shown(surface: Surface) -> dict[str, float]:
    """Return smallest and largest loss of the first split, if there is a finite one."""
    lowest, highest = (ends[surface.splits[0]] for ends in surface.extremes())
    return {} if lowest is None or highest is None else {"min": lowest, "max": highest}


def _empty_surface(
    problems: Mapping[str, Problem],
    planes: Sequence[Plane],
    axes: tuple[Axis, ...],
    normalization: str,
    settings: dict[str, Any],
) -> Surface:
    lines = (len(planes),) if len(planes) > 1 else ()
    shape = lines + tuple(axis.num_points for axis in reversed(axes))
    directions = [direction for plane in planes for direction in plane.directions]
    return Surface(
        x=axes[0].coordinates(),
        y=axes[1].coordinates() if len(axes) == 2 else None,
        loss={split: np.full(shape, np.nan) for split in problems},
        accuracy={},
        done=np.zeros(shape, dtype=bool),
        center_loss={},
        center_accuracy={},
        normalization=normalization,
        direction_norms=np.concatenate([plane.norms for plane in planes]),
        direction_hashes=tuple(hash_tensors([direction]) for direction in directions),
        cosine=planes[0].cosine,
        provenance=make_provenance(problems, settings),
    )


def _with_center(surface: Surface, problems: Mapping[str, Problem], plane: Plane) -> Surface:
    center = {split: problem.evaluate(plane.origin) for split, problem in problems.items()}
    accuracy = {split: value.accuracy for split, value in center.items() if value.accuracy is not None}
    sampled = [split for split, value in center.items() if value.standard_error is not None]
    return replace(
        surface,
        center_loss={split: value.loss for split, value in center.items()},
        center_accuracy=accuracy,
        accuracy={split: np.full(surface.done.shape, np.nan) for split in accuracy},
        standard_error={split: np.full(surface.done.shape, np.nan) for split in sampled},
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
    yield "set of directions", stored.direction_hashes, wanted.direction_hashes
    for name in ("center_loss", "center_accuracy"):  # whatever else the loss depends on shows here
        yield name, _bits(getattr(stored, name)), _bits(getattr(wanted, name))


def _axis(values: np.ndarray | None) -> str:
    """Describe coordinates so that two axes read the same only if they are evenly spaced and equal."""
    return "none" if values is None else f"{float(values[0])!r}:{float(values[-1])!r} in {len(values)} points"


def _bits(values: Mapping[str, float]) -> str:
    """Write numbers so that they read the same only if they are equal bit for bit, NaN included."""
    return ", ".join(f"{split} {value!r}" for split, value in values.items())
