"""The standard error of a mean loss over examples that were drawn from a larger set."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from landscape.problem.batches import batch_length
from landscape.problem.forward import changed
from landscape.reductions import accumulation_dtype

SAME_MEAN = 1e-3
"""Largest relative difference of the mean of separate losses from the loss: room for the rounding
of bfloat16."""


@dataclass(frozen=True)
class Sample:
    """How units, examples or batches of them, were drawn from a larger set.

    Attributes:
        sizes: Weight of each unit in a mean, its number of examples, (n,).
        share: Part of the larger set that was drawn, at most 1.
        strata: Number of the class that each unit was drawn from, (n,); None for a plain random
            sample.
    """

    sizes: np.ndarray
    share: float
    strata: np.ndarray | None = None

    @np.errstate(over="ignore")
    def error(self, values: np.ndarray) -> float:
        """Return the standard error of the mean of the units as an estimate for the larger set.

        With S = s_1 + ... + s_n the sum of the sizes, it is
        sqrt((1 - share) sum_i n_h / (n_h - 1) s_i^2 (x_i - m_h)^2) / S, n_h the number of units in
        the class of unit i and m_h their mean, weighted by size: the error of a stratified mean of
        examples, of a ratio estimate where the sizes differ. It is right for all examples if the
        sample holds the same share of each class; the mean of a sample balanced beyond that
        estimates a mean in which all classes count as in the sample.

        Args:
            values: One per unit, (n,), float64.

        Returns:
            The error; NaN for a single unit, or where a value is not finite.

        Source:
            Cochran (1977), Sampling Techniques, Eq. 2.46, chapters 5 and 6.
        """
        if len(values) < 2 or not np.isfinite(values).all():
            return math.nan
        classes, counts = self._classes()
        means = np.bincount(classes, self.sizes * values) / np.bincount(classes, self.sizes)
        squares = np.bincount(classes, (self.sizes * (values - means[classes])) ** 2)
        variance = (counts / (counts - 1) * squares).sum()
        return math.sqrt(variance * max(1 - self.share, 0.0)) / float(self.sizes.sum())

    @np.errstate(over="ignore")
    def pooled_error(self, values: np.ndarray) -> float:
        """Return the standard error of the mean over examples, from the means of their batches.

        It is for losses that do not exist for single examples. The variance of one loss is
        estimated as the mean of size times squared deviation of a batch's mean, over one batch
        less; unbiased for examples in random order.

        Args:
            values: Means of the batches, (n,), float64.

        Returns:
            The error; NaN for a single batch, or where a value is not finite.
        """
        if len(values) < 2 or not np.isfinite(values).all():
            return math.nan
        num_examples = self.sizes.sum()
        squares = self.sizes * (values - self.sizes @ values / num_examples) ** 2
        variance = float(squares.sum()) / (len(values) - 1)
        return math.sqrt(variance / num_examples * (1 - self.share))

    def error_of(self, found: Mapping[str, np.ndarray], draws: int) -> float | None:
        """Return the error of what `Passes.measure_point` found; None for a single unit.

        Args:
            found: By name.
            draws: Number of draws of random numbers, over which each unit is averaged.
        """
        error = self.error if "losses" in found else self.pooled_error
        return error(units_of(found, draws)) if len(self.sizes) > 1 else None

    def _classes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the class of each unit, numbered from 0, and the number of units in each.

        The variance of a class with a single unit is unknown, so one such class makes all of them
        one class.
        """
        if self.strata is not None:
            _, classes, counts = np.unique(self.strata, return_inverse=True, return_counts=True)
            if counts.min() > 1:
                return classes, counts
        return np.zeros(len(self.sizes), dtype=np.int64), np.array([len(self.sizes)])


def units_of(found: Mapping[str, np.ndarray], draws: int) -> np.ndarray:
    """Return the losses of single examples, else of batches, their means over the draws, (n,).

    Args:
        found: By name, as `Passes.measure_point` returns them.
        draws: Number of draws of random numbers.
    """
    return found.get("losses", found["loss"]).reshape(draws, -1).mean(0)


def error_over_draws(losses: np.ndarray, sizes: np.ndarray, draws: int) -> float | None:
    """Return the standard error of a mean loss over draws of random numbers; None for one draw.

    Args:
        losses: Of the batches of all draws, those of a draw one after the other, (B,).
        sizes: Their weights in the mean (B,).
        draws: Number of draws.
    """
    if draws == 1:
        return None
    means = (sizes * losses).reshape(draws, -1).sum(1) / sizes.reshape(draws, -1).sum(1)
    return float(means.std(ddof=1) / math.sqrt(draws))


def combined(*errors: float | None) -> float | None:
    """Return the error of a sum of independent parts, of those that are known; None without any."""
    known = [error for error in errors if error is not None]
    return math.hypot(*known) if known else None


def separate_losses(criterion: Callable[[Any, Any], Tensor]) -> Callable[[Any, Any], Tensor] | None:
    """Return a function of `(outputs, targets)` for the loss of each example, (n,), or None.

    It is None if there is no such function.

    It exists for torch's criteria, whether functions, modules or partials, and for others that
    take, or have, `reduction="mean"` and honour another one.

    Args:
        criterion: `loss(outputs, targets)`, the mean over a batch; left as it is.
    """
    if default_reduction(criterion) != "mean":
        return None
    if isinstance(criterion, nn.Module):
        elementwise = changed(criterion, reduction="none")
    else:
        elementwise = partial(cast("Callable[..., Tensor]", criterion), reduction="none")
    return lambda outputs, targets: _one_each(elementwise(outputs, targets))


def _one_each(losses: Tensor) -> Tensor:
    """Average over all dimensions but the first."""
    return losses.reshape(losses.shape[0], -1).mean(1) if losses.ndim else losses


def default_reduction(criterion: Callable[..., Any]) -> Any:
    """Return what a loss function makes of the losses of examples, None if it does not say."""
    if isinstance(criterion, nn.Module):
        return getattr(criterion, "reduction", None)
    try:
        parameter = inspect.signature(criterion).parameters.get("reduction")
    except (TypeError, ValueError):  # a callable that does not show its parameters
        return None
    return None if parameter is None else parameter.default


def are_separate(
    separate: Callable[[Any, Any], Tensor],
    outputs: Any,
    targets: Any,
    mean: Tensor,
    agreement: float = SAME_MEAN,
) -> bool:
    """Whether `separate` gives one loss an example, whose plain mean is the loss of the batch.

    Class weights and ignored targets make it another mean. Waits for the device.

    Args:
        separate: As `separate_losses` returns it.
        outputs: Of the model.
        targets: Of the examples.
        mean: Loss of the batch.
        agreement: Largest relative difference.
    """
    try:
        losses = separate(outputs, targets)
    except (TypeError, ValueError, LookupError, RuntimeError):
        return False  # its `reduction` means something else
    if losses.shape != (batch_length(((), targets)),):
        return False
    dtype = accumulation_dtype(losses.device)
    return torch.allclose(
        losses.to(dtype).mean(), mean.to(dtype), rtol=agreement, atol=0.0, equal_nan=True
    )


def class_numbers(batches: Sequence[tuple[Any, Any]]) -> np.ndarray | None:
    """Return the class number of each example, (n,); None where targets are no class numbers."""
    targets = [targets for _, targets in batches]
    if all(isinstance(t, Tensor) and t.ndim == 1 and not t.is_floating_point() for t in targets):
        return torch.cat(targets).cpu().numpy()
    return None
