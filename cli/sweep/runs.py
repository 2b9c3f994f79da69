"""`landscape sweep`: the runs of a study, done, resumed, and summarised."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from landscape.plot import save_figure
from landscape.runtime.files import locked, replacing
from landscape.runtime.progress import Deadline
from landscape.study.definition import Study
from landscape.study.execute import Job, Outcome, execute_all, make_job
from landscape.study.presentation import (
    as_dict,
    draw_curves,
    numbers_table,
    results_table,
    settings_table,
)
from landscape.study.read import read_study
from landscape.study.slurm import execute_on_cluster
from landscape.study.summary import summarise

from .. import console
from .command_table import CommandTable, check_code, check_runs
from .cost import show_plan

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
        show_plan(planned, work, commands, jobs, as_json)
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
        console.say(f"{outcome.state} {outcome.name} ({seconds:.0f} s)")


def _show(planned: Study, outcomes: Sequence[Outcome], as_json: bool) -> None:
    counts = {
        state: sum(each.state == state for each in outcomes)
        for state in ("finished", "failed", "stopped")
    }
    if as_json:
        rows = [
            {**dataclasses.asdict(each), "log": each.log and str(each.log)} for each in outcomes
        ]
        console.answer_json({"out": str(planned.out), **counts, "runs": rows})
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
    tables = {
        "results": (results_table(summary), summary.chosen),
        "settings": (settings_table(summary), summary.settings),
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
        with replacing(folder / name) as beside:
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
