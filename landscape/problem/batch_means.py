"""Whether the loss of a batch is the mean over its examples, and how these were drawn."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from landscape.errors import Remark, require
from landscape.problem.batches import Batch, BatchData
from landscape.problem.criteria import is_of_torch
from landscape.problem.passes import Loss, Passes
from landscape.problem.sampling_error import (
    SAME_MEAN,
    Sample,
    are_separate,
    class_numbers,
    default_reduction,
    separate_losses,
)

_MOST = 256  # examples that are tried
_ROUNDINGS = 1000  # of a mean over a batch, in float32 1e-4 of it


def warn_of_batch_size(passes: Passes) -> None:
    """Warn, with the size of the effect, if the loss depends on how the examples are cut.

    It is tried on one batch of examples from all of the data, and on its two halves. Means of
    torch's and losses that return `(sum, count)` are weighted by what they count; user's batches
    are the user's choice, and one batch of all data is not cut.
    """
    is_ours = len(passes.own_batches) > 1 and not isinstance(passes.data, BatchData)
    given = passes.given_criterion
    is_mean = is_of_torch(given) and default_reduction(given) != "sum"
    is_known = is_mean or passes.over.is_counted
    if not is_ours or is_known or passes.habits.is_random or passes.norms.mode == "batch":
        return
    count = min(2 * (passes.plan.batch_size // 2) or 2, _MOST, passes.num_examples)
    rows = torch.linspace(0, passes.num_examples - 1, count).round().long()
    whole, halves = (_loss(passes, rows, size) for size in (count, (count + 1) // 2))
    is_rounded = passes.plan.dtype in ("bfloat16", "tf32")
    rounding = SAME_MEAN if is_rounded else _ROUNDINGS * torch.finfo(passes.dtype).eps
    if np.isclose(halves, whole, rtol=rounding, atol=0.0, equal_nan=True):
        return
    effect = abs(halves - whole) / abs(whole) if whole else float("inf")
    warnings.warn(
        f"The loss of a batch is not the mean over its examples: that of {count} differs by "
        f"{100 * effect:.2g} % from that of its halves. Every number depends on `batch_size`, here "
        f"{passes.plan.batch_size}. A loss function that returns (sum, count) is averaged right.",
        Remark,
        stacklevel=3,
    )


def _loss(passes: Passes, rows: Tensor, size: int) -> float:
    """Return the mean loss of the examples at `rows`, in batches of a size."""
    some = passes.on(passes.data.take(rows), size)
    return some.mean(some.measure_point(None, some.batches)["loss"])


def find_separate(passes: Passes, batches: Sequence[Batch], agreement: float) -> Loss | None:
    """Return the criterion for single examples, or None.

    It is None if there is none whose plain mean is the loss of each of some batches.

    Args:
        passes: Evaluates them.
        batches: To try.
        agreement: Largest relative difference of the losses.
    """
    separate = separate_losses(passes.criterion)
    if separate is None:
        return None
    with passes.at(None), passes.habits.without_gradient():
        for batch in batches:
            outputs, loss = passes.forward(batch)
            apart = passes.habits.apart(separate, batch)
            if not are_separate(apart, outputs, batch[1], loss, agreement):
                return None
    return separate


def find_sample(
    passes: Passes, num_population: int | None, *, is_stratified: bool
) -> Sample | None:
    """Return how the data were drawn from so many examples; None if unknown, or if all are.

    Single losses are measured from now on, where they have the mean.
    """
    if num_population is None or num_population == passes.num_examples:
        return None
    require(
        num_population >= passes.num_examples,
        "a set must have at least as many examples as what was drawn from it, "
        f"got {num_population} for {passes.num_examples}.",
    )
    share, batches = passes.num_examples / num_population, passes.own_batches
    passes.separate = find_separate(passes, (batches[0], batches[-1]), SAME_MEAN)
    if passes.separate is None:
        return Sample(passes.over.sizes, share)
    strata = class_numbers(batches) if is_stratified else None
    return Sample(np.ones(passes.num_examples), share, strata)
