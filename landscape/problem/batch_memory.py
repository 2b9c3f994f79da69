"""Batches that fit into memory: how many examples a pass has, and what happens where it is full."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from landscape.errors import LandscapeError, explained_memory, is_out_of_memory
from landscape.problem.batches import BatchData
from landscape.problem.passes import Passes
from landscape.problem.plan import twice_differentiable
from landscape.runtime import distributed
from landscape.runtime.free_memory import free_memory

T = TypeVar("T")

_FEW = (2, 16)  # examples of the two passes that are measured
_SHARE = 1 / 3  # of the free memory; a product of a network of two layers takes 2.6 graphs


def fit_into_memory(passes: Passes) -> None:
    """Cut the data into smaller batches where a gradient's graph would fill a CUDA device.

    What the graph of a gradient that can be differentiated takes per example is measured on a few
    examples. The batch size is halved until such a graph takes a third of the memory that is free.
    Batches that the user made, or whose size the user chose, stay as they are.

    Args:
        passes: Passes of the model over the data; their plan is changed.
    """
    size = passes.plan.batch_size
    is_ours = passes.plan.is_default_size and not isinstance(passes.data, BatchData)
    if passes.device.type != "cuda" or not is_ours:
        return
    fitting = _fitting(passes)
    while size > max(fitting, 1):
        size //= 2
    if size < passes.plan.batch_size:
        passes.cut(size)


def cut_alike(passes: Passes) -> None:
    """Let all processes have batches of the smallest size that any of them chose.

    Args:
        passes: Passes of the same model over the same data in each process.
    """
    smallest = min(distributed.gathered(passes.plan.batch_size))
    if smallest < passes.plan.batch_size:
        passes.cut(smallest)


def _fitting(passes: Passes) -> float:
    """Return how many examples a batch may have."""
    few, more = (min(count, passes.num_examples) for count in _FEW)
    if few == more:
        return torch.inf
    try:
        per_example = (_graph_bytes(passes, more) - _graph_bytes(passes, few)) / (more - few)
    except LandscapeError as exc:
        if not is_out_of_memory(exc):
            raise
        return few
    return _SHARE * free_memory(passes.device) / max(per_example, 1)


def _graph_bytes(passes: Passes, count: int) -> int:
    """Return what the graph of so many examples takes."""
    numbers = torch.arange(count)
    few = passes.on(passes.data.take(numbers), count)
    with few.at(None) as module, twice_differentiable(module), explained_memory("a gradient"):
        before = torch.cuda.memory_allocated(passes.device)
        loss = few.forward(few.batches[0])[1]
        if not loss.requires_grad:
            return 0
        try:
            graph = torch.autograd.grad(
                loss, passes.parameters, create_graph=True, allow_unused=True
            )
        except RuntimeError as exc:
            if is_out_of_memory(exc):
                raise
            graph = ()  # there is no second derivative, and the graph of the loss counts
        num_bytes = torch.cuda.memory_allocated(passes.device) - before
        del graph
        return num_bytes


def until_it_fits(compute: Callable[[], T], shrink: Callable[[], bool]) -> T:
    """Compute, and again with less memory each time that it was too little.

    Args:
        compute: What may run out of memory.
        shrink: Lets the next attempt take less; False if that cannot be.

    Raises:
        LandscapeError: If the device is out of memory, and nothing can be done about it.
    """
    while True:
        try:
            return compute()
        except LandscapeError as exc:
            if not is_out_of_memory(exc):
                raise
            message, hint = exc.message, exc.hint
        # Here what the attempt made is gone; while the exception was there, it held that.
        if not shrink():
            raise LandscapeError(message, hint) from MemoryError()
