"""A search for eigenvalues that a Lanczos run has missed.

A single start vector sees only one copy of a repeated eigenvalue.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from landscape.hessian.eigenpairs import RitzPairs, certified_pairs, gaps_between
from landscape.hessian.krylov.goal import Tolerance, Wanted, noise_floor
from landscape.hessian.krylov.space import KrylovSpace, RitzDecomposition, random_vector
from landscape.hessian.memory_plan import MemoryPlan, num_kept
from landscape.hessian.operator import Deflated, SymmetricOperator
from landscape.results.spectrum import SecondLook


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


@dataclass(frozen=True)
class SecondRun:
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

    def again(self, pairs: RitzPairs, scale: float, num_matvecs: int) -> Seen:
        """Search the complement of converged `pairs` for missed eigenvalues, until none is found.

        A Ritz value of the complement never lies beyond the extreme eigenvalue there: one that
        reaches into the range of those that are known, by more than their errors, proves that one
        was missed. It is followed until its pair has converged, and that takes the place of the
        least of them.

        Args:
            pairs: In the order of `Wanted.indices`.
            scale: |lambda|_max.
            num_matvecs: Products made before.
        """
        report, is_complete = SecondLook(0, np.nan, np.nan), True
        for stream in count(1):
            budget = self.max_matvecs - num_matvecs - report.num_matvecs
            if self.num_matvecs == 0 or budget < 2 or self.operator.size == self.wanted.count:
                break
            seen = self._beyond(pairs, scale, stream, budget)
            if seen is None:
                break
            found, one = seen
            joined = pairs.joined(found)
            chosen = self.wanted.indices(joined.values)
            is_new = chosen >= len(pairs.values)
            is_at_top = (
                joined.values[chosen] > 0
                if self.wanted.by_magnitude
                else np.arange(len(chosen)) < self.wanted.top
            )
            report = replace(
                one,
                num_matvecs=report.num_matvecs + one.num_matvecs,
                num_missed_top=report.num_missed_top + int((is_new & is_at_top).sum()),
                num_missed_bottom=report.num_missed_bottom + int((is_new & ~is_at_top).sum()),
            )
            pairs = joined.take(chosen)
            is_complete = not is_new.any()
            if is_complete:
                break
        return Seen(pairs, report if report.num_matvecs else None, is_complete)

    def _beyond(
        self, pairs: RitzPairs, scale: float, stream: int, budget: int
    ) -> tuple[RitzPairs, SecondLook] | None:
        """Return the pairs of the complement beyond the known ones, certified by products.

        The result is None if no time was left for a single product.
        """
        upper, lower = self.wanted.edges(pairs.values)
        deflated = Deflated(
            self.operator, pairs.vectors, (upper + lower) / 2 if np.isfinite(lower) else upper
        )
        vectors = self.plan.look_vectors or self.num_matvecs
        most = max(1, vectors // 2)  # that are followed at once, so that a restart keeps them
        start = deflated.project(random_vector(self.operator, self.seed, stream))
        plan = replace(self.plan, vectors=vectors)
        space = KrylovSpace(deflated, plan, seed=self.seed, stream=stream, start=start)
        rounding = max(noise_floor(self.operator.dtype), noise_floor(self.plan.dtype))
        visible = replace(self.tolerance, noise=rounding)
        upper = upper + pairs.errors.sum() + visible.allowed(upper, scale)
        lower = lower - pairs.errors.sum() - visible.allowed(lower, scale)
        ritz = RitzDecomposition(np.empty(0), np.empty(0), np.empty((0, 0)))
        order = beyond = np.empty(0, dtype=int)
        while not (self.should_stop(1 + len(beyond)) or self._is_over(space, ritz, beyond, budget)):
            if space.is_full:
                space.restart(ritz, np.sort(order[: num_kept(vectors, most)]))
            space.extend()
            ritz = space.ritz()
            distances = np.maximum(ritz.values - upper, lower - ritz.values)
            order = np.argsort(-distances, kind="stable")
            beyond = order[: min(most, int((distances > 0).sum()))]
        if space.num_matvecs == 0:
            return None
        beyond = beyond[: budget - space.num_matvecs]
        found = certified_pairs(
            self.certifier,
            (deflated.project(space.vector(ritz.weights[:, index])) for index in beyond),
            gaps_between(ritz.values)[beyond],
        )
        largest, smallest = float(ritz.values[-1]), float(ritz.values[0])
        return found, SecondLook(space.num_matvecs + len(beyond), largest, smallest)

    def _is_over(
        self, space: KrylovSpace, ritz: RitzDecomposition, beyond: np.ndarray, budget: int
    ) -> bool:
        if space.num_matvecs + max(1, len(beyond)) >= budget or space.is_invariant:
            return True
        if space.num_matvecs >= self.operator.size - self.wanted.count:
            return True
        return space.num_matvecs >= self.num_matvecs and (
            not len(beyond) or self.tolerance.is_met(ritz.values, ritz.residuals, beyond)
        )
