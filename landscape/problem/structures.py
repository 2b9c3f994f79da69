"""Tensors in what users hold them in: tuples, lists, mappings, dataclasses and other objects."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any, TypeAlias

from torch import Tensor, nn

Rebuild: TypeAlias = Callable[[Sequence[Any]], Any]
"""Makes a structure like another one, of other parts."""


def unpacked(value: Any) -> tuple[list[Any], Rebuild] | None:
    """Return the parts of a structure and what makes one of the same type; None of anything else.

    Structures are tuples (named ones too), lists, mappings, dataclasses, and objects of any class
    that have a tensor for an attribute, other than modules.
    """
    if isinstance(value, Mapping):
        return list(value.values()), partial(with_items, value)
    if isinstance(value, tuple | list):
        return list(value), getattr(value, "_make", type(value))
    names = _attributes(value)
    if names:
        return [getattr(value, name) for name in names], partial(_with_attributes, value, names)
    return None


def map_tensors(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Apply `function` to every tensor in a nest of structures, which keep their types."""
    if isinstance(value, Tensor):
        return function(value)
    found = unpacked(value)
    if found is None:
        return value
    parts, rebuild = found
    return rebuild([map_tensors(function, part) for part in parts])


def tensors_in(value: Any) -> list[Tensor]:
    """List every tensor in a nest of structures and objects with `to_dict`, in order."""
    if isinstance(value, Tensor):
        return [value]
    if hasattr(value, "to_dict") and not isinstance(value, Mapping | tuple | list):
        return tensors_in(value.to_dict())
    found = unpacked(value)
    return [] if found is None else [tensor for part in found[0] for tensor in tensors_in(part)]


def _attributes(value: Any) -> list[str]:
    if isinstance(value, nn.Module | type):
        return []
    held = getattr(value, "__dict__", {})
    if is_dataclass(value):
        named = [field.name for field in fields(value) if hasattr(value, field.name)]
        return list(dict.fromkeys([*named, *held]))
    return list(held) if any(isinstance(part, Tensor) for part in held.values()) else []


def with_items(value: Mapping[Any, Any], parts: Sequence[Any]) -> Mapping[Any, Any]:
    """Return a mapping like another one, with other values."""
    items = dict(zip(value, parts, strict=True))
    if type(value) is dict:
        return items
    try:
        other: Any = copy.copy(value)
        for key, part in items.items():
            other[key] = part
    except TypeError:  # one that cannot be changed
        return items
    return other


def _with_attributes(value: Any, names: Sequence[str], parts: Sequence[Any]) -> Any:
    other = copy.copy(value)
    for name, part in zip(names, parts, strict=True):
        object.__setattr__(other, name, part)  # frozen ones too
    return other
