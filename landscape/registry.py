"""Functions by name, imported when they are asked for."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from types import ModuleType, UnionType
from typing import Any, TypeAlias, Union, get_args, get_origin

from landscape.errors import InputError

Entry: TypeAlias = str | tuple[Any, ...]
"""Import string "package.module:function", or that and positional arguments: one of a family."""


def imported(place: str) -> Any:
    """Import what "package.module:name" names."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


@dataclass(frozen=True)
class Registry:
    """A table of import strings, each naming a function whose free parameters are keyword-only.

    Attributes:
        kind: What the functions make: "model" or "data", as in the option `--model`.
        entries: Name to import string or family member.
    """

    kind: str
    entries: Mapping[str, Entry]

    def load(self, name: str) -> Callable[..., Any]:
        """Import the function called `name`.

        Raises:
            InputError: If there is none.
        """
        if name not in self.entries:
            raise InputError(
                f"{self.kind} must be one of {', '.join(self.entries)}, got {name!r}.",
                hint=f"For your own, pass `{self.kind}='path/to/file.py:function'`.",
            )
        entry = self.entries[name]
        target, *arguments = (entry,) if isinstance(entry, str) else entry
        function = imported(target)
        return partial(function, *arguments) if arguments else function

    def arguments(self, name: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return `kwargs` with defaults filled in and paths as strings, as a checkpoint has them.

        Raises:
            InputError: If the name is unknown, or an argument is unknown, missing or of another
                type.
        """
        signature = inspect.signature(self.load(name), eval_str=True)
        try:
            bound = signature.bind(**{key: _plain(value) for key, value in kwargs.items()})
            _check_types(bound)
        except TypeError as exc:
            raise InputError(
                f"{self.kind} {name}: {exc}.",
                hint=f"It accepts {', '.join(map(str, signature.parameters.values()))}.",
            ) from exc
        bound.apply_defaults()
        return dict(bound.arguments)

    def build(self, name: str, kwargs: Mapping[str, Any]) -> Any:
        """Call the function called `name`; errors as in `arguments`."""
        return self.load(name)(**self.arguments(name, kwargs))

    def accepts(self, name: str, parameter: str) -> bool:
        """Return whether the function called `name` has `parameter`."""
        return parameter in inspect.signature(self.load(name)).parameters


def _plain(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _check_types(bound: inspect.BoundArguments) -> None:
    for name, value in bound.arguments.items():
        annotation = bound.signature.parameters[name].annotation
        if not _fits(value, annotation):
            raise TypeError(f"{name} must be {inspect.formatannotation(annotation)}, got {value!r}")


def _fits(value: Any, hint: Any) -> bool:
    """Return whether `value` is of the type `hint`; a bool is no number, an int is a float."""
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, part) for part in get_args(hint))
    if hint in (int, float):
        return isinstance(value, (int, hint)) and not isinstance(value, bool)
    return isinstance(value, hint)


class CallablePackage(ModuleType):
    """A package that is called as a function of one of its modules: `landscape.hessian(problem)`.

    Its docstring and signature are the function's. Its modules stay what they are, and the
    function's module is imported when it is first asked for.
    """

    called_as: str

    @property
    def _function(self) -> Callable[..., Any]:
        return imported(self.called_as)

    @property
    def __doc__(self) -> str | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._function.__doc__

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._function, eval_str=True)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self._function(*args, **kwargs)


def make_callable(package: str, function: str) -> None:
    """Make an imported package callable.

    Args:
        package: Its name.
        function: "package.module:function".
    """
    module = sys.modules[package]
    module.__class__ = CallablePackage
    vars(module)["called_as"] = function
