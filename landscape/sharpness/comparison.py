"""Differences of sharpness between checkpoints or groups of them, with confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from landscape.errors import require
from landscape.problem.problem import Problem
from landscape.results.history import mean_and_deviation
from landscape.results.interval import CONFIDENCE, half_width
from landscape.results.sharpness import Difference, GroupValue, Rescaled, Sharpness
from landscape.sharpness.rescaling import Rescaling
from landscape.sharpness.rises import Measured, standard_error

_ROUNDING = {
    "tf32": 2.0**-11,
    "bfloat16": 2.0**-8,
}  # of one number, where it is not that of the dtype's name
_NO_RADIUS = math.nan
_UNMOVED = 1e-3  # of a measure, below which it has not moved
_ROUNDINGS = 8  # of the loss, below which two differences of losses count as equal


def differences(
    names: Sequence[str], measured: Sequence[Measured], *, confidence: float = CONFIDENCE
) -> tuple[Difference, ...]:
    """Compare each checkpoint after the first with the first, measure by measure.

    The interval comes from the differences of single antithetic pairs (`avg`; those that both have)
    and, on a sample of a larger set, from the standard error over its examples, with the
    perturbations that were found. On all data, the other measures are numbers without such errors,
    and only rounding is between two of them.

    Args:
        names: Of the checkpoints.
        measured: On the same data, with the same measures and directions.
        confidence: Of the intervals.

    Raises:
        InputError: If the data are not the same.
    """
    first = measured[0]
    for name, other in zip(names, measured, strict=True):
        require(
            other.result.provenance.data_hash == first.result.provenance.data_hash,
            f"checkpoints that are compared must be measured on the same data, {name} is not.",
            hint="Measure it in a call of its own.",
        )
    keys = [measure.key for measure in first.result.measures]
    return tuple(
        _difference(key, (name, other), (names[0], first), confidence)
        for name, other in zip(names[1:], measured[1:], strict=True)
        for key in keys
    )


def _difference(
    key: tuple[str, float],
    one: tuple[str, Measured],
    other: tuple[str, Measured],
    confidence: float,
) -> Difference:
    (first, a), (second, b) = one, other
    rises, others, sample = a.rises[key], b.rises[key], a.sample
    value, widths, sources = rises.value - others.value, [], []
    if count := min(len(rises.directions), len(others.directions)):
        paired = rises.directions[:count] - others.directions[:count]
        value = float(paired.mean())
        error = standard_error(paired)
        widths.append(half_width(error, num_values=count, confidence=confidence))
        sources.append("directions")
    if sample is not None:
        error = sample.error(rises.units - others.units)
        widths.append(half_width(error, confidence=confidence))
        sources.append("data")
    measured = sum(m.result[key].rounding or 0.0 for m in (a, b))
    rounding = _ROUNDINGS * max(_unit_roundoff(m.result) * abs(m.result.loss) for m in (a, b))
    width = max(float(np.hypot.reduce(widths)) if widths else 0.0, rounding) + measured
    source = " and ".join(sources) or "rounding"
    return Difference.around(key, (first, second), value, width, source, confidence=confidence)


def _unit_roundoff(result: Sharpness) -> float:
    name = result.provenance.dtype
    return _ROUNDING[name] if name in _ROUNDING else torch.finfo(getattr(torch, name)).eps


def group_values(groups: Mapping[str, Sequence[Sharpness]]) -> tuple[GroupValue, ...]:
    """Return the mean and sample standard deviation of each value in each group.

    The values are the measures, and the loss, the accuracy and the gap.

    Args:
        groups: Name -> results of its checkpoints, which have the same measures.
    """
    columns = {
        (group, *key): [_values(result)[key] for result in results]
        for group, results in groups.items()
        for key in _values(results[0])
    }
    return tuple(
        GroupValue(*key, *mean_and_deviation(values), len(values))
        for key, values in columns.items()
    )


def group_differences(
    groups: Mapping[str, Sequence[Sharpness]], *, confidence: float = CONFIDENCE
) -> tuple[Difference, ...]:
    """Compare each group after the first with the first by Student's t of the paired differences.

    Args:
        groups: Name -> results of its checkpoints; the n-th of all groups belong together, by their
            seed.
        confidence: Of the intervals.

    Raises:
        InputError: If groups have different numbers of checkpoints, or one.
    """
    (base, basis), *others = groups.items()
    for name, results in groups.items():
        require(
            len(results) == len(basis) and len(results) > 1,
            f"groups are compared pair by pair and need as many checkpoints, at least 2, "
            f"got {len(results)} for {name} and {len(basis)} for {base}.",
            hint="Name the same seeds in every group.",
        )
    keys = [measure.key for measure in basis[0].measures]
    return tuple(
        _paired(key, name, results, base, basis, confidence)
        for name, results in others
        for key in keys
    )


def _paired(
    key: tuple[str, float],
    first: str,
    results: Sequence[Sharpness],
    second: str,
    basis: Sequence[Sharpness],
    confidence: float,
) -> Difference:
    paired = np.array(
        [_values(a)[key] - _values(b)[key] for a, b in zip(results, basis, strict=True)]
    )
    width = half_width(standard_error(paired), num_values=len(paired), confidence=confidence)
    value = float(paired.mean())
    return Difference.around(key, (first, second), value, width, "seeds", confidence=confidence)


def _values(result: Sharpness) -> dict[tuple[str, float], float]:
    """Return what a group has a mean of, by name and radius."""
    single = [(name, getattr(result, name)) for name in ("loss", "accuracy", "generalization_gap")]
    return {measure.key: measure.sharpness for measure in result.measures} | {
        (name, _NO_RADIUS): math.nan if value is None else value for name, value in single
    }


def measure_invariance(
    before: Measured, rescalings: Sequence[Rescaling], measure_again: Callable[[Problem], Measured]
) -> tuple[Rescaled, ...]:
    """Measure again at rescaled weights of the same function.

    A measure has moved where the difference is beyond its error (see
    `landscape.sharpness.comparison.differences`) and more than a thousandth of it.

    Args:
        before: At the network's own weights.
        rescalings: From `landscape.sharpness.rescaling.function_preserving_rescalings`.
        measure_again: Measures the same at another problem, with the same data and directions.

    Returns:
        One row per rescaling and measure.

    Source:
        Dinh, Pascanu, Bengio & Bengio (2017), Sharp Minima Can Generalize For Deep Nets.
    """
    return tuple(
        row
        for rescaling in rescalings
        for row in _rescaled_rows(before, rescaling, measure_again(rescaling.problem))
    )


def _rescaled_rows(before: Measured, rescaling: Rescaling, after: Measured) -> list[Rescaled]:
    changes = differences(("before", rescaling.name), (before, after))
    return [
        Rescaled(
            rescaling=rescaling.name,
            factor=rescaling.factor,
            output_change=rescaling.output_change,
            name=one.name,
            rho=one.rho,
            before=one.sharpness,
            after=other.sharpness,
            has_moved=(
                abs(change.value) > _UNMOVED * abs(one.sharpness)
                and change.verdict != "not distinguishable"
            ),
        )
        for one, other, change in zip(
            before.result.measures, after.result.measures, changes, strict=True
        )
    ]
