"""Which eigenvalues of a spectrum are looked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from landscape.errors import InputError

WHICH = ("algebraic", "magnitude")


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
        if which not in WHICH:
            raise InputError(f"which must be one of {', '.join(WHICH)}, got {which!r}.")
        if top_k < 1 or bottom_k < 0:
            raise InputError(
                f"top-k must be at least 1 and bottom-k at least 0, got {top_k} and {bottom_k}."
            )
        if which == "magnitude" and bottom_k:
            raise InputError(
                f"bottom-k must be 0 where the largest in magnitude are asked for, got {bottom_k}.",
                hint="Pass --bottom-k 0, or --which algebraic.",
            )
        if top_k + bottom_k > size:
            raise InputError(
                f"top-k + bottom-k must be at most the number of parameters {size}, got {top_k} + "
                f"{bottom_k}.",
                hint="Ask for fewer eigenvalues.",
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
        return float(found[: self.top].min()), float(
            found[self.top :].max()
        ) if self.bottom else -np.inf

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
