"""`landscape animate`: films of surfaces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import landscape.plot as figures

from .. import console
from ..options import Force, Json, command
from ..outputs import prepare_output
from .options import LookOptions, StyleOptions


@command(
    LookOptions,
    StyleOptions,
    everyday=("out", "along", "kind", "seconds", "labels", "title", "style", "width"),
    has_details=False,
)
def animate(
    asked: LookOptions,
    sizes: StyleOptions,
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Surface on a plane, or several that follow each other, one per snapshot.",
            metavar="FILE...",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(help="Film: .gif, .mp4 (needs ffmpeg), or .html (a page with the film)."),
    ] = Path("film.gif"),
    along: Annotated[
        str | None,
        typer.Option(
            help="What moves: path (the trajectory grows), files (one follows another) or turn "
            "(around the relief). Default: files of several, path of one with snapshots, else "
            "turn.",
            show_default=False,
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            help="filled, contour, heatmap or surface. Default: surface of a turn, else filled.",
            show_default=False,
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(help="Length of the film, at most 60.")] = 6.0,
    labels: Annotated[
        list[str] | None,
        typer.Option(help="Name of each file, in order, over its frame; repeatable."),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title of the film.")] = None,
    split: Annotated[
        str | None, typer.Option(help="Data split; by default the first.", show_default=False)
    ] = None,
    quantity: Annotated[
        str, typer.Option(help="loss, accuracy, or a map in the file, such as lambda_max.")
    ] = "loss",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write a film of surfaces, with one scale and one size in all frames."""
    from .run import group_files

    (group,) = group_files(files, [], None, labels)
    with figures.use_style(sizes.style, width=sizes.width, dpi=sizes.dpi, font=sizes.font):
        prepare_output(out, force=force, inputs=files)
        num_frames = figures.animate(
            group.read(),
            out,
            along=along,
            kind=kind,
            labels=labels,
            split=split,
            quantity=quantity,
            title=title,
            look=asked.look(),
            seconds=seconds,
        )
    if as_json:
        answer = {"files": list(map(str, files)), "out": str(out), "num_frames": num_frames}
        console.answer_json(answer)
    else:
        console.answer(str(out))
