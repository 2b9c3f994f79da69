"""The Hessian by central differences of gradients, for losses without a second derivative."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from landscape.errors import InputError, NotFiniteError, require
from landscape.hessian.eigenpairs import Eigenpairs
from landscape.problem.plan import require_dtype
from landscape.problem.problem import Problem
from landscape.reductions import norm

PRODUCTS = ("exact", "differences")
"""`exact`: by differentiating twice; `differences`: by central differences of gradients."""

_LARGEST = 1e-3  # of a product: an error beyond which differences are refused


class DifferenceOperator:
    """The Hessian of a problem's mean loss at its own weights, by central differences of gradients.

    A product with v is (g(w + h u) - g(w - h u)) ||v|| / 2h, u being v / ||v||, with the step h =
    eps^(1/3) max(||w||, 1), which balances the error of order h^2 against the rounding of order
    eps / h. Gradients are computed in float64 where the device has it, whatever the problem's
    dtype. A product costs two gradients.

    Args:
        problem: The loss; its normalization must not be recalibrated, since statistics would move.

    Attributes:
        size: P.
        dtype: What is as precise as a product.
        device: Where the vectors live.

    Raises:
        InputError: If normalization is recalibrated.

    Source:
        Nocedal & Wright (2006), Numerical Optimization, section 8.1.
    """

    def __init__(self, problem: Problem) -> None:
        require(
            problem.batchnorm != "recalibrate",
            "differences of gradients need normalization statistics that stay, recalibrated ones "
            "change with the weights.",
            hint="Pass `batchnorm='stored'`.",
        )
        self._given = problem
        self._is_checked = False
        self.size: int = problem.spec.size
        self.device: torch.device = problem.device
        self.dtype = torch.float32 if self._problem.dtype == torch.float64 else torch.bfloat16

    @cached_property
    def _problem(self) -> Problem:
        """The problem in float64, if the device has it."""
        if self._given.plan.dtype == "float64":
            return self._given
        try:
            require_dtype("float64", self.device)
        except InputError:
            return self._given
        return self._given.in_dtype()

    @cached_property
    def _step(self) -> float:
        w = self._problem.weights
        return torch.finfo(w.dtype).eps ** (1 / 3) * max(norm(w), 1.0)

    def describe(self) -> str:
        """Return in one line how products are computed."""
        dtype = str(self._problem.dtype).removeprefix("torch.")
        return f"central differences of gradients in {dtype}, step {self._step:.1g}"

    def matvec(self, v: Tensor) -> Tensor:
        """Return the product with `v` (P,), in the accumulation dtype.

        Raises:
            InputError: If differences at two steps are far apart, which is tried with the first
                vector.
            NotFiniteError: If the product holds NaN or inf.
        """
        self._problem.spec.require_vector(v, "v")
        product = self._difference(v, 1)
        if not torch.isfinite(product).all():
            raise NotFiniteError(
                "a difference of gradients holds NaN or inf.",
                hint="Check the loss at these weights with `landscape.sharpness(problem)`.",
            )
        if not self._is_checked:
            self._require_small(norm(product - self._difference(v, 2)), norm(product))
            self._is_checked = True
        return product

    def with_errors(self, pairs: Eigenpairs) -> Eigenpairs:
        """Return pairs of this operator with the error of differences for their rounding.

        The error of a product is measured as its difference from the one at twice the step, where
        the error of order h^2 is four times and the rounding half as large.

        Raises:
            InputError: If it is more than 1e-3 of the largest eigenvalue in magnitude.
        """
        values = pairs.pairs.values
        if not len(pairs.vectors):
            return pairs
        errors = np.array(list(map(norm, self.errors(pairs.vectors))))
        self._require_small(float(errors.max()), float(np.abs(values).max()))
        top, bottom = np.split(errors, [len(pairs.eigenvalues)])
        return replace(pairs, rounding=top, bottom_rounding=bottom)

    def errors(self, vectors: Tensor) -> Tensor:
        """Return how far the products with `vectors` (k, P) are from those at twice the step."""
        return torch.stack([self.matvec(v) - self._difference(v, 2) for v in vectors])

    def _difference(self, v: Tensor, multiple: int) -> Tensor:
        w, length, step = self._problem.weights, norm(v), multiple * self._step
        if length == 0:
            return torch.zeros_like(v)
        shift = (v.to(self.device) * (step / length)).to(w)
        above, below = (self._problem.gradient(w + side * shift).vector for side in (1, -1))
        return (above - below) * (length / (2 * step))

    def _require_small(self, error: float, size: float) -> None:
        share = error / size if size else math.inf if error else 0.0
        require(
            share <= _LARGEST,
            f"differences of gradients at two steps must agree to {_LARGEST:g} of the product, "
            f"they differ by {share:.2g}: the loss has kinks near these weights, as ReLU and max "
            "make them, or its gradients are not exact.",
            hint="Pass `products='exact'`, or use smooth activations.",
        )
