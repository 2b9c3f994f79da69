"""Approximate eigenpairs with estimates of their errors, and the subspace that they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

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
