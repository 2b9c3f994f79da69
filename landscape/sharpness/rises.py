"""The loss around the weights of a problem, and by how much it rises there."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.ascent.ball import Ball
from landscape.errors import NotFiniteError
from landscape.problem.batch_memory import cut_alike
from landscape.problem.batches import Batch
from landscape.problem.problem import Gradient, Problem
from landscape.problem.sampling_error import Sample, units_of
from landscape.problem.weights import Point
from landscape.results.sharpness import Sharpness
from landscape.runtime import distributed

Key = tuple[str, float]
"""Name and radius of a measure."""


@dataclass(frozen=True)
class Losses:
    """Mean loss at a point.

    Attributes:
        mean: Over all examples.
        accuracy: Share of correct examples; None where that does not exist.
        units: Loss of each example, or of each batch where there are no single ones, (n,).
    """

    mean: float
    accuracy: float | None
    units: np.ndarray


class Objective:
    """Loss and gradient of a problem at its own weights w plus a perturbation e (P,).

    Inside `landscape.runtime.distributed.joined` each process evaluates its own share of the
    batches, unless `is_local`; all get the same losses as one process alone would, bit for bit, and
    the same gradient up to rounding.

    Args:
        problem: The loss.
        is_local: Whether other processes know nothing of it.
        count: Called after every evaluation of the loss or the gradient with the number of such.

    Attributes:
        problem: As given.
        weights: w (P,); do not write into it.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        is_local: bool = False,
        count: Callable[[int], None] = lambda number: None,
    ) -> None:
        self.problem = problem
        self.weights = problem.weights
        self._is_shared = distributed.is_on() and not is_local
        # Each process has timed its own.
        own = problem.plan.points_per_pass
        self._at_a_time = distributed.from_first(own) if self._is_shared else own
        if self._is_shared:
            cut_alike(problem.passes)
        numbers = torch.arange(len(problem.passes.batches))
        self._numbers: list[int] = (
            distributed.own_share(numbers) if self._is_shared else numbers
        ).tolist()
        self._count = count

    def at(self, e: Tensor) -> Point:
        """Return the point w + e."""
        return partial(torch.add, self.weights, e.to(self.weights))

    def losses(self, points: Sequence[Point | None]) -> list[Losses]:
        """Return the loss at each point, or at w where the point is None.

        `plan.points_per_pass` points are evaluated at a time, of several processes the first's.
        """
        batches = [self.problem.passes.batches[i] for i in self._numbers]
        found: list[Losses] = []
        for start in range(0, len(points), self._at_a_time):
            some = points[start : start + self._at_a_time]
            found += self._losses([self.weights if w is None else w for w in some], batches)
            self._count(len(some))
        return found

    def loss(self, e: Tensor) -> float:
        """Return the mean loss at w + e."""
        return self.losses([self.at(e)])[0].mean

    def gradient(self, e: Tensor | None = None) -> Gradient:
        """Return mean loss and gradient (P,) at w + e, at w if None.

        Raises:
            NotFiniteError: If the gradient holds NaN or inf, or if a batch's loss at w does.
        """
        losses, vector = self.problem.derivatives.gradient_share(
            self._numbers, None if e is None else self.at(e)
        )
        if self._is_shared:
            losses = np.concatenate(distributed.gathered(losses))
            distributed.add_up(vector)
        if not torch.isfinite(vector).all():
            raise NotFiniteError(
                "the gradient holds NaN or inf, so there is no direction of ascent.",
                hint="Check the loss at these weights; pass a smaller `rho` or `dtype='float64'`.",
            )
        lost = [] if e is not None else np.flatnonzero(~np.isfinite(losses)).tolist()
        if lost:
            raise NotFiniteError(
                f"the loss at these weights is {losses[lost[0]]} in batch {lost[0] + 1} of "
                f"{len(losses)}, so nothing can be said of how it rises.",
                hint="Check the loss function, the data and the weights.",
            )
        self._count(1)
        return Gradient(self.problem.passes.mean(losses), vector)

    def _losses(self, points: Sequence[Point], batches: Sequence[Batch]) -> list[Losses]:
        rows: list[dict[str, np.ndarray]] = [{} for _ in points]
        if batches:
            rows = self.problem.passes.measure_many(points, batches)
        if self._is_shared:
            rows = [_joined(shares) for shares in zip(*distributed.gathered(rows), strict=True)]
        found = [self.problem.evaluation_of(row) for row in rows]
        return [
            Losses(value.loss, value.accuracy, units_of(row, self.problem.plan.draws))
            for value, row in zip(found, rows, strict=True)
        ]


def _joined(shares: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Put the shares of all processes one after another; a process without batches has none."""
    full = [share for share in shares if share]
    return {name: np.concatenate([share[name] for share in full]) for name in full[0]}


@dataclass(frozen=True)
class Rises:
    """By how much the loss rises, in the parts that a measure is the mean of.

    Attributes:
        loss: Mean loss at the perturbed weights.
        value: That, minus the mean loss at the weights.
        units: Rise of each example or batch, (n,), mean over the directions.
        directions: Mean rise of each antithetic pair, (K,); empty where there are no random
            directions.
        perturbation: e (P,) of the measure, if it has a single one.
        steps: Gradient steps that led there.
        radius_share: ||T^-1 e||_p / rho.
        gap: See `landscape.results.sharpness.Measure`.
        converged: Likewise.
    """

    loss: float
    value: float
    units: np.ndarray
    directions: np.ndarray = field(default_factory=lambda: np.empty(0))
    perturbation: Tensor | None = None
    steps: int = 0
    radius_share: float | None = None
    gap: float | None = None
    converged: bool = True


@dataclass(frozen=True)
class Measured:
    """A result, and what it was computed from.

    Attributes:
        result: The measures.
        rises: Rises of each measure, by name and radius.
        sample: How the units were drawn from a larger set; None if they are all there is.
    """

    result: Sharpness
    rises: Mapping[Key, Rises]
    sample: Sample | None = None


class Part:
    """A set of examples that the measures are taken on: all of them, or one of the batches of m.

    Attributes:
        objective: Its loss.
        size: What the loss counts of them: their number, if it is a mean over examples.
        here: Loss at the weights.
        found: Perturbations that other measures or smaller radii have led to, from which `max`
            starts.
    """

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.size = objective.problem.passes.over.weight
        self.here = objective.losses([None])[0]
        self.found: list[Tensor] = []

    @cached_property
    def gradient(self) -> Tensor:
        """Gradient at the weights (P,), computed once."""
        return self.objective.gradient().vector

    def forget(self) -> None:
        """Give back the memory of gradient and perturbations."""
        self.found = []
        vars(self).pop("gradient", None)

    def rises(self, e: Tensor, ball: Ball, rho: float, **facts: Any) -> Rises:
        """Return by how much the loss rises at w + e."""
        self.found.append(e)
        there = self.objective.losses([self.objective.at(e)])[0]
        return Rises(
            there.mean,
            there.mean - self.here.mean,
            units=there.units - self.here.units,
            perturbation=e,
            radius_share=ball.norm(e) / rho,
            **facts,
        )


def standard_error(values: np.ndarray) -> float | None:
    """Return the standard error of the mean of independent values (K,); None for fewer than two."""
    if len(values) < 2:
        return None
    return float(np.std(values, ddof=1) / math.sqrt(len(values)))
