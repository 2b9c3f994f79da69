"""What is wrong with the runs of a study, found before any of them begins."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from landscape.data.subset import check_share
from landscape.errors import InputError, LandscapeError
from landscape.io.checkpoint import Recipe
from landscape.io.recipe import ModelChoice, loss_if_chosen, training_recipe
from landscape.study.definition import CODE, Study, StudyRun

from ..options import ModelOptions, call_with_options
from ..train.options import TrainOptions
from ..train.run import make_optimizer, make_plan
from .command_table import CommandTable


def check_code(study: Study, allowed: Sequence[str]) -> None:
    """Refuse import strings that were not typed: a file never chooses code.

    Raises:
        InputError: Naming what to type.
    """
    named = [str(run.train.get(name, "")) for run in study.runs for name in CODE]
    named += [str(options.get(name, "")) for options in study.measures.values() for name in CODE]
    unknown = [name for name in dict.fromkeys(named) if ":" in name and name not in allowed]
    if unknown:
        words = " ".join(f"--allow {name}" for name in unknown)
        raise InputError(
            f"{study.path} names code, {', '.join(unknown)}, and a file never chooses code.",
            hint=f"If you trust it, pass {words}.",
        )


def check_runs(study: Study, commands: CommandTable) -> None:
    """Refuse values that a command would refuse, and options that contradict each other.

    Raises:
        InputError: Naming the run.
    """
    for name, options in study.measures.items():
        commands.parse(name, options, f"{study.path}, [measure.{name}]", "checkpoint.pt")
    for run in study.runs:
        where = f"{study.path}, run {run.name}"
        try:
            recipe, options = options_of(run, commands, where)
            _check_training(recipe, options)
        except LandscapeError as exc:
            message = exc.message if exc.message.startswith(where) else f"{where}: {exc.message}"
            raise InputError(message, hint=exc.hint) from exc


def options_of(
    run: StudyRun, commands: CommandTable, where: str = ""
) -> tuple[Recipe, TrainOptions]:
    """Return what `landscape train` makes of a run's options.

    Raises:
        LandscapeError: If it refuses them.
    """
    values = commands.parse("train", run.train, where)
    model = call_with_options(ModelOptions, values)
    return training_recipe(model.choice(ModelChoice)), call_with_options(TrainOptions, values)


def _check_training(recipe: Recipe, options: TrainOptions) -> None:
    """Make all checks of a training run that need no data and no model."""
    optimizer = make_optimizer(options, nn.Linear(1, 1), options.seed or 0)
    make_plan(options).check(optimizer, loss_if_chosen(recipe))
    if recipe.validation is not None:
        check_share(recipe.validation)
