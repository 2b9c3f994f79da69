"""Both ends of a symmetric operator's spectrum from one Krylov space."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from landscape.errors import InputError, NotFiniteError
from landscape.hessian.operator import SymmetricOperator
from landscape.progress import SILENT, Progress
from landscape.reductions import accumulation_dtype, norm

_DOUBLE_BASIS_BYTES = 4 << 30  # a float64 basis costs no products and is 250x more accurate; use it up to here
_CHECK_EVERY = 2  # products between two looks at convergence
_BREAKDOWN = 1e-10  # beta below this share of the spectrum's scale: the Krylov space is invariant


@dataclass(frozen=True)
class Eigenpairs:
    """Ritz pairs at both ends of a spectrum.

    Attributes:
        top: The algebraically largest eigenvalues, descending, (k,).
        top_residuals: ||A v - theta v|| of each, computed with a product of its own, (k,).
        bottom: The algebraically smallest, ascending, (kb,).
        bottom_residuals: Likewise, (kb,).
        vectors: Unit vectors, (k + kb, P), top ones first, in the accumulation dtype.
        num_matvecs: Products used in all.
        converged: Whether every pair met the tolerance.
        tolerance: The relative tolerance.
        floor: The absolute error that counts as rounding; a pair also meets the tolerance within it.
        remark: What was asked for and not found; empty if there is nothing.
    """

    top: np.ndarray
    top_residuals: np.ndarray
    bottom: np.ndarray
    bottom_residuals: np.ndarray
    vectors: Tensor
    num_matvecs: int
    converged: bool
    tolerance: float
    floor: float
    remark: str = ""


def default_tolerance(dtype: torch.dtype) -> float:
    """Return the relative tolerance that products in `dtype` can meet."""
    return {torch.float64: 1e-8, torch.float32: 1e-4}.get(dtype, 1e-2)


def noise_floor(dtype: torch.dtype) -> float:
    """Return the share of |lambda|_max below which an error counts as rounding.

    Eight units in the last place; at most 1e-3, for in bfloat16 that would be no accuracy at all.
    """
    return min(8 * torch.finfo(dtype).eps, 1e-3)


def lanczos(
    operator: SymmetricOperator,
    *,
    top_k: int,
    bottom_k: int = 0,
    tolerance: float | None = None,
    max_matvecs: int = 500,
    seed: int = 0,
    start: Tensor | None = None,
    progress: Progress = SILENT,
) -> Eigenpairs:
    """Find the largest and smallest eigenvalues of a symmetric operator.

    Lanczos from a Gaussian start with full two-pass reorthogonalisation. It stops when, at both
    ends, min(r, r^2 / gap) <= max(tolerance |theta|, floor |lambda|_max), r being the residual and
    floor the rounding of the operator's dtype. When the Krylov space is exhausted early (repeated
    eigenvalues, low rank) it goes on from a new random vector. A single start vector can miss
    copies of a repeated eigenvalue.

    Args:
        operator: Symmetric, size P.
        top_k: Number of largest eigenvalues.
        bottom_k: Number of smallest eigenvalues.
        tolerance: Relative; by default what the operator's dtype can meet.
        max_matvecs: Limit on products, those that check the residuals included.
        seed: Of the start vector.
        start: The start vector (P,), of any length; None for a Gaussian one.
        progress: Counts products.

    Returns:
        Ritz pairs with residuals from products of their own: an eigenvalue lies within each.

    Raises:
        InputError: If the numbers asked for do not fit the size.
        NotFiniteError: If a product is not finite.

    Source:
        Parlett (1998), The Symmetric Eigenvalue Problem, chapters 11 and 13.
    """
    _require_counts(operator.size, top_k, bottom_k, max_matvecs)
    tolerance = require_tolerance(tolerance, operator.dtype)
    wanted = top_k + bottom_k
    limit = min(operator.size, max_matvecs - wanted)
    space = _KrylovSpace(operator, limit, seed, start)
    progress.start("lanczos", None)
    try:
        is_done = False
        while not is_done and space.size < limit:
            space.extend()
            if space.size >= wanted and (space.size % _CHECK_EVERY == 0 or space.size == limit):
                values, residuals = space.ritz_values()
                ends = _ends(len(values), top_k, bottom_k)
                is_done = _has_converged(values, residuals, ends, tolerance, operator)
                progress.update(space.size, largest=values[-1], smallest=values[0])
        return _certified(space, operator, top_k, bottom_k, tolerance)
    finally:
        progress.stop()


def require_tolerance(tolerance: float | None, dtype: torch.dtype) -> float:
    """Return the tolerance, or what products in `dtype` can meet if it is None.

    Raises:
        InputError: If it is not positive.
    """
    if tolerance is None:
        return default_tolerance(dtype)
    if not tolerance > 0:
        raise InputError(f"tol must be a positive number, got {tolerance:g}.", hint="Pass --tol 1e-4.")
    return tolerance


def _require_counts(size: int, top_k: int, bottom_k: int, max_matvecs: int) -> None:
    if top_k < 1 or bottom_k < 0:
        raise InputError(f"top-k must be at least 1 and bottom-k at least 0, got {top_k} and {bottom_k}.")
    if top_k + bottom_k > size:
        raise InputError(
            f"top-k + bottom-k must be at most the number of parameters {size}, got {top_k} + {bottom_k}.",
            hint="Ask for fewer eigenvalues.",
        )
    if max_matvecs < 2 * (top_k + bottom_k):
        raise InputError(
            f"max-matvecs must be at least twice the number of eigenvalues {top_k + bottom_k}, got {max_matvecs}."
        )


class _KrylovSpace:
    """An orthonormal basis Q and the tridiagonal T with A Q = Q T + beta q e^T."""

    def __init__(self, operator: SymmetricOperator, capacity: int, seed: int, start: Tensor | None) -> None:
        self._operator = operator
        self._generator = torch.Generator().manual_seed(seed)
        self._accumulate = accumulation_dtype(operator.device)
        self._basis = torch.empty((0, operator.size), device=operator.device, dtype=self._basis_dtype(capacity))
        self._capacity = capacity
        self._next = self._random_unit() if start is None else self._unit(start)
        self._alphas: list[float] = []
        self._betas: list[float] = []

    def _basis_dtype(self, capacity: int) -> torch.dtype:
        fits = capacity * self._operator.size * 8 <= _DOUBLE_BASIS_BYTES
        return self._accumulate if fits else torch.float32

    @property
    def size(self) -> int:
        """Number of basis vectors, which is the number of products."""
        return len(self._alphas)

    def extend(self) -> None:
        """Add one vector to the basis, with one product."""
        self._append(self._next)
        v = _product(self._operator, self._next)
        self._alphas.append(float(v @ self._next))
        v = self._orthogonalise(v)
        beta = norm(v)
        scale = max(map(abs, (*self._alphas, *self._betas, beta)))
        if beta > _BREAKDOWN * scale:
            self._next = v / beta
        else:  # an invariant space: the rest of the spectrum is reached from a new vector
            beta = 0.0
            if self.size < self._operator.size:
                self._next = self._random_unit()
        self._betas.append(beta)

    def ritz_values(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the Ritz values, ascending, and their residual norms by the recurrence."""
        values, vectors = self._decompose()
        return values, np.abs(self._betas[-1] * vectors[-1])

    def ritz_vectors(self, indices: np.ndarray) -> Iterator[Tensor]:
        """Yield the unit Ritz vector (P,) of each index into the ascending values."""
        _, vectors = self._decompose()
        for index in indices.tolist():
            weights = torch.from_numpy(vectors[:, index].copy()).to(self._basis.device, self._basis.dtype)
            vector = (weights @ self._basis[: self.size]).to(self._accumulate)
            yield vector / norm(vector)

    def _decompose(self) -> tuple[np.ndarray, np.ndarray]:
        off_diagonal = self._betas[: self.size - 1]
        return np.linalg.eigh(np.diag(self._alphas) + np.diag(off_diagonal, 1) + np.diag(off_diagonal, -1))

    def _append(self, q: Tensor) -> None:
        if len(self._basis) == self.size:
            rows = min(self._capacity, max(16, 2 * self.size))
            grown = torch.empty((rows, self._operator.size), device=self._basis.device, dtype=self._basis.dtype)
            grown[: self.size] = self._basis
            self._basis = grown
        self._basis[self.size] = q

    def _orthogonalise(self, v: Tensor) -> Tensor:
        """Remove the basis from `v`, twice: once is not enough."""
        basis = self._basis[: self.size]
        for _ in range(2):
            v = v - (basis.mT @ (basis @ v.to(basis.dtype))).to(v.dtype)
        return v

    def _random_unit(self) -> Tensor:
        noise = torch.randn(self._operator.size, generator=self._generator, dtype=torch.float64)
        return self._unit(noise)

    def _unit(self, v: Tensor) -> Tensor:
        v = v.to(self._operator.device, self._accumulate)
        if len(self._basis):
            v = self._orthogonalise(v)
        return v / norm(v)


