"""Several points per forward pass: whether their values stay the same, and how many pay off."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from landscape.errors import LandscapeError, first_line, require
from landscape.problem.passes import Passes
from landscape.problem.weights import Point

AGREEMENT = 1e-6
"""Largest relative difference that a loss may have from the one that is computed one point at a
time."""

_LONG_PASS = 0.02  # seconds, beside which what a pass takes to start is nothing
_LONG_TRIAL = 0.2  # seconds after which passes are not repeated
_NUM_TIMED = 4  # passes, the first of which warms up
_MOST = 256
_GAIN = 1.1  # of points a second, for which twice the memory is taken
_PATIENCE = 2  # doublings without a gain
_ONE_POINT = "Pass `points_per_pass=1`."


def reason_for_bits(together: Callable[[Sequence[int]], Tensor], count: int) -> str:
    """Return how a point's value depends on its pass, or an empty string if it does not.

    Args:
        together: Maps the numbers of `count` points, all different unless the numbers repeat, to
            losses (count, ...).
        count: Points a pass.
    """
    values = together(range(count))
    if not _same_bits(together(range(count)[::-1]).flip(0), values):
        return "a point's value depends on its place among the points of a pass"
    if not _same_bits(together([count - 1] * count)[0], values[-1]):
        return "a point's value depends on the points beside it"
    return ""


def reason_for_values(
    together: Callable[[Sequence[int]], Tensor], alone: Callable[[int], Tensor], count: int
) -> str:
    """Return how far losses are from those of single points, or an empty string if they are close.

    The losses of single points are computed one point at a time.

    Args:
        together: As for `reason_for_bits`.
        alone: Maps the number of a point to its losses (...).
        count: Points a pass.
    """
    reference = torch.stack(list(map(alone, range(count))))
    difference = largest_relative_difference(together(range(count)), reference)
    if difference <= AGREEMENT:
        return ""
    return f"a loss differs by {difference:.1e} of it from what one point at a time gives"


def _same_bits(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(), b.nan_to_num())


def largest_relative_difference(values: Tensor, reference: Tensor) -> float:
    """Return the largest |value - reference| / |reference|.

    Two NaN, or equal infinities, do not differ; where only one of two is finite, they differ by
    infinity.
    """
    values, reference = values.double(), reference.double()
    same = (values == reference) | (values.isnan() & reference.isnan())
    relative = ((values - reference) / reference).abs().nan_to_num(nan=torch.inf, posinf=torch.inf)
    return float(relative.masked_fill(same, 0.0).max())


def most_productive(
    seconds_of: Callable[[int], float], num_bytes: int, budget: int = 1 << 30
) -> int:
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


def choose_count(passes: Passes, wanted: int | None) -> tuple[int, str]:
    """Return the number of points per pass.

    Args:
        passes: What is to evaluate points.
        wanted: The number; None for the one with which most points are evaluated per second.

    Returns:
        The number, and where None was passed and it is 1, the reason.

    Raises:
        InputError: If so many points cannot be evaluated in one pass.
    """
    if wanted is None:
        return fastest_count(passes)
    reason = reason_against(passes, wanted) if wanted > 1 else ""
    require(not reason, f"a pass of {wanted} points is not possible: {reason}.", hint=_ONE_POINT)
    return wanted, ""


def largest_deviation(passes: Passes, points: Sequence[Point]) -> dict[str, float]:
    """Measure the relative error of losses under the plan against plain evaluation.

    Plain is float32 (or float64), one point at a time, not compiled.

    Args:
        passes: What evaluates the points.
        points: Some points, a few of those that are evaluated; at least one.

    Returns:
        What is not plain, such as `bfloat16, 8 points per pass` -> the largest |loss - plain| /
        |plain|; empty if everything is plain.

    Raises:
        LandscapeError: If several points a pass, and nothing else, make more than 1e-6 of
            difference.
    """
    deviations = passes.plan.deviations
    if not deviations:
        return {}
    found = _mean_losses(passes, points)
    with passes.under(passes.plan.plain()):
        largest = largest_relative_difference(found, _mean_losses(passes, points))
    if passes.plan.points_per_pass > 1 and len(deviations) == 1 and largest > AGREEMENT:
        raise LandscapeError(
            f"losses at {deviations[0]} must be those of one point at a time to {AGREEMENT:g} "
            f"of them, one differs by {largest:.1e}.",
            hint=_ONE_POINT,
        )
    return {", ".join(deviations): largest}


def _mean_losses(passes: Passes, points: Sequence[Point]) -> Tensor:
    found = passes.measure_many(points, passes.batches)
    return torch.tensor([passes.mean(each["loss"]) for each in found], dtype=torch.float64)


def fastest_count(passes: Passes) -> tuple[int, str]:
    """Return the number of points per pass that gives most points per second.

    If the number is 1, return the reason as well.
    """
    failures: list[str] = []
    reason = _rule_against(passes)
    if not reason and _seconds_of_pass(passes, failures, 1) > _LONG_PASS:
        reason = "a pass of one point is long enough"
    if reason:
        return 1, reason
    count = most_productive(partial(_seconds_of_pass, passes, failures), passes.weights.nbytes)
    if count == 1:
        return 1, failures[0] if failures else "no other number of points a pass is faster"
    reason = reason_against(passes, count)
    return (1, reason) if reason else (count, "")


def reason_against(passes: Passes, count: int) -> str:
    """Return why so many points a pass, at least 2, are impossible, or nothing.

    Tried on the first and on the last batch, which may be smaller: values must keep their bits
    whatever stands beside them, and must be close to those of one point at a time in float32 (or
    float64).
    """
    ends = [passes.batches[0], passes.batches[-1]]

    def losses(numbers: Sequence[int], size: int = count) -> Tensor:
        found = passes.measure_many([partial(_write_trial, passes, n) for n in numbers], ends, size)
        return torch.from_numpy(np.stack([each["loss"] for each in found]))

    reason = _rule_against(passes)
    if reason:
        return reason
    try:
        reason = reason_for_bits(losses, count)
        with passes.under(passes.plan.plain()):
            return reason or reason_for_values(losses, lambda n: losses([n], 1)[0], count)
    except (LandscapeError, RuntimeError) as exc:
        return first_line(exc).rstrip(".")


def _rule_against(passes: Passes) -> str:
    if passes.norms.mode != "stored":
        return f"batch normalization is {passes.norms.mode!r}, not 'stored'"
    return "the forward pass is compiled" if passes.plan.is_compiled else ""


def _seconds_of_pass(passes: Passes, failures: list[str], count: int) -> float:
    """Return what a pass of so many points over the first batch takes, the least of some times.

    The first pass on an accelerator, which loads its kernels, does not count. Infinity if it is
    impossible; `failures` then gets the reason.
    """
    seconds: list[float] = []
    num_cold = 0 if passes.device.type == "cpu" else 1
    try:
        while len(seconds) < _NUM_TIMED and sum(seconds[num_cold:]) < _LONG_TRIAL:
            start = time.perf_counter()
            passes.measure_many([passes.weights] * count, passes.batches[:1], count)
            seconds.append(time.perf_counter() - start)
    # What torch.func cannot map over weights, or out of memory.
    except (LandscapeError, RuntimeError) as exc:
        failures.append(first_line(exc).rstrip("."))
        return float("inf")
    return min(seconds[num_cold:])


def _write_trial(passes: Passes, number: int, out: Tensor) -> None:
    """Write one of many trial points around the weights.

    They are as far away as a filter-normalized direction reaches.
    """
    scale = number % 5 / 4
    out.normal_(generator=torch.Generator(out.device).manual_seed(number))
    for part, own in zip(passes.spec.views(out), passes.spec.views(passes.weights), strict=True):
        part.mul_(scale * torch.linalg.vector_norm(own) / max(own.numel(), 1) ** 0.5).add_(own)
