"""`landscape info`: what a file holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from . import console
from .options import Json

_TABLES = (
    "splits", "maps", "directions", "marks", "checkpoints", "measures", "rescaled", "differences",
    "groups", "certificates", "blocks", "folds", "snapshots",
)  # fmt: skip
_EMPTY = (None, "", [], (), {})
_LEFT_TO_JSON = ("tensors", "cosines", "layer_shares", "alignment", "file", "kind")


def info(
    file: Annotated[
        Path,
        typer.Argument(
            help="Results file, file in Li et al.'s layout, or checkpoint.", metavar="FILE"
        ),
    ],
    as_json: Json = False,
) -> None:
    """Say what a results file or a checkpoint holds: extent, values, directions and origin."""
    from landscape.io.description import describe_file

    found = describe_file(file)
    if as_json:
        console.answer_json(found)
        return
    tables = {name: _rows(found[name]) for name in _TABLES if found.get(name)}
    rest = {name: value for name, value in found.items() if name not in (*_TABLES, *_LEFT_TO_JSON)}
    provenance = rest.pop("provenance", {})
    console.answer(f"{file}: {found['kind']}")
    _answer_lines(list(_flat(rest)))
    for name, rows in tables.items():
        console.answer(name)
        _answer_lines([list(rows[0]), *([_shown(value) for value in row.values()] for row in rows)])
    if provenance:
        console.answer("provenance")
        _answer_lines(list(_flat(provenance)))


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
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
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
