"""The commands that a sweep runs: which options they have, and what they make of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import typer

from landscape.errors import InputError
from landscape.study.definition import Option, as_arguments

from ..options import RENAMED

_RESERVED = {
    "train": ("seed", "seeds", "out", "resume", "force", "json", "quiet", "help"),
    "sharpness": ("group", "certify", "hessian", "out", "force", "json", "quiet", "help"),
    "hessian": ("align", "every", "out", "resume", "force", "json", "quiet", "help"),
}
"""Command -> options that the sweep sets, or that need several checkpoints."""


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
        except _usage_error() as exc:
            raise InputError(
                f"{where}: {exc.format_message()}", hint=f"See landscape {command} --help."
            ) from exc


def _name(option: str) -> str:
    """Return an option as a study writes it."""
    return option.removeprefix("--").replace("-", "_")


def _usage_error() -> Any:
    """Typer brings its own Click, or uses the one that is installed."""
    return next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "UsageError")
