"""Which measures change although the network computes the same function."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from landscape.problem.problem import Problem
from landscape.results.sharpness import Rescaled
from landscape.sharpness.comparison import differences
from landscape.sharpness.measurement import Measured
from landscape.sharpness.rescaling import Rescaling

_SMALL = 1e-3  # of a measure, below which it has not moved


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
        One row a rescaling and measure.

    Source:
        Dinh, Pascanu, Bengio & Bengio (2017), Sharp Minima Can Generalize For Deep Nets.
    """
    return tuple(
        row
        for rescaling in rescalings
        for row in _rows(before, rescaling, measure_again(rescaling.problem))
    )


def _rows(before: Measured, rescaling: Rescaling, after: Measured) -> list[Rescaled]:
    found = []
    pairs = zip(before.result.measures, after.result.measures, strict=True)
    changes = differences(("before", rescaling.name), (before, after))
    for (one, other), change in zip(pairs, changes, strict=True):
        is_visible = abs(change.value) > _SMALL * abs(one.sharpness)
        found.append(
            Rescaled(
                rescaling=rescaling.name,
                factor=rescaling.factor,
                output_change=rescaling.output_change,
                name=one.name,
                rho=one.rho,
                before=one.sharpness,
                after=other.sharpness,
                has_moved=is_visible and change.verdict != "not distinguishable",
            )
        )
    return found
