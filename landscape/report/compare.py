"""`landscape.compare`: measure several checkpoints alike, result by result."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from landscape.errors import require
from landscape.problem.problem import Problem
from landscape.report.document import Report
from landscape.report.entry import RESULTS, Entry
from landscape.report.measuring import MEASURERS, TEST, TRAIN, Bench, MeasuringPlan
from landscape.report.page import write_report
from landscape.results.provenance import by_split
from landscape.runtime.progress import SILENT, Progress


def compare(
    problems: Mapping[str, Problem | Mapping[str, Problem]],
    *,
    plan: MeasuringPlan | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: Progress = SILENT,
) -> Report:
    """Compare the losses, curvature, sharpness and surfaces of several minima in one report.

        report = landscape.compare({"SGD": sgd, "SAM": sam}, out="report")
        print(report.table().as_markdown())

    Args:
        problems: Name -> problem, or name -> {"train": problem, "test": problem}, all on the same
            data; differences are to the first.
        plan: What is measured; None for the default radii, grids and products.
        out: Folder for results, tables, figures and a page; None to write nothing.
        resume: Whether to take the results that `out` has already.
        progress: Counts steps of one measurement at a time.

    Returns:
        The report, with tables as Markdown, LaTeX and CSV.

    Raises:
        InputError: If there are no problems, or one has no training loss.
        StoreError: If a result in `out` is of something else, or cannot be written.
    """
    plan = plan or MeasuringPlan()
    splits = {name: by_split(each) for name, each in problems.items()}
    require(
        splits and all(TRAIN in each for each in splits.values()),
        f"each of the problems that are compared needs the split {TRAIN!r}.",
        hint=f"Pass {{name: problem}}, or {{name: {{{TRAIN!r}: problem, {TEST!r}: problem}}}}.",
    )
    with TemporaryDirectory() if out is None else nullcontext(out) as folder:
        entries = [
            Entry(name, Path(name), files=result_files(Path(folder), f"{number}"))
            for number, name in enumerate(splits)
        ]

        def open_entry(entry: Entry) -> Bench:
            return Bench(
                splits[entry.name],
                {"checkpoint": entry.name},
                entry.files,
                plan,
                resume,
                progress=progress,
            )

        report = Report(measure_entries(entries, open_entry), plan, (), Path(folder), now())
        if out is not None:
            write_report(report, Path(out))
    return report


def result_files(folder: Path, name: str) -> dict[str, Path]:
    """Return the file of each result of one checkpoint in the folder of a report."""
    return {result: folder / "results" / f"{name}.{result}.h5" for result in RESULTS}


def measure_entries(
    entries: Sequence[Entry],
    open_entry: Callable[[Entry], Bench],
    *,
    should_stop: Callable[[], bool] = lambda: False,
    announce: Callable[[str], None] = lambda text: None,
) -> list[Entry]:
    """Measure each result for all checkpoints before the next one.

    In this way, the results so far can be compared at any time.

    Args:
        entries: Checkpoints; what they have already is measured again.
        open_entry: Returns a checkpoint ready to be measured.
        should_stop: Is asked before each measurement; if it says so, what is known is returned.
        announce: Is told what is measured next.
    """
    found = list(entries)
    for result, measure in MEASURERS.items():
        for number, entry in enumerate(found):
            if should_stop():
                break
            announce(f"{entry.name}: {result}")
            found[number] = entry.with_result(result, measure(open_entry(entry)))
    return found


def now() -> str:
    """Return the time, as reports have it."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
