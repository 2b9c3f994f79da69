"""Write a report: tables, JSON, figures, and one page that opens in a browser without a network."""

from __future__ import annotations

import base64
import json
import math
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup, escape

from landscape.errors import InputError, printable
from landscape.plot import draw, save_figure
from landscape.plot.style import color_of
from landscape.report.document import Report
from landscape.report.entry import Entry
from landscape.report.report_rows import report_rows, summary_rows
from landscape.report.tables import Table
from landscape.results.provenance import Provenance
from landscape.results.sharpness import VERDICTS, SharpnessComparison
from landscape.runtime.files import writing

_SYMBOLS = (
    (r"lambda_(\w+)", "\N{GREEK SMALL LETTER LAMDA}<sub>\\1</sub>"),
    (r"\brho\b", "\N{GREEK SMALL LETTER RHO}"),
    (r"\bx 10\^(\d+)", "\N{MULTIPLICATION SIGN} 10<sup>\\1</sup>"),
    (r"\bL\^(\w+)", "L<sup>\\1</sup>"),
    (r"(?<=\d)e-0*(\d+)\b", " \N{MULTIPLICATION SIGN} 10<sup>\N{MINUS SIGN}\\1</sup>"),
    (r"(?<=\d)e\+0*(\d+)\b", " \N{MULTIPLICATION SIGN} 10<sup>\\1</sup>"),
    (r"(?<![\w.)-])-(?=\d)", "\N{MINUS SIGN}"),
    (r" - ", " \N{MINUS SIGN} "),
)
PAGE, NUMBERS = "index.html", "report.json"
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


def render_page(report: Report, figures: Sequence[Figure]) -> str:
    """Return the page: HTML with all figures inside, in the order in which they are given."""
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=_printable_text
    )
    environment.filters |= {
        "symbols": with_symbols,
        "mood": lambda verdict: verdict if verdict in VERDICTS[:2] else "open",
    }
    text = Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    return environment.from_string(text).render(
        title=f"Comparison of {len(report.entries)} checkpoints",
        report=report,
        checkpoints=[_checkpoint(report, number) for number in range(len(report.entries))],
        summary=summary_rows(),
        groups=[
            (name, list(rows))
            for name, rows in groupby(report_rows(report.rho), lambda row: row.group)
        ],
        differences=[_pair(table, report.rho) for table in report.difference_tables()],
        sharpness=report.sharpness_table(),
        figures=[(figure, _plot_command(report, figure)) for figure in figures],
        settings=_settings(report),
    )


def write_report(report: Report, folder: Path) -> Path:
    """Write every format into a folder; the JSON comes last.

    Returns:
        The page.
    """
    tables = (report.summary(), report.table(), report.sharpness_table())
    shown = [table for table in (*tables, *report.difference_tables()) if table.rows]
    _write(folder / "table.md", "\n\n".join(table.as_markdown() for table in shown))
    _write(folder / "table.tex", "\n\n".join(table.as_latex() for table in shown))
    _write(folder / "table.csv", report.values_table().as_csv())
    _write(folder / PAGE, render_page(report, draw_figures(report, folder / "figures")))
    _write(folder / NUMBERS, json.dumps(report.as_json(), indent=2))
    return folder / PAGE


def _write(path: Path, text: str) -> None:
    with writing(path) as beside:
        beside.write_text(text.rstrip("\n") + "\n", encoding="utf-8", newline="")


def draw_figures(report: Report, folder: Path) -> list[Figure]:
    """Draw every figure of which a checkpoint has the result, into a folder.

    A figure of nothing finite is left out.
    """
    found = [_drawn(figure, report.entries, folder) for figure in _FIGURES]
    return [figure for figure in [*found, _differences(report, folder)] if figure is not None]


def _drawn(figure: Figure, entries: Sequence[Entry], folder: Path) -> Figure | None:
    chosen = [
        (entry, result)
        for entry in entries
        if (result := {**entry.results, "history": entry.history}.get(figure.result)) is not None
    ]
    if not chosen:
        return None
    name = figure.result
    sources = tuple(entry.files[name] for entry, _ in chosen if name in entry.files)
    labels, results = [entry.name for entry, _ in chosen], [result for _, result in chosen]
    return _saved(replace(figure, sources=sources), folder, results, labels=labels)


