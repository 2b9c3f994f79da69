"""`landscape sharpness`: how much the loss rises within a radius of checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from landscape.errors import require

from ..options import Force, Json, command
from .options import MeasurementOptions, parse_groups


@command(
    MeasurementOptions,
    everyday=("rho", "measures", "all_measures", "group", "split", "samples", "out"),
)
def sharpness(
    *,
    checkpoints: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Checkpoints; of several, the others are compared with the first.",
            metavar="CKPT...",
        ),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(
            help="Checkpoints of several seeds, in place of CKPT; repeatable.", metavar="NAME=FILES"
        ),
    ] = None,
    asked: MeasurementOptions,
    out: Annotated[
        Path | None, typer.Option(help="Results file (HDF5); by default nothing is saved.")
    ] = None,
    certify: Annotated[
        Path | None,
        typer.Option(help="Write the perturbations of max, for landscape verify.", metavar="FILE"),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Measure sharpness around checkpoints: L^Asc, L^Avg, L^Max, N-step and first-order."""
    groups = parse_groups(group or [])
    require(
        bool(groups) != bool(checkpoints),
        "sharpness needs checkpoints or groups of them, not both.",
        "Pass CKPT, or --group NAME=FILES twice.",
    )
    paths = [path for members in groups.values() for path in members] or list(checkpoints or [])
    from .run import sharpness_of

    sharpness_of(paths, groups, asked, out=out, certificate=certify, force=force, as_json=as_json)
