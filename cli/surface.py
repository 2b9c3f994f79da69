"""`landscape surface`: the loss on a line or a plane through a checkpoint."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import console
from .options import (
    CheckpointArgument,
    Force,
    Json,
    ProblemOptions,
    Seed,
    expand,
    parse_grid,
    parse_range,
)
from .resolve import default_output, open_checkpoint, prepare_output, split_names

if TYPE_CHECKING:
    from landscape.results import Surface


@expand(ProblemOptions)
def surface(
    checkpoint: CheckpointArgument,
    problem: ProblemOptions,
    split: Annotated[str, typer.Option(help="Data split: train, test or both.")] = "train",
    dims: Annotated[int, typer.Option(min=1, max=2, help="Number of directions: 1 for a line, 2 for a plane.")] = 2,
    grid: Annotated[str, typer.Option(help="Points along each direction: N, or NxM for x and y.")] = "21",
    range_: Annotated[
        str, typer.Option("--range", help="Coordinates of both ends; 1 is one filter norm.", metavar="START:STOP")
    ] = "-1:1",
    normalization: Annotated[str, typer.Option(help="Of the directions: filter, layer or none.")] = "filter",
    seed: Seed = 0,
    points_per_pass: Annotated[
        int | None,
        typer.Option(
            min=1, help="Points whose weights go through a forward pass together; by default what is fastest here."
        ),
    ] = None,
    is_compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the forward pass (torch.compile), on CUDA into CUDA graphs.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Results file; by default CKPT's name with .surface.h5, beside it.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the results file where it stopped.")] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Compute the loss surface around a checkpoint in random filter-normalized directions."""
    path = out or default_output(checkpoint, ".surface.h5")
    sizes = parse_grid(grid, dims)
    start, stop = parse_range(range_)
    splits = split_names(split, can_be_both=True)
    prepare_output(path, force=force, resume=resume)

    from landscape.directions import random_directions
    from landscape.io.store import FileSink
    from landscape.plane import Plane
    from landscape.surface import Axis, evaluate_surface

    axes = tuple(Axis(start, stop, size) for size in sizes)
    if resume and path.exists():
        problem, points_per_pass = _with_recorded_plan(problem, points_per_pass, path)
    opened = open_checkpoint(checkpoint, problem, splits, points_per_pass=points_per_pass, is_compiled=is_compiled)
    first = opened.problems[splits[0]]
    directions = random_directions(dims, first.weights, first.spec, seed=seed, normalization=normalization)
    with console.resumable(f"What was computed is in {path}."):
        result = evaluate_surface(
            opened.problems,
            Plane(first.weights, directions),
            axes,
            normalization=normalization,
            settings={**opened.settings, "seed": seed},
            sink=FileSink(path, resume=resume),
            progress=console.TerminalProgress(),
        )
    _show(result, path, as_json)


def _with_recorded_plan(
    problem: ProblemOptions, points_per_pass: int | None, path: Path
) -> tuple[ProblemOptions, int | None]:
    """Return the options, and the points per pass, that the file was begun with, and set its thread count."""
    import torch

    from landscape.io.store import read_result
    from landscape.results import Surface

    stored = read_result(path)
    if not isinstance(stored, Surface):
        return problem, points_per_pass
    plan = stored.provenance.plan
    torch.set_num_threads(plan["num_threads"])
    options = dataclasses.replace(problem, batch_size=problem.batch_size or plan["batch_size"])
    return options, points_per_pass or plan.get("points_per_pass", 1)


def _show(result: Surface, path: Path, as_json: bool) -> None:
    lowest, highest = result.extremes()
    splits = {
        split: {
            "center_loss": result.center_loss[split],
            "center_accuracy": result.center_accuracy.get(split),
            "min_loss": lowest[split],
            "max_loss": highest[split],
        }
        for split in result.splits
    }
    if as_json:
        shown = {"split": result.splits[0], **splits[result.splits[0]], "num_points": int(result.done.sum())}
        console.answer_json({"path": str(path), **shown, "splits": splits})
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
    console.answer(f"Saved to {path}. To draw it: landscape plot {path}")
