"""Ritz pairs that are certified: values and true residuals from products of their own."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from landscape.errors import InputError, NotFiniteError
from landscape.hessian.eigenpairs import RitzPairs
from landscape.hessian.operator import SymmetricOperator
from landscape.reductions import accumulation_dtype, dot, norm


def finite_product(operator: SymmetricOperator, v: Tensor) -> Tensor:
    """Return the product with `v` (P,).

    Raises:
        NotFiniteError: If it is not finite.
    """
    product = operator.matvec(v)
    if not torch.isfinite(product).all():
        raise NotFiniteError(
            "a Hessian-vector product holds NaN or inf.",
            hint="Pass `dtype='float64'`, or check the loss at these weights with "
            "`landscape.sharpness(problem)`.",
        )
    return product


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
        residuals[i] = norm(product - values[i] * kept[i])
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
    values, weights = np.linalg.eigh((projected + projected.T) / 2)
    values, rotation = (
        values[::-1].copy(),
        torch.from_numpy(weights[:, ::-1].T.copy()).to(basis.dtype).to(basis.device),
    )
    rotated = rotation @ basis
    parts = zip(rotation, values.tolist(), rotated, strict=True)
    residuals = np.array([norm(row @ products - value * v) for row, value, v in parts])
    return RitzPairs(values, residuals, np.zeros(len(values)), rotated)


def _orthonormal(vectors: Tensor, size: int) -> Tensor:
    if vectors.ndim != 2 or vectors.shape[1] != size:
        raise InputError(f"vectors must have the shape (k, {size}), got {tuple(vectors.shape)}.")
    q, r = torch.linalg.qr(vectors.mT)
    diagonal = r.diagonal().abs()
    if not len(vectors) <= size or not diagonal.min() > 1e-8 * diagonal.max():
        raise InputError(f"the {len(vectors)} vectors must be linearly independent.")
    return q.mT.contiguous()
