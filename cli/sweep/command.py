"""`landscape sweep`: the runs of a study, done, resumed, and summarised."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..options import Json, command


@command()
def sweep(
    ctx: typer.Context,
    study: Annotated[Path, typer.Argument(help="Study, a TOML file.", metavar="STUDY")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the runs and what they cost, and do none.")
    ] = False,
    report: Annotated[
        bool,
        typer.Option(
            "--report", help="Write tables and figures of what is finished, and do nothing else."
        ),
    ] = False,
    jobs: Annotated[
        int, typer.Option(min=1, help="Runs at a time, on this machine.", metavar="N")
    ] = 1,
    minutes: Annotated[
        float | None, typer.Option(help="Stop in time; the same command goes on.", metavar="N")
    ] = None,
    slurm: Annotated[
        bool,
        typer.Option(
            "--slurm", help="Queue the runs on a cluster, with the parameters in [slurm], and wait."
        ),
    ] = False,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            help="Import string in the study that may be run as code; repeatable.", metavar="CODE"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the study; by default as it says, else runs/STUDY.", metavar="DIR"
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Do the unfinished runs of a study, resuming each; exit 1 if any failed or is left."""
    from .runs import sweep_study

    assert ctx.parent is not None
    sweep_study(
        ctx.parent.command,
        study,
        out=out,
        allowed=allow or [],
        jobs=jobs,
        minutes=minutes,
        report=report,
        dry_run=dry_run,
        slurm=slurm,
        as_json=as_json,
    )
