"""Back into the ball: the point of it that is nearest, or on the same ray."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from landscape.ascent.ball import Ball

MARGIN = 1e-14
"""How far below the surface, relative to the radius, what is scaled into a ball ends up: rounding
puts it back out."""


def unscaled(ball: Ball, e: Tensor) -> Tensor:
    """Return z = T^-1 e (P,), 0 where T is."""
    return e if ball.scaling is None else torch.where(ball.scaling == 0, 0.0, e / ball.scaling)


def scaled(ball: Ball, z: Tensor) -> Tensor:
    """Return T z (P,)."""
    return z if ball.scaling is None else z * ball.scaling


def into(ball: Ball, e: Tensor, rho: float) -> Tensor:
    """Return `e` (P,), on the same ray scaled down as far as it takes for ||T^-1 e||_p <= rho."""
    length = ball.norm(e)
    return e if length <= rho else e * (rho * (1 - MARGIN) / length)


def project(ball: Ball, e: Tensor, rho: float) -> Tensor:
    """Return a point of the ball near `e` (P,).

    In the coordinates z = T^-1 e this is the nearest point for p = 2 (z scaled), p = inf (entries
    clamped) and p = 1 (all entries shrunk by the same amount). For other p z is scaled, which is in
    the ball but not the nearest.

    Source:
        Duchi et al. (2008), "Efficient projections onto the l1-ball", Fig. 1.
    """
    z = unscaled(ball, e)
    if math.isinf(ball.p):
        return into(ball, scaled(ball, z.clamp(-rho, rho)), rho)
    if ball.p == 1 and float(z.abs().sum()) > rho:
        return into(ball, scaled(ball, _shrunk(z, rho)), rho)
    return into(ball, scaled(ball, z), rho)


def _shrunk(z: Tensor, rho: float) -> Tensor:
    """Return the nearest point (P,) of the 1-ball to a `z` outside it."""
    sizes = z.abs()
    descending = sizes.sort(descending=True).values
    counts = torch.arange(1, len(z) + 1, device=z.device, dtype=z.dtype)
    thresholds = (descending.cumsum(0) - rho) / counts
    threshold = thresholds[descending > thresholds][-1]
    return z.sign() * (sizes - threshold).clamp(min=0)
