"""`landscape info` and `convert`: what files hold, and their contents in another layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from landscape.errors import printable

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
