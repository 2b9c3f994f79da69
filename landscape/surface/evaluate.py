"""Evaluate the loss on a plane or on lines, from coarse to fine, saving it along the way.

Every point is computed afresh from the origin.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any, Protocol, TypeAlias

import numpy as np
from torch import Tensor

from landscape.directions.plane import Plane
from landscape.errors import require, require_in_limits
from landscape.problem.batches import hash_tensors
from landscape.problem.points_per_pass import largest_deviation
from landscape.problem.problem import Evaluation, Problem
from landscape.problem.rounding import NUM_PIECES, Rounding, error_reach, known_error, losses_of
from landscape.problem.weights import Point
from landscape.results.identity import (
    MODEL_AND_DATA,
    Trait,
    item_traits,
    loss_trait,
    plan_traits,
    require_unchanged,
)
from landscape.results.provenance import Provenance, by_split, make_provenance
from landscape.results.surface import INTERPOLATION, Mark, Surface
from landscape.runtime import distributed
from landscape.runtime.progress import SILENT, NullSink, Progress, Sink, never, reporting
from landscape.surface.grid import (
    Axis,
    coarse_to_fine,
    interpolated,
    refined_rounds,
    relative_errors,
)

_CHECKED_POINTS = 20  # of those that a refinement left out
_CHECKED_POINTS_OF_A_PLAN = 5

_Index: TypeAlias = tuple[int, ...]

_Place: TypeAlias = tuple[Plane, tuple[float, ...]]
"""A line or plane, and coordinates there, x first."""

_PointValues: TypeAlias = tuple[dict[str, Evaluation], dict[str, float]]
"""By split, and what probes measure by name."""

_SAME_ORIGIN = ("dtype", "weights_hash", "num_examples", "data_hash", "batchnorm")
"""Provenance that a continued surface must share; the dtype first, since hashes depend on it."""


def evaluate_surface(
    problems: Mapping[str, Problem] | Problem,
    plane: Plane | Sequence[Plane],
    axes: tuple[Axis, ...],
    *,
    normalization: str = "none",
    direction_names: tuple[str, ...] = (),
    marks: Sequence[Mark] = (),
    explained_variance: np.ndarray | None = None,
    settings: Mapping[str, Any] | None = None,
    refine: float | None = None,
    probes: Sequence[Probe] = (),
    sink: Sink[Surface] | None = None,
    progress: Progress = SILENT,
    should_stop: Callable[[], bool] = never,
) -> Surface:
    """Evaluate loss and accuracy at every point of a grid on a plane, or on one or several lines.

    The centre is evaluated first, whether or not it is a grid point; the grid is filled coarse to
    fine. What the sink holds already is not computed again; on any exception, Ctrl-C included, what
    was computed is in the sink. The processes of one `landscape.runtime.distributed.joined` share
    the points evenly, and the first process alone uses sink, progress and `should_stop`; under one
    plan, the numbers are those of one process.

    Args:
        problems: Split name -> problem, all of them on the same weights; or a problem on the
            training set.
        plane: Origin and directions; or several lines through one origin.
        axes: One for each direction, x before y.
        normalization: How the directions were scaled, to be recorded.
        direction_names: What the directions are, to be recorded.
        marks: Points of interest, to be recorded.
        explained_variance: Share of a trajectory's variance along each direction, to be recorded.
        settings: What the user asked for, to be recorded.
        refine: Leave out points that interpolation gives to this error, by estimate, relative to
            the larger of the loss there and at the centre (`landscape.surface.grid`); None
            computes all. A surface that is continued may have another one than before.
        probes: Measure more at each point.
        sink: Takes the surface after each point.
        progress: Counts points.
        should_stop: Is asked after each point; if it says so, the points left are not done.

    Returns:
        The surface, in all processes; complete unless `should_stop` said so or there is a
        tolerance.

    Raises:
        InputError: If axes and directions do not match in number, or `refine` is not positive.
        StoreError: If the sink holds a surface of something else; its centre, computed again, must
            be the same bit for bit.
    """
    problems = by_split(problems)
    planes = (plane,) if isinstance(plane, Plane) else tuple(plane)
    _require_match(planes, axes, refine)
    own_sink = distributed.FirstSink(sink or NullSink())
    center = {split: problem.evaluate(planes[0].origin) for split, problem in problems.items()}
    surface = replace(
        _empty_surface(problems, planes, axes, center, probes),
        normalization=normalization,
        direction_names=direction_names,
        marks=tuple(marks),
        explained_variance=explained_variance,
        provenance=make_provenance(problems, dict(settings or {})),
        tolerance=refine,
    )
    if (stored := own_sink.load()) is not None:
        require_unchanged(stored, Surface, "a surface", _traits(stored, surface))
        surface = replace(stored, tolerance=refine, deviations={}, rounding={})
    work = _Work(surface, problems, planes, probes, center)
    surface.deviations.update(_deviations(work))
    listener = progress if distributed.rank() == 0 else SILENT
    num_before, start = int(surface.done.sum()), time.perf_counter()
    with reporting(listener, "surface", surface.done.size):
        try:
            for _ in _computed(work, should_stop):
                own_sink.save(surface)
                num_done = int(surface.done.sum())
                rate = (num_done - num_before) / max(time.perf_counter() - start, 1e-9)
                listener.update(num_done, **_shown(surface), points_per_second=rate)
            if surface.is_finished:
                surface.rounding.update(_rounding(work))
        finally:
            own_sink.save(surface)
            own_sink.flush()
    return distributed.from_first(surface)


class Probe(Protocol):
    """Measures something at the points of a plane in addition to the loss.

    Attributes:
        names: Names of what it measures.
    """

    names: tuple[str, ...]

    def __call__(self, plane: Plane, w: Tensor) -> Mapping[str, float]:
        """Return name -> value at weights `w` (P,), a point of `plane`."""
        ...


@dataclass(frozen=True)
class _Work:
    """What is computed at the points of a surface, whose indices are those of its arrays."""

    surface: Surface
    problems: Mapping[str, Problem]
    planes: Sequence[Plane]
    probes: Sequence[Probe]
    center: Mapping[str, Evaluation]

    def at(self, indices: Sequence[_Index]) -> list[_PointValues]:
        """Compute all there is to know at some points."""
        points = [self.point(index) for index in indices]
        values = {split: problem.evaluate_many(points) for split, problem in self.problems.items()}
        losses = [
            dict(zip(values, each, strict=True)) for each in zip(*values.values(), strict=True)
        ]
        return [
            (each if any(self.place(index)[1]) else dict(self.center), self._probed(index))
            for each, index in zip(losses, indices, strict=True)
        ]

    def point(self, index: _Index) -> Point:
        """Return what writes the weights at a point."""
        plane, coordinates = self.place(index)
        return partial(plane.point, *coordinates)

    def place(self, index: _Index) -> _Place:
        """Return the line or plane of a point, and its coordinates there, x first."""
        x, y = float(self.surface.x[index[-1]]), self.surface.y
        if y is not None:
            return self.planes[0], (x, float(y[index[0]]))
        return self.planes[index[0] if len(index) == 2 else 0], (x,)

    def _probed(self, index: _Index) -> dict[str, float]:
        plane, coordinates = self.place(index)
        found = [probe(plane, plane.point(*coordinates)) for probe in self.probes]
        return {name: value for each in found for name, value in each.items()}


def _computed(work: _Work, should_stop: Callable[[], bool]) -> Iterator[None]:
    """Fill the arrays of the surface, and stop at each turn, in which each process does one stack.

    Points cost the same, so the shares are fixed. All processes get all values.
    """
    rank, num_processes = distributed.rank(), distributed.world_size()
    size = max(problem.plan.points_per_pass for problem in work.problems.values())
    for asked in _rounds(work.surface):
        missing = [index for index in asked if not work.surface.done[index]]
        stacks = [missing[start : start + size] for start in range(0, len(missing), size)]
        for start in range(0, len(stacks), num_processes):
            if distributed.from_first(rank == 0 and should_stop()):
                return
            turn = stacks[start : start + num_processes]
            own = [work.at(stack) for stack in turn[rank : rank + 1]]
            values = chain.from_iterable(distributed.gathered(own))
            for index, value in zip(
                chain.from_iterable(turn), chain.from_iterable(values), strict=True
            ):
                _write(work.surface, index, value)
            yield


def _deviations(work: _Work) -> dict[str, float]:
    """Measure what is not plain float32, at some points chosen at random but always the same."""
    done = work.surface.done
    chosen = np.random.default_rng(0).permutation(done.size)[:_CHECKED_POINTS_OF_A_PLAN]
    indices = np.stack(np.unravel_index(chosen, done.shape), axis=1)
    points = [work.point(tuple(index)) for index in indices.tolist()]
    return {
        f"{name}, {split}": value
        for split, problem in work.problems.items()
        for name, value in largest_deviation(problem.passes, points).items()
    }


def _rounding(work: _Work) -> dict[str, float]:
    """Return by split what 95 % of the relative errors from rounding are below, by some points.

    They are the origin, the lowest and the highest finite point, and a few at random. The largest
    is added to the reach by Student's t, since some points have much larger errors than others.
    """
    found, origin = {}, (work.planes[0], (0.0,) * len(work.planes[0].directions))
    for split, problem in work.problems.items():
        losses, center = work.surface.loss[split], work.surface.center_loss[split]
        known = np.argwhere(work.surface.done & np.isfinite(losses))
        if not (len(known) and np.isfinite(center)):
            continue
        values = losses[tuple(known.T)]
        drawn = np.random.default_rng(0).permutation(len(known))[:_CHECKED_POINTS_OF_A_PLAN]
        chosen = [values.argmin(), values.argmax(), *drawn]
        places = [origin, *(work.place(tuple(index)) for index in known[chosen].tolist())]
        errors = Rounding(problem).of(losses_of(partial(_points, places)), num_others=NUM_PIECES)
        if known_error(errors) is not None:
            scale = np.maximum(np.abs([center, *values[chosen]]), abs(center) or 1.0)
            relative = errors / scale
            found[split] = float(error_reach(relative) + relative.max())
    return found


def _points(places: Sequence[_Place], problem: Problem) -> list[Point]:
    """Return what writes the weights at some places in the dtype of a problem."""
    return [partial(plane.to(problem.dtype).point, *where) for plane, where in places]


def _rounds(surface: Surface) -> Iterator[list[_Index]]:
    """Yield the points that are needed, in lists that need the values of the lists before."""
    if surface.tolerance is None:
        yield coarse_to_fine(surface.done.shape)
        return
    needed = np.zeros(surface.done.shape, dtype=bool)
    for indices in refined_rounds(surface.loss, surface.center_loss, surface.tolerance):
        for index in indices:
            needed[index] = True
        yield indices
    rest = np.argwhere(~needed)  # of which a few are checked, always the same ones
    chosen = np.random.default_rng(0).permutation(len(rest))[:_CHECKED_POINTS]
    checked = [tuple(index) for index in rest[chosen].tolist()]
    yield checked
    for split, values in surface.loss.items():
        center = surface.center_loss[split]
        errors = relative_errors(interpolated(values, needed, center), values, center)
        surface.deviations[f"{INTERPOLATION}, {split}"] = max(
            (float(errors[index]) for index in checked), default=0.0
        )


def _write(surface: Surface, index: _Index, values: _PointValues) -> None:
    """Put what was computed at a point into the arrays."""
    evaluations, probed = values
    for split, evaluation in evaluations.items():
        for name in ("loss", "accuracy", "standard_error"):
            if (value := getattr(evaluation, name)) is not None:
                getattr(surface, name)[split][index] = value
    for name, measured in probed.items():
        surface.maps[name][index] = measured
    surface.done[index] = True


def _require_match(planes: Sequence[Plane], axes: Sequence[Axis], refine: float | None) -> None:
    """Check that axes fit directions, and that several planes are lines that are not refined."""
    require(planes, "a surface needs a plane, got none.")
    num_points = len(planes) * math.prod(axis.num_points for axis in axes)
    require_in_limits({"number of grid points": num_points})
    for plane in planes:
        require(
            len(axes) == len(plane.directions),
            f"a plane of {len(plane.directions)} directions needs as many axes, got {len(axes)}.",
        )
    require(
        1 in (len(planes), len(axes)),
        "several directions at once must be lines, got planes.",
        hint="Pass `dims=1`.",
    )
    require(
        refine is None or 0 < refine < np.inf,
        f"the tolerance of a refinement must be a positive number, got {refine}.",
    )
    require(
        refine is None or len(planes) == 1,
        "several lines cannot be refined.",
        hint="Leave out `refine` or `repeats`.",
    )


def _shown(surface: Surface) -> dict[str, float]:
    """Return smallest and largest loss of the first split, if there is a finite one."""
    lowest, highest = (ends[surface.splits[0]] for ends in surface.extremes())
    return {} if lowest is None or highest is None else {"min": lowest, "max": highest}


def _empty_surface(
    problems: Mapping[str, Problem],
    planes: Sequence[Plane],
    axes: Sequence[Axis],
    center: Mapping[str, Evaluation],
    probes: Sequence[Probe],
) -> Surface:
    """Return a surface of which the centre alone is known."""
    lines = (len(planes),) if len(planes) > 1 else ()
    shape = lines + tuple(axis.num_points for axis in reversed(axes))
    accuracy = {
        split: value.accuracy for split, value in center.items() if value.accuracy is not None
    }
    sampled = [split for split, value in center.items() if value.standard_error is not None]
    unknown = partial(np.full, shape, np.nan)
    return Surface(
        x=axes[0].coordinates(),
        y=axes[1].coordinates() if len(axes) == 2 else None,
        loss={split: unknown() for split in problems},
        accuracy={split: unknown() for split in accuracy},
        done=np.zeros(shape, dtype=bool),
        center_loss={split: value.loss for split, value in center.items()},
        center_accuracy=accuracy,
        normalization="none",
        direction_norms=np.concatenate([plane.norms for plane in planes]),
        direction_hashes=tuple(hash_tensors([d]) for plane in planes for d in plane.directions),
        cosine=planes[0].cosine,
        provenance=Provenance(),
        standard_error={split: unknown() for split in sampled},
        maps={name: unknown() for probe in probes for name in probe.names},
    )


def _traits(stored: Surface, wanted: Surface) -> Iterator[Trait]:
    """Yield what a surface that is continued must share with the one that is asked for."""
    there, here = stored.provenance, wanted.provenance
    for name in ("x", "y"):
        yield f"{name} axis", _axis(getattr(stored, name)), _axis(getattr(wanted, name))
    yield "set of splits", stored.splits, wanted.splits
    yield "set of maps", tuple(stored.maps), tuple(wanted.maps)
    yield "normalization", stored.normalization, wanted.normalization
    yield from item_traits(vars(there), vars(here), _SAME_ORIGIN)
    # What it says of products shows in the directions.
    of_losses = {name: value for name, value in here.plan.items() if name != "is_default_size"}
    yield from plan_traits(there.plan, of_losses)
    yield loss_trait(there.loss_function, here.loss_function)
    names = wanted.direction_names
    yield "kind of directions", stored.direction_names or names, names
    yield from item_traits(there.settings, here.settings, (*MODEL_AND_DATA, "seed", "with_1d"))
    yield "set of directions", stored.direction_hashes, wanted.direction_hashes
    for name in ("center_loss", "center_accuracy"):  # whatever else the loss depends on shows here
        yield name, _bits(getattr(stored, name)), _bits(getattr(wanted, name))


def _axis(values: np.ndarray | None) -> str:
    """Describe coordinates so that evenly spaced axes read the same only if they are equal."""
    if values is None:
        return "none"
    return f"{float(values[0])!r}:{float(values[-1])!r} in {len(values)} points"


def _bits(values: Mapping[str, float]) -> str:
    """Write numbers so that they read the same only if they are equal bit for bit, NaN included."""
    return ", ".join(f"{split} {value!r}" for split, value in values.items())
