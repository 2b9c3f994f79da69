"""The curvature of parts: of single layers, and of disjoint subsets of the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from landscape.results.display import Record
from landscape.results.history import mean_and_deviation


@dataclass(frozen=True)
class BlockCurvature(Record):
    """Curvature in the weights of one layer, all others held.

    Attributes:
        name: Name of the layer.
        num_parameters: Number of weights in it.
        lambda_max: Algebraically largest eigenvalue of the diagonal block.
        residual: Distance within which an eigenvalue of the block lies, but for the rounding.
        trace: Trace of the block.
        trace_error: Standard error of the trace.
        num_matvecs: Products used.
        converged: Whether `lambda_max` met the tolerance.
        rounding: Error of `lambda_max` from rounding; None if it was not measured.
        trace_rounding: Error of the trace from rounding; None if it was not measured.
    """

    name: str
    num_parameters: int
    lambda_max: float
    residual: float
    trace: float
    trace_error: float
    num_matvecs: int
    converged: bool
    rounding: float | None = None
    trace_rounding: float | None = None


@dataclass(frozen=True)
class Fold(Record):
    """Extreme eigenvalues on one of several disjoint subsets of the data.

    Attributes:
        num_examples: Number of examples in the subset.
        lambda_max: Algebraically largest eigenvalue there.
        lambda_min: Algebraically smallest.
        residual: The larger of their residuals.
        held_out: v' H v on the examples outside the subset, v being the subset's top eigenvector:
            in expectation a lower bound of the largest eigenvalue on all data.
        converged: Whether both met the tolerance.
        rounding: The larger of their errors from rounding; None where it was not measured.
    """

    num_examples: int
    lambda_max: float
    lambda_min: float
    residual: float
    held_out: float
    converged: bool
    rounding: float | None = None


def fold_summary(folds: Sequence[Fold]) -> dict[str, tuple[float, float]]:
    """Return the mean and sample standard deviation of each extreme eigenvalue over the folds.

    The keys are `lambda_max`, `lambda_min` and `held_out`.

    Args:
        folds: At least one; of one, the deviation is NaN.
    """
    return {
        name: mean_and_deviation([getattr(fold, name) for fold in folds])
        for name in ("lambda_max", "lambda_min", "held_out")
    }
