"""What a search for extreme eigenvalues returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from landscape.hessian.krylov.ritz import RitzPairs
from landscape.results.spectrum import SecondLook


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


@dataclass(frozen=True)
class Eigenpairs:
    """Ritz pairs at both ends of a spectrum.

    Attributes:
        top: The algebraically largest eigenvalues, or the largest in magnitude, descending, (k,).
        top_residuals: ||A v - theta v|| of each, computed with a product of its own, (k,): an
            eigenvalue lies within.
        bottom: The algebraically smallest, ascending, (kb,).
        bottom_residuals: Likewise, (kb,).
        vectors: Unit vectors, (k + kb, P), top ones first, in the accumulation dtype.
        num_matvecs: Products used in all.
        converged: Whether every pair met the tolerance, and none that was found to be missed was
            left out.
        tolerance: The relative tolerance.
        floor: The absolute error that counts as rounding; a pair also meets the tolerance within
            it.
        gaps: Distance of each to the nearest other Ritz value of the space that it comes from, in
            the order of `vectors`; None where there was no such space.
        second_look: What a second run saw beside these; None where there was none.
        asymmetry: Largest |u'Av - v'Au| / |lambda|_max of the basis vectors; None where it was not
            seen.
        memory: Where the basis was kept.
        space: The Krylov space; None where there is none.
        remark: What was asked for and not found; empty if there is nothing.
    """

    top: np.ndarray
    top_residuals: np.ndarray
    bottom: np.ndarray
    bottom_residuals: np.ndarray
    vectors: Tensor
    num_matvecs: int
    converged: bool
    tolerance: float
    floor: float
    gaps: np.ndarray | None = None
    second_look: SecondLook | None = None
    asymmetry: float | None = None
    memory: str = ""
    space: Subspace | None = None
    remark: str = ""

    @property
    def estimates(self) -> np.ndarray:
        """Estimated, not certified, errors at the top, (k,): r^2 / gap, or r where it is less."""
        return self.pairs.errors[: len(self.top)]

    @property
    def bottom_estimates(self) -> np.ndarray:
        """Likewise at the bottom, (kb,)."""
        return self.pairs.errors[len(self.top) :]

    @property
    def pairs(self) -> RitzPairs:
        """All of them, in the order of `vectors`."""
        values = np.append(self.top, self.bottom)
        residuals = np.append(self.top_residuals, self.bottom_residuals)
        return RitzPairs(
            values,
            residuals,
            np.zeros(len(values)) if self.gaps is None else self.gaps,
            self.vectors,
        )
