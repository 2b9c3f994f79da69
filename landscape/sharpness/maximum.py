"""The largest loss in a ball, approached from below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from landscape.sharpness.ball import Ball
from landscape.sharpness.objective import Objective


@dataclass(frozen=True)
class Maximum:
    """The best perturbation that was found.

    Attributes:
        e: Perturbation (P,), ||T^-1 e||_p <= rho.
        loss: Mean loss at w + e.
        num_gradients: Gradients used.
        gap: max over the ball of <gradient, e' - e> at w + e, over the rise of the loss: 0 where no small step inside
            the ball leads further up.
        converged: Whether the gap is below the tolerance.
    """

    e: Tensor
    loss: float
    num_gradients: int
    gap: float
    converged: bool


def maximise(
    objective: Objective, ball: Ball, rho: float, starts: Sequence[Tensor] = (), *, max_gradients: int = 200
) -> Maximum:
    """Return the e of the largest loss that was found in the ball; replaced on another branch."""
    gradient = objective.gradient()
    e = ball.steepest(gradient.vector, rho)
    there = objective.gradient(e)
    gap = ball.gain(there.vector) * rho - float(there.vector @ e.to(there.vector))
    return Maximum(e, there.loss, 2, gap / max(there.loss - gradient.loss, 1e-300), False)
