"""What a run costs: gradients, counted, and seconds, timed."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim import Optimizer

from landscape.errors import InputError
from landscape.optim.sam import SAM
from landscape.problem.batches import Data
from landscape.training.loop import train
from landscape.training.run import Criterion

_STEPS = 4  # that are timed, after one that is not


def num_gradients(optimizer: Optimizer, num_steps: int, *, sam_fraction: float = 1.0) -> int:
    """Count the gradients of a batch in a run.

    Args:
        optimizer: SAM or any other.
        num_steps: Of the run.
        sam_fraction: Share of the steps, the last ones, that are SAM's.

    Returns:
        One a step, and N more for each ascent of SAM of N steps.
    """
    if not isinstance(optimizer, SAM) or not any(group["rho"] for group in optimizer.param_groups):
        return num_steps
    first = num_steps - round(sam_fraction * num_steps)
    return num_steps + optimizer.steps * sum(
        i % optimizer.every == 0 for i in range(first, num_steps)
    )


def seconds_per_gradient(
    module: nn.Module,
    data: Data,
    optimizer: Optimizer,
    *,
    batch_size: int,
    device: torch.device,
    criterion: Criterion | None = None,
    augmentation: str = "none",
    precision: str | None = None,
    micro_batch_size: int | None = None,
) -> float | None:
    """Time a few steps of training, without evaluation.

    Args:
        module: The model, on the device; it is trained.
        data: Training set, of which some batches are taken.
        optimizer: For the module.
        batch_size: Examples a step.
        device: Where to.
        criterion: Batch mean of the loss; None for the cross-entropy.
        augmentation: As `landscape.training.train` takes it.
        precision: Likewise.
        micro_batch_size: Likewise.

    Returns:
        Seconds; None where examples cannot be picked out of the data.
    """
    dtype = next(module.parameters()).dtype
    took = []
    for num_steps in (1, _STEPS):
        count = min(num_steps * batch_size, data.num_examples)
        try:
            part = data.take(torch.arange(count)).to(device, dtype)
        except InputError:
            return None
        history = train(
            module,
            part,
            None,
            optimizer,
            epochs=1,
            batch_size=batch_size,
            micro_batch_size=micro_batch_size,
            schedule="constant",
            criterion=criterion,
            augmentation=augmentation,
            precision=precision,
        )
        took.append(history.seconds.sum() / history.num_gradients.sum())
    return float(took[-1])