def _saved(
    figure: Figure, folder: Path, results: Sequence[Any], *, labels: Sequence[str] | None = None
) -> Figure | None:
    try:
        drawn = draw(results, labels=labels, kind=figure.kind)
    except InputError:
        return None
    return replace(
        figure,
        path=save_figure(drawn, folder / f"{figure.name}{figure.suffix}"),
        width=drawn.get_size_inches()[0],
    )


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
    return _saved(
        _DIFFERENCES,
        folder,
        [SharpnessComparison(tuple(measured), tuple(measured.values()), found)],
    )


def with_symbols(text: str) -> Markup:
    """Return text as HTML, with symbols for `lambda_max`, `rho` and `x 10^3`."""
    found = str(escape(printable(text)))
    for pattern, symbol in _SYMBOLS:
        found = re.sub(pattern, symbol, found)
    return Markup(found)


def _checkpoint(report: Report, number: int) -> dict[str, Any]:
    entry = report.entries[number]
    origin, spectrum = entry.provenance or Provenance(), entry.spectrum
    facts = {
        "file": str(entry.path),
        "model": _called(origin.settings, "model"),
        "data": _called(origin.settings, "data"),
        **dict(origin.named_loss()),
        "parameters": f"{origin.num_parameters:,}",
        "weights (SHA-256)": origin.weights_hash,
        "training data (SHA-256)": origin.data_hash.get("train", ""),
    }
    if spectrum is not None:
        state = "converged" if spectrum.converged else "not converged"
        facts["eigenvalues"] = (
            f"{spectrum.num_matvecs} products, {state} to {spectrum.tolerance:g} "
            f"({spectrum.engine})"
        )
        if spectrum.trace is not None:
            facts["trace"] = f"{spectrum.trace.num_samples} random vectors"
        if spectrum.density is not None:
            facts["spectral density"] = f"{len(spectrum.density.nodes)} random vectors"
    facts["results"] = ", ".join(
        report.relative(path) for name, path in entry.files.items() if name in entry.results
    )
    return {"name": entry.name, "entry": entry, "color": color_of(number), "facts": facts}


def _called(settings: Any, name: str) -> str:
    """Return a model or data set as a call, with its arguments."""
    arguments = ", ".join(
        f"{key}={value}" for key, value in (settings.get(f"{name}_args") or {}).items()
    )
    return (settings.get(name) or "") + (f"({arguments})" if arguments else "")


def _printable_text(value: Any) -> Any:
    """Return what the page shows of a value; what is HTML already stays as it is."""
    return printable(value) if type(value) is str else value


def _pair(table: Table, rho: float) -> dict[str, Any]:
    """Return the differences of a pair: those that the main table has, and those at other radii."""
    shown = [row for row in table.rows if row[1] in ("", f"{rho:.4g}")]
    return {
        "title": table.title,
        "shown": shown,
        "others": [row for row in table.rows if row not in shown],
    }


def _plot_command(report: Report, figure: Figure) -> str:
    """Return what draws a figure again from its files; nothing where that takes more."""
    if not figure.sources:
        return ""
    files = [report.relative(path) for path in figure.sources]
    named = report.entries if len(report.entries) == len(files) else []
    labels = [word for entry in named for word in ("--labels", entry.name)]
    words = ["landscape", "plot", *files, "--kind", figure.kind, *labels]
    return shlex.join([*words, "--out", f"{figure.name}.pdf"])


def _settings(report: Report) -> dict[str, str]:
    """Return what was asked for, in words."""
    plan = report.plan
    return {
        "Sets and precision": report.settings_line(),
        "Sharpness": f"rho = {', '.join(f'{rho:.4g}' for rho in plan.rho)}; {plan.num_directions} "
        "antithetic pairs of "
        f"random directions, at most {plan.max_gradients} gradients a maximum",
        "Hessian": f"{plan.top_k} largest and 1 smallest eigenvalues by Lanczos in at most "
        f"{plan.max_matvecs} products",
        "Surfaces": f"{plan.grid} points from {plan.start:g} to {plan.stop:g} along each "
        f"direction, {plan.num_lines} "
        "lines and one plane, random directions with filter normalization",
        "Seed": str(plan.seed),
    }
