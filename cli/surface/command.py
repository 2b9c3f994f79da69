"""`landscape surface`: the loss on a line or a plane through a checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landscape.errors import StoreError
from landscape.runtime.deadline import Deadline

from .. import console
from ..options import (
    CheckpointArgument,
    Force,
    Json,
    ProblemOptions,
    expand,
    parse_grid,
    parse_ranges,
)
from ..outputs import default_output, output_of_this_run
from ..processes import open_checkpoint, working_together
from .plane import (
    PlaneOptions,
    Request,
    count_dimensions,
    default_ranges,
    find_ranges,
    input_files,
    parse_plane,
    read_directions,
    span,
)
from .summary import show_surface

if TYPE_CHECKING:
    from landscape.io.open import OpenedProblems
    from landscape.problem.problem import Problem
    from landscape.results.surface import Surface
    from landscape.surface.evaluate import Probe


@dataclasses.dataclass(frozen=True)
class WorkOptions:
    """What is measured, and how long that may take."""

    refine: Annotated[
        float | None,
        typer.Option(
            help="Leave out points that interpolation gives to this relative error, by estimate.",
            metavar="ERROR",
        ),
    ] = None
    curvature: Annotated[
        bool,
        typer.Option(
            "--curvature", help="Measure the second derivatives along the directions at each point."
        ),
    ] = False
    spectrum: Annotated[
        bool,
        typer.Option(
            "--spectrum", help="Measure the extreme eigenvalues of the Hessian at each point."
        ),
    ] = False
    minutes: Annotated[
        float | None,
        typer.Option(
            help="Stop in time, with the best picture so far; --resume goes on.", metavar="N"
        ),
    ] = None
    points_per_pass: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Points whose weights go through a forward pass together; by default what is "
            "fastest here.",
        ),
    ] = None
    compile: Annotated[
        bool,
        typer.Option(
            "--compile", help="Compile the forward pass (torch.compile), on CUDA into CUDA graphs."
        ),
    ] = False


@expand(PlaneOptions, ProblemOptions, WorkOptions)
def surface(
    checkpoint: CheckpointArgument,
    plane: PlaneOptions,
    problem: ProblemOptions,
    work: WorkOptions,
    split: Annotated[str, typer.Option(help="Data split: train, test or both.")] = "train",
    grid: Annotated[
        str, typer.Option(help="Points along each direction: N, or NxM for x and y.")
    ] = "21",
    out: Annotated[
        Path | None,
        typer.Option(help="Results file; by default CKPT's name with .surface.h5, beside it."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the results file where it stopped.")
    ] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Compute the loss surface around a checkpoint: random, eigenvector or other directions."""
    deadline = Deadline.after_minutes(work.minutes)
    path = out or default_output(checkpoint, ".surface.h5")
    if console.is_restarted():  # by torchrun, after a process of this very run was lost
        resume, force = True, False
    specs = parse_plane(plane)
    stored_directions = read_directions(plane)
    dims = count_dimensions(plane, stored_directions)
    sizes = parse_grid(grid, dims)
    ranges = parse_ranges(plane.range_ or default_ranges(specs, dims), dims)
    inputs = [checkpoint, *input_files(plane, specs)]
    output = output_of_this_run(
        path, inputs, force=force, resume=resume, besides=plane.save_directions
    )
    with output, working_together(path):
        from landscape.directions.random import explained_variance
        from landscape.io.open import split_names
        from landscape.io.store import FileSink
        from landscape.runtime import distributed
        from landscape.surface.evaluate import evaluate_surface
        from landscape.surface.grid import Axis

        for each in ranges:
            if each.ends is not None:
                Axis(
                    *each.ends, 2
                )  # a range that does not rise is refused before anything is computed
        splits = split_names(split, can_be_both=True)
        stored = _stored_surface(path) if resume and console.is_heard() else None
        opened = _open(checkpoint, problem, work, splits, stored)
        first = opened.problems[splits[0]]
        spanned = span(Request(plane, checkpoint, opened.problems, specs, stored_directions))
        distributed.share(direction.vector for direction in spanned.directions)
        if plane.save_directions is not None and console.is_heard():
            spanned.save(plane.save_directions)
        found = distributed.from_first(find_ranges(ranges, sizes, spanned, first, stored))
        result = evaluate_surface(
            opened.problems,
            spanned.planes,
            tuple(
                Axis(each["start"], each["stop"], size)
                for each, size in zip(found, sizes, strict=True)
            ),
            normalization=spanned.normalization,
            direction_names=tuple(direction.name for direction in spanned.directions),
            marks=spanned.marks,
            explained_variance=explained_variance(spanned.directions),
            settings={**opened.settings, **spanned.settings, "ranges": found},
            refine=work.refine,
            probes=_make_probes(work, first, dims),
            sink=FileSink(path, resume=resume),
            progress=console.TerminalProgress(),
            should_stop=deadline.is_reached,
        )
    if deadline.has_come and not result.is_finished:
        console.say(f"Stopped in time. {console.to_go_on()}")
    show_surface(result, path, as_json)


def _open(
    checkpoint: Path,
    problem: ProblemOptions,
    work: WorkOptions,
    splits: Sequence[str],
    stored: Surface | None,
) -> OpenedProblems:
    """Open the checkpoint under the recorded execution plan, or the first process's choice."""
    from landscape.problem.plan import choose_device
    from landscape.runtime import distributed

    device = distributed.local_device(choose_device(problem.device))
    problem = dataclasses.replace(problem, device=str(device))
    plan = None if stored is None else stored.provenance.plan
    opened = None
    if distributed.rank() == 0:
        opened = _open_under(plan, checkpoint, problem, work, splits)
        plan = opened.problems[splits[0]].plan.as_dict()
    plan = distributed.from_first(plan)
    return opened or _open_under(plan, checkpoint, problem, work, splits)


def _open_under(
    plan: Mapping[str, Any] | None,
    checkpoint: Path,
    problem: ProblemOptions,
    work: WorkOptions,
    splits: Sequence[str],
) -> OpenedProblems:
    """Open the checkpoint; what was typed goes before what a plan has."""
    import torch

    plan = plan or {}
    if "num_threads" in plan:
        torch.set_num_threads(plan["num_threads"])
    return open_checkpoint(
        checkpoint,
        dataclasses.replace(problem, batch_size=problem.batch_size or plan.get("batch_size")),
        splits,
        points_per_pass=work.points_per_pass or plan.get("points_per_pass"),
        compile=work.compile or plan.get("is_compiled", False),
    )


def _make_probes(work: WorkOptions, problem: Problem, num_directions: int) -> Sequence[Probe]:
    """Return what measures more than the loss at each point, on the first split."""
    from landscape.surface.probes import PlaneCurvature, SpectrumMap

    probes = [PlaneCurvature(problem, num_directions)] if work.curvature else []
    return [*probes, SpectrumMap(problem)] if work.spectrum else [*probes]


def _stored_surface(path: Path) -> Surface | None:
    """Return the surface stored in a file, if any; when resuming, reject any other content."""
    from landscape.io.store import read_result
    from landscape.results.surface import Surface

    try:
        found = read_result(path) if path.exists() else None
    except StoreError as exc:
        raise StoreError(exc.message, hint="Pass --force to replace it, or another --out.") from exc
    return found if isinstance(found, Surface) else None
