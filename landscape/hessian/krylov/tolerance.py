"""When a Ritz pair is accurate enough."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from landscape.errors import InputError
from landscape.hessian.krylov.ritz import RitzPairs, estimated_errors, gaps_between


def default_tolerance(dtype: torch.dtype) -> float:
    """Return the relative tolerance that products in `dtype` can meet."""
    return {torch.float64: 1e-8, torch.float32: 1e-4}.get(dtype, 1e-2)


def noise_floor(dtype: torch.dtype) -> float:
    """Return the share of |lambda|_max below which an error counts as rounding.

    Eight units in the last place; at most 1e-3, for in bfloat16 that would be no accuracy at all.
    """
    return min(8 * torch.finfo(dtype).eps, 1e-3)


def asymmetry_limit(dtype: torch.dtype) -> float:
    """Return the share of |lambda|_max above which asymmetry in `dtype` is more than rounding.

    The asymmetry is that of the products.

    1e-4, or ten units in the last place where that is more: two small networks in float32 showed
    1e-8 and 2e-7, sums over many examples may show more, and a coupling of 1e-10 counts as none in
    a space that is almost invariant.
    """
    return max(1e-4, 10 * torch.finfo(dtype).eps)


def require_tolerance(tolerance: float | None, dtype: torch.dtype) -> float:
    """Return the tolerance, or what products in `dtype` can meet if it is None.

    Raises:
        InputError: If it is not positive.
    """
    if tolerance is None:
        return default_tolerance(dtype)
    if not tolerance > 0:
        raise InputError(
            f"tolerance must be a positive number, got {tolerance:g}.",
            hint="Pass --tolerance 1e-4.",
        )
    return tolerance


@dataclass(frozen=True)
class Tolerance:
    """min(r, r^2 / gap) <= max(relative |theta|, noise |lambda|_max), where r is a residual.

    Attributes:
        relative: To the value itself.
        noise: To the largest value in magnitude: an error below it counts as rounding.
    """

    relative: float
    noise: float

    @classmethod
    def of_products(cls, relative: float | None, dtype: torch.dtype) -> Tolerance:
        """Return the tolerance for products in `dtype`.

        Raises:
            InputError: If the relative one is not positive.
        """
        return cls(require_tolerance(relative, dtype), noise_floor(dtype))

    def allowed(self, values: np.ndarray | float, scale: float) -> np.ndarray:
        """Return the largest error of each value that meets it; `scale` is |lambda|_max."""
        return np.maximum(self.relative * np.abs(values), self.noise * scale)

    def is_met(self, values: np.ndarray, residuals: np.ndarray, indices: np.ndarray) -> bool:
        """Whether the pairs at `indices` meet it, among the ascending Ritz values of a space."""
        errors = estimated_errors(residuals, gaps_between(values))[indices]
        return bool((errors <= self.allowed(values[indices], float(np.abs(values).max()))).all())

    def is_met_by(self, pairs: RitzPairs, scale: float) -> bool:
        """Whether every pair meets it; `scale` is |lambda|_max."""
        return bool((pairs.errors <= self.allowed(pairs.values, scale)).all())
