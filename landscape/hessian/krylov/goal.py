"""What a search for eigenvalues looks for: which ones, and how accurate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from landscape.errors import require, require_one_of
from landscape.hessian.eigenpairs import RitzPairs, estimated_errors, gaps_between

WHICH = ("algebraic", "magnitude")


_TOLERANCES = {torch.float64: 1e-8, torch.float32: 1e-4}
"""Relative tolerance that products in a dtype can meet; in others `_COARSE`."""

_COARSE = 1e-2


@dataclass(frozen=True)
class Wanted:
    """The largest and the smallest eigenvalues, or the largest in magnitude.

    Attributes:
        top: Number of largest ones.
        bottom: Number of smallest ones.
        by_magnitude: Whether `top` counts the largest in magnitude.
    """

    top: int
    bottom: int = 0
    by_magnitude: bool = False

    @classmethod
    def checked(cls, size: int, top_k: int, bottom_k: int, which: str) -> Wanted:
        """Return what is asked for of a matrix of size P.

        Raises:
            InputError: If there is no such thing.
        """
        require_one_of("which", which, WHICH)
        require(
            top_k >= 1 and bottom_k >= 0,
            f"top-k must be at least 1 and bottom-k at least 0, got {top_k} and {bottom_k}.",
        )
        require(
            which != "magnitude" or not bottom_k,
            f"bottom-k must be 0 where the largest in magnitude are asked for, got {bottom_k}.",
            "Pass `bottom_k=0`, or `which='algebraic'`.",
        )
        require(
            top_k + bottom_k <= size,
            f"top-k + bottom-k must be at most the number of parameters {size}, got {top_k} + "
            f"{bottom_k}.",
            "Ask for fewer eigenvalues.",
        )
        return cls(top_k, bottom_k, which == "magnitude")

    @property
    def count(self) -> int:
        """Number of eigenvalues."""
        return self.top + self.bottom

    def indices(self, values: np.ndarray) -> np.ndarray:
        """Return the indices of the wanted `values`: top descending, then bottom ascending."""
        order = np.argsort(values, kind="stable")
        if self.by_magnitude:
            chosen = _largest_in_magnitude(values, self.top)
            return chosen[np.argsort(-values[chosen], kind="stable")]
        return np.concatenate([order[::-1][: self.top], order[: self.bottom]])

    def edges(self, found: np.ndarray) -> tuple[float, float]:
        """Return the limits that a value must pass to belong among those `found`, (count,).

        It must lie above the first limit or below the second.
        """
        if self.by_magnitude:
            least = float(np.abs(found).min())
            return least, -least
        return float(found[: self.top].min()), float(found[self.top :].max(initial=-np.inf))

    def neighbours(self, values: np.ndarray, count: int) -> np.ndarray:
        """Return `count` indices into the ascending `values`: the wanted and their neighbours."""
        if self.by_magnitude:
            return np.sort(_largest_in_magnitude(values, count))
        num_bottom = self.bottom + (count - self.count) // 2 if self.bottom else 0
        return np.concatenate(
            [np.arange(num_bottom), np.arange(len(values) - count + num_bottom, len(values))]
        )


def _largest_in_magnitude(values: np.ndarray, count: int) -> np.ndarray:
    return np.argsort(-np.abs(values), kind="stable")[:count]


def noise_floor(dtype: torch.dtype) -> float:
    """Return the share of |lambda|_max below which an error counts as rounding.

    Eight units in the last place; at most 1e-3, for in bfloat16 that would be no accuracy at all.
    """
    return min(8 * torch.finfo(dtype).eps, 1e-3)


def require_tolerance(tolerance: float | None, dtype: torch.dtype) -> float:
    """Return the tolerance, or what products in `dtype` can meet if it is None.

    Raises:
        InputError: If it is not positive.
    """
    if tolerance is None:
        return _TOLERANCES.get(dtype, _COARSE)
    require(
        tolerance > 0,
        f"tolerance must be a positive number, got {tolerance:g}.",
        "Pass `tolerance=1e-4`.",
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
