"""`landscape convert`: results in other programs' layouts, and theirs in ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import console
from .options import Force, Json
from .outputs import default_output, prepare_output


def convert(
    file: Annotated[
        Path,
        typer.Argument(
            help="Results file, or a surface or direction file in Li et al.'s layout.",
            metavar="FILE",
        ),
    ],
    to: Annotated[
        str,
        typer.Option(
            help="li2018 (Li et al.'s HDF5), vtk (for ParaView), csv, or landscape (ours).",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write; by default FILE with .li2018.h5, .vtu, .csv or .landscape.h5."
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write a results file in another layout, or Li et al.'s file in ours."""
    from landscape.io import layouts

    path = out or default_output(file, layouts.find_layout(to).suffix)
    prepare_output(path, force=force, inputs=[file])
    remarks = layouts.convert(file, path, to)
    for remark in remarks:
        console.say(remark)
    if as_json:
        console.answer_json(
            {"file": str(file), "out": str(path), "layout": to, "remarks": list(remarks)}
        )
    else:
        console.answer(str(path))
