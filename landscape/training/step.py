"""One optimizer step on a batch in pieces: the only place that knows how SAM is told what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from landscape.ascent.steepest import dual_norm
from landscape.optim.sam import SAM
from landscape.problem.batches import Batch, Change, Data, batch_length
from landscape.problem.criteria import MeanOver, is_of_torch
from landscape.problem.forward import OwnBuffers, outputs_loss_and_count
from landscape.problem.habits import Habits
from landscape.problem.plan import twice_differentiable
from landscape.problem.weights import as_pairs
from landscape.runtime import distributed
from landscape.runtime.random_state import forked_random_state

Closure = Callable[[], Tensor]
"""Adds a piece's share of the gradient, without clearing what is there, and returns its share of
the loss."""


@dataclass(frozen=True)
class Piece:
    """Part of a batch, small enough for one pass.

    Attributes:
        batch: Inputs and targets.
        num_examples: That count; 0 where the process has none and takes one for its gradient's
            shape alone.
        weight: Of its mean loss, such that the mean over the processes of the sum over their pieces
            is the mean over the batch.
    """

    batch: Batch
    num_examples: int
    weight: float


def cut(
    data: Data,
    indices: Tensor,
    size: int | None,
    change: Change,
    count: Callable[[Batch], float] = batch_length,
) -> list[Piece]:
    """Return this process's share of a batch in pieces, as many as any other process has.

    Args:
        data: What the indices are of.
        indices: Of the whole batch, the same in all processes.
        size: Examples a piece at most; None for one piece.
        change: Applied to the inputs of the whole share.
        count: Returns what the mean loss of a piece is over; by default the examples.
    """
    own = distributed.own_share(indices)
    largest = size or len(indices) if distributed.is_on() else size
    batches = data.pieces(own if len(own) else indices[:1], largest, change)
    sizes = [batch_length(batch) if len(own) else 0 for batch in batches]
    num_pieces = 1 if size is None else -(-distributed.largest_share(len(indices)) // size)
    while len(batches) < num_pieces:
        batches.append(batches[0])
        sizes.append(0)
    if len(batches) == 1 and not distributed.is_on():
        return [Piece(batches[0], sizes[0], 1.0)]
    if count is batch_length:
        weights, total = sizes, len(indices)
    else:
        weights = [count(b) if size else 0.0 for b, size in zip(batches, sizes, strict=True)]
        total = sum(distributed.gathered(sum(weights))) or 1.0
    share = distributed.world_size() / total
    parts = zip(batches, sizes, weights, strict=True)
    return [Piece(batch, count, weight * share) for batch, count, weight in parts]


def choose_weighting(
    over: MeanOver,
    pieces: Callable[[], Sequence[Batch]] | None,
    note: Callable[[Batch], float | None],
) -> Callable[[Batch], float]:
    """Return what tells what the mean loss of a piece is over: its examples, or what counts.

    Args:
        over: What the mean loss is over.
        pieces: Returns some; None if no batch is cut.
        note: Returns what the loss function says that it counts; None if it says nothing.
    """
    if over.is_counted and (loss := over.loss) is not None:
        return lambda batch: float(loss.weights(batch[1]).sum())
    if pieces is None or is_of_torch(over.criterion) or note(pieces()[0]) is None:
        return batch_length
    return cast("Callable[[Batch], float]", note)


def note_count(
    module: nn.Module, criterion: Callable[[Any, Any], Any], habits: Habits, batch: Batch
) -> float | None:
    """Return what a loss function says that it counts in a piece, from a pass without a trace.

    Args:
        module: The model.
        criterion: The loss function.
        habits: What is to be done around each pass.
        batch: The piece.
    """
    devices = [w.device for w in module.parameters()]
    with forked_random_state(devices), habits.around(batch) as given:
        count = outputs_loss_and_count(OwnBuffers(module, ignored=set()), criterion, *given)[2]
    return None if count is None else float(count)


@contextmanager
def data_parallel(
    module: nn.Module, optimizer: Optimizer, probe: Callable[[], Tensor]
) -> Iterator[nn.Module]:
    """Yield the module to call in training, which averages gradients over several processes.

    Args:
        module: The model.
        optimizer: If it is SAM, it knows that module meanwhile.
        probe: Returns the loss of a few examples.
    """
    if not distributed.is_on():
        yield module
        return
    wrapped = distributed.parallel(
        module, has_unused_parameters=_has_unused_parameters(module, probe)
    )
    if not isinstance(optimizer, SAM):
        yield wrapped
        return
    known, optimizer.module = optimizer.module, wrapped
    try:
        yield wrapped
    finally:
        optimizer.module = known


def _has_unused_parameters(module: nn.Module, probe: Callable[[], Tensor]) -> bool:
    """Whether the loss leaves out a parameter, seen in evaluation mode, which moves no buffers."""
    parameters = [w for w in module.parameters() if w.requires_grad]
    module.eval()
    with forked_random_state([w.device for w in parameters]), twice_differentiable(module):
        gradients = torch.autograd.grad(probe(), parameters, allow_unused=True)
    return any(gradient is None for gradient in gradients)


def take_step(optimizer: Optimizer, closures: Sequence[Closure], module: nn.Module) -> Tensor:
    """Take one optimizer step with the sum of the closures' gradients.

    Args:
        optimizer: SAM or any other.
        closures: One a piece.
        module: What the closures call.

    Returns:
        The Euclidean norm of the gradient at the weights before the step, 0-dim.
    """
    if isinstance(optimizer, SAM):
        optimizer.step(closures)
        return optimizer.gradient_norm
    norms: list[Tensor] = []
    weights = [w for group in optimizer.param_groups for w in group["params"]]

    def closure() -> Tensor:
        # What zero_grad does within a profiler's range, which takes ten times as long.
        for w in weights:
            w.grad = None
        loss = _run_all(closures, module)
        if not norms:
            gradients = [gradient for w in weights if (gradient := w.grad) is not None]
            dense = [g.to_dense() if g.is_sparse else as_pairs(g) for g in gradients]
            norms.append(dual_norm(dense))
        return loss

    optimizer.step(closure)  # pyright: ignore[reportCallIssue, reportArgumentType]  # returns a tensor
    return norms[0]


def set_rho_factor(optimizer: Optimizer, factor: float) -> None:
    """Multiply every radius of SAM in the steps to come; 0 makes them the base optimizer's."""
    if isinstance(optimizer, SAM):
        optimizer.rho_factor = factor


def _run_all(closures: Sequence[Closure], module: nn.Module) -> Tensor:
    """Run the closures, let the last exchange gradients, and return the sum of losses."""
    if len(closures) == 1:
        return closures[0]()
    *first, last = closures
    with distributed.unsynchronized(module):
        losses = [closure() for closure in first]
    return sum(losses, start=last())
