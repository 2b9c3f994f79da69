"""Weights that an ascent moves together, and their way back."""

# pyright: reportPrivateImportUsage=false
# torch exports its foreach kernels, which its own optimizers are made of, under private names.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from landscape.ascent.steepest import adaptive_scaling, advance, draw_on_sphere

# Where the norm of a gradient is in this range, rho over it is a number of float32.
_DIVISORS = (1e-30, 1e30)


@dataclass
class ParameterBall:
    """The set {w + e : ||T^-1 e||_p <= |rho|} around some weights w, and where in it they are.

    Attributes:
        weights: The tensors.
        decays: The base optimizer's weight decay of each; negative where it climbs.
        rho: Radius; negative for an ascent that goes down, where the base optimizer climbs.
        p: Norm.
        adaptive: Whether T = |w| + eta instead of the identity.
        eta: Smallest scale.
        saved: Values of the weights at w.
        scaling: Diagonal of T; None for the identity.
        perturbation: e, where a later step needs it; None before the first step.
    """

    weights: list[Tensor]
    decays: list[float]
    rho: float
    p: float
    adaptive: bool
    eta: float
    saved: list[Tensor] = field(default_factory=list)
    scaling: list[Tensor] | None = None
    perturbation: list[Tensor] | None = None

    def enter(self, scratch: list[Tensor]) -> None:
        """Save the weights into `scratch`, shaped as they are."""
        torch._foreach_copy_(scratch, self.weights)
        self.saved = scratch
        self.scaling = adaptive_scaling(self.weights, self.eta) if self.adaptive else None

    def gradients(self) -> list[Tensor]:
        """Return the weights' gradients, zeros where the last pass gave none."""
        return [
            torch.zeros_like(w) if (gradient := w.grad) is None else gradient for w in self.weights
        ]

    def climb(
        self, gradients: Sequence[Tensor], *, step: int, steps: int, radius: str, norm: float | None
    ) -> None:
        """Take one ascent step.

        Args:
            gradients: At the weights as they are now.
            step: From 0.
            steps: In all.
            radius: As for `landscape.ascent.steepest.advance`.
            norm: Euclidean norm of `gradients` if it is known; saves time.
        """
        is_plain = steps == 1 and self.p == 2 and not self.adaptive
        if is_plain and norm is not None and _DIVISORS[0] < norm < _DIVISORS[1]:
            torch._foreach_add_(self.weights, list(gradients), alpha=self.rho / norm)
            return
        options = {"p": self.p, "scaling": self.scaling}
        self._go_to(
            advance(
                self.perturbation,
                gradients,
                self.rho,
                steps=steps,
                step=step,
                radius=radius,
                **options,
            )
        )

    def draw(self, generator: torch.Generator) -> None:
        """Move to a random point of the surface."""
        self._go_to(
            draw_on_sphere(
                self.weights, self.rho, generator=generator, p=self.p, scaling=self.scaling
            )
        )

    def leave(self) -> None:
        """Return to w, bit for bit, in the weights' own storage."""
        torch._foreach_copy_(self.weights, self.saved)

    def _go_to(self, perturbation: list[Tensor]) -> None:
        if self.perturbation is not None:
            self.leave()
        torch._foreach_add_(self.weights, perturbation)
        self.perturbation = perturbation


def make_balls(
    groups: Sequence[Mapping[str, Any]], rho_factor: float, *, has_gradient: bool
) -> list[ParameterBall]:
    """Return the balls of some parameter groups.

    Groups with the same rho, p, adaptive and eta share one ball.

    Args:
        groups: Parameter groups of SAM.
        rho_factor: What every rho is multiplied with.
        has_gradient: Leave out weights that have no gradient.
    """
    balls: dict[tuple[Any, ...], ParameterBall] = {}
    for group in groups:
        weights = [
            w for w in group["params"] if w.requires_grad and not (has_gradient and w.grad is None)
        ]
        rho = group["rho"] * (-rho_factor if group.get("maximize") else rho_factor)
        key = (rho, group["p"], group["adaptive"], group["eta"])
        if weights and rho:
            ball = balls.setdefault(key, ParameterBall([], [], *key))
            ball.weights += weights
            decay = group.get("weight_decay", 0.0)
            ball.decays += [-decay if group.get("maximize") else decay] * len(weights)
    return list(balls.values())
