"""What is known of a Hessian beside its extreme eigenvalues: parts of a
`landscape.results.Spectrum`.

Nothing here imports torch, so that a stored result can be read and drawn without the model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SecondLook:
    """What a second, short run found beside the eigenvalues of the first, of which it sees nothing.

    Attributes:
        num_matvecs: Products that it used.
        largest: Its largest Ritz value; a missed or repeated eigenvalue at the top is one above the
            smallest of the top ones that were found.
        smallest: Its smallest.
        num_missed_top: Eigenvalues that belong among the top ones, and were put there.
        num_missed_bottom: Likewise at the bottom.
    """

    num_matvecs: int
    largest: float
    smallest: float
    num_missed_top: int = 0
    num_missed_bottom: int = 0


@dataclass(frozen=True)
class Trace:
    """Trace of a matrix: exact on a subspace, estimated on its complement.

    Attributes:
        value: The estimate, in loss units.
        standard_error: Of it, from the samples.
        low: Lower end of the confidence interval, by Student's t.
        high: Upper end.
        confidence: Of the interval.
        num_samples: Random vectors.
        num_matvecs: Products used, those that made the subspace included.
        converged: Whether the error that was asked for was reached; True where none was.
    """

    value: float
    standard_error: float
    low: float
    high: float
    confidence: float
    num_samples: int
    num_matvecs: int
    converged: bool = True


@dataclass(frozen=True)
class Density:
    """Spectral density: exact outliers, and Gauss quadratures of the rest from several random
    probes.

    The density integrates to 1. An outlier has the mass 1 / P; the nodes of a probe have 1 -
    (outliers) / P together.

    Attributes:
        outliers: Eigenvalues that are known, (n,).
        outlier_residuals: Of each, (n,).
        nodes: Of each probe, (num_probes, m), ascending; NaN where a probe has fewer, its Krylov
            space being exhausted: then they are eigenvalues.
        weights: Of each node, (num_probes, m); 0 where a probe has fewer.
        num_matvecs: Products used for the nodes.
        num_parameters: P.
        noise_floor: Absolute error of an eigenvalue that counts as rounding.
    """

    outliers: np.ndarray
    outlier_residuals: np.ndarray
    nodes: np.ndarray
    weights: np.ndarray
    num_matvecs: int
    num_parameters: int
    noise_floor: float = 0.0


@dataclass(frozen=True)
class BlockCurvature:
    """Curvature in the weights of one layer, all others held.

    Attributes:
        name: Of the layer.
        num_parameters: Weights in it.
        lambda_max: Algebraically largest eigenvalue of the diagonal block.
        residual: Within which an eigenvalue of the block lies.
        trace: Of the block.
        trace_error: Its standard error.
        num_matvecs: Products used.
        converged: Whether `lambda_max` met the tolerance.
    """

    name: str
    num_parameters: int
    lambda_max: float
    residual: float
    trace: float
    trace_error: float
    num_matvecs: int
    converged: bool


@dataclass(frozen=True)
class Fold:
    """Extreme eigenvalues on one of several disjoint subsets of the data.

    Attributes:
        num_examples: In the subset.
        lambda_max: Algebraically largest eigenvalue there.
        lambda_min: Algebraically smallest.
        residual: The larger of their residuals.
        held_out: v' H v on the examples outside the subset, v being the subset's top eigenvector:
            in expectation a lower bound of the largest eigenvalue on all data.
        converged: Whether both met the tolerance.
    """

    num_examples: int
    lambda_max: float
    lambda_min: float
    residual: float
    held_out: float
    converged: bool


def fold_summary(folds: Sequence[Fold]) -> dict[str, tuple[float, float]]:
    """Return `lambda_max`, `lambda_min` and `held_out` -> mean and sample standard deviation over
    the folds.

    Args:
        folds: At least one; of one, the deviation is NaN.
    """
    values = {
        name: [getattr(fold, name) for fold in folds]
        for name in ("lambda_max", "lambda_min", "held_out")
    }
    is_alone = len(folds) == 1
    return {
        name: (float(np.mean(each)), math.nan if is_alone else float(np.std(each, ddof=1)))
        for name, each in values.items()
    }
