"""What the caller of a step hands over: closures, one per micro-batch, and a loss scaler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from landscape.errors import InputError
from landscape.runtime.distributed import unsynchronized

Closure: TypeAlias = Callable[[], Any]
"""Computes the loss of a batch or a micro-batch, calls `backward` on it and returns it."""


def as_closures(closure: Closure | Sequence[Closure] | None) -> list[Closure]:
    """Return one or several closures as a list.

    Raises:
        InputError: If there is none.
    """
    closures = [closure] if callable(closure) else list(closure or ())
    if not closures:
        raise InputError(
            "SAM.step needs a closure, which it calls once for each of its passes.",
            hint="Pass a function that clears the gradients, calls backward and returns the loss,"
            " or call first_step() and second_step() after the two backward passes.",
        )
    return closures


def run_pass(
    closures: Sequence[Closure], module: nn.Module | None, *, is_synchronised: bool
) -> Any:
    """Call each closure once and return the total loss.

    Args:
        closures: One per micro-batch.
        module: The model, which may be a DistributedDataParallel.
        is_synchronised: Whether processes exchange gradients at the end of the pass; else never.
    """
    losses = []
    for number, closure in enumerate(closures, start=1):
        is_shared = is_synchronised and number == len(closures)
        alone = nullcontext() if is_shared or module is None else unsynchronized(module)
        with alone, torch.enable_grad():
            losses.append(closure())
    return total_loss(losses)


def total_loss(losses: list[Any]) -> Any:
    """Return the sum of the micro-batches' losses; the value of a single closure as it is."""
    if len(losses) == 1:
        return losses[0]
    return None if any(loss is None for loss in losses) else sum(losses)


def enabled(scaler: GradScaler | None) -> GradScaler | None:
    """Return the scaler if it scales."""
    return scaler if scaler is not None and scaler.is_enabled() else None


def unscale(scaler: GradScaler, base: Optimizer) -> None:
    """Unscale the gradients, unless the caller did, for clipping."""
    try:
        scaler.unscale_(base)
    except RuntimeError as exc:
        if "already been called" not in str(exc):
            raise
