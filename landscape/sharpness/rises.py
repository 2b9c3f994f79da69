"""By how much the loss rises, in parts of which a measure is the mean."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor


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


def standard_error(directions: np.ndarray) -> float | None:
    """Return the standard error of the mean of independent values (K,); None for fewer than two."""
    return (
        float(np.std(directions, ddof=1) / math.sqrt(len(directions)))
        if len(directions) > 1
        else None
    )


def joined(first: Rises, second: Rises) -> Rises:
    """Return the means over the pairs of both."""
    counts = [len(first.directions), len(second.directions)]
    return Rises(
        float(np.average([first.loss, second.loss], weights=counts)),
        float(np.average([first.value, second.value], weights=counts)),
        units=np.average([first.units, second.units], axis=0, weights=counts),
        directions=np.append(first.directions, second.directions),
    )
