"""The quantities that conditions name, and what measurements say about them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from landscape.results.eigenvalue_history import CurvatureHistory
from landscape.results.interval import Interval, half_width
from landscape.results.sharpness import Measure
from landscape.results.sharpness_measures import MEASURES
from landscape.results.spectrum import Spectrum, Trace

EVALUATED = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
CURVATURES = ("lambda_max", "lambda_min", "trace")
PLAIN = (*EVALUATED, "generalization_gap", "gradient_norm", *CURVATURES, "lambda_ratio")
"""Names that stand alone. `lambda_ratio` is the signed lambda_max / lambda_min."""

NOT_CONVERGED = "not converged"
_Z = half_width(1.0)

ALIASES = {"loss": "train_loss", "accuracy": "train_accuracy"}

_PARENTS = {
    "generalization_gap": ("test_loss", "train_loss"),
    "lambda_ratio": ("lambda_max", "lambda_min"),
}


@dataclass(frozen=True, order=True)
class Quantity:
    """What a condition names.

    Attributes:
        name: One of `PLAIN` or `MEASURES`.
        rho: Radius of a measure; 0 for the others.
    """

    name: str
    rho: float = 0.0

    def __str__(self) -> str:
        return f"{self.name}@{self.rho!r}" if self.name in MEASURES else self.name


@dataclass(frozen=True)
class Known:
    """What is known of a quantity.

    Attributes:
        interval: Value and ends, of 95 % confidence.
        remark: What else is to be said; empty for nothing.
    """

    interval: Interval
    remark: str = ""

    def but(self, *remarks: str) -> Known:
        """Return the same with further remarks, of which empty ones are left out."""
        return Known(self.interval, ", ".join(filter(None, (self.remark, *remarks))))

    @classmethod
    def of_mean(
        cls, value: float, standard_error: float | None = None, rounding: float | None = None
    ) -> Known:
        """Return a mean over the examples, from its standard error and its rounding, if any."""
        return cls(Interval.around(value, half_width(standard_error or 0.0) + (rounding or 0.0)))

    @classmethod
    def of_share(cls, value: float, num_examples: int, share: float = 0.0) -> Known:
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
        return cls(Interval(value, min(center - half, value), max(center + half, value)))

    @classmethod
    def of_extreme(cls, value: float, error: float, *, is_largest: bool, converged: bool) -> Known:
        """Return an extreme eigenvalue, which lies within the error of an exact one.

        Before convergence, there may be other eigenvalues beyond it.
        """
        around = Interval.around(value, error)
        if converged:
            return cls(around)
        low, high = (around.low, math.inf) if is_largest else (-math.inf, around.high)
        return cls(Interval(value, low, high), NOT_CONVERGED)

    @classmethod
    def of_trace(cls, trace: Trace) -> Known:
        """Return the trace with its interval."""
        interval = Interval(trace.value, trace.low, trace.high)
        return cls(interval, "" if trace.converged else NOT_CONVERGED)

    @classmethod
    def of_measure(cls, measure: Measure) -> Known:
        """Return the rise of the loss, with the errors from directions, data and rounding.

        A maximum is the largest rise that was found; upwards it is open by its gap, what the loss
        still rises to first order inside the ball. That another hill is higher is not excluded.
        """
        half = (measure.half_width or 0.0) + (measure.rounding or 0.0)
        interval = Interval.around(measure.sharpness, half)
        unusual = {  # unlike what a condition measures on a checkpoint
            f"p = {measure.p:g}": measure.p != 2,
            "adaptive": measure.adaptive,
            f"m = {measure.m}": measure.m is not None,
            "the largest that was found": measure.name == "max",
        }
        if measure.name == "max":
            gap = math.inf if measure.gap is None else measure.gap * abs(measure.sharpness)
            interval = Interval(interval.value, interval.low, interval.high + gap)
        return cls(interval).but(*(remark for remark, is_said in unusual.items() if is_said))


def known_curvatures(result: Spectrum | CurvatureHistory, *, snapshot: int = 0) -> dict[str, Known]:
    """Return the algebraic extremes and the trace, as far as a result has them, by name."""
    top, bottom = result.half_widths
    ends = {
        "lambda_max": (result.eigenvalues, top),
        "lambda_min": (result.bottom_eigenvalues, bottom),
    }
    found = {
        name: Known.of_extreme(
            float(np.atleast_2d(values)[snapshot, 0]),
            float(np.atleast_2d(errors)[snapshot, 0]),
            is_largest=name == "lambda_max",
            converged=bool(np.atleast_1d(result.converged)[snapshot]),
        )
        for name, (values, errors) in ends.items()
        if values.size and getattr(result, "which", "algebraic") == "algebraic"
    }
    if isinstance(result, Spectrum) and result.trace is not None:
        found["trace"] = Known.of_trace(result.trace)
    return found


def with_parents(wanted: Iterable[Quantity]) -> set[Quantity]:
    """Return these quantities and the two that each gap or ratio is computed from."""
    return {
        Quantity(parent, each.rho)
        for each in wanted
        for parent in _PARENTS.get(each.name, (each.name,))
    }


def with_derived(found: Mapping[Quantity, Known]) -> dict[Quantity, Known]:
    """Add the generalization gap and the ratio of the eigenvalues, where both parts are there."""
    every = dict(found)
    for name, parents in _PARENTS.items():
        first, second = (found.get(Quantity(parent)) for parent in parents)
        if first is not None and second is not None:
            is_ratio = name == "lambda_ratio"
            interval = (
                first.interval / second.interval if is_ratio else first.interval - second.interval
            )
            remarks = dict.fromkeys(filter(None, (first.remark, second.remark)))
            every[Quantity(name)] = Known(interval, "; ".join(remarks))
    return every
