"""What a user calls data, read once and in order."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset, default_collate

from landscape.errors import InputError, Remark, first_line, require
from landscape.problem.batches import (
    Batch,
    BatchData,
    Data,
    GraphData,
    TensorData,
    batch_length,
    is_graph,
    tensor_data,
    tensors_in,
)
from landscape.problem.structures import unpacked
from landscape.runtime.free_memory import free_memory

MOST_BATCHES = 100_000
"""Batches or examples that are read from what does not tell how many it has."""

_BETWEEN_LOOKS = 1 << 26  # bytes that are read before the memory is looked at again
_ENDLESS = "Give an iterable that ends, such as list(itertools.islice(loader, 100))."


def as_data(source: Any) -> Data:
    """Read what a user calls data, once and in order.

    A batch is a pair `(inputs, targets)`, or one dict that has both: the model gets it by name, the
    loss as its targets. A list of inputs with an entry per example is one argument of the model;
    any other list or tuple has several.

    Args:
        source: A `torch.utils.data.Dataset` of `(input, target)` examples, a `DataLoader`, a pair
            of tensors (inputs (N, ...), targets (N, ...)) or of nests of them, a list of batches, a
            list or Dataset of PyTorch Geometric's graphs, or data that was read before. NumPy's
            arrays are read as tensors.

    Returns:
        `TensorData` or `GraphData` where examples can be picked one by one, `BatchData` otherwise.

    Raises:
        InputError: If it is none of these, is empty, or does not end.
    """
    data = _read(source)
    require(data.num_examples > 0, "data must hold at least one example, got none.")
    return data


def _read(source: Any) -> Data:
    if isinstance(source, TensorData | BatchData | GraphData):
        return source
    tensors = source.tensors if isinstance(source, TensorDataset) else source
    if isinstance(tensors, tuple) and len(tensors) == 2:
        tensors = _with_tensors(tensors)
    if isinstance(tensors, tuple) and len(tensors) == 2 and _are_examples(*tensors):
        return tensor_data(*tensors)
    if isinstance(source, DataLoader):
        data = BatchData(_batches(_reading(source)))
        _say_what_is_dropped(source, data.num_examples)
        return data
    if isinstance(source, Dataset):
        return _collate_dataset(source)
    if isinstance(source, Iterable) and not isinstance(source, Tensor | Mapping | str):
        items = _reading(source)
        return GraphData(tuple(items)) if _are_graphs(items) else BatchData(_batches(items))
    raise InputError(
        "data must be a Dataset, a DataLoader, a pair of tensors (inputs, targets), a list of "
        f"batches or a list of graphs, got {type(source).__name__}."
    )


def _with_tensors(value: Any) -> Any:
    """Return a nest of structures with tensors in place of NumPy's arrays."""
    if isinstance(value, np.ndarray):
        try:
            return torch.as_tensor(value if value.flags.writeable else value.copy())
        except (TypeError, ValueError) as exc:
            raise InputError(
                f"the data hold an array of dtype {value.dtype}, which torch does not have.",
                hint="Convert it to numbers in the byte order of this machine.",
            ) from exc
    found = None if isinstance(value, Tensor) else unpacked(value)
    if found is None:
        return value
    parts, rebuild = found
    others = [_with_tensors(part) for part in parts]
    return value if all(map(operator.is_, parts, others)) else rebuild(others)


def _are_examples(inputs: Any, targets: Any) -> bool:
    """Whether two things are inputs and targets of all examples, not two batches."""
    if isinstance(targets, Tensor):
        return not isinstance(inputs, list)
    if isinstance(inputs, Mapping) and isinstance(targets, Mapping):
        return inputs.keys() != targets.keys()
    is_nest = isinstance(targets, Mapping | tuple) and bool(tensors_in(targets))
    return is_nest and (
        isinstance(inputs, Tensor | Mapping)
        or (isinstance(inputs, tuple) and isinstance(targets, Mapping))
    )


def _reading(items: Iterable[Any], length: int | None = None) -> list[Any]:
    """Read everything that the user's own code yields.

    Args:
        items: What to read.
        length: How many there are; None for what they say themselves, if they do.

    Raises:
        InputError: If it raises, or goes on and on.
    """
    found: list[Any] = []
    try:
        told = operator.length_hint(items) if length is None else length
        most, unseen = max(MOST_BATCHES, told), 0
        for item in items:
            found.append(item)
            unseen += sum(tensor.nbytes for tensor in tensors_in(item))
            if len(found) > told and unseen > _BETWEEN_LOOKS:
                unseen, left = 0, free_memory(torch.device("cpu"))
                is_full = 0 < left < 2 * _BETWEEN_LOOKS
                require(not is_full, f"memory is full after {len(found)} batches.", _ENDLESS)
            require(len(found) <= most, f"the data go on after {most} batches.", _ENDLESS)
    except InputError:
        raise
    except Exception as exc:
        raise InputError(
            f"reading the data raised {type(exc).__name__}: {first_line(exc)}"
        ) from exc
    return found


