"""The options of `landscape compare`."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer


@dataclasses.dataclass(frozen=True)
class ReportOptions:
    """What is measured."""

    rho: Annotated[
        str | None,
        typer.Option(
            help="Radii of the sharpness measures, as for landscape sharpness; the table has the "
            "middle one. "
            "By default 0.01,0.02,0.05,0.1,0.2.",
            show_default=False,
        ),
    ] = None
    p: Annotated[str, typer.Option(help="Norm of the balls: 1, 2, inf or any number between.")] = (
        "2"
    )
    adaptive: Annotated[
        bool, typer.Option("--adaptive", help="Scale the balls by |w| + 0.01, as ASAM does.")
    ] = False
    grid: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Points along each direction of the surfaces; by default 21.",
            show_default=False,
        ),
    ] = None
    range: Annotated[
        str,
        typer.Option(help="Coordinates of both ends of lines and planes.", metavar="START:STOP"),
    ] = "-1:1"
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="A first look: 256 examples, 9 points, few radii, directions and products.",
        ),
    ] = False
    minutes: Annotated[
        float | None,
        typer.Option(
            help="Stop after this many minutes with what is known; --resume continues.",
            metavar="N",
        ),
    ] = None
