"""`landscape surface`: the loss on a line or a plane through a checkpoint."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import console
from .directions import (
    PlaneOptions,
    Request,
    count_dimensions,
    default_ranges,
    find_ranges,
    parse_plane,
    read_directions,
    span,
)
from .options import CheckpointArgument, Force, Json, ProblemOptions, expand, parse_grid, parse_ranges
from .resolve import default_output, open_checkpoint, prepare_output, split_names

if TYPE_CHECKING:
    from landscape.results import Surface


@expand(PlaneOptions, ProblemOptions)
def surface(
    checkpoint: CheckpointArgument,
    plane: PlaneOptions,
    problem: ProblemOptions,
    split: Annotated[str, typer.Option(help="Data split: train, test or both.")] = "train",
    grid: Annotated[str, typer.Option(help="Points along each direction: N, or NxM for x and y.")] = "21",
    out: Annotated[
        Path | None, typer.Option(help="Results file; by default CKPT's name with .surface.h5, beside it.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the results file where it stopped.")] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Compute the loss surface around a checkpoint: random, to other checkpoints, along eigenvectors or gradients."""
    path = out or default_output(checkpoint, ".surface.h5")
    specs = parse_plane(plane)
    stored_directions = read_directions(plane)
    dims = count_dimensions(plane, stored_directions)
    sizes = parse_grid(grid, dims)
    ranges = parse_ranges(plane.range_ or default_ranges(specs, dims), dims)
    splits = split_names(split, can_be_both=True)
    prepare_output(path, force=force, resume=resume)
    if plane.save_directions is not None:
        prepare_output(plane.save_directions, force=force or resume)

    from landscape.directions import explained_variance
    from landscape.io.store import FileSink
    from landscape.surface import Axis, evaluate_surface

    for each in ranges:
        if each.ends is not None:
            Axis(*each.ends, 2)  # a range that does not rise is refused before anything is computed
    stored = _stored_surface(path) if resume else None
    if stored is not None:
        problem = _with_recorded_plan(problem, stored)
    opened = open_checkpoint(checkpoint, problem, splits)
    spanned = span(Request(plane, checkpoint, opened.problems, specs, stored_directions))
    if plane.save_directions is not None:
        spanned.save(plane.save_directions)
    found = find_ranges(ranges, sizes, spanned, opened.problems[splits[0]], stored)
    with console.resumable(f"What was computed is in {path}."):
        result = evaluate_surface(
            opened.problems,
            spanned.planes,
            tuple(Axis(each["start"], each["stop"], size) for each, size in zip(found, sizes, strict=True)),
            normalization=spanned.normalization,
            direction_names=tuple(direction.name for direction in spanned.directions),
            marks=spanned.marks,
            explained_variance=explained_variance(spanned.directions),
            settings={**opened.settings, **spanned.settings, "ranges": found},
            sink=FileSink(path, resume=resume),
            progress=console.TerminalProgress(),
        )
    _show(result, path, as_json)


def _stored_surface(path: Path) -> Surface | None:
    """Return the surface in a file, if there is one; anything else is refused where it is to be continued."""
    from landscape.io.store import read_result
    from landscape.results import Surface

    found = read_result(path) if path.exists() else None
    return found if isinstance(found, Surface) else None


def _with_recorded_plan(problem: ProblemOptions, stored: Surface) -> ProblemOptions:
    """Return the options with the batch size that the surface was begun with, and set its thread count."""
    import torch

    plan = stored.provenance.plan
    torch.set_num_threads(plan["num_threads"])
    return dataclasses.replace(problem, batch_size=problem.batch_size or plan["batch_size"])


def _show(result: Surface, path: Path, as_json: bool) -> None:
    from landscape.topology import describe_topology

    lowest, highest = result.extremes()
    splits = {
        split: {
            "center_loss": result.center_loss[split],
            "center_accuracy": result.center_accuracy.get(split),
            "min_loss": lowest[split],
            "max_loss": highest[split],
            "topology": None if (found := describe_topology(result, split)) is None else dataclasses.asdict(found),
        }
        for split in result.splits
    }
    if as_json:
        shown = {"split": result.splits[0], **splits[result.splits[0]], "num_points": int(result.done.sum())}
        console.answer_json({"path": str(path), **shown, "splits": splits, "trajectory": _trajectory(result)})
        return
    rows = [
        [
            split,
            console.number(values["center_loss"]),
            console.percent(values["center_accuracy"]),
            console.number(values["min_loss"]),
            console.number(values["max_loss"]),
        ]
        for split, values in splits.items()
    ]
    points = "x".join(map(str, reversed(result.done.shape)))
    console.answer_table(
        f"Loss surface, {points} points, {result.provenance.num_parameters} parameters",
        ["split", "loss at center", "accuracy at center", "smallest loss", "largest loss"],
        rows,
    )
    for split, values in splits.items():
        _show_topology(split, values["topology"])
    _show_trajectory(result)
    console.answer(f"Saved to {path}. To draw it: landscape plot {path}")


def _show_topology(split: str, topology: dict[str, Any] | None) -> None:
    """Say how many basins there are, and what lies between marked checkpoints."""
    if topology is None:
        return
    number = console.number
    console.answer(
        f"Basins of the {split} loss, {number(topology['threshold'], 3)} deep at least: {topology['num_basins']}"
    )
    for ends, height in topology["barriers"].items():
        console.answer(f"Barrier of the {split} loss, {ends}: {number(height)}")


def _trajectory(result: Surface) -> dict[str, object] | None:
    """Return how well the plane shows the trajectory; None where there is none."""
    if not result.trajectory:
        return None
    explained = result.explained_variance
    return {
        "snapshots": [dataclasses.asdict(mark) for mark in result.trajectory],
        "explained_variance": None if explained is None else explained.tolist(),
        "largest_distance": result.largest_distance,
        "largest_loss_gap": result.largest_loss_gaps,
    }


def _show_trajectory(result: Surface) -> None:
    if not result.trajectory:
        return
    if result.explained_variance is not None:
        shares = ", ".join(
            f"{axis} {console.percent(share)}"
            for axis, share in zip("xy", result.explained_variance.tolist(), strict=False)
        )
        console.answer(f"Variance of the {len(result.trajectory)} snapshots that the directions explain: {shares}.")
    gaps = ", ".join(f"{split} {console.number(gap)}" for split, gap in result.largest_loss_gaps.items())
    console.answer(
        f"Farthest snapshot out of the plane: {console.number(result.largest_distance)}. "
        f"Largest |loss of a snapshot - loss where it is drawn|: {gaps}."
    )
