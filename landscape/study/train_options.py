"""The options of commands, as a study may set them, and their way back to a command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Option:
    """What a command's option takes.

    Attributes:
        is_flag: Whether it stands alone.
        is_repeatable: Whether it may come several times, as `--model-arg` does.
        is_reserved: Whether the sweep sets it itself.
    """

    is_flag: bool = False
    is_repeatable: bool = False
    is_reserved: bool = False


Options = Mapping[str, Option]
"""Name of an option, with underscores -> what it takes."""

CODE = ("model", "data", "loss")
"""Options that may name code by an import string."""


def as_arguments(values: Mapping[str, Any], options: Options) -> list[str]:
    """Return the words of a command line that set options.

    Args:
        values: Name -> a value as TOML has it. Of a repeatable option, a list of texts or a table,
            for `key=value`; a list for any other is joined by commas.
        options: All of the command.
    """
    words = []
    for name, value in values.items():
        flag = f"--{name.replace('_', '-')}"
        if options[name].is_flag:
            words += [flag] * bool(value)
        elif options[name].is_repeatable:
            for item in repeated(value):
                words += [flag, item]
        else:
            words += [flag, as_text(value)]
    return words


def repeated(value: Any) -> list[str]:
    """Return what a repeatable option is given, one text a time."""
    if isinstance(value, Mapping):
        return [f"{key}={as_text(item)}" for key, item in value.items()]
    return [as_text(item) for item in value] if isinstance(value, list) else [as_text(value)]


def as_text(value: Any) -> str:
    """Return a value of TOML as a command line and a table have it."""
    if isinstance(value, Mapping):
        return ",".join(repeated(value))
    if isinstance(value, list):
        return ",".join(map(as_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
