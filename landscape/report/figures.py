"""The figures of a report: every checkpoint in each, on one scale."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
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
    """A figure that was drawn.

    Attributes:
        name: Of its file, without the suffix.
        title: Of its section.
        caption: What it shows.
        path: Its file.
        width: In inches.
        kind: What `landscape plot` calls it.
        sources: Files that it was drawn from.
    """

    name: str
    title: str
    caption: str
    path: Path
    width: float
    kind: str
    sources: tuple[Path, ...] = ()

    @property
    def data_uri(self) -> str:
        """The figure itself, as a page holds it."""
        content = base64.b64encode(self.path.read_bytes()).decode("ascii")
        return f"data:{_MEDIA_TYPES[self.path.suffix]};base64,{content}"


@dataclass(frozen=True)
class _Wanted:
    """A figure to draw: name, title, caption, kind, what of each entry, and the file of that."""

    name: str
    title: str
    caption: str
    kind: str
    result: str
    suffix: str = ".svg"


_WANTED = (
    _Wanted(
        "surfaces",
        "Loss surfaces",
        "Training loss on a plane of two random, filter-normalized directions: the same noise, "
        "range, heights and view "
        "for each. A step of 1 is as long as the filters themselves.",
        "surface",
        "plane",
        ".png",
    ),
    _Wanted(
        "contours",
        "Contours",
        "The same planes from above, with the same levels.",
        "contour",
        "plane",
    ),
    _Wanted(
        "profiles",
        "Profiles",
        "Loss and accuracy along random lines: the median, and a band between the quartiles of the "
        "lines.",
        "curve",
        "line",
    ),
    _Wanted(
        "densities",
        "Spectral densities",
        "Density of all eigenvalues of the Hessian, by stochastic Lanczos quadrature, with its "
        "band over the probes.",
        "density",
        "spectrum",
    ),
    _Wanted(
        "sharpness",
        "Sharpness against the radius",
        "Rise of the training loss within rho by each measure; dashed, what the gradient alone "
        "predicts.",
        "sharpness",
        "sharpness",
    ),
    _Wanted(
        "training",
        "Training",
        "What training recorded, epoch by epoch.",
        "history",
        "history",
    ),
)


def draw_figures(report: Report, folder: Path) -> list[Figure]:
    """Draw every figure of which a checkpoint has the result, into a folder.

    A figure of nothing finite is left out.
    """
    found = [_drawn(wanted, report.entries, folder) for wanted in _WANTED]
    return [figure for figure in [*found, _differences(report, folder)] if figure is not None]


def _drawn(wanted: _Wanted, entries: Sequence[Entry], folder: Path) -> Figure | None:
    chosen = [
        (entry, result)
        for entry in entries
        if (result := _result(entry, wanted.result)) is not None
    ]
    if not chosen:
        return None
    arguments = {"labels": [entry.name for entry, _ in chosen], "kind": wanted.kind}
    sources = tuple(
        entry.files[wanted.result] for entry, _ in chosen if wanted.result in entry.files
    )
    return _saved(wanted, folder, sources, [result for _, result in chosen], **arguments)


def _result(entry: Entry, name: str) -> Any:
    return entry.history if name == "history" else entry.results.get(name)


def _saved(
    wanted: _Wanted,
    folder: Path,
    sources: tuple[Path, ...],
    results: Sequence[Any],
    **arguments: Any,
) -> Figure | None:
    try:
        figure = draw(results, **arguments)
    except InputError:
        return None
    path = save_figure(figure, folder / f"{wanted.name}{wanted.suffix}")
    return Figure(
        wanted.name,
        wanted.title,
        wanted.caption,
        path,
        figure.get_size_inches()[0],
        wanted.kind,
        sources,
    )


def _differences(report: Report, folder: Path) -> Figure | None:
    """Draw the differences of sharpness, which `landscape plot` has of a comparison."""
    measured = [entry for entry in report.entries if entry.sharpness is not None]
    is_pair = len(report.entries) == 2
    found = tuple(
        each
        for each in report.differences()
        if each.rho == report.rho or (is_pair and math.isfinite(each.rho))
    )
    if not found:
        return None
    comparison = SharpnessComparison(
        tuple(entry.name for entry in measured),
        tuple(entry.sharpness for entry in measured if entry.sharpness is not None),
        found,
    )
    wanted = _Wanted(
        "differences",
        "Differences of sharpness",
        "Each pair on the same examples and directions. An arrow is a difference that its interval "
        "tells from 0.",
        "differences",
        "sharpness",
    )
    return _saved(wanted, folder, (), [comparison], kind=wanted.kind)