def _say_what_is_dropped(loader: DataLoader[Any], num_read: int) -> None:
    """Warn of the examples that a loader leaves out, since they do not fill a batch."""
    batches: Any = loader.batch_sampler
    if not getattr(batches, "drop_last", False):
        return
    try:
        total = len(batches.sampler)
        lost = f"{total - num_read} of {total}" if total > num_read else ""
    except (AttributeError, TypeError):  # of examples that cannot be counted
        lost = f"up to {batches.batch_size - 1}"
    if lost:
        warnings.warn(
            f"The DataLoader leaves {lost} examples out: with drop_last=True, those that do not "
            "fill a batch.",
            Remark,
            stacklevel=4,
        )


def _are_graphs(items: Sequence[Any]) -> bool:
    """Return whether all items are single graphs, no batches, with one target each."""
    return all(
        is_graph(item)
        and not hasattr(item, "num_graphs")
        and isinstance(item.y, Tensor)
        and item.y.numel() == 1
        for item in items
    )


def _collate_dataset(dataset: Dataset) -> Data:
    require(
        hasattr(dataset, "__len__"),
        "a Dataset must have a length, an iterable one has none.",
        hint="Wrap it in a DataLoader.",
    )
    length = len(dataset)  # pyright: ignore[reportArgumentType]
    examples = _reading((dataset[i] for i in range(length)), length)
    if _are_graphs(examples):
        return GraphData(tuple(examples))
    try:
        collated = default_collate(examples)
        inputs, targets = (collated,) * 2 if isinstance(collated, Mapping) else collated
    except (TypeError, ValueError, RuntimeError) as exc:
        raise InputError(
            f"the examples of a Dataset must be (input, target) pairs that stack: {exc}",
            hint="Wrap it in a DataLoader with your own collate_fn.",
        ) from exc
    return tensor_data(*(tuple(x) if isinstance(x, list) else x for x in (inputs, targets)))


def _batches(items: Sequence[Any]) -> tuple[Batch, ...]:
    """Return the batches that are not empty, each list of inputs as the model is to be given it."""
    every = (_as_batch(_with_tensors(item)) for item in items)
    batches = [batch for batch in every if batch_length(batch)]
    if all(map(_has_entry_per_example, batches)) and not all(map(_has_stacked_inputs, batches)):
        return tuple((list(inputs), targets) for inputs, targets in batches)
    return tuple((tuple(x) if isinstance(x, list) else x, y) for x, y in batches)


def _has_entry_per_example(batch: Batch) -> bool:
    """Whether inputs may be a list of examples; a tuple only where the targets are as many, too."""
    inputs, targets = batch
    are_lists = isinstance(inputs, tuple) and isinstance(targets, tuple | list)
    return (isinstance(inputs, list) or are_lists) and len(inputs) == len(targets)


def _has_stacked_inputs(batch: Batch) -> bool:
    inputs, targets = batch
    if any(isinstance(target, Mapping) for target in targets):
        return False
    return all(isinstance(x, Tensor) and x.ndim and len(x) == len(targets) for x in inputs)


def _as_batch(item: Any) -> Batch:
    if isinstance(item, Mapping):
        return item, item
    if isinstance(item, tuple | list) and len(item) == 2:
        inputs, targets = item
        if not hasattr(targets, "__len__"):
            raise InputError(
                "a batch must be (inputs, targets) with one target an example, its targets are "
                f"{targets!r}.",
                hint="A list of examples is no list of batches; give a Dataset, a DataLoader or a "
                "pair of tensors.",
            )
        return inputs, targets
    targets = getattr(item, "y", None)
    if hasattr(item, "to") and targets is not None:  # a PyTorch Geometric batch
        return item, targets
    raise InputError(
        f"a batch must be (inputs, targets), got {type(item).__name__}.",
        hint="Return pairs from the data function; inputs may be a tensor, a tuple or a dict. One "
        "dict with inputs and targets is a batch, too.",
    )
