"""The figures of a report: every checkpoint in each, on one scale."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from landscape.errors import InputError
from landscape.plot import draw, save_figure
from landscape.report.document import Report
from landscape.report.entry import Entry
from landscape.results.sharpness import SharpnessComparison

_MEDIA_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}


@dataclass(frozen=True)
class Figure:
    """A figure of a report: what it shows, and, once it is drawn, where.

    Attributes:
        name: Of its file, without the suffix.
        title: Of its section.
        caption: What it shows.
        kind: What `landscape plot` calls it.
        result: Name of the result that it is drawn from.
        suffix: Of its file.
        path: Its file.
        width: In inches.
        sources: Files that it was drawn from.
    """

    name: str
    title: str
    caption: str
    kind: str
    result: str
    suffix: str = ".svg"
    path: Path = Path()
    width: float = 0.0
    sources: tuple[Path, ...] = ()

    @property
    def data_uri(self) -> str:
        """The figure itself, as a page holds it."""
        content = base64.b64encode(self.path.read_bytes()).decode("ascii")
        return f"data:{_MEDIA_TYPES[self.suffix]};base64,{content}"


_FIGURES = (
    Figure(
        "surfaces",
        "Loss surfaces",
        "Training loss on a plane of two random, filter-normalized directions: the same noise, "
        "range, heights and view "
        "for each. A step of 1 is as long as the filters themselves.",
        "surface",
        "plane",
        ".png",
    ),
    Figure(
        "contours",
        "Contours",
        "The same planes from above, with the same levels.",
        "contour",
        "plane",
    ),
    Figure(
        "profiles",
        "Profiles",
        "Loss and accuracy along random lines: the median, and a band between the quartiles of the "
        "lines.",
        "curve",
        "line",
    ),
    Figure(
        "densities",
        "Spectral densities",
        "Density of all eigenvalues of the Hessian, by stochastic Lanczos quadrature, with its "
        "band over the probes.",
        "density",
        "spectrum",
    ),
    Figure(
        "sharpness",
        "Sharpness against the radius",
        "Rise of the training loss within rho by each measure; dashed, what the gradient alone "
        "predicts.",
        "sharpness",
        "sharpness",
    ),
    Figure(
        "training",
        "Training",
        "What training recorded, epoch by epoch.",
        "history",
        "history",
    ),
)


_DIFFERENCES = Figure(
    "differences",
    "Differences of sharpness",
    "Each pair on the same examples and directions. An arrow is a difference that its interval "
    "tells from 0.",
    "differences",
    "sharpness",
)


def draw_figures(report: Report, folder: Path) -> list[Figure]:
    """Draw every figure of which a checkpoint has the result, into a folder.

    A figure of nothing finite is left out.
    """
    found = [_drawn(figure, report.entries, folder) for figure in _FIGURES]
    return [figure for figure in [*found, _differences(report, folder)] if figure is not None]


def _drawn(figure: Figure, entries: Sequence[Entry], folder: Path) -> Figure | None:
    results = [
        entry.history if figure.result == "history" else entry.results.get(figure.result)
        for entry in entries
    ]
    chosen = [
        (entry, result)
        for entry, result in zip(entries, results, strict=True)
        if result is not None
    ]
    if not chosen:
        return None
    files = [entry.files.get(figure.result) for entry, _ in chosen]
    sources = tuple(path for path in files if path is not None)
    labels = [entry.name for entry, _ in chosen]
    figure = replace(figure, sources=sources)
    return _saved(figure, folder, [result for _, result in chosen], labels=labels)


def _saved(
    figure: Figure, folder: Path, results: Sequence[Any], *, labels: Sequence[str] | None = None
) -> Figure | None:
    try:
        drawn = draw(results, labels=labels, kind=figure.kind)
    except InputError:
        return None
    path = save_figure(drawn, folder / f"{figure.name}{figure.suffix}")
    return replace(figure, path=path, width=drawn.get_size_inches()[0])


def _differences(report: Report, folder: Path) -> Figure | None:
    """Draw the differences of sharpness, which `landscape plot` has of a comparison."""
    is_pair = len(report.entries) == 2
    found = tuple(
        each
        for each in report.differences()
        if each.rho == report.rho or (is_pair and math.isfinite(each.rho))
    )
    if not found:
        return None
    measured = {entry.name: entry.sharpness for entry in report.entries if entry.sharpness}
    comparison = SharpnessComparison(tuple(measured), tuple(measured.values()), found)
    return _saved(_DIFFERENCES, folder, [comparison])
