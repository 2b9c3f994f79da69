"""What measurements say about a quantity: its value and the ends of its 95 % interval."""

from __future__ import annotations

import math

import numpy as np

from landscape.conditions.quantities import Known
from landscape.results.interval import Interval, half_width
from landscape.results.sharpness import Measure
from landscape.results.spectrum import CurvatureHistory, Spectrum, Trace

_Z = half_width(1.0)
NOT_CONVERGED = "not converged"


def of_mean(value: float, standard_error: float | None) -> Known:
    """Return a mean over the examples, from its standard error; without one it is exact."""
    return Known(Interval.around(value, half_width(standard_error or 0.0)))


def of_share(value: float, num_examples: int, share: float = 0.0) -> Known:
    """Return a share of correct examples of a sample, as an estimate of that of a larger set.

    Args:
        value: Of the sample.
        num_examples: In it.
        share: Part of the larger set that was drawn, below 1; 0 for an infinite one.

    Source:
        Wilson (1927), Probable Inference, with as many examples as if the set were infinite.
    """
    n = num_examples / (1 - share)
    center = (value + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(value * (1 - value) / n + _Z**2 / (4 * n**2))
    return Known(Interval(value, min(center - half, value), max(center + half, value)))


def of_unknown_error(value: float, remark: str) -> Known:
    """Return a value of which nobody knows how far it is off."""
    return Known(Interval.around(value, math.nan), remark)


def of_extreme(
    value: float, residual: float, noise_floor: float, *, is_largest: bool, converged: bool
) -> Known:
    """Return an extreme eigenvalue, which lies within the residual of an exact one.

    Before convergence, there may be other eigenvalues beyond it.
    """
    around = Interval.around(value, max(residual, noise_floor))
    if converged:
        return Known(around)
    low, high = (around.low, math.inf) if is_largest else (-math.inf, around.high)
    return Known(Interval(value, low, high), NOT_CONVERGED)


def of_extremes(result: Spectrum | CurvatureHistory, *, snapshot: int = 0) -> dict[str, Known]:
    """Return the algebraic extremes, as far as a result has them, by name."""
    is_converged = bool(np.atleast_1d(result.converged)[snapshot])
    ends = {
        "lambda_max": (result.eigenvalues, result.residuals),
        "lambda_min": (result.bottom_eigenvalues, result.bottom_residuals),
    }
    return {
        name: of_extreme(
            float(np.atleast_2d(values)[snapshot, 0]),
            float(np.atleast_2d(residuals)[snapshot, 0]),
            getattr(result, "noise_floor", 0.0),
            is_largest=name == "lambda_max",
            converged=is_converged,
        )
        for name, (values, residuals) in ends.items()
        if values.size
    }


def of_trace(trace: Trace) -> Known:
    """Return the trace with its interval."""
    return Known(
        Interval(trace.value, trace.low, trace.high), "" if trace.converged else NOT_CONVERGED
    )


def of_measure(measure: Measure) -> Known:
    """Return the rise of the loss, with the errors from directions and data together.

    A maximum is the largest rise that was found; upwards it is open by its gap, what the loss still
    rises to first order inside the ball. That another hill is higher is not excluded.
    """
    count = measure.num_directions if (measure.num_directions or 0) > 1 else None
    over_directions = half_width(measure.standard_error or 0.0, num_values=count)
    half = math.hypot(over_directions, half_width(measure.data_error or 0.0))
    interval = Interval.around(measure.sharpness, half)
    unusual = {  # unlike what a condition measures on a checkpoint
        f"p = {measure.p:g}": measure.p != 2,
        "adaptive": measure.adaptive,
        f"m = {measure.m}": measure.m is not None,
    }
    remarks = [remark for remark, is_said in unusual.items() if is_said]
    if measure.name == "max":
        remarks.append("the largest that was found")
        gap = math.inf if measure.gap is None else measure.gap * abs(measure.sharpness)
        interval = Interval(interval.value, interval.low, interval.high + gap)
    return Known(interval, ", ".join(remarks))
