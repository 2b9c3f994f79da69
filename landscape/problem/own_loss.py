"""A loss function of our own: what it holds is copied, constant, and where the model is."""

from __future__ import annotations

import copy
import random
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from types import CellType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape.problem.batches import cast, dtype_for
from landscape.problem.forward import changed
from landscape.problem.structures import with_items

GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
"""Kinds of generators of random numbers."""

OF_EVERY_MODULE = frozenset(vars(nn.Module()))
"""Attributes of every module: its parameters, buffers, parts, hooks and mode."""

_PLAIN = (str, bytes, int, float, complex, type(None), type, ModuleType)
_NOT_OF_USERS = sys.stdlib_module_names | {"landscape", "numpy", "torch"}


@dataclass(frozen=True)
class OwnLoss:
    """A copy of a loss function that shares no tensor with the user's.

    Attributes:
        call: The copy; the user's own function if it holds no networks, tensors or generators.
        copied: Parameters that the user's function holds -> those of the copy.
        shared: What the copy shares with the user's function.
    """

    call: Callable[..., Any]
    copied: dict[Tensor, Tensor]
    shared: list[Any]


def own_loss(
    criterion: Callable[..., Any],
    device: torch.device,
    dtype: torch.dtype,
    weights: Iterable[Tensor] = (),
) -> OwnLoss:
    """Copy a loss function with everything that it holds, and move the copy.

    It may hold networks and tensors in attributes, closures, default values, the arguments of a
    partial, or under names of its file, and there in tuples, lists, queues and mappings. Their
    weights become constants.

    Args:
        criterion: `loss(outputs, targets)`: a module, a function, a partial, a method or an object;
            left as it is.
        device: Where the tensors of the copy are to be.
        dtype: Dtype of its floating tensors.
        weights: Parameters that are no constants; copies of them require a gradient.
    """
    copier = _Copier(device, dtype)
    call = copier.copy(criterion)
    for parameter in weights:
        if parameter in copier.parameters:
            copier.parameters[parameter].requires_grad_(parameter.requires_grad)
    shared = [value for value, copied in copier.known.values() if copied is value]
    return OwnLoss(call, copier.parameters, shared)


class _Copier:
    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._device, self._dtype = device, dtype
        self._memo: dict[int, Any] = {}
        self.known: dict[int, tuple[Any, Any]] = {}  # with the original, whose identity is the key
        self.parameters: dict[Tensor, Tensor] = {}

    def copy(self, value: Any) -> Any:
        """Return a copy of what holds networks, tensors or generators, anything else itself."""
        if isinstance(value, _PLAIN):
            return value
        if id(value) not in self.known:
            self.known[id(value)] = value, value  # for what leads back to itself
            self.known[id(value)] = value, self._copied(value)
        return self.known[id(value)][1]

    def _parts(self, values: Iterable[Any]) -> tuple[list[Any], bool]:
        """Return copies, and whether any of them is not the original."""
        pairs = [(value, self.copy(value)) for value in values]
        return [own for _, own in pairs], any(own is not value for value, own in pairs)

    def _copied(self, value: Any) -> Any:
        if isinstance(value, nn.Module):
            return self._module(value)
        if isinstance(value, Tensor):
            return self._tensor(value)
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, GENERATORS):
            return copy.deepcopy(value, self._memo)
        if isinstance(value, MethodType):
            (own,), is_new = self._parts([value.__self__])
            return MethodType(value.__func__, own) if is_new else value
        if isinstance(value, partial):
            (call, *args), _ = self._parts([value.func, *value.args])
            return partial(call, *args, **self.copy(value.keywords))
        if isinstance(value, tuple | list | deque):
            own, is_new = self._parts(value)
            return _with_parts(value, own) if is_new else value
        if isinstance(value, dict):
            own, is_new = self._parts(value.values())
            return with_items(value, own) if is_new else value
        return self._object(value) if has_parts(value) else value

    def _module(self, module: nn.Module) -> nn.Module:
        for each in module.modules():  # what it holds without having registered it
            for name in sorted(vars(each).keys() - OF_EVERY_MODULE):
                held = vars(each)[name]
                if (own := self.copy(held)) is not held:
                    self._memo[id(held)] = own
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
        cells = [cell for cell in function.__closure__ or () if not _is_empty(cell)]
        names = dict(used_names(function, object))
        held = [*(cell.cell_contents for cell in cells), *names.values()]
        others = [function.__defaults__, function.__kwdefaults__, vars(function)]
        own, is_new = self._parts([*others, *held])
        if not is_new:
            return function
        defaults, named, attributes, *held = own
        own_cells = {id(cell): CellType(item) for cell, item in zip(cells, held, strict=False)}
        own_names = dict(zip(names, held[len(cells) :], strict=True))
        copied = FunctionType(
            function.__code__,
            {**function.__globals__, **own_names},
            function.__name__,
            defaults,
            tuple(own_cells.get(id(cell), cell) for cell in function.__closure__ or ()),
        )
        copied.__kwdefaults__ = named
        copied.__dict__.update(attributes)
        copied.__module__, copied.__qualname__ = function.__module__, function.__qualname__
        return copied

    def _object(self, value: Any) -> Any:
        own, is_new = self._parts(vars(value).values())
        try:
            return changed(value, **dict(zip(vars(value), own, strict=True))) if is_new else value
        except Exception:  # the user's own, which then serves as it is
            return value


def _is_empty(cell: CellType) -> bool:
    """Whether nothing is in a cell yet."""
    try:
        _ = cell.cell_contents
    except ValueError:
        return True
    return False


def used_names(
    function: FunctionType, kinds: Any = (nn.Module, Tensor, FunctionType, *GENERATORS)
) -> Iterator[tuple[str, Any]]:
    """Yield the names of a function's file that it uses and that have values of some kinds."""
    names = sorted(_names_in(function.__code__) & function.__globals__.keys())
    found = [(name, function.__globals__[name]) for name in names]
    yield from ((name, value) for name, value in found if isinstance(value, kinds))


def _names_in(code: Any) -> set[str]:
    inner = [each for each in code.co_consts if hasattr(each, "co_names")]
    return set(code.co_names).union(*map(_names_in, inner))


def _with_parts(value: Any, parts: list[Any]) -> Any:
    """Return a tuple, a list or a queue like another one, of other parts."""
    if isinstance(value, deque):
        return deque(parts, value.maxlen)
    return getattr(value, "_make", type(value))(parts)


def has_parts(value: Any) -> bool:
    """Whether it is a namespace, or an object with attributes of a class that is not Python's."""
    is_object = hasattr(value, "__dict__") and not isinstance(value, (type, ModuleType))
    return isinstance(value, SimpleNamespace) or (is_object and is_users(type(value).__module__))


def is_users(module: str | None) -> bool:
    """Whether a module of this name is neither ours nor part of Python, numpy or torch."""
    return (module or "").partition(".")[0] not in _NOT_OF_USERS
