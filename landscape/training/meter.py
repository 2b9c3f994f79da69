"""Sums over the batches of an epoch, kept on the device until somebody asks."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from landscape.forward import has_accuracy
from landscape.reductions import accumulation_dtype


class Meter:
    """Sums over the batches of an epoch, kept on the device until somebody asks."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.dtype = accumulation_dtype(device)
        self.reset()

    def reset(self) -> None:
        """Start an epoch."""
        self.sums: dict[str, Tensor] = {}
        self.num_examples = 0
        self.num_batches = 0

    def add(self, num_examples: int, *, loss: Tensor, **values: Tensor) -> None:
        """Count a batch, its mean loss by its size, and add the values; no host synchronisation."""
        self.num_examples += num_examples
        self.num_batches += 1
        for name, value in {"loss": loss.to(self.dtype) * num_examples, **values}.items():
            zero = torch.zeros((), dtype=self.dtype, device=self.device)
            self.sums.setdefault(name, zero).add_(value)

    def per_example(self, name: str) -> float:
        """Mean over the examples; NaN if it was not measured."""
        return float(self.sums[name]) / self.num_examples if name in self.sums else math.nan

    def per_batch(self, name: str) -> float:
        """Mean over the batches."""
        return float(self.sums[name]) / self.num_batches if name in self.sums else math.nan


def measure(loss: Tensor, outputs: Any, targets: Any) -> dict[str, Tensor]:
    """The mean loss of a batch and, where that is defined, the number of correct examples."""
    if not has_accuracy(outputs, targets):
        return {"loss": loss.detach()}
    return {"loss": loss.detach(), "correct": (outputs.detach().argmax(1) == targets).sum()}


def among_five(outputs: Any, targets: Any) -> dict[str, Tensor]:
    """The number of examples whose class is among the five highest outputs."""
    if not has_accuracy(outputs, targets):
        return {}
    highest = outputs.topk(min(5, outputs.shape[1]), dim=1).indices
    return {"among_five": (highest == targets[:, None]).sum()}
