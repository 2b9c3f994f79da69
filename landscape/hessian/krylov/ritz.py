"""Approximate eigenpairs from a subspace, with what is known of their error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


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
        rows = torch.from_numpy(indices).to(self.vectors.device)
        return RitzPairs(
            self.values[indices], self.residuals[indices], self.gaps[indices], self.vectors[rows]
        )

    def joined(self, other: RitzPairs) -> RitzPairs:
        """Return these, then the others."""
        return RitzPairs(
            np.append(self.values, other.values),
            np.append(self.residuals, other.residuals),
            np.append(self.gaps, other.gaps),
            torch.cat([self.vectors, other.vectors]),
        )
