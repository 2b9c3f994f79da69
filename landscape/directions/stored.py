"""Directions from a file as vectors of a model's weights, exactly as they are stored."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, zip_longest
from math import prod
from typing import TypeAlias

import torch
from torch import Tensor, nn

from landscape.errors import InputError
from landscape.problem.weights import WeightSpec
from landscape.results.surface import Directions

_Tensors: TypeAlias = list[tuple[str, tuple[int, ...]]]
"""Name and shape of each."""

_COUNTER = "num_batches_tracked"  # of BatchNorm; state dicts of old versions of torch lack it


def directions_for(
    directions: Directions, spec: WeightSpec, module: nn.Module | None = None
) -> tuple[Tensor, ...]:
    """Find in stored directions the tensors of a model's weights.

    Tensors are matched in order: by name and shape where the file names them, by shape where it
    numbers them, as Li et al.'s files do. Those may also have one for each entry of the state dict,
    or for frozen parameters; which of them are weights shows only given the module. The others,
    such as running statistics, are left out.

    Args:
        directions: As read from a file.
        spec: Of the model's weights.
        module: The model; None if the directions have nothing but its weights.

    Returns:
        Vectors (P,) on the CPU, in the dtype of the file.

    Raises:
        InputError: Naming the first tensor that differs, if they belong to another model.
    """
    parts = _cut(directions, spec, module)
    return tuple(torch.cat([part[name] for name in spec.names]) for part in parts)


def left_out(
    directions: Directions, spec: WeightSpec, module: nn.Module | None = None
) -> list[str]:
    """Name the tensors other than weights, such as running statistics, that directions would move.

    Raises:
        InputError: As `directions_for`.
    """
    parts = _cut(directions, spec, module)
    others = dict.fromkeys(name for part in parts for name in part if name not in spec.names)
    return [name for name in others if any(part[name].any() for part in parts)]


def _cut(
    directions: Directions, spec: WeightSpec, module: nn.Module | None
) -> list[dict[str, Tensor]]:
    """Cut each direction into the model's tensors, flat, by name."""
    layout = _find_layout(directions, spec, module)
    stops = list(accumulate(prod(shape) for _, shape in layout))
    places = list(zip(layout, [0, *stops], stops, strict=False))
    return [
        {name: vector[start:stop] for (name, _), start, stop in places}
        for vector in map(torch.from_numpy, directions.vectors)
    ]


def _find_layout(directions: Directions, spec: WeightSpec, module: nn.Module | None) -> _Tensors:
    """Return what the tensors of stored directions are, in order."""
    stored: _Tensors = list(zip(directions.weight_names, directions.weight_shapes, strict=True))
    layouts = [[(weight.name, weight.shape) for weight in spec.weights], *_layouts(module)]
    for layout in layouts:
        if _first_difference(stored, layout) is None:
            return layout
    i, nearest = max(
        ((_first_difference(stored, layout) or 0, layout) for layout in layouts),
        key=lambda found: found[0],
    )
    raise InputError(
        f"stored directions must fit the model, the file has {_tensor(stored, i)} where the model "
        f"has {_tensor(nearest, i)}.",
        hint="Use the model that they were made for.",
    )


def _layouts(module: nn.Module | None) -> Iterator[_Tensors]:
    """Yield what Li et al.'s code may have written for a model: all parameters, or all state."""
    if module is None:
        return
    yield [(name, tuple(parameter.shape)) for name, parameter in module.named_parameters()]
    state = [(name, tuple(value.shape)) for name, value in module.state_dict().items()]
    yield state
    yield [(name, shape) for name, shape in state if not name.endswith(_COUNTER)]


def _first_difference(stored: _Tensors, layout: _Tensors) -> int | None:
    """Return the index of the first tensor that does not match, or None."""
    pairs = enumerate(zip_longest(stored, layout))
    return next((i for i, (found, wanted) in pairs if not _is_match(found, wanted)), None)


def _is_match(
    found: tuple[str, tuple[int, ...]] | None, wanted: tuple[str, tuple[int, ...]] | None
) -> bool:
    if found is None or wanted is None:
        return False
    return found[1] == wanted[1] and (found[0].isdecimal() or found[0] == wanted[0])


def _tensor(tensors: _Tensors, i: int) -> str:
    return "no more tensors" if i >= len(tensors) else f"{tensors[i][0]} of shape {tensors[i][1]}"
