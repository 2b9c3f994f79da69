"""`landscape.surface`: the loss on a line or a plane through a problem's weights, in one call."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from landscape.directions.spec import PlaneSpec, parse_grid, parse_ranges
from landscape.io.store import FileSink, write_result
from landscape.problem.problem import Problem
from landscape.results.provenance import by_split
from landscape.results.surface import Surface
from landscape.runtime.progress import SILENT, Progress, Sink, never
from landscape.surface.evaluate import evaluate_surface
from landscape.surface.grid import Axis
from landscape.surface.planes import (
    BuiltPlanes,
    build_planes,
    count_dimensions,
    find_ranges,
    read_direction_file,
)
from landscape.surface.probes import PlaneCurvature, SpectrumMap


def surface(
    problem: Problem | Mapping[str, Problem],
    *,
    x: str | None = None,
    y: str | None = None,
    dims: int | None = None,
    grid: int | str = 21,
    range: str | tuple[float, float] | None = None,
    normalization: str = "filter",
    with_1d: bool = False,
    seed: int = 0,
    repeats: int = 1,
    refine: float | None = None,
    curvature: bool = False,
    spectrum: bool = False,
    directions: str | os.PathLike[str] | None = None,
    save_directions: str | os.PathLike[str] | None = None,
    state_key: str | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: Progress = SILENT,
) -> Surface:
    """Compute the loss, and the accuracy if it exists, on a line or plane through the weights.

    Every point is computed afresh from the weights, and the centre has the problem's own loss bit
    for bit. `landscape.evaluate_surface` does the same for directions of your own.

        surface = landscape.surface(problem, grid=21)
        landscape.surface(problem, x="to:b.pt", y="eigen:1", range="auto")

    Args:
        problem: The loss, or split name -> problem on the same weights.
        x: First direction: `random`, `to:CKPT`, `pca:DIR`, `eigen:N`, `eigen:N:FILE`, `gradient`,
            `ascent` or `ascent:RHO`; None for random.
        y: Second direction; None for random, or the second component if x is `pca:DIR`.
        dims: 1 for a line, 2 for a plane; None for 2, or as many as `directions` has.
        grid: Points along each direction, or "NxM".
        range: Coordinates of both ends, (start, stop); or as a text "start:stop", "marked" (every
            checkpoint and snapshot, and 15 % more on each side), "auto" or "auto:N", once or for x
            and y. None for (-1, 1) along random directions, where 1 is one filter norm, for
            "marked" along `to:` and `pca:`, and for "auto" along others.
        normalization: Scaling of random directions: `filter`, `layer` or `none`.
        with_1d: Whether random directions move biases and other 1-D tensors too.
        seed: Seed of random directions.
        repeats: Number of random lines, with `dims=1`.
        refine: Leave out points that interpolation gives to this relative error; None for none.
        curvature: Whether to measure the second derivatives along the directions at each point.
        spectrum: Whether to measure the extreme eigenvalues of the Hessian at each point.
        directions: File of directions to take as they are stored, in place of x and y.
        save_directions: File to write the directions to; None for none.
        state_key: Which of several state dicts in each checkpoint of `to:CKPT` and `pca:DIR`, as
            for `open_problem`.
        out: Results file that is written while points are computed; None for none.
        resume: Whether to continue the surface in `out`.
        progress: Counts points.

    Returns:
        Losses in loss units at `surface.x` (nx,) and `surface.y` (ny,).

    Raises:
        LandscapeError: If a direction, a range or the grid is not possible, or a file cannot be
            read or written.

    Source:
        Li et al. (2018), Visualizing the Loss Landscape of Neural Nets.
    """
    problems = by_split(problem)
    spec = PlaneSpec(
        x=x,
        y=y,
        dims=dims,
        normalization=normalization,
        with_1d=with_1d,
        seed=seed,
        repeats=repeats,
        directions=directions,
    )
    stored = read_direction_file(spec)
    num_directions = count_dimensions(spec, stored)
    sizes = parse_grid(str(grid), num_directions)
    if isinstance(range, tuple):
        range = ":".join(map(str, range))
    ranges = parse_ranges(range or spec.default_range(num_directions), num_directions)
    built = build_planes(spec, problems, stored=stored, state_key=state_key, progress=progress)
    if save_directions is not None:
        write_result(save_directions, built.as_stored())
    found = find_ranges(ranges, sizes, built, progress=progress)
    return evaluate_planes(
        problems,
        built,
        found,
        sizes,
        settings={},
        refine=refine,
        curvature=curvature,
        spectrum=spectrum,
        sink=None if out is None else FileSink(Path(out), resume=resume),
        progress=progress,
    )


def evaluate_planes(
    problems: Mapping[str, Problem],
    built: BuiltPlanes,
    ranges: Sequence[Mapping[str, Any]],
    sizes: Sequence[int],
    *,
    settings: Mapping[str, Any],
    refine: float | None = None,
    curvature: bool = False,
    spectrum: bool = False,
    sink: Sink[Surface] | None = None,
    progress: Progress = SILENT,
    should_stop: Callable[[], bool] = never,
) -> Surface:
    """Evaluate a plane or lines that are built, and record how they were.

    Args:
        problems: Split name -> problem on the same weights.
        built: The plane or lines.
        ranges: Start and stop of each axis, as `find_ranges` returns them.
        sizes: Number of points along each axis.
        settings: What else is to be recorded.
        refine: This and the other arguments are those of `surface`.
        curvature: Likewise.
        spectrum: Likewise.
        sink: Keeps the points while they are computed; None for nothing.
        progress: Counts points.
        should_stop: Is asked between points.
    """
    probes = [PlaneCurvature(built.problem, len(sizes))] if curvature else []
    return evaluate_surface(
        problems,
        built.planes,
        tuple(
            Axis(each["start"], each["stop"], size)
            for each, size in zip(ranges, sizes, strict=True)
        ),
        normalization=built.normalization,
        direction_names=tuple(direction.name for direction in built.directions),
        marks=built.marks,
        explained_variance=built.explained_variance,
        settings={**settings, **built.settings, "ranges": list(ranges)},
        refine=refine,
        probes=[*probes, SpectrumMap(built.problem)] if spectrum else probes,
        sink=sink,
        progress=progress,
        should_stop=should_stop,
    )
