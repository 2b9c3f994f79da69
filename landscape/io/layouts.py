"""The layouts of files that results come from and can be converted to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landscape.errors import InputError
from landscape.io import li2018
from landscape.io.store import RESULT_KINDS, Result, kind_of, read_result, write_result
from landscape.io.table import write_table
from landscape.io.vtk import write_mesh
from landscape.results.history import History
from landscape.results.sharpness import Sharpness, SharpnessComparison
from landscape.results.spectrum import CurvatureHistory, Spectrum
from landscape.results.surface import Directions, Surface

Writer = Callable[[Path, Any], tuple[str, ...]]
"""Writes a result, and says what of it is lost."""


def _write_ours(path: Path, result: Result) -> tuple[str, ...]:
    write_result(path, result)
    return ()


@dataclass(frozen=True)
class Layout:
    """A layout that results can be written in.

    Attributes:
        suffix: Suffix of its files.
        writers: Class of result -> function that writes it.
    """

    suffix: str
    writers: Mapping[type, Writer]


LAYOUTS: dict[str, Layout] = {
    "landscape": Layout(".landscape.h5", dict.fromkeys(RESULT_KINDS.values(), _write_ours)),
    "li2018": Layout(
        ".li2018.h5", {Surface: li2018.write_surface, Directions: li2018.write_directions}
    ),
    "vtk": Layout(".vtu", {Surface: write_mesh}),
    "csv": Layout(
        ".csv",
        dict.fromkeys(
            (Surface, Spectrum, CurvatureHistory, Sharpness, SharpnessComparison, History),
            write_table,
        ),
    ),
}
"""Name -> layout."""

_THEIRS: dict[str, Callable[[Path], Result]] = {
    "surface": li2018.read_surface,
    "directions": li2018.read_directions,
}


def find_layout(name: str) -> Layout:
    """Return a layout by name.

    Raises:
        InputError: Listing the names, if it is none of them.
    """
    if name not in LAYOUTS:
        raise InputError(
            f"`to` must be one of {', '.join(LAYOUTS)}, got {name!r}.", hint="Pass `to='csv'`."
        )
    return LAYOUTS[name]


def read_any(path: Path) -> tuple[Result, str]:
    """Read a result in our layout or that of Li et al.'s code, told apart by what is in the file.

    Returns:
        The result, and the name of its layout.

    Raises:
        StoreError: If the file is missing, damaged, or in neither layout.
    """
    theirs = li2018.holds(path)
    return (_THEIRS[theirs](path), "li2018") if theirs else (read_result(path), "landscape")


def convert(source: Path, target: Path, to: str) -> tuple[str, ...]:
    """Write a result in another layout, whole or not at all.

    Args:
        source: A results file of ours, or a surface or direction file in Li et al.'s layout.
        target: The file to write.
        to: A key of `LAYOUTS`.

    Returns:
        What the layout cannot hold of the result, a sentence each.

    Raises:
        InputError: If the layout is unknown or is not for this kind of result.
        StoreError: If a file cannot be read or written.
    """
    layout = find_layout(to)
    result, _ = read_any(source)
    if type(result) not in layout.writers:
        fitting = [name for name, other in LAYOUTS.items() if type(result) in other.writers]
        raise InputError(
            f"the layout {to} is not for a {kind_of(result)} file, got {source}.",
            hint=f"Pass {' or '.join(f'`to={name!r}`' for name in fitting)}.",
        )
    return layout.writers[type(result)](target, result)
