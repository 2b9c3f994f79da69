"""`landscape compare`: a table, figures and a page of several checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import console
from ..options import Force, Json, ProblemOptions, Seed, command
from .options import ReportOptions


@command(
    ProblemOptions,
    ReportOptions,
    everyday=("labels", "rho", "samples", "quick", "minutes", "out"),
)
def compare(
    checkpoints: Annotated[
        list[Path],
        typer.Argument(
            help="Checkpoints, in the order of the table; differences are to the first.",
            metavar="CKPT...",
        ),
    ],
    problem: ProblemOptions,
    what: ReportOptions,
    labels: Annotated[
        list[str] | None,
        typer.Option(help="Name of each checkpoint, in order; repeatable.", metavar="NAME"),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the report.", metavar="DIR")] = Path(
        "report"
    ),
    seed: Seed = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Take the results that the folder has already.")
    ] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Compare the losses, curvature, sharpness and surfaces of checkpoints in one report."""
    with console.resumable(out / "results"):
        from .run import compare_checkpoints

        compare_checkpoints(
            checkpoints,
            problem,
            what,
            labels=labels,
            out=out,
            seed=seed,
            resume=resume,
            force=force,
            as_json=as_json,
        )
