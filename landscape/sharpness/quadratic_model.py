"""What the gradients at the last points tell of the loss between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from landscape.reductions import dot

_DEPTH = 4  # points that are kept; of each z and its gradient, so that more cost memory
_SMALLEST = 1e-12  # squared sine between directions that count as different


@dataclass(frozen=True)
class Place:
    """A point z (P,) and the gradient (P,) there."""

    z: Tensor
    gradient: Tensor


class QuadraticModel:
    """The quadratic function in the span of the last points that has the gradients found there.

    The loss is modelled as g0' z + z' H z / 2 with H z = g - g0 at each of them, which is exact if
    the loss is quadratic, and takes no gradient more.

    Args:
        origin: Gradient g0 at z = 0, (P,).
    """

    def __init__(self, origin: Tensor) -> None:
        self._origin = origin
        self._places: list[Place] = []

    def add(self, z: Tensor, gradient: Tensor) -> None:
        """Add a point (P,) and the gradient (P,) there, and forget one that is too old."""
        self._places = [*self._places, Place(z, gradient)][-_DEPTH:]

    def largest(self, rho: float) -> Place | None:
        """Return the model's largest point in ||z||_2 <= rho and its gradient.

        The result is None for fewer than two points.
        """
        directions, changes = self._basis()
        if not directions:
            return None
        gram = np.array([[dot(u, v) for v in directions] for u in directions])
        products = np.array([[dot(u, v) for v in changes] for u in directions])
        slopes = np.array([dot(u, self._origin) for u in directions])
        sizes, vectors = np.linalg.eigh(gram)
        is_there = sizes > _SMALLEST
        orthonormal = vectors[:, is_there] / np.sqrt(sizes[is_there])
        matrix = orthonormal.T @ (products + products.T) @ orthonormal / 2
        shares = (orthonormal @ largest_in_ball(matrix, orthonormal.T @ slopes, rho)).tolist()
        return Place(_combined(shares, directions), self._origin + _combined(shares, changes))

    def _basis(self) -> tuple[list[Tensor], list[Tensor]]:
        """Return unit vectors that span the points, and H times each.

        They are the last point and its differences to the points before.

        Differences of points that are close keep the digits that a product with each of them would
        lose.
        """
        if len(self._places) < 2:
            return [], []
        last, *before = self._places[::-1]
        spans = [(last.z, last.gradient - self._origin)]
        spans += [(place.z - last.z, place.gradient - last.gradient) for place in before]
        lengths = [dot(z, z) ** 0.5 for z, _ in spans]
        found = [
            (z / length, change / length)
            for (z, change), length in zip(spans, lengths, strict=True)
            if length
        ]
        return [z for z, _ in found], [change for _, change in found]


def largest_in_ball(matrix: np.ndarray, linear: np.ndarray, rho: float) -> np.ndarray:
    """Return the x (n,) with ||x|| <= rho of the largest b' x + x' A x / 2, for small n.

    Args:
        matrix: A, symmetric (n, n).
        linear: b (n,).
        rho: Radius.

    Source:
        More & Sorensen (1983), "Computing a trust region step": (mu - A) x = b, mu at least the
        largest eigenvalue and 0. Where b is orthogonal to the top eigenvector that one makes up the
        length (the hard case).
    """
    values, vectors = np.linalg.eigh(matrix)
    slopes = vectors.T @ linear
    lowest = max(values[-1], 0.0)
    low, high = lowest, lowest + np.linalg.norm(slopes) / rho

    def solution(mu: float) -> np.ndarray:
        return np.divide(slopes, mu - values, out=np.zeros_like(slopes), where=mu > values)

    if values[-1] < 0 and np.linalg.norm(solution(0.0)) <= rho:
        return vectors @ solution(0.0)
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if np.linalg.norm(solution(middle)) > rho else (low, middle)
    x = solution(high)
    missing = max(rho**2 - float(x @ x), 0.0)
    x[-1] = np.copysign(np.sqrt(x[-1] ** 2 + missing), x[-1])
    return vectors @ x


def _combined(shares: list[float], vectors: list[Tensor]) -> Tensor:
    total = torch.zeros_like(vectors[0])
    for share, vector in zip(shares, vectors, strict=True):
        total.add_(vector, alpha=share)
    return total