def _product(operator: SymmetricOperator, v: Tensor) -> Tensor:
    product = operator.matvec(v)
    if not torch.isfinite(product).all():
        raise NotFiniteError(
            "a Hessian-vector product holds NaN or inf.",
            hint="Pass --dtype float64, or check the loss at these weights with `landscape sharpness`.",
        )
    return product


def _ends(size: int, top_k: int, bottom_k: int) -> np.ndarray:
    """Return indices into ascending values: the top ones descending, then the bottom ones."""
    return np.concatenate([np.arange(size - 1, size - 1 - top_k, -1), np.arange(bottom_k)])


def _has_converged(
    values: np.ndarray, residuals: np.ndarray, ends: np.ndarray, tolerance: float, operator: SymmetricOperator
) -> bool:
    """Whether min(r, r^2 / gap) of every wanted value is within the tolerance or the rounding."""
    floor = noise_floor(operator.dtype) * np.abs(values).max()
    return all(_error(values, residuals, i) <= max(tolerance * abs(values[i]), floor) for i in ends)


def _error(values: np.ndarray, residuals: np.ndarray, i: int) -> float:
    """Return min(r, r^2 / gap), the gap being the distance to the nearest other Ritz value."""
    gaps = np.abs(np.delete(values, i) - values[i])
    gap = gaps.min() if gaps.size else 0.0
    return float(min(residuals[i], residuals[i] ** 2 / gap)) if gap > 0 else float(residuals[i])


def _certified(
    space: _KrylovSpace, operator: SymmetricOperator, top_k: int, bottom_k: int, tolerance: float
) -> Eigenpairs:
    """Take the Rayleigh quotient and the true residual of each Ritz vector, with one product each.

    Convergence is decided by these, for the recurrence knows nothing of the rounding in a product.
    """
    values, residuals = space.ritz_values()
    ends = _ends(space.size, top_k, bottom_k)
    vectors = []
    for index, vector in zip(ends, space.ritz_vectors(ends), strict=True):
        product = _product(operator, vector)
        value = float(vector @ product)
        values[index], residuals[index] = value, norm(product - value * vector)
        vectors.append(vector)
    return Eigenpairs(
        top=values[ends[:top_k]],
        top_residuals=residuals[ends[:top_k]],
        bottom=values[ends[top_k:]],
        bottom_residuals=residuals[ends[top_k:]],
        vectors=torch.stack(vectors),
        num_matvecs=space.size + len(vectors),
        converged=_has_converged(values, residuals, ends, tolerance, operator),
        tolerance=tolerance,
        floor=noise_floor(operator.dtype) * float(np.abs(values).max()),
    )
