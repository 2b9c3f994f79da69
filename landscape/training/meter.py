"""What is measured in training: sums over the batches of an epoch, time, a test set, sharpness."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from landscape.errors import InputError
from landscape.optim.sam import SAM
from landscape.problem.batches import Batch, Data, batch_length
from landscape.problem.criteria import MeanOver, fitted, num_correct
from landscape.problem.forward import has_accuracy, outputs_loss_and_count
from landscape.problem.habits import Habits
from landscape.problem.problem import Problem
from landscape.reductions import accumulation_dtype
from landscape.runtime import distributed
from landscape.sharpness import measure_sharpness

_SECONDS_BETWEEN_REPORTS = 0.1


class Meter:
    """Sums over the batches of an epoch, which stay on the accelerator until they are requested.

    Attributes:
        num_examples: Examples counted by `add`.
        num_batches: Batches counted by `add_batch`.
    """

    def __init__(self) -> None:
        self._sums: dict[str, float | Tensor] = {}
        self.num_examples = 0
        self.num_batches = 0

    def add(
        self, num_examples: int, *, loss: Tensor, weight: Tensor | None = None, **counts: Tensor
    ) -> None:
        """Count examples, their mean loss by their number or weight; no host synchronisation.

        Without examples, nothing counts.
        """
        if not num_examples:
            return
        self.num_examples += num_examples
        self._add("loss", _summand(loss) * (num_examples if weight is None else _summand(weight)))
        if weight is not None:
            self._add("weight", _summand(weight))
        for name, count in counts.items():
            self._add(name, _summand(count))

    def add_batch(self, **values: Tensor) -> None:
        """Count a batch and what is measured once a batch."""
        self.num_batches += 1
        for name, value in values.items():
            self._add(name, _summand(value))

    def _add(self, name: str, value: float | Tensor) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + value

    def per_example(self, name: str) -> float:
        """Mean over the examples, or what counts of them; NaN if it was not measured."""
        if name not in self._sums:
            return math.nan
        count = self._sums.get({"loss": "weight", "correct": "judged"}.get(name, ""), 0.0)
        return float(self._sums[name]) / (float(count) or self.num_examples)

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
            self._add(name, value)

    def in_all_processes(self) -> Meter:
        """Return a meter of what the meters of all processes have counted."""
        total = Meter()
        for counted in distributed.gathered(self.as_dict()):
            total.include(counted)
        return total


class EpochClock:
    """Says when a report is due, and how long an epoch has taken.

    Args:
        seconds_before: What the epoch took before it was interrupted.
    """

    def __init__(self, seconds_before: float) -> None:
        self._last = time.perf_counter()
        self._start = self._last - seconds_before

    def is_due(self) -> bool:
        """Whether the last report is a while ago; if so, starts anew."""
        now = time.perf_counter()
        if now - self._last < _SECONDS_BETWEEN_REPORTS:
            return False
        self._last = now
        return True

    def seconds(self) -> float:
        """Seconds since the start of the epoch, those before an interruption included; never 0."""
        return max(time.perf_counter() - self._start, 1e-9)


def _summand(value: Tensor) -> float | Tensor:
    """A plain number where reading it waits for nothing, which adds up faster than tensors do."""
    return (
        value.item() if value.device.type == "cpu" else value.to(accumulation_dtype(value.device))
    )


def loss_and_correct(
    loss: Tensor, count: Tensor | None, outputs: Any, targets: Any, over: MeanOver
) -> dict[str, Tensor]:
    """The mean loss of a batch, its weight and, where that is defined, the number of correct ones.

    Args:
        loss: The mean.
        count: What it is over, if that is not the examples.
        outputs: Of the model.
        targets: Of the examples.
        over: What the mean over all batches is over.
    """
    found = {"loss": loss.detach()} | ({} if count is None else {"weight": count})
    correct = num_correct(outputs, targets, over.loss)
    if correct is None:
        return found
    if over.loss is not None and (targets.ndim > 1 or count is not None):
        found["judged"] = (targets != over.loss.ignored).sum()
    return {**found, "correct": correct}


def evaluate(
    module: nn.Module,
    data: Data | None,
    criterion: Callable[[Any, Any], Any],
    habits: Habits,
    *,
    batch_size: int,
    change: Callable[[Any], Any],
) -> dict[str, float]:
    """Return the columns of a test set in evaluation mode, sharing batches between processes.

    Args:
        module: Left in evaluation mode, in all processes with the buffers of the first.
        data: On the module's device; None gives no columns.
        criterion: Batch mean of the loss.
        habits: What is to be done around each pass.
        batch_size: Examples per pass.
        change: Applied to the inputs of each batch.
    """
    if data is None:
        return {}
    module.eval()
    distributed.share(module.buffers())
    every = data.batches(batch_size)
    batches = every[distributed.rank() :: distributed.world_size()]
    counted = partial(_counted, module, batches, fitted(criterion, every), habits, change)
    try:
        meter = counted()
    except InputError:
        if habits.mode == "gradient":
            raise
        habits.mode = "gradient"  # the model may differentiate by its inputs
        meter = counted()
    meter = meter.in_all_processes()
    accuracy = meter.per_example("correct")
    return {
        "test_loss": meter.per_example("loss"),
        "test_accuracy": accuracy,
        "test_top1_error": 1 - accuracy,
        "test_top5_error": 1 - meter.per_example("among_five"),
    }


def _counted(
    module: nn.Module,
    batches: Sequence[Batch],
    over: MeanOver,
    habits: Habits,
    change: Callable[[Any], Any],
) -> Meter:
    meter = Meter()
    with habits.without_inference():  # which would break modules that cache a tensor for training
        for inputs, targets in batches:
            with habits.around((change(inputs), targets)) as given:
                outputs, loss, count = outputs_loss_and_count(module, over.criterion, *given)
            counts = loss_and_correct(loss, count, outputs, targets, over)
            if has_accuracy(outputs, targets):
                highest = outputs.topk(min(5, outputs.shape[1]), dim=1).indices
                counts["among_five"] = (highest == targets[:, None]).sum()
            meter.add(batch_length((inputs, targets)), **counts)
    return meter


def euclidean_radius(optimizer: Optimizer, rho: float) -> float:
    """Return the radius of the sharpness: SAM's if it is usable, and otherwise `rho`.

    SAM's radius is usable if its ball is a single Euclidean ball and not a point.

    Args:
        optimizer: SAM or any other.
        rho: A radius.
    """
    groups = optimizer.param_groups if isinstance(optimizer, SAM) else []
    balls = {(group["rho"], group["p"], group["adaptive"]) for group in groups}
    radius, p, is_adaptive = balls.pop() if len(balls) == 1 else (rho, 2, False)
    return radius if p == 2 and not is_adaptive and radius else rho


def ascent_sharpness(
    module: nn.Module,
    data: Data,
    criterion: Callable[[Any, Any], Any],
    rho: float,
    *,
    batch_size: int,
    device: torch.device,
) -> float:
    """Return L^Asc - L of a module as it is, in evaluation mode and in float32 or float64.

    It is computed in float64 if that is the module's dtype, and in float32 otherwise.

    Args:
        module: Left as it is.
        data: What L is the mean over.
        criterion: Batch mean of the loss.
        rho: Radius.
        batch_size: Examples a pass.
        device: Of module and data.

    Source:
        S001 Table 1 and section 4.1.
    """
    dtype = "float64" if next(module.parameters()).dtype.to_real() == torch.float64 else "float32"
    problem = Problem(
        module, data, criterion, device=str(device), dtype=dtype, batch_size=batch_size
    )
    return (
        measure_sharpness(problem, [rho], measures=("asc",), rounding=False).measures[0].sharpness
    )
