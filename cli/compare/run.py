"""`landscape compare`: a table, figures and a page of several checkpoints."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import typer

from landscape.directions.spec import parse_ranges
from landscape.errors import InputError, require
from landscape.io.checkpoint import Recipe
from landscape.io.recipe import Splits, load_splits
from landscape.io.store import read_result
from landscape.report.compare import measure_entries, now, result_files
from landscape.report.document import Report
from landscape.report.entry import RESULTS, Entry
from landscape.report.measuring import Bench, MeasuringPlan, num_threads_of
from landscape.report.page import write_report
from landscape.results.history import History
from landscape.runtime.files import locked, names_apart
from landscape.runtime.progress import Deadline

from .. import console
from ..options import ProblemOptions
from ..outputs import prepare_output
from ..processes import open_checkpoint
from ..sharpness.options import parse_norm, parse_radii
from .options import ReportOptions

_QUICK = {
    "rho": (0.02, 0.1),
    "num_directions": 3,
    "max_gradients": 20,
    "max_matvecs": 100,
    "num_probes": 2,
    "grid": 9,
    "num_lines": 3,
}
_QUICK_SAMPLES = 256


def compare_checkpoints(
    checkpoints: Sequence[Path],
    problem: ProblemOptions,
    what: ReportOptions,
    *,
    labels: list[str] | None,
    out: Path,
    seed: int,
    resume: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Measure checkpoints, write the report of them, and print its tables."""
    deadline = Deadline.after_minutes(what.minutes)
    names = _names(checkpoints, labels)
    plan = _plan(what, seed)
    if what.quick and problem.samples is None:
        problem = dataclasses.replace(problem, samples=_QUICK_SAMPLES)
    prepare_output(out / "report.json", force=force, resume=resume, inputs=checkpoints)
    require(
        force or resume or not any((out / "results").glob("*.h5")),
        f"{out} has results.",
        "Pass --resume to take them, --force to replace them, or another --out.",
    )
    with locked(out / "report.json"):
        entries = [_entry(name, path, out) for name, path in zip(names, checkpoints, strict=True)]
        if force:
            _discard(entries)
        measured = measure_entries(
            entries,
            partial(
                _bench,
                problem=problem,
                plan=plan,
                deadline=deadline,
                load=LastData(),
                resume=resume,
            ),
            should_stop=deadline.is_reached,
            announce=console.say,
        )
        report = Report(measured, plan, console.typed_words(), out, now())
        page = write_report(report, out)
    if as_json:
        console.answer_json(report.as_json())
    else:
        _show(report)
    console.say(f"Saved to {out}. To read it: {page}")
    if not report.is_complete:
        console.say(f"Stopped in time. {console.to_go_on()}")
        raise typer.Exit(1)


def _names(checkpoints: Sequence[Path], labels: list[str] | None) -> list[str]:
    """Return the names of the checkpoints in tables.

    The names are the labels, or the parts of the paths that tell the checkpoints apart.
    """
    for path in checkpoints:
        require(path.is_file(), f"checkpoint {path} does not exist.", "Check its name and folder.")
    require(
        len({path.resolve() for path in checkpoints}) == len(checkpoints),
        "checkpoints that are compared must be different files.",
        "Name each of them once.",
    )
    names = labels or _without_common_end(names_apart(checkpoints))
    require(
        len(names) == len(checkpoints),
        f"there must be one --labels for each checkpoint, got {len(names)} for {len(checkpoints)}.",
    )
    require(
        len({_file_name(name) for name in names}) == len(names),
        f"the names of checkpoints must differ in letters and digits, got {', '.join(names)}.",
        "Pass --labels NAME for each.",
    )
    return names


def _without_common_end(names: list[str]) -> list[str]:
    """Leave out the suffix, and a file name that all have: runs/sgd/checkpoint.pt is sgd."""
    parts = [Path(name).with_suffix("").parts for name in names]
    is_common = len(names) > 1 and len({each[-1] for each in parts}) == 1
    return ["/".join(each[:-1] if is_common and len(each) > 1 else each) for each in parts]


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.=+-]+", "-", name).strip("-.") or "checkpoint"


def _plan(what: ReportOptions, seed: int) -> MeasuringPlan:
    """Return what is measured of every checkpoint."""
    (found,) = parse_ranges(what.range, 1)
    if found.ends is None:
        raise InputError(
            f"--range must be the same for all checkpoints, got {what.range!r}.",
            hint="Pass both ends: --range -1:1.",
        )
    start, stop = found.ends
    options: dict[str, Any] = {**(_QUICK if what.quick else {}), "start": start, "stop": stop}
    if what.rho is not None:
        options["rho"] = tuple(sorted(set(parse_radii(what.rho))))
    if what.grid is not None:
        options["grid"] = what.grid
    return MeasuringPlan(**options, p=parse_norm(what.p), adaptive=what.adaptive, seed=seed)


def _entry(name: str, path: Path, out: Path) -> Entry:
    files = result_files(out, _file_name(name))
    beside = path.with_name("history.h5")
    history = read_result(beside) if beside.exists() else None
    if not isinstance(history, History):
        return Entry(name, path, files=files)
    return Entry(name, path, history=history, files={**files, "history": beside})


def _discard(entries: Sequence[Entry]) -> None:
    """Remove what an earlier run has measured, which a later --resume would take for this one's."""
    for path in (entry.files[result] for entry in entries for result in RESULTS):
        path.unlink(missing_ok=True)
        path.with_suffix(".npz").unlink(missing_ok=True)


class LastData:
    """A loader of a recipe's data that keeps the data it loaded last.

    Checkpoints that are compared mostly have the same data.
    """

    _held: tuple[Recipe, Splits] | None = None

    def __call__(self, recipe: Recipe) -> Splits:
        """Return the data."""
        of_data = dataclasses.replace(recipe, model=None, model_args={}, loss=None)
        if self._held is None or of_data != self._held[0]:
            self._held = None  # not both at once in memory
            self._held = (of_data, load_splits(recipe))
        return self._held[1]


def _bench(
    entry: Entry,
    *,
    problem: ProblemOptions,
    plan: MeasuringPlan,
    deadline: Deadline,
    load: LastData,
    resume: bool,
) -> Bench:
    """Open a checkpoint, under the execution plan of what was measured of it before."""
    if resume and (threads := num_threads_of(entry.files)) is not None:
        torch.set_num_threads(threads)
    opened = open_checkpoint(entry.path, problem, ("train",), also=("test",), load=load)
    progress = console.TerminalProgress()
    return Bench(
        opened.problems, opened.settings, entry.files, plan, resume, deadline.is_reached, progress
    )


def _show(report: Report) -> None:
    """Print the answer in a sentence and the tables."""
    if report.headline:
        console.answer(report.headline)
    for table in (report.table(), *report.difference_tables(is_short=True)):
        rows = [[_ascii(cell) for cell in row] for row in table.rows]
        console.answer_table(table.title, [_ascii(cell) for cell in table.columns], rows)
        for note in table.notes:
            console.answer(note)


def _ascii(text: str) -> str:
    """Write what every terminal has."""
    return text.replace("\N{PLUS-MINUS SIGN}", "+-").replace("\N{EN DASH}", "-")
