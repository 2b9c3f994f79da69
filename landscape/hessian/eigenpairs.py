"""Approximate eigenpairs with estimates of their errors, certified by products of their own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from landscape.errors import require
from landscape.hessian.operator import SymmetricOperator, finite_product
from landscape.reductions import accumulation_dtype, dot, norm
from landscape.results.spectrum import Extremes, SecondLook


def gaps_between(values: np.ndarray) -> np.ndarray:
    """Return the distance of each of the ascending `values` to the nearest other.

    The distance is 0 if there is no other value.
    """
    if len(values) < 2:
        return np.zeros(len(values))
    steps = np.diff(values)
    return np.minimum(np.append(steps, np.inf), np.append(np.inf, steps))


def estimated_errors(residuals: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """Return r^2 / gap where it is less than r, else r."""
    is_less = residuals < gaps
    return np.where(is_less, residuals**2 / np.where(is_less, gaps, 1.0), residuals)


@dataclass(frozen=True)
class RitzPairs:
    """Approximate eigenpairs.

    Attributes:
        values: (n,).
        residuals: ||A v - theta v|| of each, (n,).
        gaps: To the nearest other Ritz value of the space that each comes from, (n,); 0 where
            unknown.
        vectors: Orthonormal, (n, P).
    """

    values: np.ndarray
    residuals: np.ndarray
    gaps: np.ndarray
    vectors: Tensor

    @property
    def errors(self) -> np.ndarray:
        """An estimate of the error of each value, (n,): min(r, r^2 / gap)."""
        return estimated_errors(self.residuals, self.gaps)

    def take(self, indices: np.ndarray) -> RitzPairs:
        """Return those at `indices`, in that order."""
        return RitzPairs(
            self.values[indices],
            self.residuals[indices],
            self.gaps[indices],
            self.vectors[torch.from_numpy(indices).to(self.vectors.device)],
        )

    def joined(self, other: RitzPairs) -> RitzPairs:
        """Return these, then the others."""
        return RitzPairs(
            np.append(self.values, other.values),
            np.append(self.residuals, other.residuals),
            np.append(self.gaps, other.gaps),
            torch.cat([self.vectors, other.vectors]),
        )


class Subspace(Protocol):
    """An orthonormal basis Q (P, m), such as a Krylov space's, with known products."""

    @property
    def size(self) -> int:
        """Number of vectors m."""
        ...

    @property
    def projected(self) -> np.ndarray:
        """Q' A Q, (m, m)."""
        ...

    def remove(self, v: Tensor) -> Tensor:
        """Return v - Q Q' v (P,), in the accumulation dtype."""
        ...


@dataclass(frozen=True, kw_only=True)
class Eigenpairs(Extremes):
    """Ritz pairs at both ends of a spectrum.

    Attributes:
        vectors: Unit vectors, (k + kb, P), top ones first, in the accumulation dtype.
        gaps: Distance of each to the nearest other Ritz value of the space that it comes from, in
            the order of `vectors`; 0 where unknown.
        second_look: What a second run saw beside these; None where there was none.
        asymmetry: Largest |u'Av - v'Au| / |lambda|_max of the basis vectors; None where it was not
            seen.
        memory: Where the basis was kept.
        space: The Krylov space; None where there is none.
        remark: What was asked for and not found; empty if there is nothing.
    """

    vectors: Tensor
    gaps: np.ndarray
    second_look: SecondLook | None = None
    asymmetry: float | None = None
    memory: str = ""
    space: Subspace | None = None
    remark: str = ""

    @property
    def pairs(self) -> RitzPairs:
        """All of them, in the order of `vectors`."""
        return RitzPairs(
            np.append(self.eigenvalues, self.bottom_eigenvalues),
            np.append(self.residuals, self.bottom_residuals),
            self.gaps,
            self.vectors,
        )


def certified_pairs(
    operator: SymmetricOperator, vectors: Iterable[Tensor], gaps: np.ndarray
) -> RitzPairs:
    """Take the Rayleigh quotient and the true residual of each vector (P,), with one product each.

    The recurrence knows nothing of the rounding in a product: its residuals fall to 1e-17 where
    these stay at 1e-6.

    Args:
        operator: Symmetric, size P.
        vectors: As many as there are gaps, orthogonal to each other.
        gaps: Of the Ritz values that they belong to, (n,).
    """
    kept = torch.empty(
        (len(gaps), operator.size),
        device=operator.device,
        dtype=accumulation_dtype(operator.device),
    )
    values, residuals = np.empty(len(gaps)), np.empty(len(gaps))
    for i, vector in enumerate(vectors):
        kept[i] = vector / norm(vector)
        product = finite_product(operator, kept[i])
        values[i] = dot(kept[i], product)
        residuals[i] = norm(torch.sub(product, kept[i], alpha=values[i]))
    return RitzPairs(values, residuals, gaps, kept)


def rayleigh_ritz(operator: SymmetricOperator, vectors: Tensor) -> RitzPairs:
    """Compute the Ritz pairs of an operator on the span of `vectors`, with one product each.

    A value's error is of the order of its residual squared, so products in float64 make vectors
    that were found by products in float32 good to ten digits.

    Args:
        operator: Symmetric, size P.
        vectors: Linearly independent, (k, P).

    Returns:
        Pairs with true residuals, descending; their gaps are 0, for the span knows no other values.

    Raises:
        InputError: If the vectors do not fit the operator, or are linearly dependent.
        NotFiniteError: If a product is not finite.

    Source:
        Parlett (1998), The Symmetric Eigenvalue Problem, section 11.3.
    """
    basis = _orthonormal(
        vectors.to(operator.device).to(accumulation_dtype(operator.device)), operator.size
    )
    products = torch.empty_like(basis)
    for product, v in zip(products, basis, strict=True):
        product[:] = finite_product(operator, v)
    projected = (basis @ products.mT).cpu().numpy().astype(float)
    ascending, weights = np.linalg.eigh((projected + projected.T) / 2)
    values = ascending[::-1].copy()
    rotation = torch.from_numpy(weights[:, ::-1].T.copy()).to(basis.dtype).to(basis.device)
    rotated = rotation @ basis
    parts = zip(rotation, values.tolist(), rotated, strict=True)
    residuals = np.array([norm(row @ products - value * v) for row, value, v in parts])
    return RitzPairs(values, residuals, np.zeros(len(values)), rotated)


def _orthonormal(vectors: Tensor, size: int) -> Tensor:
    require(
        vectors.ndim == 2 and vectors.shape[1] == size,
        f"vectors must have the shape (k, {size}), got {tuple(vectors.shape)}.",
    )
    q, r = torch.linalg.qr(vectors.mT)
    diagonal = r.diagonal().abs()
    require(
        len(vectors) <= size and diagonal.min() > 1e-8 * diagonal.max(),
        f"the {len(vectors)} vectors must be linearly independent.",
    )
    return q.mT.contiguous()
