"""The commands that a sweep runs: which options they have, and whether a study's fit them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import typer
from torch import nn

from landscape.data.subset import check_share
from landscape.errors import InputError, LandscapeError, require
from landscape.io.checkpoint import Recipe
from landscape.io.recipe import ModelChoice, loss_if_chosen, training_recipe
from landscape.study.definition import CODE, Option, Study, StudyRun, as_arguments

from ..options import RENAMED, ModelOptions, call_with_options
from ..train.options import TrainOptions
from ..train.run import make_optimizer, make_plan

_RESERVED = {
    "train": ("seed", "seeds", "out", "resume", "force", "json", "quiet", "help"),
    "sharpness": ("group", "certify", "hessian", "out", "force", "json", "quiet", "help"),
    "hessian": ("align", "every", "out", "resume", "force", "json", "quiet", "help"),
}
"""Command -> options that the sweep sets, or that need several checkpoints."""

_UsageError: Any = typer.BadParameter.__base__
"""That of Click, which Typer brings along, or which is installed."""


class CommandTable:
    """The commands `train`, `sharpness` and `hessian` of the application.

    Args:
        application: Group of all commands, as `typer.main.get_command` makes it.
    """

    def __init__(self, application: Any) -> None:
        self._commands = application.commands

    @cached_property
    def options(self) -> dict[str, dict[str, Option]]:
        """The options that a study may set, former names too: command -> name -> option."""
        found = {}
        for command, reserved in _RESERVED.items():
            options = {
                _name(parameter.opts[0]): Option(
                    parameter.is_flag, parameter.multiple, _name(parameter.opts[0]) in reserved
                )
                for parameter in self._commands[command].params
                if parameter.opts[0].startswith("--")
            }
            former = {
                _name(old): options[_name(new)]
                for old, new in RENAMED.items()
                if _name(new) in options
            }
            found[command] = former | options
        return found

    def parse(
        self, command: str, values: Mapping[str, Any], where: str, *arguments: str
    ) -> dict[str, Any]:
        """Return the parameters that a command gets from options of a study.

        Raises:
            InputError: If the command refuses them.
        """
        words = [*arguments, *as_arguments(values, self.options[command])]
        try:
            return self._commands[command].make_context(command, words).params
        except _UsageError as exc:
            raise InputError(
                f"{where}: {exc.format_message()}", hint=f"See landscape {command} --help."
            ) from exc


def _name(option: str) -> str:
    """Return an option as a study writes it."""
    return option.removeprefix("--").replace("-", "_")


def check_code(study: Study, allowed: Sequence[str]) -> None:
    """Refuse import strings that were not typed: a file never chooses code.

    Raises:
        InputError: Naming what to type.
    """
    named = [str(run.train.get(name, "")) for run in study.runs for name in CODE]
    named += [str(options.get(name, "")) for options in study.measures.values() for name in CODE]
    unknown = [name for name in dict.fromkeys(named) if ":" in name and name not in allowed]
    words = " ".join(f"--allow {name}" for name in unknown)
    require(
        not unknown,
        f"{study.path} names code, {', '.join(unknown)}, and a file never chooses code.",
        f"If you trust it, pass {words}.",
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
            optimizer = make_optimizer(options, nn.Linear(1, 1), options.seed or 0)
            make_plan(options).check(optimizer, loss_if_chosen(recipe))
            if recipe.validation is not None:
                check_share(recipe.validation)
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
