"""`landscape surface`: open, build the plane, evaluate, save and show."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from landscape.directions.spec import PlaneSpec, RangeSpec, parse_grid, parse_ranges
from landscape.errors import StoreError
from landscape.io.open import OpenedProblems, split_names
from landscape.io.snapshots import find_snapshots
from landscape.io.store import FileSink, read_result, write_result
from landscape.results.surface import Surface
from landscape.runtime import distributed
from landscape.runtime.progress import Deadline
from landscape.surface.grid import Axis
from landscape.surface.planes import (
    BuiltPlanes,
    build_planes,
    count_dimensions,
    find_ranges,
    read_direction_file,
)
from landscape.surface.surface import evaluate_planes

from .. import console
from ..hints import in_options
from ..options import ProblemOptions, call_with_options
from ..outputs import output_of_this_run
from ..processes import open_checkpoint, working_together
from .options import PlaneOptions, WorkOptions
from .summary import show_surface


def surface_of(
    checkpoint: Path,
    plane: PlaneOptions,
    problem: ProblemOptions,
    work: WorkOptions,
    *,
    split: str,
    grid: str,
    path: Path,
    resume: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Compute a surface, with the other processes of torchrun, and show it."""
    spec = call_with_options(PlaneSpec, vars(plane))
    deadline = Deadline.after_minutes(work.minutes)
    stored_directions = read_direction_file(spec)
    dims = count_dimensions(spec, stored_directions)
    sizes = parse_grid(grid, dims)
    ranges = parse_ranges(plane.range or spec.default_range(dims), dims)
    splits = split_names(split, can_be_both=True)
    for each in ranges:
        if each.ends is not None:
            Axis(*each.ends, 2)  # a range that does not rise is refused before anything is computed
    snapshots = [find_snapshots(each.argument) for each in spec.specs if each.kind == "pca"]
    inputs = [checkpoint, *spec.input_files, *problem.code_files, *chain(*snapshots)]
    saved = plane.save_directions
    output = output_of_this_run(path, inputs, force=force, resume=resume, besides=saved)
    with output, working_together():
        stored = _stored_surface(path) if resume and console.is_heard() else None
        default = "auto" if spec.leads_to_checkpoints else "stored"
        recorded = default if stored is None else stored.provenance.batchnorm
        mode = distributed.from_first(problem.batchnorm or recorded)
        problem = dataclasses.replace(problem, batchnorm=mode)
        opened = _open(checkpoint, problem, work, splits, stored)
        built = build_planes(
            spec,
            opened.problems,
            checkpoint=checkpoint,
            stored=stored_directions,
            state_key=problem.state_key,
            progress=console.TerminalProgress(),
        )
        for remark in built.remarks:
            console.say(in_options(remark))
        distributed.share(direction.vector for direction in built.directions)
        if saved is not None and console.is_heard():
            write_result(saved, built.as_stored())
            console.say(f"Directions saved to {saved}.")
        found = distributed.from_first(_ranges(ranges, sizes, built, stored))
        result = evaluate_planes(
            opened.problems,
            built,
            found,
            sizes,
            settings=opened.settings,
            refine=work.refine,
            curvature=work.curvature,
            spectrum=work.spectrum,
            sink=FileSink(path, resume=resume),
            progress=console.TerminalProgress(),
            should_stop=deadline.is_reached,
        )
    if deadline.has_come and not result.is_finished:
        console.say(f"Stopped in time. {console.to_go_on()}")
    norms = opened.problems[splits[0]].passes.norms
    show_surface(
        result, path, as_json, is_of_stored=norms.mode == "stored" and norms.has_statistics
    )


def _ranges(
    ranges: Sequence[RangeSpec],
    sizes: Sequence[int],
    built: BuiltPlanes,
    stored: Surface | None,
) -> list[dict[str, Any]]:
    """Return the range of each axis; where a surface is continued, those found for it stay."""
    recorded = [] if stored is None else stored.provenance.settings.get("ranges", [])
    if [each["asked"] for each in recorded] == [each.text for each in ranges]:
        return recorded
    found = find_ranges(ranges, sizes, built, progress=console.TerminalProgress())
    for axis, each in zip("xy", found, strict=False):
        if "num_evaluations" in each:
            extent = f"{each['start']:g}:{each['stop']:g}"
            console.say(f"Range of {axis}: {extent}, after {each['num_evaluations']} evaluations.")
            if not all(each["has_reached"]):
                console.say(
                    f"Along {axis} the loss does not rise as far as asked for on every side; the "
                    "range ends there."
                )
    return found


def _open(
    checkpoint: Path,
    problem: ProblemOptions,
    work: WorkOptions,
    splits: Sequence[str],
    stored: Surface | None,
) -> OpenedProblems:
    """Open the checkpoint under the recorded execution plan, or the first process's choice."""
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
    """Open the checkpoint; what was typed goes before what a plan has.

    A size that nobody asked for is chosen again, since products may then join batches.
    """
    plan = plan or {}
    recorded_size = None if plan.get("is_default_size") else plan.get("batch_size")
    if "num_threads" in plan:
        torch.set_num_threads(plan["num_threads"])
    opened = open_checkpoint(
        checkpoint,
        dataclasses.replace(problem, batch_size=problem.batch_size or recorded_size),
        splits,
        points_per_pass=work.points_per_pass or plan.get("points_per_pass"),
        compile=work.compile or plan.get("is_compiled", False),
    )
    if plan.get("device") == "cuda":  # whose free memory may have changed
        for each in opened.problems.values():
            each.passes.cut(problem.batch_size or plan["batch_size"])
    return opened


def _stored_surface(path: Path) -> Surface | None:
    """Return the surface stored in a file, if any; when resuming, reject any other content."""
    try:
        found = read_result(path) if path.exists() else None
    except StoreError as exc:
        raise StoreError(exc.message, hint="Pass --force to replace it, or another --out.") from exc
    return found if isinstance(found, Surface) else None
