"""The options of `landscape surface`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from landscape.directions.spec import FORMS

from ..options import Seed


@dataclasses.dataclass(frozen=True)
class PlaneOptions:
    """Which line or plane."""

    x: Annotated[
        str | None,
        typer.Option(
            help=f"First direction: {', '.join(FORMS.values())}; by default random.",
            metavar="KIND",
        ),
    ] = None
    y: Annotated[
        str | None,
        typer.Option(
            help="Second direction, as for --x; by default random, or with pca:DIR its second.",
            metavar="KIND",
        ),
    ] = None
    dims: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=2,
            help="Number of directions: 1 for a line, 2 for a plane; by default 2, or as in "
            "--directions.",
        ),
    ] = None
    range: Annotated[
        str | None,
        typer.Option(
            help="Coordinates of both ends, for x and y together (-1:1) or apart (-1:1,-0.5:2); "
            "or marked (all checkpoints and snapshots, and 15 % more on each side), auto (up to 5 "
            "times the loss at the center, and all that is marked) or auto:N (N times). By default "
            "-1:1 along random and stored directions, where 1 is one filter norm; marked along to: "
            "and pca:; auto along others.",
            metavar="START:STOP",
        ),
    ] = None
    normalization: Annotated[
        str, typer.Option(help="Normalization of random directions: filter, layer or none.")
    ] = "filter"
    with_1d: Annotated[
        bool,
        typer.Option(
            "--with-1d",
            help="Let random directions move biases and other 1-D tensors too, each scaled to its "
            "own norm.",
        ),
    ] = False
    seed: Seed = 0
    repeats: Annotated[
        int,
        typer.Option(
            min=1, help="Number of random directions, one line each; with --dims 1.", metavar="N"
        ),
    ] = 1
    directions: Annotated[
        Path | None,
        typer.Option(
            help="Evaluate on the directions in this file, exactly as stored, around CKPT.",
            metavar="FILE",
        ),
    ] = None
    save_directions: Annotated[
        Path | None,
        typer.Option(help="Write the directions to this file, for --directions.", metavar="FILE"),
    ] = None


@dataclasses.dataclass(frozen=True)
class WorkOptions:
    """What is measured, and how long that may take."""

    refine: Annotated[
        float | None,
        typer.Option(
            help="Interpolate points instead of computing them where the estimated relative error "
            "is below this.",
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
            help="Stop after this many minutes with the best picture so far; --resume continues.",
            metavar="N",
        ),
    ] = None
    points_per_pass: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Grid points evaluated per forward pass; by default the fastest number, measured "
            "at the start.",
        ),
    ] = None
    compile: Annotated[
        bool,
        typer.Option(
            "--compile", help="Compile the forward pass (torch.compile), on CUDA into CUDA graphs."
        ),
    ] = False
