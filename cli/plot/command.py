"""`landscape plot`: figures and interactive pages of results files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import landscape.plot as figures
from landscape.errors import require
from landscape.runtime.seal import is_own_figure

from .. import console
from ..options import Force, Json, command
from ..outputs import default_output, prepare_output
from .options import LookOptions, StyleOptions


@command(
    LookOptions,
    StyleOptions,
    everyday=("kind", "out", "labels", "title", "split", "panel", "style", "width"),
    has_details=False,
)
def plot(
    asked: LookOptions,
    sizes: StyleOptions,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Results files of one kind, or surfaces in Li et al.'s layout; several are drawn "
            "side by side.",
            metavar="FILE...",
            show_default=False,
        ),
    ] = None,
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
            help="Figure (.png, .svg, .pdf, or .pgf for LaTeX) or interactive page (.html); by "
            "default FILE with the suffix .png."
        ),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            help="Name of each file, in order; repeatable. Without it, panels of several files "
            "have letters, and curves short names of the files."
        ),
    ] = None,
    title: Annotated[
        str | None, typer.Option(help="Title of the figure; by default it has none.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Data split, or all of them, where the file holds several.")
    ] = None,
    panel: Annotated[
        list[str] | None,
        typer.Option(
            help="Instead of FILE: a file and its kind as one panel of a figure of different "
            "kinds, with a letter; repeatable. FILE+FILE:KIND draws two in one panel.",
            metavar="FILE[:KIND]",
        ),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(help="Rows of such panels; by default two panels fill the width of a text."),
    ] = None,
    quantity: Annotated[
        str, typer.Option(help="loss, accuracy, or a map in the file, such as lambda_max.")
    ] = "loss",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Draw surfaces, eigenvalues, training curves or sharpness; several on one shared scale.

    A figure that this command wrote is replaced if nobody has changed it; other files need --force.
    """
    from .run import draw_page, draw_panels, draw_results, group_files

    groups = group_files(files or [], panel or [], kind, labels)
    require(panel or rows is None, "rows are those of panels.", hint="Pass --panel for each file.")
    every = [file for group in groups for file in group.files]
    path = out or default_output(every[0], ".png")
    look = asked.look()
    is_page = path.suffix.lower() == ".html"
    require(
        not is_page or (look == figures.Look() and sizes == StyleOptions() and not panel),
        "levels, scales, clip, colours, view, sizes and panels are of figures, not of an "
        "interactive page.",
        hint="Leave the options out, or draw a .png, .svg, .pdf or .pgf.",
    )
    settings = {"split": split, "quantity": quantity, "title": title}
    said = ""
    with figures.use_style(sizes.style, width=sizes.width, dpi=sizes.dpi, font=sizes.font):
        prepare_output(path, force=force or is_own_figure(path), inputs=every)
        if is_page:
            figures.save_page(draw_page(groups[0], settings), path)
        else:
            settings["look"] = look
            figure = (
                draw_panels(groups, rows, settings) if panel else draw_results(groups[0], settings)
            )
            figures.save_figure(figure, path)
            said = str(figure.get_label())
    if as_json:
        console.answer_json({"files": list(map(str, every)), "out": str(path), "scale": said})
    else:
        if said:
            console.say(f"{said}.")
        console.answer(str(path))
