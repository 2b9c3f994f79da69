"""`landscape info`, `convert` and `plot`: the commands that read files and compute nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import landscape.plot as figures
from landscape.errors import printable, require, require_in_limits
from landscape.runtime.files import names_apart
from landscape.runtime.seal import is_own_figure

from . import console
from .options import Force, Json, command
from .outputs import default_output, prepare_output

_TABLES = (
    "splits", "maps", "directions", "marks", "checkpoints", "measures", "rescaled", "differences",
    "groups", "certificates", "blocks", "folds", "snapshots",
)  # fmt: skip
_EMPTY = (None, "", [], (), {})
_LEFT_TO_JSON = ("tensors", "cosines", "layer_shares", "alignment", "file", "kind")


@command()
def info(
    file: Annotated[
        Path,
        typer.Argument(
            help="Results file, file in Li et al.'s layout, or checkpoint.", metavar="FILE"
        ),
    ],
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Also say whether every byte is known to be as it was written; a damaged file is "
            "an error in any case.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what a results file or a checkpoint holds: extent, values, directions and origin."""
    from landscape.io.description import describe_file

    found = describe_file(file, check=check)
    if as_json:
        console.answer_json(found)
        return
    tables = {name: _rows(found[name]) for name in _TABLES if found.get(name)}
    rest = {name: value for name, value in found.items() if name not in (*_TABLES, *_LEFT_TO_JSON)}
    if "last_epoch" in rest and not rest["last_epoch"].get("test_top5_error"):
        rest["last_epoch"] = {**rest["last_epoch"], "test_top5_error": None}  # at most 5 classes
    provenance = rest.pop("provenance", {})
    recorded = {**found.get("settings", {}), **found.get("recipe", {})}.get("loss")
    loss = provenance.get("loss_function") or recorded
    console.answer(f"{file}: {found['kind']}{f', loss {loss}' if loss else ''}")
    if words := _in_words(file, found):
        console.answer(words)
    _answer_lines(list(_flat(rest)))
    for name, rows in tables.items():
        console.answer(name)
        _answer_lines([list(rows[0]), *([_shown(value) for value in row.values()] for row in rows)])
    if provenance:
        console.answer("provenance")
        _answer_lines(list(_flat(provenance)))


def _in_words(file: Path, found: Mapping[str, Any]) -> str:
    """Return the first sentence about what a file holds; empty where there is none."""
    if found["kind"] == "checkpoint":
        return _checkpoint_in_words(found)
    from landscape.io.layouts import read_any
    from landscape.surface.surface_headlines import result_headline

    return result_headline(read_any(file)[0])


def _checkpoint_in_words(found: Mapping[str, Any]) -> str:
    """Return what was trained, for how long, and how."""
    settings, recipe = found.get("settings", {}), found["recipe"]
    what = _shown(recipe.get("model") or f"{found['num_values']:,} values")
    data = f" for {_shown(recipe['data'])}" if recipe.get("data") else ""
    if not settings.get("optim"):
        return f"{what}{data}; how it was trained is not recorded."
    names = ("optim", "base", "rho", "lr", "weight_decay")
    optim, base, *rest = (settings.get(name) for name in names)
    values = [
        f"{word} {_shown(value)}"
        for word, value in zip(("rho", "learning rate", "weight decay"), rest, strict=True)
        if value is not None
    ]
    around = f" around {_shown(base)}" if base else ""
    return (
        f"{what}{data}, after epoch {_shown(found.get('epoch'))} of training with "
        f"{', '.join([f'{_shown(optim)}{around}', *values])}."
    )


def _rows(
    items: Mapping[str, Mapping[str, Any]] | Sequence[Mapping[str, Any]],
) -> list[Mapping[str, Any]]:
    """Return one row per item, led by its name if it has one, without empty columns."""
    rows = (
        [{"name": key, **item} for key, item in items.items()]
        if isinstance(items, Mapping)
        else list(items)
    )
    empty = [name for name in rows[0] if all(row[name] in _EMPTY for row in rows)]
    return [{name: value for name, value in row.items() if name not in empty} for row in rows]


