"""`landscape surface`: the loss on a line or a plane through a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import console
from ..options import CheckpointArgument, Force, Json, ProblemOptions, command
from ..outputs import default_output
from .options import PlaneOptions, WorkOptions


@command(
    PlaneOptions,
    ProblemOptions,
    WorkOptions,
    everyday=("x", "y", "dims", "range", "grid", "split", "samples", "out"),
)
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
    path = out or default_output(checkpoint, ".surface.h5")
    if console.is_restarted():  # by torchrun, after a process of this very run was lost
        resume, force = True, False
    with console.resumable(path):
        from .run import surface_of

        surface_of(
            checkpoint,
            plane,
            problem,
            work,
            split=split,
            grid=grid,
            path=path,
            resume=resume,
            force=force,
            as_json=as_json,
        )
