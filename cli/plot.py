"""`landscape plot`: figures from results files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from landscape.errors import InputError
from landscape.runtime.files import names_apart

from . import console
from .options import Force, Json
from .outputs import default_output, prepare_output


def plot(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Results files of one kind, or surfaces in Li et al.'s layout; several are drawn "
            "side by side.",
            metavar="FILE...",
        ),
    ],
    kind: Annotated[
        str | None,
        typer.Option(
            help="curve, contour, filled, heatmap, surface, trajectory (with the snapshots' "
            "losses), difference (of "
            "two files, the second minus the first), persistence (of the basins), merge-tree, "
            "eigenvalues, density (of "
            "them), layers (of the eigenvectors), history, curvature-history, sharpness (against "
            "the radius) or "
            "differences (of the sharpness of checkpoints, with intervals); chosen by the file if "
            "not given."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Figure (.png, .svg or .pdf) or interactive page (.html); by default FILE with "
            "the suffix .png."
        ),
    ] = None,
    labels: Annotated[
        list[str] | None, typer.Option(help="Title of each file, in order; repeatable.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Data split, or all of them, where the file holds several.")
    ] = None,
    quantity: Annotated[
        str, typer.Option(help="loss, accuracy, or a map in the file, such as lambda_max.")
    ] = "loss",
    title: Annotated[str | None, typer.Option(help="Title of the figure.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Draw surfaces, eigenvalues, training curves or sharpness; several on one shared scale."""
    path = out or default_output(files[0], ".png")
    titles = _labels(files, labels)
    prepare_output(path, force=force, inputs=files)
    from landscape.io.layouts import read_any
    from landscape.plot import draw, draw_page, save_figure, save_page

    results = [read_any(file)[0] for file in files]
    settings = {
        "labels": titles,
        "kind": kind,
        "split": split,
        "quantity": quantity,
        "title": title,
    }
    if path.suffix.lower() == ".html":
        save_page(draw_page(results, **settings), path)
    else:
        save_figure(draw(results, **settings), path)
    if as_json:
        console.answer_json({"files": list(map(str, files)), "out": str(path)})
    else:
        console.answer(str(path))


def _labels(files: Sequence[Path], given: list[str] | None) -> list[str]:
    """Return the labels given, or what tells the files' paths apart: their folder or their name."""
    if given:
        if len(given) != len(files):
            raise InputError(
                f"there must be one --labels for each file, got {len(given)} for {len(files)}."
            )
        return given
    return names_apart([file.with_name(file.name.removesuffix(".h5")) for file in files])
