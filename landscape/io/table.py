"""Results as tables of comma-separated values, for spreadsheets and data frames."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from landscape.io.store import writing
from landscape.results.history import History
from landscape.results.sharpness import Measure, Sharpness, SharpnessComparison
from landscape.results.spectrum import CurvatureHistory, Spectrum
from landscape.results.surface import Surface

Columns: TypeAlias = dict[str, Iterable[Any]]
"""Name -> values, one per row."""


def write_table(
    path: Path,
    result: Surface | Spectrum | CurvatureHistory | Sharpness | SharpnessComparison | History,
) -> tuple[str, ...]:
    """Write a result as a table with a header, whole or not at all.

    A surface has a row for each point that is done, with its coordinates; several lines have a
    column `line` that counts them from 0. A spectrum has a row for each eigenvalue, the curvature
    along a run one for each snapshot that is done, sharpness one for each measure, a comparison of
    it one for each measure of each checkpoint, a history one for each epoch. Numbers read back as
    they were; NaN and inf are written as nan and inf.

    Returns:
        What the table cannot hold of the result, a sentence each.

    Raises:
        StoreError: If the file cannot be written; an older one of that name stays.
    """
    columns = _COLUMNS[type(result)](result)
    with writing(path) as beside, beside.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    if isinstance(result, SharpnessComparison):
        return _differences_left_out(result)
    return marks_left_out(result) if isinstance(result, Surface) else ()


def point_values(surface: Surface) -> dict[str, np.ndarray]:
    """Return the known values by name (loss_train, accuracy_train, ...), shaped as the surface."""
    splits = {
        "loss": surface.loss,
        "accuracy": surface.accuracy,
        "standard_error": surface.standard_error,
    }
    return {
        **{
            f"{name}_{split}": each for name, held in splits.items() for split, each in held.items()
        },
        **surface.maps,
    }


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


def marks_left_out(surface: Surface) -> tuple[str, ...]:
    """Say that the marks of a surface are not among its points, if it has any."""
    if not surface.marks:
        return ()
    return (f"Its {len(surface.marks)} marks are left out: they are no points of the grid.",)


def _of_surface(surface: Surface) -> Columns:
    at_points = {**point_coordinates(surface), **point_values(surface)}
    return {name: values[surface.done].tolist() for name, values in at_points.items()}


def _of_spectrum(spectrum: Spectrum) -> Columns:
    """Take what is known of each eigenvalue; columns that are not known are left out."""
    num_top, num_bottom = len(spectrum.eigenvalues), len(spectrum.bottom_eigenvalues)
    columns = {
        "eigenvalue": np.append(spectrum.eigenvalues, spectrum.bottom_eigenvalues),
        "residual": np.append(spectrum.residuals, spectrum.bottom_residuals),
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
        "lambda_bottom": history.bottom_eigenvalues,
        "residual_bottom": history.bottom_residuals,
    }
    names = ("epoch", "learning_rate", "loss", "converged", "num_matvecs", "overlaps")
    return {
        **{name: getattr(history, name)[done].tolist() for name in names},
        **{
            f"{name}_{i}": column[done].tolist()
            for name, each in by_end.items()
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


def _differences_left_out(comparison: SharpnessComparison) -> tuple[str, ...]:
    """Say that the differences and group values, if any, are not among the measures."""
    kinds = {"differences": comparison.differences, "values of groups": comparison.groups}
    return tuple(
        f"Its {len(each)} {name} are left out: they are no measures."
        for name, each in kinds.items()
        if each
    )


_COLUMNS: dict[type, Callable[[Any], Columns]] = {
    Surface: _of_surface,
    Spectrum: _of_spectrum,
    CurvatureHistory: _of_curvature_history,
    Sharpness: lambda sharpness: _of_measures(sharpness.measures),
    SharpnessComparison: _of_comparison,
    History: lambda history: {name: each.tolist() for name, each in history.columns.items()},
}
