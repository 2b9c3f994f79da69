"""The ball around the weights in which sharpness is measured, and the way back into it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.ascent.steepest import (
    adaptive_scaling,
    ascend,
    ball_norm,
    check_norm,
    draw_on_sphere,
    dual_norm,
)
from landscape.reductions import accumulation_dtype

MARGIN = 1e-14
"""How far below the surface, relative to the radius, what is scaled into a ball ends up: rounding
puts it back out."""


@dataclass(frozen=True)
class Ball:
    """{e : ||T^-1 e||_p <= rho}, T = diag(scaling), for any radius rho.

    Attributes:
        p: Norm, at least 1; may be infinite.
        scaling: Diagonal of T (P,), not negative; None for the identity.

    Source:
        Foret et al. (2021), Eq. 1; Kwon et al. (2021), "ASAM", for T = |w| + eta.
    """

    p: float = 2.0
    scaling: Tensor | None = None

    def __post_init__(self) -> None:
        check_norm(self.p)

    @classmethod
    def around(
        cls, w: Tensor, *, p: float = 2.0, adaptive: bool = False, eta: float = 0.01
    ) -> Ball:
        """Return the ball around weights `w` (P,), scaled by |w| + eta if it is adaptive."""
        exact = w.detach().to(accumulation_dtype(w.device))
        return cls(p, adaptive_scaling([exact], eta)[0] if adaptive else None)

    def steepest(self, gradient: Tensor, rho: float) -> Tensor:
        """Return the e (P,) in the ball that maximizes <gradient, e>; 0 if the gradient is 0."""
        return ascend([gradient], rho, p=self.p, scaling=self._parts())[0]

    def norm(self, e: Tensor) -> float:
        """Return ||T^-1 e||_p, the smallest radius that holds `e` (P,)."""
        return float(ball_norm([e], p=self.p, scaling=self._parts()))

    def gain(self, gradient: Tensor) -> float:
        """Return ||T g||_q, 1/p + 1/q = 1: how much <gradient, e> grows per unit of radius."""
        return float(dual_norm([gradient], p=self.p, scaling=self._parts()))

    def draw(self, size: int, generator: torch.Generator, device: torch.device) -> Tensor:
        """Return a random e (P,) with ||T^-1 e||_p = 1: T z of Gaussian z, scaled."""
        like = torch.empty(size, dtype=torch.float64)
        scaling = None if self.scaling is None else [self.scaling.cpu()]
        (e,) = draw_on_sphere([like], 1.0, generator=generator, p=self.p, scaling=scaling)
        return e.to(device, accumulation_dtype(device))

    def draw_gaussian(self, size: int, generator: torch.Generator, device: torch.device) -> Tensor:
        """Return T z (P,) of Gaussian z, of random length: near sqrt(P) for p = 2."""
        z = torch.randn(size, generator=generator, dtype=torch.float64)
        return self.scaled(z.to(device, accumulation_dtype(device)))

    def scaled(self, z: Tensor) -> Tensor:
        """Return T z (P,)."""
        return z if self.scaling is None else z * self.scaling

    def unscaled(self, e: Tensor) -> Tensor:
        """Return z = T^-1 e (P,), 0 where T is."""
        return e if self.scaling is None else torch.where(self.scaling == 0, 0.0, e / self.scaling)

    def shrink(self, e: Tensor, rho: float) -> Tensor:
        """Return `e` (P,), scaled down on its ray as far as it takes for ||T^-1 e||_p <= rho."""
        length = self.norm(e)
        return e if length <= rho else e * (rho * (1 - MARGIN) / length)

    def project(self, e: Tensor, rho: float) -> Tensor:
        """Return a point of the ball near `e` (P,).

        In the coordinates z = T^-1 e this is the nearest point for p = 2 (z scaled), p = inf
        (entries clamped) and p = 1 (all entries shrunk by the same amount). For other p z is
        scaled, which is in the ball but not the nearest.

        Source:
            Duchi et al. (2008), "Efficient projections onto the l1-ball", Fig. 1.
        """
        z = self.unscaled(e)
        if math.isinf(self.p):
            z = z.clamp(-rho, rho)
        elif self.p == 1 and float(z.abs().sum()) > rho:
            z = _nearest_in_1_ball(z, rho)
        return self.shrink(self.scaled(z), rho)

    def _parts(self) -> list[Tensor] | None:
        return None if self.scaling is None else [self.scaling]


def _nearest_in_1_ball(z: Tensor, rho: float) -> Tensor:
    """Return the nearest point (P,) of the 1-ball to a `z` outside it."""
    sizes = z.abs()
    descending = sizes.sort(descending=True).values
    counts = torch.arange(1, len(z) + 1, device=z.device, dtype=z.dtype)
    thresholds = (descending.cumsum(0) - rho) / counts
    threshold = thresholds[descending > thresholds][-1]
    return z.sign() * (sizes - threshold).clamp(min=0)
