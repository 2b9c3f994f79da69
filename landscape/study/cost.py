"""What a run costs: gradients, counted, and seconds, timed."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn
from torch.optim import Optimizer

from landscape.errors import InputError
from landscape.optim.sam import SAM
from landscape.problem.batches import Data
from landscape.training.loop import train
from landscape.training.training_plan import Criterion, TrainingPlan


def num_gradients(optimizer: Optimizer, num_steps: int, *, last_fraction: float = 1.0) -> int:
    """Count the gradients of a batch in a run.

    Args:
        optimizer: SAM or any other.
        num_steps: Optimizer steps of the run.
        last_fraction: Share of the steps, the last ones, that are SAM's.

    Returns:
        One per step, and N more for each ascent of SAM of N steps.
    """
    if not isinstance(optimizer, SAM) or not any(group["rho"] for group in optimizer.param_groups):
        return num_steps
    first = num_steps - round(last_fraction * num_steps)
    return num_steps + optimizer.steps * sum(
        i % optimizer.every == 0 for i in range(first, num_steps)
    )


def seconds_per_gradient(
    module: nn.Module,
    data: Data,
    optimizer: Optimizer,
    plan: TrainingPlan,
    *,
    device: torch.device,
    criterion: Criterion | None = None,
) -> float | None:
    """Time one step of training, the second one, without evaluation.

    Args:
        module: The model, on the device; it is trained.
        data: Training set, of which a batch is taken.
        optimizer: For the module.
        plan: How to train.
        device: Where to train.
        criterion: Batch mean of the loss; None for the cross-entropy.

    Returns:
        Seconds; None where examples cannot be picked out of the data.
    """
    try:
        batch = data.take(torch.arange(min(plan.batch_size, data.num_examples)))
    except InputError:
        return None
    batch = batch.to(device, next(module.parameters()).dtype.to_real())
    step = replace(plan, epochs=1, compile=False, ema=None, asc_samples=None)
    train(module, batch, None, optimizer, step, criterion=criterion)
    history = train(module, batch, None, optimizer, step, criterion=criterion)
    return float(history.seconds.sum() / history.num_gradients.sum())
