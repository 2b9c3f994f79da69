"""Build the plane or lines that a `PlaneSpec` describes, reading the files that it names."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from landscape.directions.plane import (
    Direction,
    Landmark,
    Plane,
    random_directions,
    require_spanning,
)
from landscape.directions.sources import (
    ascent_direction,
    checkpoint_direction,
    compute_eigenvectors,
    eigenvector_direction,
    gradient_direction,
    principal_components,
    stored_directions,
    to_store,
)
from landscape.directions.spec import DirectionSpec, PlaneSpec, RangeSpec
from landscape.errors import StoreError, require
from landscape.io.checkpoint import load_checkpoint, load_weights
from landscape.io.layouts import read_any
from landscape.io.snapshots import SnapshotFiles, find_snapshots
from landscape.io.store import read_result
from landscape.problem.problem import Problem
from landscape.results.provenance import by_split
from landscape.results.spectrum import Spectrum
from landscape.results.surface import Directions, Mark
from landscape.runtime.files import names_apart
from landscape.runtime.progress import SILENT, Progress
from landscape.surface.auto_range import center_on_grid, find_common_range, range_of_marks


@dataclass(frozen=True)
class BuiltPlanes:
    """Directions, and the plane or lines that they span.

    Attributes:
        directions: Directions in order, x before y.
        planes: One plane, or one or several lines.
        marks: Points of interest.
        normalization: Scaling of random directions; `none` without any.
        settings: What is to be recorded of the directions.
        remarks: Sentences about directions that are not quite what was asked for.
        problem: Problem whose weights are the origin.
    """

    directions: tuple[Direction, ...]
    planes: tuple[Plane, ...]
    marks: tuple[Mark, ...]
    normalization: str
    settings: Mapping[str, Any]
    remarks: tuple[str, ...]
    problem: Problem

    @property
    def explained_variance(self) -> np.ndarray | None:
        """Share of a trajectory's variance along each direction, NaN if unknown; None if all are.

        The shape is (number of directions,).
        """
        shares = np.array([each.explained_variance for each in self.directions], dtype=np.float64)
        return None if np.isnan(shares).all() else shares

    def as_stored(self) -> Directions:
        """Return the directions as a file has them."""
        return to_store(self.directions, self.problem, self.normalization)


def read_direction_file(spec: PlaneSpec) -> Directions | None:
    """Read the file of directions, ours or one in Li et al.'s layout; None if none is named.

    Raises:
        StoreError: If it is neither.
        InputError: If it does not hold as many directions as are asked for.
    """
    if spec.directions is None:
        return None
    path = Path(spec.directions)
    found, _ = read_any(path)
    if not isinstance(found, Directions):
        raise StoreError(
            f"{path} holds a {type(found).__name__.lower()}, not directions.",
            hint="Write directions by `landscape.surface(problem, save_directions=FILE)`.",
        )
    require(
        spec.dims != 2 or len(found.vectors) == 2,
        f"`dims=2` needs two directions, {path} has {len(found.vectors)}.",
        hint="Pass `dims=1`.",
    )
    return found


def count_dimensions(spec: PlaneSpec, stored: Directions | None) -> int:
    """Return 1 for lines, 2 for a plane."""
    if spec.dims is not None or stored is None:
        return spec.dims or 2
    return 2 if len(stored.vectors) == 2 else 1


def build_planes(
    spec: PlaneSpec,
    problems: Problem | Mapping[str, Problem],
    *,
    checkpoint: str | os.PathLike[str] = "checkpoint",
    stored: Directions | None = None,
    state_key: str | None = None,
    progress: Progress = SILENT,
) -> BuiltPlanes:
    """Find every direction of a specification, and what they span.

    Args:
        spec: Which plane or lines.
        problems: A problem, or split name -> problem; the first decides directions that depend on
            the loss.
        checkpoint: File of the origin, which names it among other checkpoints.
        stored: Directions in the file that the specification names, see `read_direction_file`.
        state_key: Which of several state dicts in each checkpoint that the specification names, as
            for `load_checkpoint`.
        progress: Counts products and snapshots.

    Raises:
        LandscapeError: If a direction cannot be found, or they span nothing.
    """
    problems = by_split(problems)
    finder = _Finder(spec, Path(checkpoint), problems, state_key, progress)
    if stored is None:
        found = tuple(_FINDERS[each.kind](finder, each) for each in spec.specs)
        is_random = any(each.kind == "random" for each in spec.specs)
        normalization = spec.normalization if is_random else "none"
    else:
        found = stored_directions(stored, finder.problem)
        normalization = stored.normalization
    groups = [found] if count_dimensions(spec, stored) == 2 else [(each,) for each in found]
    for group in groups:
        require_spanning(group)
    origin = finder.problem.weights
    planes = tuple(Plane(origin, tuple(each.vector for each in group)) for group in groups)
    return BuiltPlanes(
        directions=found,
        planes=planes,
        marks=mark_directions(found, finder.labels[finder.checkpoint], planes[0], problems),
        normalization=normalization,
        settings={
            "seed": spec.seed,
            "with_1d": spec.with_1d,
            "directions": [{"name": direction.name, **direction.facts} for direction in found],
            "directions_file": None if spec.directions is None else str(spec.directions),
        },
        remarks=tuple(_remarks(found)),
        problem=finder.problem,
    )


def _remarks(directions: Sequence[Direction]) -> list[str]:
    remarks = [
        f"{each.name} has not converged: its eigenvalue {each.facts['eigenvalue']:.6g} has the "
        f"residual {each.facts['residual']:.2g}."
        for each in directions
        if not each.facts.get("converged", True)
    ]
    names = directions[0].facts.get("left_out")
    if names:
        remarks.append(
            f"The stored directions also move {', '.join(names[:3])}{', ...' * (len(names) > 3)}, "
            "which are no weights: `batchnorm` says what becomes of running statistics, they are "
            "not moved."
        )
    return remarks


@dataclass(frozen=True)
class _Finder:
    """What the directions of one plane are found from, each part once."""

    spec: PlaneSpec
    checkpoint: Path
    problems: Mapping[str, Problem]
    state_key: str | None
    progress: Progress

    @property
    def problem(self) -> Problem:
        """The problem of the first split."""
        return next(iter(self.problems.values()))

    def of_kind(self, kind: str) -> list[DirectionSpec]:
        return [each for each in self.spec.specs if each.kind == kind]

    @cached_property
    def labels(self) -> dict[Path, str]:
        """Checkpoint -> what tells it apart from the others: its name, or its folder too."""
        others = [Path(each.argument) for each in self.of_kind("to")]
        paths = list(dict.fromkeys([self.checkpoint, *others]))
        return dict(zip(paths, names_apart([path.with_suffix("") for path in paths]), strict=True))

    @cached_property
    def noise(self) -> dict[int, Tensor]:
        """The vector of each random direction by its number; y is always drawn second."""
        numbers = [each.number for each in self.of_kind("random")]
        drawn = random_directions(
            len(numbers),
            self.problem.weights,
            self.problem.spec,
            seed=self.spec.seed,
            normalization=self.spec.normalization,
            with_1d=self.spec.with_1d,
            skip=numbers[0],
        )
        return dict(zip(numbers, drawn, strict=True))

    @cached_property
    def spectrum(self) -> Spectrum:
        """The eigenvectors that are not in a file, all from one computation."""
        return compute_eigenvectors(
            self.problem,
            [each.eigenvector for each in self.of_kind("eigen") if each.path is None],
            seed=self.spec.seed,
            split=next(iter(self.problems)),
            progress=self.progress,
        )

    @cached_property
    def components(self) -> dict[DirectionSpec, Direction]:
        """The direction of each `pca:DIR`: the folder's first component, then its second.

        The first one leads to all snapshots in the folder.
        """
        specs = self.of_kind("pca")
        files = SnapshotFiles(
            find_snapshots(specs[0].argument),
            self.problems,
            state_key=self.state_key,
            progress=self.progress,
        )
        found = principal_components(
            files.snapshots, self.problem, names=[each.text for each in specs], points=files
        )
        return dict(zip(specs, found, strict=True))

    def to(self, spec: DirectionSpec) -> Direction:
        path = Path(spec.argument)
        module = self.problem.copy_module()
        load_weights(module, load_checkpoint(path, self.state_key))
        return checkpoint_direction(module, self.problems, name=spec.text, label=self.labels[path])

    def eigen(self, spec: DirectionSpec) -> Direction:
        spectrum = self.spectrum if spec.path is None else _read_spectrum(spec.path)
        return eigenvector_direction(spectrum, spec.eigenvector, self.problem, name=spec.text)


_FINDERS: dict[str, Callable[[_Finder, DirectionSpec], Direction]] = {
    "random": lambda finder, spec: Direction(spec.text, finder.noise[spec.number]),
    "to": _Finder.to,
    "pca": lambda finder, spec: finder.components[spec],
    "eigen": _Finder.eigen,
    "gradient": lambda finder, spec: gradient_direction(finder.problem, name=spec.text),
    "ascent": lambda finder, spec: ascent_direction(finder.problem, spec.rho, name=spec.text),
}
"""Kind of direction -> function that finds it."""


def _read_spectrum(path: Path) -> Spectrum:
    found = read_result(path)
    if not isinstance(found, Spectrum):
        raise StoreError(
            f"{path} holds a {type(found).__name__.lower()}, not Hessian eigenvalues.",
            hint="Write them by `landscape.hessian(problem, save_vectors=True, out=FILE)`.",
        )
    return found


def find_ranges(
    ranges: Sequence[RangeSpec],
    sizes: Sequence[int],
    built: BuiltPlanes,
    *,
    progress: Progress = SILENT,
) -> list[dict[str, Any]]:
    """Return start and stop of each axis, and how they were found, to be recorded.

    Args:
        ranges: One for each direction of a plane.
        sizes: Number of points along each.
        built: The plane or lines, and what has to be in view.
        progress: Counts evaluations of the loss.

    Raises:
        InputError: If no range can be found.
    """
    found: list[dict[str, Any]] = []
    for number, (asked, size) in enumerate(zip(ranges, sizes, strict=True)):
        ends, facts = asked.ends, {}
        marked = [mark.coordinates[number] for mark in built.marks]
        if asked.is_marked:
            require(
                marked,
                "a range of what is marked needs a direction to a checkpoint or a run, got none.",
                hint="Pass `range='auto'`.",
            )
            ends = range_of_marks(marked, size)
        elif ends is None:
            common = find_common_range(
                built.problem,
                [Plane(plane.origin, (plane.directions[number],)) for plane in built.planes],
                multiple=asked.multiple,
                include=marked,
                progress=progress,
            )
            ends, facts = center_on_grid(common.start, common.stop, size), asdict(common)
        found.append({"asked": asked.text, **facts, "start": ends[0], "stop": ends[1]})
    return found


def make_mark(
    label: str,
    kind: str,
    w: Tensor,
    plane: Plane,
    problems: Problem | Mapping[str, Problem],
    *,
    loss: Mapping[str, float] | None = None,
) -> Mark:
    """Project a point onto a plane, and evaluate the loss at the point and at its projection.

    Args:
        label: As a legend names it.
        kind: `checkpoint`, `snapshot` or `ascent`.
        w: The point (P,).
        plane: A line or a plane.
        problems: A problem, or split name -> problem.
        loss: Split name -> loss at the point itself, where more than `w` decides it, such as
            running statistics of its own; evaluated at `w` if None.
    """
    problems, found = by_split(problems), plane.project(w)
    nearest = plane.point(*found.coordinates.tolist())
    return Mark(
        label=label,
        kind=kind,
        coordinates=tuple(found.coordinates.tolist()),
        distance=found.distance,
        loss=dict(loss)
        if loss is not None
        else {split: problem.loss(w) for split, problem in problems.items()},
        plane_loss={split: problem.loss(nearest) for split, problem in problems.items()},
    )


def mark_directions(
    directions: Sequence[Direction],
    label: str,
    plane: Plane,
    problems: Problem | Mapping[str, Problem],
) -> tuple[Mark, ...]:
    """Mark a plane's origin and its directions' points of interest; nothing without any points.

    Args:
        directions: Of the plane.
        label: Of the checkpoint at the origin.
        plane: A line or a plane.
        problems: A problem, or split name -> problem.
    """
    if not any(direction.points for direction in directions):
        return ()
    points = chain(
        [Landmark(label, "checkpoint", plane.origin)],
        *(direction.points for direction in directions),
    )
    return tuple(
        make_mark(point.label, point.kind, point.w, plane, problems, loss=point.loss)
        for point in points
    )
