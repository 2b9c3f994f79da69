"""What a user calls data, read once: inputs and targets on one device, in a fixed order."""

from __future__ import annotations

import copy
import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Self, TypeAlias

import torch
from torch import Tensor, nn

from landscape.errors import InputError, from_extra, require
from landscape.problem.structures import map_tensors, tensors_in, unpacked

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
        targets: Likewise.
    """

    inputs: Any
    targets: Any

    @property
    def num_examples(self) -> int:
        """N."""
        return len(self.labels)

    @property
    def labels(self) -> Tensor:
        """What examples are told apart by (N, ...): the targets, or the first of several."""
        return tensors_in(self.targets)[0]

    @property
    def examples(self) -> TensorData:
        """The data themselves: any example can be taken."""
        return self

    def take(self, indices: Tensor) -> TensorData:
        """Return the examples at `indices` (n,), in that order."""
        picked = indices.to(self.labels.device)
        inputs, targets = map_tensors(
            lambda t: t.index_select(0, picked), (self.inputs, self.targets)
        )
        return TensorData(inputs, targets)

    def batches(self, batch_size: int) -> list[Batch]:
        """Cut into consecutive views of `batch_size` examples, the last one possibly smaller."""
        cuts = [slice(i, i + batch_size) for i in range(0, self.num_examples, batch_size)]
        examples = self.inputs, self.targets
        return [map_tensors(lambda t, cut=cut: t[cut], examples) for cut in cuts]

    def shuffled(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Return the indices (n,) of each batch, in random order drawn by the CPU `generator`."""
        order = torch.randperm(self.num_examples, generator=generator).to(self.labels.device)
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
            return tensor_data(*_joined(self.items))
        except (TypeError, RuntimeError, LookupError, InputError) as exc:
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
    def labels(self) -> Tensor:
        """The targets of all graphs (N,)."""
        return self.targets

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


def _joined(parts: Sequence[Any]) -> Any:
    """Join tensors, or nests of them that are alike, along the first dimension."""
    first = parts[0]
    if isinstance(first, Mapping):
        return {key: _joined([part[key] for part in parts]) for key in first}
    if isinstance(first, tuple):
        return tuple(map(_joined, zip(*parts, strict=True)))
    return torch.cat(parts)  # pyright: ignore[reportArgumentType]


def tensor_data(inputs: Any, targets: Any) -> TensorData:
    """Return examples whose tensors are stacked along the first dimension.

    Raises:
        InputError: If the tensors differ in length.
    """
    lengths = {len(t) if t.ndim else 0 for t in tensors_in((inputs, targets))}
    require(
        len(lengths) == 1,
        f"inputs and targets must have the same length, got lengths {sorted(lengths)}.",
    )
    return TensorData(inputs, targets)


Data: TypeAlias = TensorData | BatchData | GraphData


def batch_length(batch: Batch) -> int:
    """Return the number of examples in a batch, which its targets tell.

    A list has a target per example. The tensors of a tuple or a dict are several targets of the
    same examples, and share their first dimension. Where both can be meant, the first dimension of
    the inputs decides.

    Raises:
        InputError: If the targets are a dict whose tensors differ in length.
    """
    inputs, targets = batch
    if isinstance(targets, Tensor):
        return len(targets) if targets.ndim else 1
    given, shared = _shared_length(inputs), _shared_length(targets)
    if isinstance(targets, Mapping):
        found = given if shared is None else shared
        if found is None:
            raise InputError(
                "the tensors of a batch's targets must have one length, a target per example.",
                hint="Give several targets as tensors of one length, or a list with one entry per "
                "example.",
            )
        return found
    if given is not None and given in (len(targets), shared):
        return given
    return len(targets) if shared is None or isinstance(targets, list) else shared


def _shared_length(value: Any) -> int | None:
    """Return the first dimension that all tensors of a nest share; None if there is none.

    A list whose tensors share none has an entry per example; so have lists and tuples of dicts.
    """
    if isinstance(value, Tensor):
        return len(value) if value.ndim else None
    if not isinstance(value, Mapping | tuple | list):
        return None
    items = list(value.values()) if isinstance(value, Mapping) else value
    has_dicts = not isinstance(value, Mapping) and any(isinstance(i, Mapping) for i in items)
    lengths = set() if has_dicts else {*map(_shared_length, items)} - {None}
    if len(lengths) == 1:
        return lengths.pop()
    return len(items) if isinstance(value, list) else None


def is_graph(value: Any) -> bool:
    """Whether it is a graph, or a batch of graphs, of PyTorch Geometric."""
    geometric = sys.modules.get("torch_geometric.data")  # imported by whoever made it
    return geometric is not None and isinstance(value, geometric.Data)


def dtype_for(tensor: Tensor, dtype: torch.dtype) -> torch.dtype:
    """Return what a tensor becomes where real numbers become `dtype`.

    Complex numbers are pairs of them, or of float32 where `dtype` is shorter; others stay.
    """
    if tensor.is_complex():
        return torch.complex128 if dtype == torch.float64 else torch.complex64
    return dtype if tensor.is_floating_point() else tensor.dtype


def cast(module: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Move a module to a device and a dtype, in place; complex tensors stay complex."""
    return module._apply(lambda tensor: tensor.to(device, dtype_for(tensor, dtype)))


def _move(value: Any, device: torch.device, dtype: torch.dtype) -> Any:
    move = partial(_move, device=device, dtype=dtype)
    if is_graph(value):
        return copy.copy(value).apply(move)  # a copy: apply changes it
    if isinstance(value, Tensor):
        # A tensor made in inference mode cannot be part of a graph; a copy can.
        return value.to(device, dtype_for(value, dtype), copy=value.is_inference())
    if hasattr(value, "to"):
        return value.to(device)
    found = unpacked(value)
    if found is None:
        return value
    parts, rebuild = found
    return rebuild(list(map(move, parts)))


def hash_tensors(tensors: Sequence[Tensor]) -> str:
    """Return the SHA-256 of shapes, dtypes and contents, in order."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tuple(tensor.shape)}{tensor.dtype}".encode())
        dense = tensor.detach().to_dense() if tensor.layout != torch.strided else tensor.detach()
        digest.update(dense.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
