"""The layouts of files that results come from and can be converted to: ours and others'.

A table of comma-separated values is for spreadsheets and data frames. Meshes, which have heights
and colours as figures have them, are in `landscape.plot.mesh_files`.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from landscape.errors import require
from landscape.io import li2018
from landscape.io.store import RESULT_KINDS, Result, kind_of, read_result, write_result
from landscape.results.display import label_cell
from landscape.results.eigenvalue_history import CurvatureHistory
from landscape.results.history import History
from landscape.results.sharpness import Measure, Sharpness, SharpnessComparison
from landscape.results.spectrum import Spectrum
from landscape.results.surface import Directions, Surface
from landscape.runtime.files import writing

Writer: TypeAlias = Callable[[Path, Any], tuple[str, ...] | None]
"""Writes a result, and says what of it is lost, if anything."""

Columns: TypeAlias = dict[str, Iterable[Any]]
"""Name -> values, one per row."""

_NOT_ROWS = {
    "marks": "marks are left out: they are no points of the grid",
    "differences": "differences are left out: they are no measures",
    "groups": "values of groups are left out: they are no measures",
}
"""Attribute that neither a table nor a mesh holds -> what is said of it, after their number."""


def write_table(
    path: Path,
    result: Surface | Spectrum | CurvatureHistory | Sharpness | SharpnessComparison | History,
) -> tuple[str, ...]:
    """Write a result as a table with a header, whole or not at all.

    A surface has a row for each point that is done, with its coordinates; several lines have a
    column `line` that counts them from 0. A spectrum has a row for each eigenvalue, the curvature
    along a run one for each snapshot that is done, sharpness one for each measure, a comparison of
    it one for each measure of each checkpoint, a history one for each epoch. Numbers read back as
    they were; NaN and inf are written as nan and inf. A name that a spreadsheet would take for a
    formula has an apostrophe before it.

    Returns:
        What the table cannot hold of the result, a sentence each.

    Raises:
        StoreError: If the file cannot be written; an older one of that name stays.
    """
    columns = _COLUMNS[type(result)](result)
    with writing(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(map(label_cell, columns))
        for row in zip(*columns.values(), strict=True):
            writer.writerow(label_cell(cell) if isinstance(cell, str) else cell for cell in row)
    return left_out(result)


def left_out(result: Result) -> tuple[str, ...]:
    """Say what of a result neither a table nor a mesh holds, a sentence each."""
    counts = {name: len(getattr(result, name, ())) for name in _NOT_ROWS}
    return tuple(
        f"Its {counts[name]} {sentence}." for name, sentence in _NOT_ROWS.items() if counts[name]
    )


def point_values(surface: Surface) -> dict[str, np.ndarray]:
    """Return the known values by name (loss_train, accuracy_train, ...), shaped as the surface."""
    by_split = {
        f"{name}_{split}": values
        for name in ("loss", "accuracy", "standard_error")
        for split, values in getattr(surface, name).items()
    }
    return {**by_split, **surface.maps}


def point_coordinates(surface: Surface) -> dict[str, np.ndarray]:
    """Return the coordinates of every point by name, each shaped as the surface.

    The names are `x`, and `y` for a plane or `line` for several lines.
    """
    if surface.y is not None:
        x, y = np.meshgrid(surface.x, surface.y)
        return {"x": x, "y": y}
    if surface.done.ndim == 1:
        return {"x": surface.x}
    lines, x = np.meshgrid(np.arange(len(surface.done)), surface.x, indexing="ij")
    return {"line": lines, "x": x}


def _of_surface(surface: Surface) -> Columns:
    at_points = {**point_coordinates(surface), **point_values(surface)}
    return {name: values[surface.done].tolist() for name, values in at_points.items()}


def _of_spectrum(spectrum: Spectrum) -> Columns:
    """Take what is known of each eigenvalue; columns that are not known are left out."""
    num_top, num_bottom = len(spectrum.eigenvalues), len(spectrum.bottom_eigenvalues)
    columns = {
        "eigenvalue": np.append(spectrum.eigenvalues, spectrum.bottom_eigenvalues),
        "residual": np.append(spectrum.residuals, spectrum.bottom_residuals),
        "rounding": np.append(spectrum.rounding, spectrum.bottom_rounding),
        "estimate": np.append(spectrum.estimates, spectrum.bottom_estimates),
        "gradient_overlap": spectrum.gradient_overlaps,
        **{f"share_{name}": shares for name, shares in spectrum.layer_shares.items()},
    }
    known = {
        name: values.tolist()
        for name, values in columns.items()
        if len(values) == num_top + num_bottom
    }
    return {"end": ["top"] * num_top + ["bottom"] * num_bottom, **known}


def _of_curvature_history(history: CurvatureHistory) -> Columns:
    """Number the eigenvalues of a snapshot from 1 at each end."""
    done = history.done.astype(bool)
    by_end = {
        "lambda_top": history.eigenvalues,
        "residual_top": history.residuals,
        "rounding_top": history.rounding,
        "lambda_bottom": history.bottom_eigenvalues,
        "residual_bottom": history.bottom_residuals,
        "rounding_bottom": history.bottom_rounding,
    }
    names = ("learning_rate", "loss", "converged", "num_matvecs", "overlaps")
    return {
        history.unit: history.epoch[done].tolist(),
        **{name: getattr(history, name)[done].tolist() for name in names},
        **{
            f"{name}_{i}": column[done].tolist()
            for name, each in by_end.items()
            if each.size
            for i, column in enumerate(each.T, 1)
        },
    }


def _of_measures(measures: Sequence[Measure]) -> Columns:
    return {
        field.name: [getattr(measure, field.name) for measure in measures]
        for field in fields(Measure)
    }


def _of_comparison(comparison: SharpnessComparison) -> Columns:
    """Put the checkpoint's name before its measures, and its group's name if there are groups."""
    counts = [len(each.measures) for each in comparison.checkpoints]
    names = {"checkpoint": comparison.names, "group": comparison.group_of}
    measures = [measure for each in comparison.checkpoints for measure in each.measures]
    return {
        **{key: np.repeat(held, counts).tolist() for key, held in names.items() if held},
        **_of_measures(measures),
    }


_COLUMNS: dict[type, Callable[[Any], Columns]] = {
    Surface: _of_surface,
    Spectrum: _of_spectrum,
    CurvatureHistory: _of_curvature_history,
    Sharpness: lambda sharpness: _of_measures(sharpness.measures),
    SharpnessComparison: _of_comparison,
    History: lambda history: {name: each.tolist() for name, each in history.columns.items()},
}


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
    "landscape": Layout(".landscape.h5", dict.fromkeys(RESULT_KINDS.values(), write_result)),
    "li2018": Layout(
        ".li2018.h5", {Surface: li2018.write_surface, Directions: li2018.write_directions}
    ),
    "csv": Layout(".csv", dict.fromkeys(_COLUMNS, write_table)),
}
"""Name -> layout."""

_THEIRS: dict[str, Callable[[Path], Result]] = {
    "surface": li2018.read_surface,
    "directions": li2018.read_directions,
}


def find_layout(name: str, layouts: Mapping[str, Layout] = LAYOUTS) -> Layout:
    """Return a layout by name, of those given.

    Raises:
        InputError: Listing the names, if it is none of them.
    """
    require(
        name in layouts,
        f"`to` must be one of {', '.join(layouts)}, got {name!r}.",
        hint="Pass `to='csv'`.",
    )
    return layouts[name]


def read_any(path: Path) -> tuple[Result, str]:
    """Read a result in our layout or that of Li et al.'s code, told apart by what is in the file.

    Returns:
        The result, and the name of its layout.

    Raises:
        StoreError: If the file is missing, damaged, or in neither layout.
    """
    theirs = li2018.holds(path)
    return (_THEIRS[theirs](path), "li2018") if theirs else (read_result(path), "landscape")


def convert(
    source: Path, target: Path, to: str, layouts: Mapping[str, Layout] = LAYOUTS
) -> tuple[str, ...]:
    """Write a result in another layout, whole or not at all.

    Args:
        source: A results file of ours, or a surface or direction file in Li et al.'s layout.
        target: The file to write.
        to: A key of the layouts.
        layouts: Those that are known, by name.

    Returns:
        What the layout cannot hold of the result, a sentence each.

    Raises:
        InputError: If the layout is unknown or is not for this kind of result.
        StoreError: If a file cannot be read or written.
    """
    layout = find_layout(to, layouts)
    result, _ = read_any(source)
    fitting = [name for name, each in layouts.items() if type(result) in each.writers]
    require(
        to in fitting,
        f"the layout {to} is not for a {kind_of(result)} file, got {source}.",
        hint=f"Pass {' or '.join(f'`to={name!r}`' for name in fitting)}.",
    )
    return layout.writers[type(result)](target, result) or ()
