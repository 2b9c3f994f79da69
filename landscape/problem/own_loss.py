"""A loss function of our own: what it holds is copied, constant, and where the model is."""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape.problem.batches import cast, dtype_for
from landscape.problem.forward import changed

GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
"""Kinds of generators of random numbers."""

USERS_LOSS = "loss function"
"""Name in a state of a loss that is the user's own object, which is not written to for long."""

_NOT_OF_USERS = sys.stdlib_module_names | {"landscape", "numpy", "torch"}


@dataclass(frozen=True)
class OwnLoss:
    """A copy of a loss function that shares no tensor with the user's.

    Attributes:
        call: The copy; the user's own function if it holds no tensors and draws from no generator
            of its own.
        copied: Parameters that the user's function holds -> those of the copy.
        name: What it is called in a state: `loss`, or `USERS_LOSS`.
    """

    call: Callable[..., Any]
    copied: dict[Tensor, Tensor]
    name: str = "loss"


def own_loss(
    criterion: Callable[..., Any],
    device: torch.device,
    dtype: torch.dtype,
    weights: Iterable[Tensor] = (),
) -> OwnLoss:
    """Copy a loss function with everything that it holds, and move the copy.

    It may hold networks and tensors in attributes, closures, default values, the arguments of a
    partial, or under names of its file. Their weights become constants.

    Args:
        criterion: `loss(outputs, targets)`: a module, a function, a partial, a method or an object;
            left as it is.
        device: Where the tensors of the copy are to be.
        dtype: Dtype of its floating tensors.
        weights: Parameters that are no constants; copies of them require a gradient.
    """
    copier = _Copier(device, dtype)
    call = copier.copy(criterion)
    if not copier.has_found:
        return OwnLoss(criterion, {}, USERS_LOSS)
    for parameter in weights:
        if parameter in copier.parameters:
            copier.parameters[parameter].requires_grad_(parameter.requires_grad)
    return OwnLoss(call, copier.parameters)


class _Copier:
    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._device, self._dtype = device, dtype
        self._memo: dict[int, Any] = {}
        self._known: dict[int, tuple[Any, Any]] = {}  # with the original, whose identity is the key
        self.parameters: dict[Tensor, Tensor] = {}
        self.has_found = False

    def copy(self, value: Any) -> Any:
        """Return a copy of what may hold tensors, anything else itself."""
        if id(value) not in self._known:
            self._known[id(value)] = value, value  # for what leads back to itself
            self._known[id(value)] = value, self._copied(value)
        return self._known[id(value)][1]

    def _copied(self, value: Any) -> Any:
        self.has_found |= isinstance(value, (Tensor, *GENERATORS)) or _holds_tensors(value)
        if isinstance(value, nn.Module):
            return self._module(value)
        if isinstance(value, Tensor):
            return self._tensor(value)
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, MethodType):
            return MethodType(value.__func__, self.copy(value.__self__))
        if isinstance(value, partial):
            keywords = {name: self.copy(item) for name, item in value.keywords.items()}
            return partial(self.copy(value.func), *map(self.copy, value.args), **keywords)
        if type(value) is list:
            return [self.copy(item) for item in value]
        if type(value) is tuple:
            return tuple(map(self.copy, value))
        if type(value) is dict:
            return {key: self.copy(item) for key, item in value.items()}
        if isinstance(value, GENERATORS):
            return copy.deepcopy(value, self._memo)
        return self._object(value) if is_of_users(value) else value

    def _module(self, module: nn.Module) -> nn.Module:
        try:
            copied = copy.deepcopy(module, self._memo)
        except Exception:  # the user's own, which then serves as it is
            return module
        self.parameters |= {w: self._memo[id(w)] for w in module.parameters()}
        return cast(copied, self._device, self._dtype).requires_grad_(False)

    def _tensor(self, tensor: Tensor) -> Tensor:
        dtype = dtype_for(tensor, self._dtype)
        copied = tensor.detach().to(self._device, dtype, copy=True)
        if isinstance(tensor, nn.Parameter):
            self.parameters[tensor] = copied
        return copied

    def _function(self, function: FunctionType) -> FunctionType:
        """Return a function with copies of what it closes over, its defaults and its names."""
        if not is_users(function.__module__):
            return function
        cells = tuple(map(self._cell, function.__closure__ or ()))
        defaults, named = self.copy(function.__defaults__), self.copy(function.__kwdefaults__)
        names = dict(used_names(function))
        own_names = {name: self.copy(value) for name, value in names.items()}
        if not (cells or defaults or named) and all(
            own_names[name] is value for name, value in names.items()
        ):
            return function
        scope = {**function.__globals__, **own_names}
        own = FunctionType(function.__code__, scope, function.__name__, defaults, cells)
        own.__kwdefaults__ = named
        own.__dict__.update(vars(function))
        own.__module__, own.__qualname__ = function.__module__, function.__qualname__
        return own

    def _cell(self, cell: CellType) -> CellType:
        try:
            return CellType(self.copy(cell.cell_contents))
        except ValueError:  # nothing is in it yet
            return cell

    def _object(self, value: Any) -> Any:
        try:
            return changed(value, **{name: self.copy(item) for name, item in vars(value).items()})
        except Exception:  # the user's own, which then serves as it is
            return value


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, nn.Module) and bool([*value.parameters(), *value.buffers()])


def used_names(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield names of a function's file, and their values, that may lead it to tensors."""
    for name in sorted(_names_in(function.__code__)):
        value = function.__globals__.get(name)
        if isinstance(value, (nn.Module, Tensor, FunctionType, *GENERATORS)):
            yield name, value


def _names_in(code: Any) -> set[str]:
    inner = [each for each in code.co_consts if hasattr(each, "co_names")]
    return set(code.co_names).union(*map(_names_in, inner))


def is_of_users(value: Any) -> bool:
    """Whether it is an object with attributes, of a class that is the user's or a library's."""
    is_object = hasattr(value, "__dict__") and not isinstance(value, (type, ModuleType))
    return is_object and is_users(type(value).__module__)


def is_users(module: str | None) -> bool:
    """Whether a module of this name is neither ours nor part of Python, numpy or torch."""
    return (module or "").partition(".")[0] not in _NOT_OF_USERS
