"""`landscape.hessian`: the spectrum of a problem in one call."""

from __future__ import annotations

from landscape.hessian.spectrum import Extras, hessian_spectrum
from landscape.problem.problem import Problem
from landscape.results.spectrum import Spectrum
from landscape.runtime.progress import SILENT, Progress


def hessian(
    problem: Problem,
    *,
    top_k: int = 5,
    bottom_k: int = 1,
    which: str = "algebraic",
    curvature: str = "hessian",
    trace: bool = False,
    relative_error: float | None = None,
    density: bool = False,
    num_probes: int = 5,
    blocks: bool = False,
    tolerance: float | None = None,
    max_matvecs: int = 500,
    polish: bool = False,
    memory: int | None = None,
    save_vectors: bool = False,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Spectrum:
    """Compute eigenvalues at both ends of the Hessian at the problem's weights.

    Each eigenvalue has a residual, within which an eigenvalue lies for certain.
    `landscape.hessian_spectrum` can also be saved, stopped and resumed.

        spectrum = landscape.hessian(problem, top_k=3, trace=True)
        spectrum.lambda_max, spectrum.trace.value

    Args:
        problem: The loss.
        top_k: Number of largest eigenvalues.
        bottom_k: Number of algebraically smallest eigenvalues; 0 with `which="magnitude"`.
        which: `algebraic`, or `magnitude` for the largest in magnitude.
        curvature: `hessian`, `ggn` (Gauss-Newton) or `fisher` (empirical Fisher matrix).
        trace: Whether to estimate the trace, with a confidence interval.
        relative_error: Relative error at which the trace is done; None for a fixed number of
            products.
        density: Whether to estimate the spectral density.
        num_probes: Number of random vectors of the density.
        blocks: Whether to compute the largest eigenvalue and the trace of each layer.
        tolerance: Relative residual at which an eigenvalue has converged; None for what the dtype
            allows.
        max_matvecs: Limit on the matrix-vector products for the eigenvalues.
        polish: Whether to compute values and residuals once more by products in float64.
        memory: Bytes that vectors and graphs may take; None for a share of the free memory.
        save_vectors: Whether the result has the eigenvectors, as `spectrum.vectors` (k, P).
        seed: Seed of the random vectors.
        progress: Counts products.

    Returns:
        Eigenvalues in loss units with residuals; `spectrum.converged` says whether all of them met
        the tolerance.

    Raises:
        InputError: If an option is unknown, or the numbers asked for do not fit.
    """
    extras = Extras(
        trace=trace or relative_error is not None,
        relative_error=relative_error,
        density=density,
        num_probes=num_probes,
        blocks=blocks,
    )
    return hessian_spectrum(
        problem,
        top_k=top_k,
        bottom_k=bottom_k,
        which=which,
        curvature=curvature,
        tolerance=tolerance,
        max_matvecs=max_matvecs,
        polish=polish,
        memory=memory,
        extras=extras,
        keep_vectors=save_vectors,
        seed=seed,
        progress=progress,
    )
