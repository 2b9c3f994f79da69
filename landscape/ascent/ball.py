"""The ball around the weights in which sharpness is measured."""

from __future__ import annotations

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
        e = draw_on_sphere([like], 1.0, generator=generator, p=self.p, scaling=scaling)[0]
        return e.to(device, accumulation_dtype(device))

    def draw_gaussian(self, size: int, generator: torch.Generator, device: torch.device) -> Tensor:
        """Return T z (P,) of Gaussian z, of random length: near sqrt(P) for p = 2."""
        z = torch.randn(size, generator=generator, dtype=torch.float64).to(
            device, accumulation_dtype(device)
        )
        return z if self.scaling is None else z * self.scaling

    def _parts(self) -> list[Tensor] | None:
        return None if self.scaling is None else [self.scaling]
