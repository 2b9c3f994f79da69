"""A line or a plane in weight space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from landscape.errors import require
from landscape.reductions import dot


@dataclass(frozen=True)
class Projection:
    """Where a point lies relative to a plane.

    Attributes:
        coordinates: Coordinates of the nearest point of the plane, (number of directions,).
        distance: Euclidean distance out of the plane.
    """

    coordinates: np.ndarray
    distance: float


@dataclass(frozen=True)
class Plane:
    """The points origin + a d_1 (+ b d_2).

    Attributes:
        origin: Weights at (0, 0), (P,).
        directions: One or two vectors (P,), neither normalised nor orthogonal to each other.
    """

    origin: Tensor
    directions: tuple[Tensor, ...]

    def __post_init__(self) -> None:
        require(
            len(self.directions) in (1, 2),
            f"a plane has one or two directions, got {len(self.directions)}.",
        )
        for direction in self.directions:
            require(
                direction.shape == self.origin.shape,
                f"directions must have the shape of the weights {tuple(self.origin.shape)}, "
                f"got {tuple(direction.shape)}.",
            )

    def point(self, *coordinates: float, out: Tensor | None = None) -> Tensor:
        """Return origin + sum of coordinate times direction, (P,), computed afresh from the origin.

        One multiply-add a direction, in place: no other vector of this size comes into being.

        Args:
            *coordinates: One a direction.
            out: Where to write it, (P,); a new tensor if None.
        """
        (first, x), *others = zip(self.directions, coordinates, strict=True)
        w = torch.add(self.origin, first, alpha=x, out=out)
        for direction, coordinate in others:
            w.add_(direction, alpha=coordinate)
        return w

    def gram(self) -> np.ndarray:
        """Return the inner products of the directions, in float64."""
        return np.array([[dot(u, v) for v in self.directions] for u in self.directions])

    @property
    def norms(self) -> np.ndarray:
        """Euclidean norms of the directions."""
        return np.sqrt(np.diag(self.gram()))

    @property
    def cosine(self) -> float | None:
        """Cosine between the two directions; None for a line or a direction of norm 0."""
        if len(self.directions) == 1:
            return None
        gram = self.gram()
        scale = float(np.sqrt(gram[0, 0] * gram[1, 1]))
        return float(gram[0, 1]) / scale if scale > 0 else None

    def project(self, w: Tensor) -> Projection:
        """Return the plane's nearest point to `w` (P,), by the directions' Gram system."""
        offset = w - self.origin
        moments = np.array([dot(d, offset) for d in self.directions])
        coordinates, *_ = np.linalg.lstsq(self.gram(), moments, rcond=None)
        rest = w - self.point(*coordinates.tolist())
        return Projection(coordinates, float(np.sqrt(dot(rest, rest))))
