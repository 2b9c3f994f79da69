"""Vectors that span a line or a plane, as they are stored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from landscape.results.display import Record


@dataclass(frozen=True)
class Directions(Record):
    """Vectors that span a line or a plane in weight space, to be evaluated again or elsewhere.

    Attributes:
        vectors: (number of directions, P).
        names: Name of each direction, as it was asked for.
        weight_names: Name of each parameter tensor, in the order of the flat vector.
        weight_shapes: Shape of each parameter tensor.
        normalization: Scaling of the directions: `filter`, `layer` or `none`.
        origin: Weights at the origin of the plane, (P,), or None if unknown.
    """

    vectors: np.ndarray
    names: tuple[str, ...]
    weight_names: tuple[str, ...]
    weight_shapes: tuple[tuple[int, ...], ...]
    normalization: str
    origin: np.ndarray | None = None
