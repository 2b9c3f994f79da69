"""Models, data sets, losses and optimizers by name: built in, or by the user's import string."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from landscape import data as builtin_data
from landscape import models as builtin_models
from landscape.errors import LandscapeError, PluginError, require
from landscape.io.wrapped import parametrized
from landscape.problem.criteria import LOSSES


def is_import_string(name: str) -> bool:
    """Whether a name is `pkg.module:function` or `path/to/file.py:function`, not a built-in one."""
    return ":" in name


def create_model(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Build a model by built-in name or import string.

    Raises:
        PluginError: Saying whether the module, the attribute, the call or the returned type is
            wrong.
        InputError: If a built-in name or its arguments are unknown.
    """
    if not is_import_string(name):
        try:
            return builtin_models.build_model(name, **arguments)
        except (RuntimeError, MemoryError) as exc:
            raise PluginError(
                f"`model={name!r}` cannot be built: {_summary(exc)}.", hint="Check `model_arg`."
            ) from exc
    model = _call(name, "model", arguments)
    require(
        isinstance(model, nn.Module),
        f"`model={name!r}` must return a torch.nn.Module, it returned {type(model).__name__}.",
        kind=PluginError,
    )
    return parametrized(model)


def create_data(name: str, arguments: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the pair (train, test) of a data set by name or import string; test may be None.

    Raises:
        PluginError: Saying whether the module, the attribute, the call or the returned type is
            wrong.
        InputError: If a built-in name or its arguments are unknown.
        DataError: If its files are missing or damaged.
    """
    if not is_import_string(name):
        return builtin_data.build_data(name, **arguments)
    splits = _call(name, "data", arguments)
    require(
        isinstance(splits, tuple | list) and len(splits) == 2,
        f"`data={name!r}` must return a pair (train, test), it returned {type(splits).__name__}.",
        hint="test may be None.",
        kind=PluginError,
    )
    return splits[0], splits[1]


def find_loss(name: str) -> Callable[..., Any]:
    """Return a loss function by built-in name or import string.

    Raises:
        PluginError: If it cannot be found or is not callable.
    """
    if name in LOSSES:
        return LOSSES[name]
    require(
        is_import_string(name),
        f"loss must be one of {', '.join(LOSSES)} or an import string, got {name!r}.",
        hint="Pass `loss='file.py:function'` with function(outputs, targets) -> scalar mean.",
        kind=PluginError,
    )
    return _find(name, "loss")


def find_optimizer(name: str) -> Callable[..., Any]:
    """Return a class of optimizers, or a function that builds them, by import string.

    Raises:
        PluginError: If it cannot be found or is not callable.
    """
    require(
        is_import_string(name),
        f"an optimizer to audit must be an import string, got {name!r}.",
        hint="Pass pkg.module:Class or path/to/file.py:Class.",
        kind=PluginError,
    )
    return _find(name, "optimizer")


def _call(name: str, what: str, arguments: Mapping[str, Any]) -> Any:
    function = _find(name, what)
    try:
        return function(**arguments)
    except LandscapeError:
        raise
    except (Exception, SystemExit) as exc:
        raise PluginError(
            f"{_named(what, name)} raised {_summary(exc)}.", hint=_place(exc)
        ) from exc


def _named(what: str, name: str) -> str:
    """Write the argument that gave an import string; an optimizer is given in no argument."""
    return f"`{what}={name!r}`" if what in ("model", "data", "loss") else f"{what} {name}"


def _find(name: str, what: str) -> Callable[..., Any]:
    module_name, _, attribute = name.rpartition(":")
    module = _import(module_name, name, what)
    try:
        function = getattr(module, attribute)
    except AttributeError as exc:
        own = [
            key
            for key, value in vars(module).items()
            if getattr(value, "__module__", None) == module.__name__
        ]
        known = ", ".join((own or list(getattr(module, "__all__", ())))[:10])
        raise PluginError(
            f"{_named(what, name)}: {module_name} has no {attribute!r}.",
            hint=f"It has: {known}." if known else "",
        ) from exc
    require(
        callable(function),
        f"{_named(what, name)}: {attribute} must be callable, it is a {type(function).__name__}.",
        kind=PluginError,
    )
    return function


def _import(module_name: str, name: str, what: str) -> ModuleType:
    is_file = module_name.endswith(".py")
    path = Path(module_name).resolve()
    require(
        not is_file or path.is_file(),
        f"{_named(what, name)}: there is no file {module_name}.",
        kind=PluginError,
    )
    folder = str(path.parent) if is_file else os.getcwd()
    sys.path.insert(0, folder)
    try:
        if is_file:
            return _import_file(path, path.stat().st_mtime_ns)
        return importlib.import_module(module_name)
    except Exception as exc:
        missing = exc.name if isinstance(exc, ModuleNotFoundError) else None
        if missing and f"{module_name}.".startswith(f"{missing}."):
            raise PluginError(
                f"{_named(what, name)}: there is no module {missing}.",
                hint="Install it, run from the folder that holds it, or give "
                "path/to/file.py:function.",
            ) from exc
        raise PluginError(
            f"{_named(what, name)}: importing {module_name} raised {_summary(exc)}.",
            hint=_place(exc),
        ) from exc
    finally:
        sys.path.remove(folder)


@functools.cache
def _import_file(path: Path, modified: int) -> ModuleType:
    """Import a file, only once unless it changes, so that model, data and loss share a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path} cannot be imported.")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # so that its classes can be copied and pickled
    spec.loader.exec_module(module)
    return module


def _summary(exc: BaseException) -> str:
    first = str(exc).splitlines()[0] if str(exc) else ""
    return f"{type(exc).__name__}: {first}".rstrip(": .")


def _place(exc: BaseException) -> str:
    """Say where in the user's own code it was raised: the last frame that is not a library's."""
    frames = [
        frame
        for frame in traceback.extract_tb(exc.__traceback__)
        if "site-packages" not in frame.filename and not frame.filename.startswith((__file__, "<"))
    ]
    return f"At {frames[-1].filename}:{frames[-1].lineno}." if frames else ""
