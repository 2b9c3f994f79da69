"""Weights that an ascent moves together, and their way back."""

# pyright: reportPrivateImportUsage=false
# torch exports its foreach kernels, which its own optimizers are made of, under private names.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from landscape.ascent.steepest import adaptive_scaling, advance, draw_on_sphere
from landscape.optim.wrapping import dense

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
        """Return the weights' gradients, dense, zeros where the last pass gave none."""
        return dense(torch.zeros_like(w) if w.grad is None else w.grad for w in self.weights)

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
        ball = {"p": self.p, "scaling": self.scaling}
        ascent = {"steps": steps, "step": step, "radius": radius}
        self._go_to(advance(self.perturbation, gradients, self.rho, **ascent, **ball))

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


class Memory:
    """What is kept from step to step, since to allocate and to look for it takes time.

    Args:
        module: The module whose buffers are copied; None for no buffers.
    """

    def __init__(self, module: nn.Module | None) -> None:
        self._registers = [] if module is None else [part._buffers for part in module.modules()]
        self._scratch: dict[int, tuple[list[int], list[Tensor]]] = {}

    def like(self, weights: list[Tensor], number: int) -> list[Tensor]:
        """Return memory for a copy of the weights of the ball of this number."""
        # Other places where a module was moved or converted.
        places = [w.data_ptr() for w in weights]
        if number not in self._scratch or self._scratch[number][0] != places:
            self._scratch[number] = (places, [torch.empty_like(w) for w in weights])
        return self._scratch[number][1]

    def copy_buffers(self) -> list[tuple[dict[str, Any], str, Tensor]]:
        """Return where each buffer is registered, its name, and a copy of its value."""
        return [
            (register, name, buffer.clone())
            for register in self._registers
            for name, buffer in register.items()
            if buffer is not None
        ]


@dataclass
class Excursion:
    """A step under way.

    Attributes:
        is_finite: Whether all gradients so far were finite.
        num_steps: Number of ascent steps taken.
        balls: What moves; empty if there is nothing to climb.
        buffers: Where each buffer of the module is registered, its name, and its value after the
            first pass.
    """

    is_finite: bool
    num_steps: int = 0
    balls: list[ParameterBall] = field(default_factory=list)
    buffers: list[tuple[dict[str, Any], str, Tensor]] = field(default_factory=list)

    def begin(self, balls: list[ParameterBall], memory: Memory) -> None:
        """Save the weights of the balls, and the module's buffers."""
        self.buffers = memory.copy_buffers()
        for number, ball in enumerate(balls):
            ball.enter(memory.like(ball.weights, number))
        self.balls = balls

    def end(self) -> None:
        """Put weights and buffers back, bit for bit and in place."""
        for ball in self.balls:
            ball.leave()
        for register, name, value in self.buffers:
            register[name].copy_(value)
        torch.clear_autocast_cache()
