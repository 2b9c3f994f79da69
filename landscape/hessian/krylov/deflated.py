"""A symmetric operator in which known vectors have an eigenvalue of choice."""

from __future__ import annotations

import torch
from torch import Tensor

from landscape.hessian.operator import SymmetricOperator


class Deflated:
    """(I - V V') A (I - V V') + value V V'.

    Args:
        operator: A, symmetric, size P.
        vectors: Orthonormal V, (k, P), in the accumulation dtype.
        value: An eigenvalue that does no harm, which they get.
    """

    def __init__(self, operator: SymmetricOperator, vectors: Tensor, value: float) -> None:
        self._operator = operator
        self._vectors = vectors
        self._value = value
        self.size: int = operator.size
        self.dtype: torch.dtype = operator.dtype
        self.device: torch.device = operator.device

    def project(self, v: Tensor) -> Tensor:
        """Return the part of `v` (P,) that is orthogonal to V."""
        for _ in range(2):
            v = v - self._vectors.mT @ (self._vectors @ v)
        return v

    def matvec(self, v: Tensor) -> Tensor:
        """Return the product with `v` (P,)."""
        part = self.project(v)
        return self.project(self._operator.matvec(part)) + self._value * (v - part)
