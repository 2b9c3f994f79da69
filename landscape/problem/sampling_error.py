"""The standard error of a mean loss over examples that were drawn from a larger set."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from landscape.errors import InputError
from landscape.reductions import accumulation_dtype

_AGREEMENT = 1e-3
"""Largest relative difference of the mean of separate losses from the loss: room for the rounding
of bfloat16."""

_CHUNK = 1 << 22  # random counts held at a time


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

    def error(self, values: np.ndarray, *, seed: int = 0, num_resamples: int = 1000) -> float:
        """Return the standard error of a weighted mean as an estimate for the larger set.

        Units are drawn again with replacement, within their class; the deviation of the means is
        corrected for the drawing without replacement from a finite set, and for the one degree of
        freedom that each class loses.

        Args:
            values: One a unit, (n,).
            seed: Of the resamples.
            num_resamples: Their number; the error itself is then known to 1 / sqrt(2
                num_resamples).

        Returns:
            The error; NaN for a single unit, or where a value is not finite.

        Source:
            Efron (1979), Bootstrap Methods; Rao & Wu (1988), Resampling Inference with Complex
            Survey Data.
        """
        if len(values) < 2 or not np.isfinite(values).all():
            return math.nan
        classes, generator = self._classes(), np.random.default_rng(seed)
        sums = np.zeros(num_resamples)
        for members in (np.flatnonzero(classes == number) for number in range(classes.max() + 1)):
            sums += self._deviations(values * self.sizes, members, generator, num_resamples)
        return float(np.sqrt(np.mean(sums**2) * max(1 - self.share, 0.0)) / self.sizes.sum())

    def _classes(self) -> np.ndarray:
        """Number the classes from 0; a class with a single unit makes all of them one class.

        The variance of a class with a single unit is unknown.
        """
        if self.strata is None or np.unique(self.strata, return_counts=True)[1].min() < 2:
            return np.zeros(len(self.sizes), dtype=np.int64)
        return np.unique(self.strata, return_inverse=True)[1]

    def _deviations(
        self, weighted: np.ndarray, members: np.ndarray, generator: np.random.Generator, count: int
    ) -> np.ndarray:
        """Return how far each resample's class sum deviates, (count,), scaled to be unbiased."""
        size = len(members)
        ratio = self.sizes[members] / self.sizes[members].sum()
        centred = (
            weighted[members] - weighted[members].sum() * ratio
        )  # of units of any size, about the ratio estimate
        chunk = max(1, _CHUNK // size)
        parts = [min(chunk, count - start) for start in range(0, count, chunk)]
        sums = [
            generator.multinomial(size, np.full(size, 1 / size), part) @ centred for part in parts
        ]
        return np.concatenate(sums) * math.sqrt(size / (size - 1))


def separate_losses(criterion: Callable[[Any, Any], Tensor]) -> Callable[[Any, Any], Tensor] | None:
    """Return a function of `(outputs, targets)` for the loss of each example, (n,), or None.

    It is None if there is no such function.

    It exists for torch's criteria, whether functions, modules or partials, and for others that
    take, or have, `reduction="mean"` and honour another one.

    Args:
        criterion: `loss(outputs, targets)`, the mean over a batch; left as it is.
    """
    elementwise: Any
    if isinstance(criterion, nn.Module):
        if getattr(criterion, "reduction", None) != "mean":
            return None
        elementwise = copy.copy(criterion)
        elementwise.reduction = "none"
    elif _default_reduction(criterion) == "mean":
        elementwise = partial(cast("Callable[..., Tensor]", criterion), reduction="none")
    else:
        return None
    return lambda outputs, targets: _one_each(elementwise(outputs, targets))


def _one_each(losses: Tensor) -> Tensor:
    """Average over all dimensions but the first."""
    return losses.reshape(losses.shape[0], -1).mean(1) if losses.ndim else losses


def _default_reduction(criterion: Callable[..., Any]) -> Any:
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
    agreement: float = _AGREEMENT,
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
    except (
        TypeError,
        ValueError,
        LookupError,
        RuntimeError,
    ):  # its `reduction` means something else
        return False
    if losses.shape != (len(targets),):
        return False
    dtype = accumulation_dtype(losses.device)
    return torch.allclose(
        losses.to(dtype).mean(), mean.to(dtype), rtol=agreement, atol=0.0, equal_nan=True
    )


def require_population(num_population: int | None, num_examples: int) -> int | None:
    """Return how many examples these were drawn from; None if unknown, or if these are all.

    Raises:
        InputError: If it is smaller than their number.
    """
    if num_population is None or num_population == num_examples:
        return None
    if num_population < num_examples:
        raise InputError(
            f"a set must have at least as many examples as what was drawn from it, "
            f"got {num_population} for {num_examples}."
        )
    return num_population


def class_numbers(batches: Sequence[tuple[Any, Any]]) -> np.ndarray | None:
    """Return the class number of each example, (n,); None where targets are no class numbers."""
    targets = [targets for _, targets in batches]
    if not all(
        isinstance(t, Tensor) and t.ndim == 1 and not t.is_floating_point() for t in targets
    ):
        return None
    return torch.cat(targets).cpu().numpy()


def error_of_mean(
    losses: np.ndarray, num_population: int, strata: np.ndarray | None = None
) -> float | None:
    """Return the standard error of the mean of n losses, drawn from N, as an estimate for these N.

    sqrt(s^2/n (1 - n/N)), s^2 the sample variance. Of losses drawn stratum by stratum, only the
    variance within the strata counts: s^2 is its mean, weighted by the strata's sizes. It is the
    error of the mean over all N if the sample holds the same share of each stratum; the mean of a
    sample balanced beyond that estimates a mean in which all classes count as in the sample.

    Args:
        losses: One an example, (n,), float64.
        num_population: N.
        strata: Number of each example's stratum, (n,); None for a plain random sample. Where a
            stratum has a single example, its variance is unknown and the sample counts as a plain
            one.

    Returns:
        The standard error; None for a single example.

    Source:
        Cochran (1977), Sampling Techniques, chapters 2 and 5.
    """
    n = len(losses)
    if n < 2:
        return None
    groups, sizes = np.zeros(n, dtype=np.int64), np.array([n])
    if strata is not None and np.unique(strata, return_counts=True)[1].min() > 1:
        _, groups, sizes = np.unique(strata, return_inverse=True, return_counts=True)
    with np.errstate(invalid="ignore", over="ignore"):  # a loss that is not finite is a value
        means = np.bincount(groups, losses) / sizes
        squares = np.bincount(groups, (losses - means[groups]) ** 2)
        variance = (sizes / (sizes - 1) * squares).sum() / n
        return float(np.sqrt(variance / n * (1 - n / num_population)))


def error_from_batches(losses: np.ndarray, sizes: np.ndarray, num_population: int) -> float | None:
    """Return the standard error of a mean loss from the means of its batches.

    It is for losses that do not exist for single examples.

    The variance of one loss is estimated as the mean of size times squared deviation of a batch's
    mean, over one batch less; unbiased for examples in random order.

    Args:
        losses: Means of the batches, (B,), float64.
        sizes: Examples in each, (B,).
        num_population: Number of examples that these were drawn from.

    Returns:
        The standard error; None for a single batch.
    """
    if len(losses) < 2:
        return None
    n = sizes.sum()
    with np.errstate(invalid="ignore", over="ignore"):
        variance = (sizes * (losses - sizes @ losses / n) ** 2).sum() / (len(losses) - 1)
        return float(np.sqrt(variance / n * (1 - n / num_population)))
