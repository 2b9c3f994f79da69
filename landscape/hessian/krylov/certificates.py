"""Proof that an eigenvalue is near a number: the residual of a vector, by a separate product."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from landscape.errors import NotFiniteError
from landscape.hessian.krylov.ritz import RitzPairs
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
            hint="Pass --dtype float64, or check the loss at these weights with `landscape "
            "sharpness`.",
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
