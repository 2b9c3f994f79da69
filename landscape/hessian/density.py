"""Spectral density of a symmetric operator by stochastic Lanczos quadrature.

Eigenpairs that are known already are treated exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from landscape.errors import require, require_in_limits
from landscape.hessian.krylov.space import KrylovSpace, RitzDecomposition, random_vector
from landscape.hessian.memory_plan import plan_memory
from landscape.hessian.operator import Deflated, SymmetricOperator
from landscape.reductions import accumulation_dtype
from landscape.results.spectrum import Density
from landscape.runtime.progress import SILENT, Progress, never, reporting

_STREAM = 1 << 16  # tells the probes from other random vectors of the same seed


def density(
    operator: SymmetricOperator,
    *,
    outliers: np.ndarray,
    residuals: np.ndarray,
    vectors: Tensor,
    num_probes: int = 5,
    num_steps: int = 40,
    seed: int = 0,
    floor: float = 0.0,
    rounding: float | None = None,
    should_stop: Callable[[], bool] = never,
    progress: Progress = SILENT,
) -> Density:
    """Estimate the density of all eigenvalues, of which some are known.

    A known eigenpair is a point of mass 1 / P. The others are probed with random vectors of the
    complement of the known ones: m steps of Lanczos with (I - V V') A (I - V V') from each make a
    Gauss quadrature of m nodes, exact for polynomials of degree below 2 m. With full two-pass
    reorthogonalisation, for without it the nodes hold copies of the outermost eigenvalues. The
    probes are uniform on the complement's unit sphere, so that the expectation of their quadratures
    is the density itself, and the weights of each sum to (P - n) / P.

    Args:
        operator: Symmetric, size P.
        outliers: Eigenvalues that are known, (n,); n may be 0.
        residuals: Of each, (n,).
        vectors: Their orthonormal eigenvectors, (n, P).
        num_probes: Random vectors.
        num_steps: Products with each, m.
        seed: Of the probes, which share nothing with the start vectors that Lanczos runs of this
            seed have: what such a run has found holds more of its own start than of other vectors.
        floor: Absolute error of an eigenvalue that counts as rounding.
        rounding: Error of an eigenvalue from the rounding inside the products; None if unknown.
        should_stop: Asked after each product; if so, a probe that is not whole is left out, except
            the first.
        progress: Counts products.

    Returns:
        Outliers and quadratures; fewer nodes than m where a Krylov space is exhausted, or memory
        holds fewer vectors.

    Raises:
        InputError: If there is less than one probe or step, the outliers do not fit their vectors,
            or nothing fits into memory.
        NotFiniteError: If a product is not finite.

    Source:
        Ghorbani, Krishnan & Xiao (2019), An investigation into neural net optimization via Hessian
        eigenvalue density, algorithm 1. There all eigenvalues are probed; here the known ones are
        exact, which leaves the nodes to the others.
    """
    require_in_limits({"num_probes": num_probes})
    require(
        num_probes >= 1 and num_steps >= 1,
        f"a density needs at least 1 probe and 1 step, got {num_probes} and {num_steps}.",
        "5 probes of 40 steps are usual.",
    )
    require(
        len(outliers) == len(residuals) == len(vectors)
        and (not len(vectors) or vectors.shape[1] == operator.size),
        f"each outlier must have a residual and a vector of {operator.size} entries, got "
        f"{len(outliers)} outliers, {len(residuals)} residuals and vectors of shape "
        f"{tuple(vectors.shape)}.",
    )
    num_steps = min(num_steps, operator.size - len(outliers))
    plan = plan_memory(
        operator.size,
        device=operator.device,
        wanted=1,
        max_matvecs=num_steps + 1,
        num_check_matvecs=0,
    )
    num_steps = min(num_steps, plan.vectors)
    known = vectors.reshape(-1, operator.size).to(
        operator.device, accumulation_dtype(operator.device)
    )
    deflated, share = Deflated(operator, known, 0.0), 1 - len(outliers) / operator.size
    probes: list[RitzDecomposition] = []
    num_matvecs, is_stopped = 0, False
    with reporting(progress, "density", num_probes * num_steps):
        while num_steps and len(probes) < num_probes and not is_stopped:
            stream = _STREAM + len(probes)
            start = deflated.project(random_vector(deflated, seed, stream))
            space = KrylovSpace(deflated, plan, seed=seed, stream=stream, start=start)
            while space.size < num_steps and not space.is_invariant and not is_stopped:
                space.extend()
                num_matvecs += 1
                progress.update(num_matvecs)
                is_stopped = should_stop()
            if not (probes or space.is_invariant):
                num_steps = space.size
            if space.size == num_steps or space.is_invariant:
                probes.append(space.ritz())
    return Density(
        outliers=np.asarray(outliers, dtype=np.float64),
        outlier_residuals=np.asarray(residuals, dtype=np.float64),
        nodes=_padded([each.values for each in probes], num_steps, np.nan),
        weights=_padded([share * each.weights[0] ** 2 for each in probes], num_steps, 0.0),
        num_matvecs=num_matvecs,
        num_parameters=operator.size,
        noise_floor=floor,
        rounding=rounding,
    )


def _padded(rows: Sequence[np.ndarray], length: int, value: float) -> np.ndarray:
    """Stack rows that may be shorter, (number of rows, length)."""
    padded = [np.pad(row, (0, length - len(row)), constant_values=value) for row in rows]
    return np.array(padded).reshape(len(rows), length)
