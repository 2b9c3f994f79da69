"""`landscape sweep`: the runs of a study: what they cost, done, resumed, and summarised."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import typer
from torch import nn

from landscape.data.subset import fixed_subset
from landscape.errors import DataError
from landscape.io.checkpoint import Recipe
from landscape.io.recipe import load_splits, loss_if_chosen, require_split, seeded_model
from landscape.plot import save_figure
from landscape.problem.batches import Data
from landscape.problem.plan import choose_device
from landscape.results.display import duration
from landscape.runtime.files import locked, writing
from landscape.runtime.progress import Deadline
from landscape.study.cost import num_gradients, seconds_per_gradient
from landscape.study.definition import Study, StudyRun
from landscape.study.execute import Job, Outcome, execute_all, make_job
from landscape.study.presentation import (
    as_dict,
    draw_curves,
    numbers_table,
    settings_table,
)
from landscape.study.read import read_study
from landscape.study.slurm import execute_on_cluster
from landscape.study.summary import summarise

from .. import console
from ..train.options import TrainOptions
from ..train.run import make_optimizer, make_plan
from .command_table import CommandTable, check_code, check_runs, options_of

_LAUNCH = (sys.executable, "-m", "landscape_cli.sweep.run")


def sweep_study(
    application: Any,
    study: Path,
    *,
    out: Path | None,
    allowed: Sequence[str],
    jobs: int,
    minutes: float | None,
    report: bool,
    dry_run: bool,
    slurm: bool,
    as_json: bool,
) -> None:
    """Do, plan or report the runs of a study; exit with 1 if any failed or is left."""
    commands = CommandTable(application)
    deadline = Deadline.after_minutes(minutes)
    planned = read_study(study, commands.options)
    check_code(planned, allowed)
    check_runs(planned, commands)
    planned = dataclasses.replace(planned, out=out or planned.out)
    threads = max(1, (os.cpu_count() or 1) // jobs)
    work = [make_job(planned, run, commands.options, _LAUNCH, threads) for run in planned.runs]
    if report:
        _report(planned, work, as_json)
    elif dry_run:
        _show_plan(planned, work, commands, jobs, as_json)
    else:
        with console.StopSignals() as signals, locked(planned.out / "study"):
            signals.wait_for_step()
            outcomes = _do(
                planned,
                work,
                jobs,
                lambda: signals.is_received() or deadline.is_reached(),
                is_queued=slurm,
            )
        _show(planned, outcomes, as_json)
        if any(outcome.state != "finished" for outcome in outcomes):
            raise typer.Exit(signals.exit_code or 1)


def _show_plan(
    study: Study, jobs: Sequence[Job], commands: CommandTable, num_parallel: int, as_json: bool
) -> None:
    """Print each run, its state, and what it costs."""
    plan = _Plan(study, jobs, commands)
    rows = [plan.row(run, job) for run, job in zip(study.runs, jobs, strict=True)]
    left = [row for row in rows if row["state"] != "finished"]
    seconds = _sum([row["seconds"] for row in left])
    total = {
        "num_runs": len(rows),
        "num_left": len(left),
        "num_gradients": _sum([row["num_gradients"] for row in left]),
        "seconds": None if seconds is None else seconds / min(num_parallel, max(1, len(left))),
    }
    if as_json:
        console.answer_json({**total, "runs": rows})
        return
    console.answer_table(
        str(study.path),
        ["run", "state", "gradients", "time"],
        [
            [
                row["name"],
                row["state"],
                _count(row["num_gradients"]),
                duration(row["seconds"]),
            ]
            for row in rows
        ],
    )
    console.answer(
        f"{len(left)} of {len(rows)} runs are left: {_count(total['num_gradients'])} gradients of "
        "a batch, about"
        f" {duration(total['seconds'])} of training, {num_parallel} at a time."
    )
    unreadable = (str(found) for found in plan.data.values() if isinstance(found, DataError))
    for why in dict.fromkeys(unreadable):
        console.answer(f"Not counted: {why}")
    console.answer(
        "Times are gradients times one step, timed; they leave out starting, evaluation and "
        "measures."
    )


class _Plan:
    """Costs; what runs have in common is loaded and timed once."""

    def __init__(self, study: Study, jobs: Sequence[Job], commands: CommandTable) -> None:
        self._study = study
        self._commands = commands
        self.data: dict[str, Data | DataError] = {}
        self._timed: dict[str, float | None] = {}
        self._threads = jobs[0].threads

    def row(self, run: StudyRun, job: Job) -> dict[str, Any]:
        """Return name, state, gradients and seconds."""
        recipe, options = options_of(run, self._commands)
        state = "finished"
        if job.remaining:
            has_begun = (self._study.folder(run) / "checkpoint.pt").exists()
            state = "begun" if has_begun else "to do"
        gradients = seconds = None
        data = self._train(recipe)
        if not isinstance(data, DataError):
            data = fixed_subset(data, options.samples)
            num_steps = options.epochs * len(data.batches(options.batch_size))
            optimizer = make_optimizer(options, nn.Linear(1, 1), 0)
            gradients = num_gradients(optimizer, num_steps, last_fraction=options.last_fraction)
            per_gradient = self._seconds(run, recipe, options, data)
            seconds = None if per_gradient is None else per_gradient * gradients
        return {"name": run.name, "state": state, "num_gradients": gradients, "seconds": seconds}

    def _train(self, recipe: Recipe) -> Data | DataError:
        """Return the training set, or why it cannot be read."""
        key = repr(
            [getattr(recipe, name) for name in ("data", "data_args", "data_dir", "validation")]
        )
        if key not in self.data:
            try:
                self.data[key] = require_split(load_splits(recipe), "train")
            except DataError as exc:
                self.data[key] = exc
        return self.data[key]

    def _seconds(
        self, run: StudyRun, recipe: Recipe, options: TrainOptions, data: Data
    ) -> float | None:
        """Time a gradient, once for all runs whose model, data and batches are the same."""
        device = choose_device(run.train.get("device", "auto"))
        plan = make_plan(options)
        key = repr((recipe, device, options.samples, plan.batch_size, plan.micro_batch, plan.amp))
        if key not in self._timed:
            torch.set_num_threads(self._threads)
            model = seeded_model(recipe, 0).to(device)
            self._timed[key] = seconds_per_gradient(
                model,
                data,
                make_optimizer(dataclasses.replace(options, lr=0.0), model, 0),
                plan,
                device=device,
                criterion=loss_if_chosen(recipe),
            )
        return self._timed[key]


def _sum(values: Sequence[Any]) -> Any:
    """Add numbers; None if one of them is not known."""
    return None if None in values else sum(values)


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _do(
    planned: Study, work: Sequence[Job], num_parallel: int, should_stop: Any, *, is_queued: bool
) -> list[Outcome]:
    """Do what is left, telling each outcome."""
    left = [job for job in work if job.remaining]
    console.say(f"{len(work) - len(left)} of {len(work)} runs are finished, {len(left)} to do.")
    if is_queued and left:
        done = execute_on_cluster(
            left, planned.out / "jobs", planned.slurm, should_stop=should_stop, tell=_tell
        )
    else:
        done = execute_all(left, num_parallel=num_parallel, should_stop=should_stop, tell=_tell)
    by_name = {outcome.name: outcome for outcome in done}
    return [by_name.get(job.name, Outcome(job.name, "finished")) for job in work]


def _tell(outcome: Outcome, seconds: float) -> None:
    if outcome.state != "stopped":
        console.say(f"{outcome.state} {outcome.name} ({duration(seconds)})")


def _show(planned: Study, outcomes: Sequence[Outcome], as_json: bool) -> None:
    counts = {
        state: sum(each.state == state for each in outcomes)
        for state in ("finished", "failed", "stopped")
    }
    if as_json:
        console.answer_json(
            {
                "out": str(planned.out),
                **counts,
                "runs": [
                    {**dataclasses.asdict(each), "log": each.log and str(each.log)}
                    for each in outcomes
                ],
            }
        )
        return
    for failed in (each for each in outcomes if each.state == "failed"):
        console.answer(
            f"failed {failed.name}: {failed.reason}{f' Log: {failed.log}' if failed.log else ''}"
        )
    console.answer(
        f"{counts['finished']} of {len(outcomes)} runs are finished, {counts['failed']} failed."
    )
    if counts["stopped"]:
        console.say(f"{counts['stopped']} are left. The same command goes on.")
    if counts["finished"]:
        console.say(f"For tables and figures: landscape sweep {planned.path} --report")


def _report(planned: Study, work: Sequence[Job], as_json: bool) -> None:
    """Write tables and figures beside the runs, and print the tables."""
    summary, folder = summarise(planned, work), planned.out / "report"
    shown = {"results": ("Results", summary.chosen), "settings": ("All settings", summary.settings)}
    tables = {
        name: (settings_table(title, settings, summary, layout=planned.layout), settings)
        for name, (title, settings) in shown.items()
    }
    texts: Mapping[str, str] = {
        "report.json": json.dumps(as_dict(summary), indent=2) + "\n",
        **{f"{name}.md": table.as_markdown() for name, (table, _) in tables.items()},
        **{f"{name}.tex": table.as_latex() for name, (table, _) in tables.items()},
        **{
            f"{name}.csv": numbers_table(settings, summary).as_csv()
            for name, (_, settings) in tables.items()
        },
    }
    for name, text in texts.items():
        with writing(folder / name) as beside:
            beside.write_text(text, encoding="utf-8")
    for name, figure in draw_curves(summary).items():
        for suffix in (".png", ".pdf"):
            save_figure(figure, folder / f"{name}{suffix}")
    if as_json:
        console.answer_json(as_dict(summary))
        return
    for table, _ in tables.values() if summary.select else list(tables.values())[:1]:
        console.answer_table(table.title, table.columns, table.rows)
    for note in tables["results"][0].notes:
        console.answer(note)
    console.answer(f"Saved to {folder}.")
