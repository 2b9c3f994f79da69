"""What objects keep from call to call: attributes, lists, dicts, tensors, arrays."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import CellType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape.problem.own_loss import (
    GENERATORS,
    OF_EVERY_MODULE,
    has_parts,
    is_users,
    used_names,
)

_PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.Size, torch.dtype, torch.device)


@dataclass(frozen=True, eq=False)
class _Place:
    """Something that can change.

    Attributes:
        name: Path of attributes that leads to it.
        holder: A dict (of attributes), list, deque, set, cell, tensor or array.
        skipped: Keys that are not looked at.
        before: Copy of what was in it.
        is_shared: Whether it is the user's own.
    """

    name: str
    holder: Any
    skipped: frozenset[str]
    before: Any
    is_shared: bool

    def changes(self) -> list[str]:
        """Return the names of what is no longer as it was."""
        now = _contents(self.holder, self.skipped)
        if isinstance(now, dict):
            keys = {**self.before, **now}
            return [_join(self.name, key) for key in keys if not _is_same(self.before, now, key)]
        return [] if _have_same(self.before, now) else [self.name]

    @torch.no_grad()
    def restore(self, left: Container[str]) -> None:
        """Put back what was in it, except what is named as `left`."""
        holder, before = self.holder, self.before
        if isinstance(holder, dict):
            for key in {**_contents(holder, self.skipped), **before}:
                if key in before and _join(self.name, key) not in left:
                    holder[key] = before[key]
                elif key not in before and _join(self.name, key) not in left:
                    del holder[key]
        elif self.name in left:
            return
        elif isinstance(holder, CellType):
            holder.cell_contents, *_ = before
        elif isinstance(holder, Tensor):
            holder.copy_(before)
        elif isinstance(holder, np.ndarray):
            holder[...] = before
        else:
            holder.clear()
            (holder.update if isinstance(holder, set) else holder.extend)(before)


class State:
    """What some objects hold, as it was when this was made.

    Parameters are left out. Values that are no dict, list, set, tensor or array are told apart by
    their identity; objects of the user's classes are looked into.

    Args:
        roots: Name -> module, function or any object.
        ignored: Identities of what may change.
        shared: What is the user's own object.

    Attributes:
        generators: Generators of random numbers that were found; they are no part of it.
        tensors: Tensors that were found, parameters left out.
    """

    def __init__(
        self, roots: Mapping[str, Any], ignored: Iterable[int] = (), shared: Iterable[Any] = ()
    ) -> None:
        seen = dict.fromkeys(ignored)
        found = [item for name, root in roots.items() for item in walk(name, root, seen)]
        self.generators = [value for _, value in found if isinstance(value, GENERATORS)]
        self.tensors = [value for _, value in found if isinstance(value, Tensor)]
        own = set(map(id, shared))
        self._places = [
            _Place(_join(name, key), holder, skipped, _contents(holder, skipped), id(value) in own)
            for name, value in found
            for key, holder, skipped in _holders(value)
        ]

    def changes(self) -> dict[str, _Place]:
        """Return what is no longer as it was, by name."""
        return {name: place for place in self._places for name in place.changes()}

    def restore(self, left: Container[str] = ()) -> None:
        """Put everything back, except what is named as `left`."""
        for place in self._places:
            place.restore(left)

    def only(self, changes: Mapping[str, _Place]) -> State | None:
        """Return the part of the state that holds some changes, but for what is shared, if any."""
        other = State({})
        places = dict.fromkeys(changes.values())
        other._places = [place for place in places if not place.is_shared]
        return other if other._places else None


def walk(name: str, value: Any, seen: dict[int, Any] | None = None) -> Iterator[tuple[str, Any]]:
    """Yield name and value of everything that is held in a value, itself first, each once.

    Parameters and plain values are left out, as is what was `seen`, identity -> value.
    """
    seen = {} if seen is None else seen
    if isinstance(value, (*_PLAIN, nn.Parameter)) or id(value) in seen:
        return
    seen[id(value)] = value  # a reference keeps its identity
    yield name, value
    for key, part in _parts(value):
        yield from walk(_join(name, key), part, seen)


def _holders(value: Any) -> Iterator[tuple[str, Any, frozenset[str]]]:
    """Yield the holders of a value: its name inside of the value, itself, keys to be skipped."""
    if isinstance(value, nn.Module):
        yield "", vars(value), OF_EVERY_MODULE
        if isinstance(value._buffers, dict):  # not of TorchScript
            yield "", value._buffers, frozenset()
    elif isinstance(value, FunctionType) and is_users(value.__module__):
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            yield name, cell, frozenset()
    elif isinstance(value, Tensor):
        if value.layout == torch.strided:
            yield "", value, frozenset()
    elif isinstance(value, dict | list | deque | set | np.ndarray):
        yield "", value, frozenset()
    elif has_parts(value):
        yield "", vars(value), frozenset()


def _parts(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield name and value of what can hold something itself."""
    if isinstance(value, nn.Module):
        yield from value._modules.items()
    if isinstance(value, FunctionType):
        yield from used_names(value)
    elif isinstance(value, MethodType):
        yield "", value.__self__
    elif isinstance(value, partial):
        yield from enumerate((value.func, *value.args))
        yield from value.keywords.items()
    elif isinstance(value, tuple):
        yield from enumerate(value)
    for name, holder, skipped in _holders(value):
        found = _contents(holder, skipped) if not isinstance(holder, Tensor | np.ndarray) else ()
        items = found.items() if isinstance(found, dict) else enumerate(found)
        yield from ((_join(name, key), item) for key, item in items)


def _contents(holder: Any, skipped: frozenset[str]) -> Any:
    """Return a copy of what is in a holder."""
    if isinstance(holder, dict):
        return {key: value for key, value in holder.items() if key not in skipped}
    if isinstance(holder, Tensor):
        return holder.detach().clone()
    if isinstance(holder, CellType):
        try:
            return [holder.cell_contents]
        except ValueError:  # nothing is in it yet
            return []
    return holder.copy()


def _is_same(before: dict[Any, Any], now: dict[Any, Any], key: Any) -> bool:
    return key in before and key in now and _are_same(before[key], now[key])


def _have_same(before: Any, now: Any) -> bool:
    """Whether the contents of a holder are as they were."""
    if isinstance(now, Tensor):
        return same_bits(before, now)
    if isinstance(now, np.ndarray):
        return before.dtype == now.dtype and before.tobytes() == now.tobytes()
    if isinstance(now, set):
        return before == now
    return len(before) == len(now) and all(map(_are_same, before, now))


def _are_same(a: Any, b: Any) -> bool:
    """Whether two values are one object, or plain and equal."""
    if a is b or (type(a) is type(b) and isinstance(a, _PLAIN) and (a == b or a != a)):
        return True
    if not (isinstance(a, tuple) and isinstance(b, tuple)):
        return False
    return len(a) == len(b) and all(map(_are_same, a, b))


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same numbers; NaN is the same as NaN."""
    if a.shape != b.shape or a.dtype != b.dtype or torch.equal(a, b):
        return a.shape == b.shape and a.dtype == b.dtype
    return torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(), b.nan_to_num())


def _join(name: Any, key: Any) -> str:
    return ".".join(str(part) for part in (name, key) if part != "")
