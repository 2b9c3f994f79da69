"""What the spectral algorithms ask of a matrix, and the Hessian of a problem as one."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from landscape.problem import Problem
from landscape.reductions import accumulation_dtype


class SymmetricOperator(Protocol):
    """A symmetric P x P matrix known by its products.

    Attributes:
        size: P.
        dtype: Of the arithmetic inside a product; it decides how exact a product can be.
        device: Where the vectors live.
    """

    size: int
    dtype: torch.dtype
    device: torch.device

    def matvec(self, v: Tensor) -> Tensor:
        """Return the product with `v` (P,), in the accumulation dtype of the device."""
        ...


_AS_PRECISE_AS = {"bfloat16": torch.bfloat16, "tf32": torch.float16}  # tf32 has float16's mantissa


class HessianOperator:
    """The Hessian of a problem's mean loss at `w` (P,), the model's own weights if None."""

    def __init__(self, problem: Problem, w: Tensor | None = None) -> None:
        self._problem = problem
        self._w = w
        self.size: int = problem.spec.size
        self.dtype: torch.dtype = _AS_PRECISE_AS.get(problem.plan.dtype, problem.dtype)
        self.device: torch.device = problem.device

    def matvec(self, v: Tensor) -> Tensor:
        """Return H v (P,)."""
        return self._problem.hessian_vector_product(v, self._w)


class MatrixOperator:
    """A dense symmetric matrix (P, P)."""

    def __init__(self, matrix: Tensor) -> None:
        self._matrix = matrix
        self.size: int = len(matrix)
        self.dtype: torch.dtype = matrix.dtype
        self.device: torch.device = matrix.device

    def matvec(self, v: Tensor) -> Tensor:
        """Return the product with `v` (P,)."""
        return (self._matrix @ v.to(self.dtype)).to(accumulation_dtype(self.device))
