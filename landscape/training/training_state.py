"""What an interrupted run needs to go on exactly."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class TrainingState:
    """Everything that an exact resume after any step needs; tensors, numbers and strings only.

    Random numbers of a step depend on its place in the run alone, so only the order's are kept.

    Attributes:
        epoch: Number of whole epochs done.
        step: Optimizer steps done in the epoch after them.
        module: Copy of the module's state_dict.
        optimizer: Copy of the optimizer's state_dict, initial learning rates included.
        order: State of the generator of the order, before it drew that epoch's.
        meters: What each process has measured in that epoch, by rank.
        seconds: Time spent in that epoch.
        rows: One dict a whole epoch, named as the columns of `landscape.results.history.History`.
        average: Copy of the state_dict of the module with averaged weights; None if none is kept.
    """

    epoch: int
    step: int
    module: dict[str, Any]
    optimizer: dict[str, Any]
    order: Tensor
    meters: list[dict[str, Any]]
    seconds: float
    rows: list[dict[str, float]]
    average: dict[str, Any] | None = None


class Interrupted(BaseException):
    """A run stopped before its end because it was asked to; its state has been handed over.

    Like KeyboardInterrupt, it is no error, and nothing that handles errors takes it for one.

    Attributes:
        epoch: The epoch under way, from 1.
        step: Optimizer steps done in it.
        num_steps: Optimizer steps of an epoch.
    """

    def __init__(self, epoch: int, step: int, num_steps: int) -> None:
        super().__init__(f"stopped in epoch {epoch}, after step {step} of {num_steps}")
        self.epoch = epoch
        self.step = step
        self.num_steps = num_steps


def copied(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state_dict that shares nothing with the original."""
    return {
        name: v.detach().clone() if isinstance(v, Tensor) else copy.deepcopy(v)
        for name, v in values.items()
    }
