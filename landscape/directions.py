"""Directions in weight space: Gaussian noise, and the normalizations that make it comparable."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.weights import WeightSpec

_EPSILON = 1e-10  # as in Li et al.'s code


def random_directions(
    num_directions: int, w: Tensor, spec: WeightSpec, *, seed: int, normalization: str
) -> tuple[Tensor, ...]:
    """Draw Gaussian directions and normalise them against the weights.

    They are not orthogonalised. The noise is drawn on the CPU in float32, so one seed gives the same
    directions on every device and in every dtype.

    Args:
        num_directions: How many, drawn one after the other: the first does not depend on how many.
        w: Weights (P,).
        spec: Their places and shapes.
        seed: Of the noise.
        normalization: A key of `NORMALIZATIONS`.

    Returns:
        Vectors (P,) with the device and dtype of `w`.
    """
    if normalization not in NORMALIZATIONS:
        raise InputError(f"normalization must be one of {', '.join(NORMALIZATIONS)}, got {normalization!r}.")
    generator = torch.Generator().manual_seed(seed)
    noise = [torch.randn(spec.size, generator=generator).to(w) for _ in range(num_directions)]
    return tuple(NORMALIZATIONS[normalization](d, w, spec) for d in noise)


def normalize_filters(d: Tensor, w: Tensor, spec: WeightSpec) -> Tensor:
    """Scale each filter of `d` (P,) to the norm of the same filter of `w` (P,).

    A filter is a slice along dimension 0 of a tensor with two or more dimensions: an output filter
    of a convolution, a row of a linear layer. Tensors with at most one dimension become 0.

    Source:
        Li et al. (2018), Visualizing the Loss Landscape of Neural Nets, section 4; 1-D tensors as
        with their code's `ignore=biasbn`.
    """
    return _scale_rows(d, w, spec, lambda tensor: tensor.flatten(1))


def normalize_layers(d: Tensor, w: Tensor, spec: WeightSpec) -> Tensor:
    """Scale each tensor of `d` (P,) to the norm of the same tensor of `w` (P,); 1-D tensors become 0."""
    return _scale_rows(d, w, spec, lambda tensor: tensor.reshape(1, -1))


def _scale_rows(d: Tensor, w: Tensor, spec: WeightSpec, rows: Callable[[Tensor], Tensor]) -> Tensor:
    result = torch.zeros_like(d)
    parts = zip(spec.weights, spec.views(d), spec.views(w), spec.views(result), strict=True)
    for weight, noise, value, out in parts:
        if weight.num_filters:
            scale = _row_norms(rows(value)) / (_row_norms(rows(noise)) + _EPSILON)
            rows(out).copy_(rows(noise) * scale)
    return result


def _row_norms(matrix: Tensor) -> Tensor:
    return torch.linalg.vector_norm(matrix, dim=1, keepdim=True)


NORMALIZATIONS: dict[str, Callable[[Tensor, Tensor, WeightSpec], Tensor]] = {
    "filter": normalize_filters,
    "layer": normalize_layers,
    "none": lambda d, w, spec: d,
}
"""Name -> function of direction, weights and specification."""
