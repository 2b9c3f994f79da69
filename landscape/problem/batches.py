"""What a user calls data, read once: inputs and targets on one device, in a fixed order."""

from __future__ import annotations

import copy
import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Self, TypeAlias

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset, default_collate

from landscape.errors import InputError, first_line, from_extra, require

Batch: TypeAlias = tuple[Any, Any]
"""`(inputs, targets)`; inputs are a tensor, a tuple, a dict, or any object with `.to(device)`."""

Change: TypeAlias = Callable[[Any], Any]
"""A function of the inputs of a batch, such as an augmentation."""


def keep(inputs: Any) -> Any:
    """Return the inputs as they are."""
    return inputs


@dataclass(frozen=True)
class _Source:
    """What all kinds of data share.

    Attributes:
        digest: SHA-256 of the data as they were read; None until `hashed` computes it.
    """

    digest: str | None = field(default=None, kw_only=True)

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Return the same examples on `device`, floating tensors in `dtype`."""
        return replace(self, **_move(self._contents(), device, dtype))

    def hashed(self) -> Self:
        """Return the data with their digest, which stays as it is when they are moved or cast."""
        return replace(self, digest=self.hash)

    @property
    def hash(self) -> str:
        """SHA-256 of all inputs and targets as they were read, in evaluation order."""
        return self.digest or hash_tensors(tensors_in(self._contents()))

    def _contents(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "digest"}


@dataclass(frozen=True)
class TensorData(_Source):
    """Examples stacked along the first dimension, so that any of them can be taken.

    Attributes:
        inputs: A tensor (N, ...), or a tuple or dict of such tensors.
        targets: A tensor (N, ...).
    """

    inputs: Any
    targets: Tensor

    @property
    def num_examples(self) -> int:
        """N."""
        return len(self.targets)

    @property
    def examples(self) -> TensorData:
        """The data themselves: any example can be taken."""
        return self

    def take(self, indices: Tensor) -> TensorData:
        """Return the examples at `indices` (n,), in that order."""
        picked = indices.to(self.targets.device)
        return TensorData(
            map_tensors(lambda t: t.index_select(0, picked), self.inputs), self.targets[picked]
        )

    def batches(self, batch_size: int) -> list[Batch]:
        """Cut into consecutive views of `batch_size` examples, the last one possibly smaller."""
        cuts = [slice(i, i + batch_size) for i in range(0, self.num_examples, batch_size)]
        return [
            (map_tensors(lambda t, cut=cut: t[cut], self.inputs), self.targets[cut]) for cut in cuts
        ]

    def shuffled(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Return the indices (n,) of each batch, in random order drawn by the CPU `generator`."""
        order = torch.randperm(self.num_examples, generator=generator).to(self.targets.device)
        return order.split(batch_size)

    def pieces(self, indices: Tensor, size: int | None, change: Change = keep) -> list[Batch]:
        """Return the batch at `indices` (n,), changed, then cut into pieces of `size`, if any."""
        part = self.take(indices)
        return replace(part, inputs=change(part.inputs)).batches(size or len(indices))


