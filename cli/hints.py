"""What the library says in terms of Python, in terms of the command line."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator, Set
from contextvars import ContextVar
from typing import Any

_names: ContextVar[frozenset[str]] = ContextVar("names", default=frozenset())


def learn_options(application: Any) -> None:
    """Let `in_options` know the options of an application."""
    _names.set(option_names(application))


def option_names(application: Any) -> frozenset[str]:
    """Return the names of all options of all commands, as Python writes them."""
    commands = [*application.commands.values()]
    for command in list(commands):
        commands += getattr(command, "commands", {}).values()
    return frozenset(
        option.removeprefix("--").replace("-", "_")
        for command in commands
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--")
    )


def in_options(text: str, names: Set[str] | None = None) -> str:
    """Write arguments and calls in backticks as a command line has them.

    `grid=25` becomes --grid 25, `adaptive=True` --adaptive, `grid` --grid, and
    `landscape.hessian(problem, trace=True)` landscape hessian CKPT --trace; saving the result in
    FILE adds --out FILE. What a command does not take stays as it is.

    Args:
        text: A sentence or several.
        names: Options, with underscores; None for those of the application.
    """
    known = _names.get() if names is None else names
    return re.sub(r"`([^`]+)`", lambda found: _typed(found[1], known) or found[0], text)


def _typed(code: str, names: Set[str]) -> str | None:
    """Return the words of a command line for arguments or a call; None for anything else."""
    try:
        parsed = ast.parse(f"_({code})", mode="eval").body
    except SyntaxError:
        return None
    assert isinstance(parsed, ast.Call)
    command: list[str] = []
    match parsed.args, parsed.keywords:
        case [ast.Name(id=name)], []:
            return f"--{name.replace('_', '-')}" if name in names else None
        case [ast.Call(func=ast.Attribute(attr="save"), args=[ast.Name(id=file), made])], []:
            made_by = _typed(ast.unparse(made), names)
            return made_by and f"{made_by} --out {file}"
        case [ast.Call(func=ast.Attribute(attr=verb), keywords=keywords)], []:
            command = ["landscape", verb, "CKPT"]
        case [], keywords:
            pass
        case _:
            return None
    if not {keyword.arg for keyword in keywords} <= names:
        return None
    return " ".join([*command, *(word for keyword in keywords for word in _words(keyword))])


def _words(keyword: ast.keyword) -> Iterator[str]:
    flag = f"--{str(keyword.arg).replace('_', '-')}"
    try:
        value = ast.literal_eval(keyword.value)
    except ValueError:  # a placeholder such as FILE
        value = ast.unparse(keyword.value)
    if isinstance(value, dict):
        for key, item in value.items():
            yield f"{flag} {key}={item}"
    elif isinstance(value, list | tuple):
        between = ":" if isinstance(value, tuple) else ","  # as in 35:-60
        yield f"{flag} {between.join(map(str, value))}"
    elif value is True:
        yield flag
    else:
        yield f"{flag} {shlex.quote(str(value))}"
