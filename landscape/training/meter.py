"""Sums over the batches of an epoch, kept on the device until somebody asks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from landscape import distributed
from landscape.forward import has_accuracy
from landscape.reductions import accumulation_dtype


class Meter:
    """Sums over the batches of an epoch, kept on the device until somebody asks.

    Attributes:
        num_examples: Examples counted by `add`.
        num_batches: Batches counted by `add_batch`.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.dtype = accumulation_dtype(device)
        self.reset()

    def reset(self) -> None:
        """Start an epoch."""
        self._sums: dict[str, Tensor] = {}
        self.num_examples = 0
        self.num_batches = 0

    def add(self, num_examples: int, *, loss: Tensor, **counts: Tensor) -> None:
        """Count examples, their mean loss by their number; no host synchronisation.

        Without examples, everything counts as 0.
        """
        self.num_examples += num_examples
        self._add("loss", loss.to(self.dtype) * num_examples)
        for name, count in counts.items():
            self._add(name, count if num_examples else torch.zeros_like(count))

    def add_batch(self, **values: Tensor) -> None:
        """Count a batch and what is measured once a batch."""
        self.num_batches += 1
        for name, value in values.items():
            self._add(name, value)

    def _add(self, name: str, value: Tensor) -> None:
        if name not in self._sums:
            self._sums[name] = torch.zeros((), dtype=self.dtype, device=self.device)
        self._sums[name].add_(value)

    def per_example(self, name: str) -> float:
        """Mean over the examples; NaN if it was not measured."""
        return float(self._sums[name]) / self.num_examples if name in self._sums else math.nan

    def per_batch(self, name: str) -> float:
        """Mean over the batches; NaN if it was not measured."""
        return float(self._sums[name]) / self.num_batches if name in self._sums else math.nan

    def as_dict(self) -> dict[str, Any]:
        """Return counts and sums as plain numbers, exactly."""
        sums = {name: float(value) for name, value in self._sums.items()}
        return {"num_examples": self.num_examples, "num_batches": self.num_batches, "sums": sums}

    def include(self, counted: Mapping[str, Any]) -> None:
        """Add what `as_dict` returned."""
        self.num_examples += counted["num_examples"]
        self.num_batches += counted["num_batches"]
        for name, value in counted["sums"].items():
            self._add(name, torch.tensor(value, dtype=self.dtype, device=self.device))

    def in_all_processes(self) -> Meter:
        """Return a meter of what the meters of all processes have counted."""
        total = Meter(self.device)
        for counted in distributed.gathered(self.as_dict()):
            total.include(counted)
        return total


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
