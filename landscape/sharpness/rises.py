"""By how much the loss rises, in parts of which a measure is the mean."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from landscape.ascent.ball import Ball
from landscape.sharpness.objective import Objective


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


class Part:
    """A set of examples that the measures are taken on: all of them, or one of the batches of m.

    Attributes:
        objective: Its loss.
        size: Number of examples.
        here: Loss at the weights.
        found: Perturbations that other measures or smaller radii have led to, from which `max`
            starts.
    """

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.size = objective.problem.num_examples
        self.here = objective.losses([None])[0]
        self.found: list[Tensor] = []
        self._gradient: Tensor | None = None

    @property
    def gradient(self) -> Tensor:
        """Gradient at the weights (P,), computed once."""
        if self._gradient is None:
            self._gradient = self.objective.gradient().vector
        return self._gradient

    def forget(self) -> None:
        """Give back the memory of gradient and perturbations."""
        self.found, self._gradient = [], None

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
