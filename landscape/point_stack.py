"""Several points a forward pass: whether their values stay what they are one at a time, and how many pay."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

AGREEMENT = 1e-6
"""Largest relative difference that a loss may have from the one that is computed one point at a time."""

LONG_PASS = 0.02
"""Seconds of a pass beside which what it takes to start is nothing."""

_MOST = 256
_GAIN = 1.1  # of points a second, for which twice the memory is taken
_PATIENCE = 2  # doublings without a gain


def reason_for_bits(together: Callable[[Sequence[int]], Tensor], count: int) -> str:
    """Return how a point's value depends on the pass that it is evaluated in, or nothing if it does not.

    Args:
        together: Maps the numbers of `count` points, all different unless the numbers repeat, to losses (count, ...).
        count: Points a pass.
    """
    values = together(range(count))
    if not _same_bits(together(range(count)[::-1]).flip(0), values):
        return "a point's value depends on its place among the points of a pass"
    if not _same_bits(together([count - 1] * count)[0], values[-1]):
        return "a point's value depends on the points beside it"
    return ""


def reason_for_values(together: Callable[[Sequence[int]], Tensor], alone: Callable[[int], Tensor], count: int) -> str:
    """Return how far losses are from those computed one point at a time, or nothing if they are close.

    Args:
        together: As for `reason_for_bits`.
        alone: Maps the number of a point to its losses (...).
        count: Points a pass.
    """
    reference = torch.stack([alone(number) for number in range(count)])
    difference = largest_relative_difference(together(range(count)), reference)
    if difference <= AGREEMENT:
        return ""
    return f"a loss differs by {difference:.1e} of it from what one point at a time gives"


def _same_bits(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(), b.nan_to_num())


def largest_relative_difference(values: Tensor, reference: Tensor) -> float:
    """Return the largest |value - reference| / |reference|.

    Two NaN, or equal infinities, do not differ; where only one of two is finite, they differ by infinity.
    """
    values, reference = values.double(), reference.double()
    same = (values == reference) | (values.isnan() & reference.isnan())
    relative = ((values - reference) / reference).abs().nan_to_num(nan=torch.inf, posinf=torch.inf)
    return float(relative.masked_fill(same, 0.0).max())


def most_productive(seconds_of: Callable[[int], float], num_bytes: int, budget: int = 1 << 30) -> int:
    """Return the number of points a pass, 1, 2, 4, ..., up to which points a second grow.

    Args:
        seconds_of: What a pass of so many points takes; infinity where it cannot be done.
        num_bytes: Of the weights of one point.
        budget: Bytes that the weights of all points may take.
    """
    best, best_rate, failures, count = 1, 1 / seconds_of(1), 0, 2
    while failures < _PATIENCE and count <= min(_MOST, budget // num_bytes):
        rate = count / seconds_of(count)
        if rate > _GAIN * best_rate:
            best, best_rate, failures = count, rate, 0
        else:
            failures += 1
        count *= 2
    return best
