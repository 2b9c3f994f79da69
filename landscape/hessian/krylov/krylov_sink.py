"""How a Krylov space is saved as it grows, without knowing where it goes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import numpy as np

from landscape.runtime import distributed


@dataclass(frozen=True)
class KrylovHead:
    """What a space begins with: nothing at the start of a run, Ritz pairs after a thick restart.

    Attributes:
        values: Of the pairs that were kept, (k,).
        couplings: Of each to the vector behind them, (k,).
        num_matvecs: Products made before.
        deviation: Largest deviation from symmetry that was seen before.
    """

    values: np.ndarray = field(default_factory=partial(np.empty, 0))
    couplings: np.ndarray = field(default_factory=partial(np.empty, 0))
    num_matvecs: int = 0
    deviation: float = 0.0


@dataclass(frozen=True)
class StoredKrylov:
    """A space as it was saved.

    Attributes:
        head: What it began with.
        steps: alpha, beta and the deviation from symmetry of each product since, (n, 3).
        rows: The basis, (k + 1 + n) vectors (P,), one at a time; one less where it is complete.
    """

    head: KrylovHead
    steps: np.ndarray
    rows: Iterable[np.ndarray]


class KrylovSink(Protocol):
    """Holds a growing Krylov space."""

    def load(self, facts: Mapping[str, str]) -> StoredKrylov | None:
        """Return what was saved before, or None at a fresh start.

        Args:
            facts: What the space is of, by name; saved with it.

        Raises:
            StoreError: If what was saved is of something else.
        """

    def begin(self, head: KrylovHead, rows: Iterable[np.ndarray], *, capacity: int) -> None:
        """Start anew with k + 1 vectors (P,).

        At most `capacity` products follow before the next start.
        """

    def append(self, step: tuple[float, float, float], row: np.ndarray | None) -> None:
        """Add a product's alpha, beta and deviation, and the next vector (P,) if there is one."""


class NullKrylovSink(KrylovSink):
    """A sink that keeps nothing, as the bodies of the protocol do."""


NOT_SAVED = NullKrylovSink()


class FirstProcessSink:
    """The sink of the first process, which alone stores the space; all processes load it."""

    def __init__(self, sink: KrylovSink) -> None:
        self._sink = sink if distributed.rank() == 0 else NOT_SAVED
        self.begin = self._sink.begin
        self.append = self._sink.append

    def load(self, facts: Mapping[str, str]) -> StoredKrylov | None:
        """Return what the first process's sink holds."""
        stored = self._sink.load(facts)
        if not distributed.is_on():
            return stored
        return distributed.from_first(stored and replace(stored, rows=list(stored.rows)))
