"""Directions in weight space, random ones among them, and the line or plane that they span."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.errors import require, require_one_of
from landscape.problem.weights import Weight, WeightSpec
from landscape.reductions import dot, norm

_EPSILON = 1e-10  # as in Li et al.'s code
_PARALLEL = 1 - 1e-6  # |cosine| of directions that float32 could not tell from one line


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

    def to(self, dtype: torch.dtype) -> Plane:
        """Return the plane in another dtype."""
        return Plane(self.origin.to(dtype), tuple(d.to(dtype) for d in self.directions))

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


@dataclass(frozen=True)
class Landmark:
    """A point of interest that a direction leads to.

    Attributes:
        label: As a legend names it.
        kind: As in `landscape.results.surface.Mark`.
        w: The point (P,).
        loss: Split name -> loss there, where more than `w` decides it; None where `w` does.
    """

    label: str
    kind: str
    w: Tensor
    loss: dict[str, float] | None = None


@dataclass(frozen=True)
class Direction:
    """A vector (P,) of a line or a plane, and what is known about it.

    Attributes:
        name: What it is, as it was asked for.
        vector: The direction (P,).
        points: Points of interest that it leads to, which may be read from files one at a time.
        explained_variance: Share of a trajectory's variance along it, where it comes from one.
        facts: What else is to be recorded: numbers and strings.
    """

    name: str
    vector: Tensor
    points: Iterable[Landmark] = ()
    explained_variance: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def random_directions(
    num_directions: int,
    w: Tensor,
    spec: WeightSpec,
    *,
    seed: int,
    normalization: str,
    with_1d: bool = False,
    skip: int = 0,
) -> tuple[Tensor, ...]:
    """Draw Gaussian directions and normalise them against the weights.

    They are not orthogonalised. The noise is drawn on the CPU in float32, so one seed gives the
    same directions on every device and in every dtype.

    Args:
        num_directions: How many, drawn one after the other: the first does not depend on how many.
        w: Weights (P,).
        spec: Their places and shapes.
        seed: Of the noise.
        normalization: A key of `NORMALIZATIONS`.
        with_1d: Whether tensors with at most one dimension (biases, batch normalization), or whose
            filters are single numbers (the lengths of weight normalization), move too, each scaled
            as a whole; else they become 0. With `none` they move in any case.
        skip: How many are drawn before them and thrown away.

    Returns:
        Vectors (P,) with the device and dtype of `w`.

    Raises:
        InputError: If the normalization is unknown.
    """
    require_one_of("normalization", normalization, NORMALIZATIONS)
    generator = torch.Generator().manual_seed(seed)
    noise = (
        torch.randn(spec.size, generator=generator).to(w) for _ in range(skip + num_directions)
    )
    normalize = NORMALIZATIONS[normalization]
    return tuple(normalize(d, w, spec, with_1d) for d in islice(noise, skip, None))


def _scale(
    d: Tensor,
    w: Tensor,
    spec: WeightSpec,
    with_1d: bool,
    blocks: Callable[[Weight, Tensor], Tensor],
) -> Tensor:
    """Scale each block of `d` to the norm of the same block of `w`.

    A block is an element along the first dimension of what `blocks` returns.

    A tensor without filters of several numbers is one block, or zero.
    """
    result = torch.zeros_like(d)
    for weight, *tensors in zip(
        spec.weights, spec.views(d), spec.views(w), spec.views(result), strict=True
    ):
        if weight.num_filters:
            noise, value, out = (blocks(weight, tensor) for tensor in tensors)
        elif with_1d:
            noise, value, out = (tensor.reshape(1, -1) for tensor in tensors)
        else:
            continue
        out.copy_(noise * (_block_norms(value) / (_block_norms(noise) + _EPSILON)))
    return result


def _block_norms(blocks: Tensor) -> Tensor:
    return torch.linalg.vector_norm(blocks, dim=tuple(range(1, blocks.ndim)), keepdim=True)


NORMALIZATIONS: dict[str, Callable[[Tensor, Tensor, WeightSpec, bool], Tensor]] = {
    "filter": partial(_scale, blocks=Weight.filters),
    "layer": partial(_scale, blocks=lambda _, tensor: tensor[None]),
    "none": lambda d, w, spec, with_1d: d,
}
"""Name -> function of direction, weights, specification and whether tensors with one dimension
move.

`filter` scales each filter of the direction to the norm of the same filter of the weights, `layer`
each tensor. A filter is a slice along dimension 0 of a tensor with two or more dimensions: an
output filter of a convolution, a row of a linear layer or of an embedding; in
`nn.MultiheadAttention` the part of a projection that belongs to one head, see
`landscape.problem.weights.Weight`. A filter of norm 0 stays where it is. A tensor whose filters are
single numbers counts as one with one dimension: the lengths in weight normalization, the weights of
a linear layer with one input. Scaled to its norm, each number's direction would be the number
itself, or its negative.

Source:
    Li et al. (2018), Visualizing the Loss Landscape of Neural Nets, section 4; 1-D tensors by
    default as with their code's `ignore=biasbn`.
"""


def require_spanning(directions: Sequence[Direction]) -> None:
    """Raise InputError unless one direction, or two not parallel, are finite and nonzero."""
    for direction in directions:
        require(
            torch.isfinite(direction.vector).all(),
            f"a direction must be finite, {direction.name} holds NaN or inf.",
            hint="Check the loss at these weights with `landscape.sharpness(problem)`.",
        )
        require(
            direction.vector.any(),
            f"a direction must not be zero, {direction.name} is: nothing would move.",
            hint="Random directions leave biases and other 1-D tensors where they are; "
            "`with_1d=True` moves them.",
        )
    if len(directions) != 2:
        return
    x, y = directions
    cosine = dot(x.vector, y.vector) / (norm(x.vector) * norm(y.vector))
    require(
        not abs(cosine) > _PARALLEL,
        f"two directions must not be parallel, {x.name} and {y.name} have cosine {cosine:.7g}.",
        hint="Choose another `y`, or draw a line with `dims=1`.",
    )
