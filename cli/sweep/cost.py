"""`landscape sweep --dry-run`: the runs of a study, and what those that are left cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from landscape.errors import DataError
from landscape.io.checkpoint import Recipe
from landscape.io.recipe import load_splits, loss_if_chosen, require_split, seeded_model
from landscape.problem.batches import Data
from landscape.problem.plan import choose_device
from landscape.study.cost import num_gradients, seconds_per_gradient
from landscape.study.definition import Study, StudyRun
from landscape.study.execute import Job

from .. import console
from ..train.options import TrainOptions
from ..train.run import make_optimizer, make_plan
from .command_table import CommandTable, options_of


def show_plan(
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
        ["run", "state", "gradients", "seconds"],
        [
            [
                row["name"],
                row["state"],
                _count(row["num_gradients"]),
                console.number(row["seconds"], 3),
            ]
            for row in rows
        ],
    )
    console.answer(
        f"{len(left)} of {len(rows)} runs are left: {_count(total['num_gradients'])} gradients of "
        "a batch, about"
        f" {console.number(total['seconds'], 3)} seconds of training, {num_parallel} at a time."
    )
    unreadable = (str(found) for found in plan.data.values() if isinstance(found, DataError))
    for why in dict.fromkeys(unreadable):
        console.answer(f"Not counted: {why}")
    console.answer(
        "Seconds are gradients times one step, timed; they leave out starting, evaluation and "
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
        key = repr((recipe, device, plan.batch_size, plan.micro_batch, plan.amp))
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
