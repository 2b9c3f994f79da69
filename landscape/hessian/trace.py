"""Trace of a symmetric operator: exact on a known subspace, sampled on its complement."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from landscape.errors import require
from landscape.hessian.eigenpairs import Subspace
from landscape.hessian.operator import SymmetricOperator, finite_product
from landscape.reductions import accumulation_dtype, dot
from landscape.results.interval import half_width
from landscape.results.spectrum import Trace
from landscape.runtime.progress import SILENT, Progress, never, reporting
from landscape.runtime.random_state import derived_seeds

DEFAULT_NUM_SAMPLES = 50
FEWEST_SAMPLES = 20
"""Random vectors before the samples may decide that they are enough; measured, see `trace`."""

_STREAM = 1 << 17  # tells the signs from other random vectors of the same seed


def trace(
    operator: SymmetricOperator,
    *,
    subspace: Subspace | None = None,
    num_samples: int | None = None,
    relative_error: float | None = None,
    max_matvecs: int = 500,
    confidence: float = 0.95,
    seed: int = 0,
    should_stop: Callable[[], bool] = never,
    progress: Progress = SILENT,
) -> Trace:
    """Estimate the trace as tr(Q' A Q) of the subspace, plus Hutchinson's estimate of the rest.

    The trace on the subspace takes no products.

    With random signs v and u = v - Q Q' v, u' A u has the expectation tr((I - Q Q') A (I - Q Q'))
    =: tr(B) and the variance 2 (||B||_F^2 - sum_i B_ii^2). Vectors uniform on the sphere of the
    complement, of dimension N, have about 2 (||B||_F^2 - tr(B)^2 / N), Gaussian ones 2 ||B||_F^2.
    As sum_i B_ii^2 is at least tr(B)^2 / P, signs are never worse than Gaussian ones and, up to P -
    N, than the sphere. (Standard deviations after 20 to 80 Lanczos steps on a trained network:
    signs 1 to 3 % below the sphere, 3 to 8 % below Gaussian.)

    The interval is Student's. Where the samples decide their own number, they stop too often when
    they happen to agree: from two samples on, a 95 % interval held the trace in .73 to .93 of 2000
    simulated runs. So it takes `FEWEST_SAMPLES` and half the error probability, both for stopping
    and for the interval that is returned. That held the trace in .954 to .978 of the runs on flat,
    decaying, indefinite and few-outlier spectra (20 to 190 samples); in .911 to .956 where one
    eigenvalue makes three quarters of the trace and no subspace took it away, for then the samples
    are skewed.

    Args:
        operator: Symmetric, size P.
        subspace: What is already known of the operator; None for nothing.
        num_samples: Random vectors, one product each; by default `DEFAULT_NUM_SAMPLES`. Not with
            `relative_error`.
        relative_error: Go on until half the width of the interval is at most this share of |trace|.
            Of a trace near 0 that cannot be reached.
        max_matvecs: Limit on the products here, those that made the subspace not counted.
        confidence: Of the interval.
        seed: Of the random vectors, which share nothing with those of a Lanczos run of this seed.
        should_stop: Asked after each product from the second one on.
        progress: Counts products.

    Returns:
        Estimate and interval; not converged where a limit came before what was asked for.

    Raises:
        InputError: If a number is out of its range, or both a number of samples and an error are
            asked for.
        NotFiniteError: If a product is not finite.

    Source:
        Hutchinson (1989), Commun. Stat. Simul. Comput. 18(3); the split as in Hutch++, Meyer,
        Musco, Musco & Woodruff (2021), whose sketch and its products a Krylov space replaces.
    """
    _require_valid(num_samples, relative_error, max_matvecs, confidence)
    known = float(np.trace(subspace.projected)) if subspace is not None else 0.0
    num_known = subspace.size if subspace is not None else 0
    if num_known >= operator.size:
        return Trace(known, 0.0, known, known, confidence, 0, num_known)
    is_sequential = relative_error is not None
    wanted = max_matvecs if is_sequential else num_samples or DEFAULT_NUM_SAMPLES
    generator = torch.Generator().manual_seed(derived_seeds(1, seed, _STREAM)[0])
    samples: list[float] = []
    level = (1 + confidence) / 2 if is_sequential else confidence  # half the error probability
    value, error, reach = np.nan, np.nan, np.inf
    is_done = False
    with reporting(progress, "trace", None if is_sequential else wanted):
        while not is_done and len(samples) < min(wanted, max_matvecs):
            samples.append(_sample(operator, subspace, generator))
            value, error = known + float(np.mean(samples)), error_of_mean(samples)
            if len(samples) > 1:
                reach = half_width(error, num_values=len(samples), confidence=level)
            progress.update(len(samples), trace=value, error=reach)
            if relative_error is None:
                is_done = len(samples) == wanted
            else:
                is_done = len(samples) >= FEWEST_SAMPLES and reach <= relative_error * abs(value)
            if len(samples) > 1 and should_stop():
                break
    return Trace(
        value=value,
        standard_error=error,
        low=value - reach,
        high=value + reach,
        confidence=confidence,
        num_samples=len(samples),
        num_matvecs=num_known + len(samples),
        converged=is_done,
    )


def _require_valid(
    num_samples: int | None, relative_error: float | None, max_matvecs: int, confidence: float
) -> None:
    if relative_error is not None:
        require(
            num_samples is None,
            f"a trace takes a number of samples or a relative error, got both, {num_samples} and "
            f"{relative_error:g}.",
            "Leave one of them out.",
        )
        require(
            relative_error > 0,
            f"the relative error of a trace must be a positive number, got {relative_error:g}.",
            "Pass 0.01.",
        )
    require(
        num_samples is None or num_samples >= 2,
        f"a trace needs at least 2 samples, got {num_samples}.",
        "50 are usual.",
    )
    require(max_matvecs >= 2, f"max-matvecs of a trace must be at least 2, got {max_matvecs}.")
    require(
        0 < confidence < 1,
        f"a confidence must be between 0 and 1, got {confidence:g}.",
        "Pass 0.95.",
    )


def _sample(
    operator: SymmetricOperator, subspace: Subspace | None, generator: torch.Generator
) -> float:
    """Return u' A u, u being random signs without their part in the subspace."""
    v = random_signs(operator, generator)
    u = v if subspace is None else subspace.remove(v)
    return dot(u, finite_product(operator, u))


def random_signs(operator: SymmetricOperator, generator: torch.Generator) -> torch.Tensor:
    """Return random signs (P,) on the operator's device."""
    signs = torch.randint(2, (operator.size,), generator=generator, dtype=torch.int8)
    return signs.to(operator.device, accumulation_dtype(operator.device)).mul_(2).sub_(1)


def error_of_mean(samples: Sequence[float] | np.ndarray) -> float:
    """Return the standard error of the mean of samples, (n,); infinite for a single one."""
    return float(np.std(samples, ddof=1) / np.sqrt(len(samples))) if len(samples) > 1 else np.inf
