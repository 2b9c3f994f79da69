"""A search for eigenvalues that a Lanczos run has missed.

A single start vector sees only one copy of a repeated eigenvalue.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from landscape.hessian.eigenpairs import RitzPairs, gaps_between
from landscape.hessian.krylov.goal import Tolerance, Wanted, noise_floor
from landscape.hessian.krylov.ritz import certified_pairs
from landscape.hessian.krylov.space import KrylovSpace, RitzDecomposition, random_vector
from landscape.hessian.memory_plan import MemoryPlan, num_kept
from landscape.hessian.operator import Deflated, SymmetricOperator
from landscape.results.spectrum import SecondLook


@dataclass(frozen=True)
class Look:
    """How to look.

    Attributes:
        operator: Symmetric, size P.
        certifier: The same matrix; its products certify.
        wanted: Which eigenvalues are looked for.
        tolerance: Of each.
        plan: Where vectors are kept.
        num_matvecs: Products of a look that finds nothing; 0 for none.
        max_matvecs: Limit on products, those of the first run included.
        seed: Of their start vectors.
        should_stop: Asked before a product, with the number of those still to be made.
    """

    operator: SymmetricOperator
    certifier: SymmetricOperator
    wanted: Wanted
    tolerance: Tolerance
    plan: MemoryPlan
    num_matvecs: int
    max_matvecs: int
    seed: int
    should_stop: Callable[[int], bool]


@dataclass(frozen=True)
class Seen:
    """What is known after all looks.

    Attributes:
        pairs: Those that were known or better ones, in the order of `Wanted.indices`.
        report: None if nothing was done.
        is_complete: Whether the last look found nothing.
    """

    pairs: RitzPairs
    report: SecondLook | None
    is_complete: bool


def look_again(look: Look, pairs: RitzPairs, scale: float, num_matvecs: int) -> Seen:
    """Search the complement of converged `pairs` for missed eigenvalues, until none is found.

    A Ritz value of the complement never lies beyond the extreme eigenvalue there: one that reaches
    into the range of those that are known, by more than their errors, proves that one was missed.
    It is followed until its pair has converged, and that takes the place of the least of them.

    Args:
        look: How.
        pairs: In the order of `Wanted.indices`.
        scale: |lambda|_max.
        num_matvecs: Products made before.
    """
    report, is_complete = SecondLook(0, np.nan, np.nan), True
    for stream in count(1):
        budget = look.max_matvecs - num_matvecs - report.num_matvecs
        if look.num_matvecs == 0 or budget < 2 or look.operator.size == look.wanted.count:
            break
        one = _OneLook(look, pairs, scale, stream, budget)
        found = one.run()
        if found is None:
            break
        joined = pairs.joined(found)
        chosen = look.wanted.indices(joined.values)
        is_new = chosen >= len(pairs.values)
        is_at_top = (
            joined.values[chosen] > 0
            if look.wanted.by_magnitude
            else np.arange(len(chosen)) < look.wanted.top
        )
        report = SecondLook(
            num_matvecs=report.num_matvecs + one.space.num_matvecs + len(found.values),
            largest=float(one.ritz.values[-1]),
            smallest=float(one.ritz.values[0]),
            num_missed_top=report.num_missed_top + int((is_new & is_at_top).sum()),
            num_missed_bottom=report.num_missed_bottom + int((is_new & ~is_at_top).sum()),
        )
        pairs = joined.take(chosen)
        is_complete = not is_new.any()
        if is_complete:
            break
    return Seen(pairs, report if report.num_matvecs else None, is_complete)


class _OneLook:
    """A Krylov space on the complement of known pairs, and its values that lie beyond them."""

    def __init__(
        self, look: Look, pairs: RitzPairs, scale: float, stream: int, budget: int
    ) -> None:
        upper, lower = look.wanted.edges(pairs.values)
        slack = pairs.errors.sum()
        rounding = max(noise_floor(look.operator.dtype), noise_floor(look.plan.dtype))
        visible = replace(look.tolerance, noise=rounding)
        self._look = look
        self._upper = upper + slack + visible.allowed(upper, scale)
        self._lower = lower - slack - visible.allowed(lower, scale)
        self._budget = budget
        between = (upper + lower) / 2 if np.isfinite(lower) else upper
        self._deflated = Deflated(look.operator, pairs.vectors, between)
        vectors = look.plan.look_vectors or look.num_matvecs
        start = self._deflated.project(random_vector(look.operator, look.seed, stream))
        plan = replace(look.plan, vectors=vectors)
        self._most = max(1, vectors // 2)  # that are followed at once, so that a restart keeps them
        self._kept = num_kept(vectors, self._most)
        self.space = KrylovSpace(self._deflated, plan, seed=look.seed, stream=stream, start=start)
        self.ritz = RitzDecomposition(np.empty(0), np.empty(0), np.empty((0, 0)))

    def run(self) -> RitzPairs | None:
        """Return the pairs beyond the known ones, certified by products; None without time.

        The result is None if no time was left for a single product.
        """
        space, beyond = self.space, np.empty(0, dtype=int)
        while not (self._look.should_stop(1 + len(beyond)) or self._is_over(beyond)):
            if space.is_full:
                space.restart(self.ritz, np.sort(self._by_distance()[: self._kept]))
            space.extend()
            self.ritz = space.ritz()
            num_beyond = int((self._distances() > 0).sum())
            beyond = self._by_distance()[: min(self._most, num_beyond)]
        if space.num_matvecs == 0:
            return None
        chosen = beyond[: self._budget - space.num_matvecs]
        vectors = (
            self._deflated.project(space.vector(self.ritz.weights[:, index])) for index in chosen
        )
        return certified_pairs(
            self._look.certifier, vectors, gaps_between(self.ritz.values)[chosen]
        )

    def _is_over(self, beyond: np.ndarray) -> bool:
        space, look = self.space, self._look
        if space.num_matvecs + max(1, len(beyond)) >= self._budget or space.is_invariant:
            return True
        if space.num_matvecs >= look.operator.size - look.wanted.count:
            return True
        return space.num_matvecs >= look.num_matvecs and (
            not len(beyond) or look.tolerance.is_met(self.ritz.values, self.ritz.residuals, beyond)
        )

    def _distances(self) -> np.ndarray:
        return np.maximum(self.ritz.values - self._upper, self._lower - self.ritz.values)

    def _by_distance(self) -> np.ndarray:
        return np.argsort(-self._distances(), kind="stable")
