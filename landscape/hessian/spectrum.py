"""The spectrum of a problem's Hessian as a result with its provenance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from landscape.errors import InputError
from landscape.hessian.lanczos import Eigenpairs, lanczos
from landscape.hessian.operator import CurvatureOperator
from landscape.hessian.pyhessian import power_iteration
from landscape.problem import Problem
from landscape.progress import SILENT, Progress
from landscape.provenance import make_provenance
from landscape.results import Spectrum

ENGINES = ("lanczos", "pyhessian")


def hessian_spectrum(
    problem: Problem,
    *,
    top_k: int = 5,
    bottom_k: int = 1,
    tolerance: float | None = None,
    max_matvecs: int = 500,
    seed: int = 0,
    engine: str = "lanczos",
    split: str = "train",
    keep_vectors: bool = False,
    settings: Mapping[str, Any] | None = None,
    progress: Progress = SILENT,
) -> Spectrum:
    """Compute eigenvalues at both ends of the Hessian at the problem's own weights.

    Args:
        problem: The loss.
        top_k: Number of algebraically largest eigenvalues.
        bottom_k: Number of algebraically smallest ones; the engine `pyhessian` finds none of them.
        tolerance: Relative, see `landscape.hessian.lanczos.lanczos`.
        max_matvecs: Limit on Hessian-vector products.
        seed: Of the start vectors.
        engine: `lanczos`, or `pyhessian` for the PyHessian package as a reference.
        split: Name of the data split, to be recorded.
        keep_vectors: Whether the result carries the eigenvectors.
        settings: What the user asked for, to be recorded.
        progress: Counts products.

    Raises:
        InputError: If the engine is unknown, or the numbers asked for do not fit.
    """
    if engine not in ENGINES:
        raise InputError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}.")
    if engine == "pyhessian":
        pairs = power_iteration(problem, top_k=top_k, tolerance=tolerance, max_matvecs=max_matvecs, seed=seed)
    else:
        pairs = lanczos(
            CurvatureOperator(problem),
            top_k=top_k,
            bottom_k=bottom_k,
            tolerance=tolerance,
            max_matvecs=max_matvecs,
            seed=seed,
            progress=progress,
        )
    return _spectrum(problem, pairs, engine, split, keep_vectors, dict(settings or {}))


def _spectrum(
    problem: Problem, pairs: Eigenpairs, engine: str, split: str, keep_vectors: bool, settings: dict[str, Any]
) -> Spectrum:
    here = problem.evaluate()
    return Spectrum(
        eigenvalues=pairs.top,
        residuals=pairs.top_residuals,
        bottom_eigenvalues=pairs.bottom,
        bottom_residuals=pairs.bottom_residuals,
        num_matvecs=pairs.num_matvecs,
        converged=pairs.converged,
        tolerance=pairs.tolerance,
        noise_floor=pairs.floor,
        engine=engine,
        loss=here.loss,
        accuracy=here.accuracy,
        split=split,
        provenance=make_provenance({split: problem}, settings),
        vectors=pairs.vectors.cpu().numpy() if keep_vectors else None,
    )
