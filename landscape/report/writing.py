"""Write a report: tables, JSON, figures and the page that has everything in it."""

from __future__ import annotations

import json
from pathlib import Path

from landscape.report.document import Report
from landscape.report.figures import draw_figures
from landscape.report.page import render_page
from landscape.runtime.files import replacing

PAGE, NUMBERS = "index.html", "report.json"


def write_report(report: Report, folder: Path) -> Path:
    """Write every format into a folder; the JSON comes last.

    Returns:
        The page.
    """
    tables = [
        report.summary(),
        report.table(),
        report.sharpness_table(),
        *report.difference_tables(),
    ]
    shown = [table for table in tables if table.rows]
    _write(folder / "table.md", "\n\n".join(table.as_markdown() for table in shown))
    _write(folder / "table.tex", "\n\n".join(table.as_latex() for table in shown))
    _write(folder / "table.csv", report.values_table().as_csv())
    figures = draw_figures(report, folder / "figures")
    _write(folder / PAGE, render_page(report, figures))
    _write(folder / NUMBERS, json.dumps(report.as_json(), indent=2))
    return folder / PAGE


def _write(path: Path, text: str) -> None:
    with replacing(path) as beside:
        beside.write_text(text.rstrip("\n") + "\n", encoding="utf-8", newline="")
