"""Spectral density of a symmetric operator by stochastic Lanczos quadrature beside its known eigenpairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

from landscape.curvature_results import Density
from landscape.errors import InputError, NotFiniteError
from landscape.hessian.operator import SymmetricOperator
from landscape.progress import SILENT, Progress
from landscape.random_state import derived_seeds
from landscape.reductions import accumulation_dtype, dot, norm

_DOUBLE_BASIS_BYTES = 4 << 30  # a basis that is larger in float64 is kept in float32
_STREAM = 1 << 16  # tells the probes from other random vectors of the same seed
_BREAKDOWN = 1e-10  # beta below this share of the largest coefficient: the Krylov space is invariant


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
    should_stop: Callable[[], bool] = lambda: False,
    progress: Progress = SILENT,
) -> Density:
    """Estimate the density of all eigenvalues, of which some are known.

    A known eigenpair is a point of mass 1 / P. The others are probed with random vectors of the complement of the
    known ones: m steps of Lanczos with (I - V V') A (I - V V') from each make a Gauss quadrature of m nodes, exact for
    polynomials of degree below 2 m. With full two-pass reorthogonalisation, for without it the nodes hold copies of
    the outermost eigenvalues. The probes are uniform on the complement's unit sphere, so that the expectation of
    their quadratures is the density itself, and the weights of each sum to (P - n) / P.

    Args:
        operator: Symmetric, size P.
        outliers: Eigenvalues that are known, (n,); n may be 0.
        residuals: Of each, (n,).
        vectors: Their orthonormal eigenvectors, (n, P).
        num_probes: Random vectors.
        num_steps: Products with each, m.
        seed: Of the probes, which share nothing with the start vectors that Lanczos runs of this seed have: what such a
            run has found holds more of its own start than of other vectors.
        floor: Absolute error of an eigenvalue that counts as rounding.
        should_stop: Asked after each product; if so, a probe that is not whole is left out, except the first.
        progress: Counts products.

    Returns:
        Outliers and quadratures; fewer nodes than m where a Krylov space is exhausted.

    Raises:
        InputError: If there is less than one probe or step, or the outliers do not fit their vectors.
        NotFiniteError: If a product is not finite.

    Source:
        Ghorbani, Krishnan & Xiao (2019), An investigation into neural net optimization via Hessian eigenvalue
        density, algorithm 1. There all eigenvalues are probed; here the known ones are exact, which leaves the nodes
        to the others.
    """
    _require_positive(num_probes, num_steps)
    _require_fitting(outliers, residuals, vectors, operator.size)
    num_steps = min(num_steps, operator.size - len(outliers))
    share = 1 - len(outliers) / operator.size
    basis = _basis(operator, vectors, num_steps)
    generator = torch.Generator().manual_seed(derived_seeds(1, seed, _STREAM)[0])
    quadratures: list[tuple[np.ndarray, np.ndarray]] = []
    num_matvecs, is_stopped = 0, False
    progress.start("density", num_probes * num_steps)
    try:
        while num_steps and len(quadratures) < num_probes and not is_stopped:
            coefficients = []
            for coefficient in _lanczos_steps(operator, basis, len(outliers), generator):
                coefficients.append(coefficient)
                num_matvecs += 1
                progress.update(num_matvecs)
                if is_stopped := should_stop():
                    break
            if not is_stopped or len(coefficients) == num_steps or not quadratures:
                quadratures.append(_quadrature(coefficients, share))
    finally:
        progress.stop()
    is_cut = is_stopped and len(quadratures) == 1
    length = len(quadratures[0][0]) if is_cut else num_steps
    return Density(
        outliers=np.asarray(outliers, dtype=np.float64),
        outlier_residuals=np.asarray(residuals, dtype=np.float64),
        nodes=_padded([nodes for nodes, _ in quadratures], length, np.nan),
        weights=_padded([weights for _, weights in quadratures], length, 0.0),
        num_matvecs=num_matvecs,
        num_parameters=operator.size,
        noise_floor=floor,
    )


def _require_positive(num_probes: int, num_steps: int) -> None:
    if num_probes < 1 or num_steps < 1:
        raise InputError(
            f"a density needs at least 1 probe and 1 step, got {num_probes} and {num_steps}.",
            hint="5 probes of 40 steps are usual.",
        )


def _require_fitting(outliers: np.ndarray, residuals: np.ndarray, vectors: Tensor, size: int) -> None:
    if not len(outliers) == len(residuals) == len(vectors) or (len(vectors) and vectors.shape[1] != size):
        raise InputError(
            f"each outlier must have a residual and a vector of {size} entries, got {len(outliers)} outliers, "
            f"{len(residuals)} residuals and vectors of shape {tuple(vectors.shape)}."
        )


def _basis(operator: SymmetricOperator, vectors: Tensor, num_steps: int) -> Tensor:
    """Return the known vectors with room for a Krylov basis after them, (n + m, P)."""
    rows = len(vectors) + num_steps
    fits = rows * operator.size * 8 <= _DOUBLE_BASIS_BYTES
    dtype = accumulation_dtype(operator.device) if fits else torch.float32
    basis = torch.empty((rows, operator.size), dtype=dtype, device=operator.device)
    basis[: len(vectors)] = vectors.reshape(-1, operator.size)
    return basis


def _lanczos_steps(
    operator: SymmetricOperator, basis: Tensor, num_known: int, generator: torch.Generator
) -> Iterator[tuple[float, float]]:
    """Yield alpha and beta of each step from a random vector, until the basis is full or the space invariant."""
    accumulate = accumulation_dtype(operator.device)
    noise = torch.randn(operator.size, generator=generator, dtype=torch.float64)
    v = _remove(basis[:num_known], noise.to(operator.device, accumulate))
    beta, scale = norm(v), 0.0
    for size in range(num_known, len(basis)):
        q = v / beta
        basis[size] = q
        product = operator.matvec(q)
        alpha = dot(product, q)
        v = _remove(basis[: size + 1], product)
        beta = norm(v)
        if not np.isfinite(alpha + beta):
            raise NotFiniteError(
                "a Hessian-vector product holds NaN or inf.",
                hint="Pass --dtype float64, or check the loss at these weights with `landscape sharpness`.",
            )
        yield alpha, beta
        scale = max(scale, abs(alpha), beta)
        if beta <= _BREAKDOWN * scale:
            return


def _remove(basis: Tensor, v: Tensor) -> Tensor:
    """Remove the span of orthonormal rows from `v`, twice: once is not enough."""
    for _ in range(2):
        v = v - (basis.mT @ (basis @ v.to(basis.dtype))).to(v.dtype)
    return v


def _quadrature(coefficients: Sequence[tuple[float, float]], mass: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the nodes, ascending, and their weights, which sum to the mass."""
    alphas, betas = np.array(coefficients).T
    nodes, vectors = eigh_tridiagonal(alphas, betas[:-1])
    return nodes, mass * vectors[0] ** 2


def _padded(rows: Sequence[np.ndarray], length: int, value: float) -> np.ndarray:
    """Stack rows that may be shorter, (number of rows, length)."""
    padded = [np.pad(row, (0, length - len(row)), constant_values=value) for row in rows]
    return np.array(padded).reshape(len(rows), length)
