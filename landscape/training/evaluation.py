"""Plain loss and errors of a module on a test set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from landscape.problem.batches import Data, batch_length
from landscape.problem.forward import outputs_and_loss
from landscape.runtime import distributed
from landscape.training.meter import Meter, among_five, measure


def evaluate(
    module: nn.Module,
    data: Data,
    criterion: Callable[[Any, Any], Any],
    *,
    batch_size: int,
    change: Callable[[Any], Any],
) -> dict[str, float]:
    """Return the columns of a test set in evaluation mode, sharing batches between processes.

    Args:
        module: Left in evaluation mode, in all processes with the buffers of the first.
        data: On `device`.
        criterion: Batch mean of the loss.
        batch_size: Examples a pass.
        change: Applied to the inputs of each batch.
    """
    module.eval()
    distributed.share(module.buffers())
    meter = Meter()
    with torch.no_grad():  # inference_mode would break modules that cache a tensor for training
        for inputs, targets in data.batches(batch_size)[
            distributed.rank() :: distributed.world_size()
        ]:
            outputs, loss = outputs_and_loss(module, criterion, change(inputs), targets)
            counts = {**measure(loss, outputs, targets), **among_five(outputs, targets)}
            meter.add(batch_length((inputs, targets)), **counts)
    meter = meter.in_all_processes()
    accuracy = meter.per_example("correct")
    return {
        "test_loss": meter.per_example("loss"),
        "test_accuracy": accuracy,
        "test_top1_error": 1 - accuracy,
        "test_top5_error": 1 - meter.per_example("among_five"),
    }