@dataclass(frozen=True)
class BatchData(_Source):
    """Batches that the user made, kept as they are.

    Attributes:
        items: The batches, in order.
    """

    items: tuple[Batch, ...]

    @property
    def num_examples(self) -> int:
        """Examples in all batches."""
        return sum(batch_length(batch) for batch in self.items)

    @property
    def examples(self) -> TensorData:
        """The examples of all batches, joined so that any of them can be taken.

        Raises:
            InputError: If the batches hold anything that cannot be stacked.
        """
        try:
            return TensorData(
                torch.cat([inputs for inputs, _ in self.items]),
                torch.cat([targets for _, targets in self.items]),
            )
        except (TypeError, RuntimeError) as exc:
            raise InputError(
                "examples can only be picked out of batches of tensors of one shape.",
                hint="Give the data as a Dataset or as a pair of tensors, or use all of it.",
            ) from exc

    def take(self, indices: Tensor) -> TensorData:
        """Return the examples at `indices` (n,), in that order; errors as of `examples`."""
        return self.examples.take(indices)

    def batches(self, batch_size: int) -> list[Batch]:
        """Return the user's batches; their size is his choice, `batch_size` does not change it."""
        return list(self.items)

    def shuffled(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Return the index (1,) of each batch, in random order drawn by the CPU `generator`."""
        return torch.randperm(len(self.items), generator=generator).split(1)

    def pieces(self, indices: Tensor, size: int | None, change: Change = keep) -> list[Batch]:
        """Return the batch at `indices` (1,), its inputs changed; InputError if a size is given."""
        require(
            size is None,
            "batches that the user made cannot be cut into pieces or shared between processes.",
            hint="Give the data as a Dataset or as a pair of tensors.",
        )
        inputs, targets = self.items[int(indices)]
        return [(change(inputs), targets)]


@dataclass(frozen=True)
class GraphData(_Source):
    """Graphs of PyTorch Geometric, each with one target, so that any of them can be taken.

    Attributes:
        graphs: `torch_geometric.data.Data` whose `y` holds one element.
    """

    graphs: tuple[Any, ...]

    @property
    def num_examples(self) -> int:
        """Number of graphs."""
        return len(self.graphs)

    @property
    def targets(self) -> Tensor:
        """The targets of all graphs (N,)."""
        return torch.cat([graph.y.reshape(1) for graph in self.graphs])

    @property
    def examples(self) -> GraphData:
        """The data themselves: any graph can be taken."""
        return self

    def take(self, indices: Tensor) -> GraphData:
        """Return the graphs at `indices` (n,), in that order."""
        return GraphData(tuple(self.graphs[i] for i in indices.tolist()))

    def batches(self, batch_size: int) -> list[Batch]:
        """Join each `batch_size` consecutive graphs into one; the last may have fewer."""
        return [
            _join(self.graphs[i : i + batch_size]) for i in range(0, self.num_examples, batch_size)
        ]

    def shuffled(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Return the indices (n,) of each batch, in random order drawn by the CPU `generator`."""
        return torch.randperm(self.num_examples, generator=generator).split(batch_size)

    def pieces(self, indices: Tensor, size: int | None, change: Change = keep) -> list[Batch]:
        """Return the graphs at `indices` (n,), changed, `size` at a time or all joined."""
        batches = self.take(indices).batches(size or len(indices))
        return [(change(inputs), targets) for inputs, targets in batches]


def _join(graphs: Sequence[Any]) -> Batch:
    with from_extra("graphs", "PyTorch Geometric"):
        from torch_geometric.data import Batch as GraphBatch  # pyright: ignore[reportMissingImports]

    batch: Any = GraphBatch.from_data_list(list(graphs))
    return batch, batch.y


Data: TypeAlias = TensorData | BatchData | GraphData


def as_data(source: Any) -> Data:
    """Read what a user calls data, once and in order.

    Args:
        source: A `torch.utils.data.Dataset` of `(input, target)` examples, a `DataLoader`, a pair
            of tensors (inputs (N, ...), targets (N, ...)), a list of batches `(inputs, targets)`, a
            list or Dataset of PyTorch Geometric's graphs, or data that was read before.

    Returns:
        `TensorData` or `GraphData` where examples can be picked one by one, `BatchData` otherwise.

    Raises:
        InputError: If it is none of these, or is empty.
    """
    data = _read(source)
    require(data.num_examples > 0, "data must hold at least one example, got none.")
    return data


def _read(source: Any) -> Data:
    if isinstance(source, TensorData | BatchData | GraphData):
        return source
    tensors = source.tensors if isinstance(source, TensorDataset) else source
    is_pair = isinstance(tensors, tuple) and len(tensors) == 2 and isinstance(tensors[1], Tensor)
    if is_pair and not isinstance(tensors[0], list):
        return _tensor_data(*tensors)
    if isinstance(source, DataLoader):
        return BatchData(tuple(map(_as_batch, _reading(source))))
    if isinstance(source, Dataset):
        return _collate_dataset(source)
    if isinstance(source, Iterable) and not isinstance(source, Tensor | Mapping | str):
        items = _reading(source)
        if _are_graphs(items):
            return GraphData(tuple(items))
        return BatchData(tuple(map(_as_batch, items)))
    raise InputError(
        "data must be a Dataset, a DataLoader, a pair of tensors (inputs, targets), a list of "
        f"batches or a list of graphs, got {type(source).__name__}."
    )


def _reading(items: Iterable[Any]) -> list[Any]:
    """Read everything that the user's own code yields."""
    try:
        return list(items)
    except Exception as exc:
        raise InputError(
            f"reading the data raised {type(exc).__name__}: {first_line(exc)}"
        ) from exc


def _are_graphs(items: Sequence[Any]) -> bool:
    """Return whether all items are single graphs, no batches, with one target each."""
    return all(
        _is_graph(item)
        and not hasattr(item, "num_graphs")
        and isinstance(item.y, Tensor)
        and item.y.numel() == 1
        for item in items
    )


def _is_graph(value: Any) -> bool:
    """Whether it is a graph, or a batch of graphs, of PyTorch Geometric."""
    geometric = sys.modules.get("torch_geometric.data")  # imported by whoever made it
    return geometric is not None and isinstance(value, geometric.Data)


def _tensor_data(inputs: Any, targets: Tensor) -> TensorData:
    lengths = {len(t) if t.ndim else 0 for t in [*tensors_in(inputs), targets]}
    require(
        len(lengths) == 1,
        f"inputs and targets must have the same length, got lengths {sorted(lengths)}.",
    )
    return TensorData(inputs, targets)


def _collate_dataset(dataset: Dataset) -> Data:
    require(
        hasattr(dataset, "__len__"),
        "a Dataset must have a length, an iterable one has none.",
        hint="Wrap it in a DataLoader.",
    )
    examples = _reading(dataset[i] for i in range(len(dataset)))  # pyright: ignore[reportArgumentType]
    if _are_graphs(examples):
        return GraphData(tuple(examples))
    try:
        inputs, targets = default_collate(examples)
    except (TypeError, ValueError, RuntimeError) as exc:
        raise InputError(
            f"the examples of a Dataset must be (input, target) pairs that stack: {exc}",
            hint="Wrap it in a DataLoader with your own collate_fn.",
        ) from exc
    return _tensor_data(tuple(inputs) if isinstance(inputs, list) else inputs, targets)


def _as_batch(item: Any) -> Batch:
    if isinstance(item, tuple | list) and len(item) == 2:
        inputs, targets = item
        if not hasattr(targets, "__len__"):
            raise InputError(
                "a batch must be (inputs, targets) with one target an example, its targets are "
                f"{targets!r}.",
                hint="A list of examples is no list of batches; give a Dataset, a DataLoader or a "
                "pair of tensors.",
            )
        return (tuple(inputs) if isinstance(inputs, list) else inputs), targets
    targets = getattr(item, "y", None)
    if hasattr(item, "to") and targets is not None:  # a PyTorch Geometric batch
        return item, targets
    raise InputError(
        f"a batch must be (inputs, targets), got {type(item).__name__}.",
        hint="Return pairs from the data function; inputs may be a tensor, a tuple or a dict.",
    )


def batch_length(batch: Batch) -> int:
    """Return the number of examples in a batch: the length of its targets."""
    targets = batch[1]
    return 1 if isinstance(targets, Tensor) and not targets.ndim else len(targets)


def map_tensors(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Apply `function` to every tensor in a nest of tuples, lists and dicts."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, Mapping):
        return {key: map_tensors(function, item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return tuple(map_tensors(function, item) for item in value)
    return value


def tensors_in(value: Any) -> list[Tensor]:
    """List every tensor in a nest of tuples, lists, dicts and objects with `to_dict`, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        return [tensor for item in value.values() for tensor in tensors_in(item)]
    if isinstance(value, tuple | list):
        return [tensor for item in value for tensor in tensors_in(item)]
    if hasattr(value, "to_dict"):
        return tensors_in(value.to_dict())
    return []


def _move(value: Any, device: torch.device, dtype: torch.dtype) -> Any:
    move = partial(_move, device=device, dtype=dtype)
    if _is_graph(value):
        return copy.copy(value).apply(move)  # a copy: apply changes it
    if isinstance(value, Tensor):
        return value.to(device, dtype if value.is_floating_point() else None)
    if hasattr(value, "to"):
        return value.to(device)
    if isinstance(value, Mapping):
        return {key: move(item) for key, item in value.items()}
    return tuple(map(move, value)) if isinstance(value, tuple | list) else value


def hash_tensors(tensors: Sequence[Tensor]) -> str:
    """Return the SHA-256 of shapes, dtypes and contents, in order."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tuple(tensor.shape)}{tensor.dtype}".encode())
        dense = tensor.detach().to_dense() if tensor.layout != torch.strided else tensor.detach()
        digest.update(dense.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