def _answer_lines(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of words, column below column."""
    shown = [[printable(word) for word in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        words = (word.ljust(width) for word, width in zip(row, widths, strict=True))
        console.answer(f"  {'  '.join(words)}".rstrip())


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted names and values, those that are missing or empty left out."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif value not in _EMPTY:
            yield f"{prefix}{name}", _shown(value)


def _shown(value: Any) -> str:
    """Write a value of a description as one word, or several in a row."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_shown(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(_shown, value))
    if isinstance(value, float) or value is None:
        return console.number(value)
    return str(value)


@command()
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
            help="li2018 (Li et al.'s HDF5), vtk (a lifted mesh for ParaView), gltf, obj or ply "
            "(for Blender), csv, or landscape (ours).",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write; by default FILE with .li2018.h5, .vtu, .glb, .obj, .ply, .csv or "
            ".landscape.h5."
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write a results file in another layout, or Li et al.'s file in ours."""
    from landscape.io.layouts import convert as write_as
    from landscape.io.layouts import find_layout
    from landscape.plot.mesh_files import ALL_LAYOUTS

    path = out or default_output(file, find_layout(to, ALL_LAYOUTS).suffix)
    prepare_output(path, force=force, inputs=[file])
    remarks = write_as(file, path, to, ALL_LAYOUTS)
    for remark in remarks:
        console.say(remark)
    if as_json:
        console.answer_json(
            {"file": str(file), "out": str(path), "layout": to, "remarks": list(remarks)}
        )
    else:
        console.answer(str(path))


@command()
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
    levels: Annotated[
        str,
        typer.Option(
            help="Contour lines: about how many, or their values (0.1,0.5,1).", metavar="N|VALUES"
        ),
    ] = "12",
    scale: Annotated[
        str | None,
        typer.Option(
            help="What lines and colours are even in: linear, log, or excess (the logarithm of "
            "value - lowest value + an offset); by default the first that spreads the values.",
            show_default=False,
        ),
    ] = None,
    clip: Annotated[
        str | None,
        typer.Option(
            help="Largest value that is told apart; auto: the median on the border of the plane, "
            "where corners are far above it. By default the largest value.",
            metavar="MAX|auto",
        ),
    ] = None,
    colormap: Annotated[
        str | None,
        typer.Option(help="Colour map of matplotlib; by default viridis, RdBu_r for differences."),
    ] = None,
    no_labels: Annotated[
        bool, typer.Option("--no-labels", help="Leave contour lines without their values.")
    ] = False,
    view: Annotated[
        str | None,
        typer.Option(
            help="From where the kind surface is seen: elevation (10 to 70) and azimuth in "
            "degrees; by default from where its lowest point can be seen.",
            metavar="ELEV:AZIM",
        ),
    ] = None,
    zscale: Annotated[
        str | None,
        typer.Option(
            help="Scale of the heights of the kind surface: linear, log or excess; by default that "
            "of its colours.",
            show_default=False,
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Draw surfaces, eigenvalues, training curves or sharpness; several on one shared scale.

    A figure that this command wrote is replaced if nobody has changed it; other files need --force.
    """
    path = out or default_output(files[0], ".png")
    titles = labels or names_apart(
        [file.with_name(file.name.removesuffix(".h5")) for file in files]
    )
    require(
        len(titles) == len(files),
        f"there must be one --labels for each file, got {len(titles)} for {len(files)}.",
    )
    look = figures.Look(
        figures.parse_levels(levels),
        scale,
        figures.parse_clip(clip),
        colormap,
        no_labels,
        figures.parse_view(view),
        zscale,
    )
    is_page = path.suffix.lower() == ".html"
    require(
        not is_page or look == figures.Look(),
        "levels, scales, clip, colours and view are chosen on an interactive page itself.",
        hint="Leave the options out, or draw a .png, .svg or .pdf.",
    )
    prepare_output(path, force=force or is_own_figure(path), inputs=files)
    from landscape.io.layouts import read_any

    require_in_limits({"number of results in a figure": len(files)})
    results = [read_any(file)[0] for file in files]
    settings = {
        "labels": titles,
        "kind": kind,
        "split": split,
        "quantity": quantity,
        "title": title,
    }
    said = ""
    if is_page:
        figures.save_page(figures.draw_page(results, **settings), path)
    else:
        figure = figures.draw(results, **settings, look=look)
        figures.save_figure(figure, path)
        said = str(figure.get_label())
    if as_json:
        console.answer_json({"files": list(map(str, files)), "out": str(path), "scale": said})
    else:
        if said:
            console.say(f"{said}.")
        console.answer(str(path))
