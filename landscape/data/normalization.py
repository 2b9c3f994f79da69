"""From stored pixels to the examples that every data set returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from landscape.errors import require_one_of

Examples: TypeAlias = tuple[Tensor, Tensor]
"""Inputs, float32 (N, ...), images normalized (N, C, H, W), and targets, int64 (N,)."""

_CHUNK = 256
"""Images normalized at a time, few enough to stay in the cache from one pass to the next."""


@dataclass(frozen=True)
class Normalization:
    """What is subtracted from pixels in [0, 1], and what they are then divided by.

    Attributes:
        mean: One number a channel.
        std: One number a channel.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]


def choose_normalization(name: str, known: Mapping[str, Normalization]) -> Normalization:
    """Look a normalization up by name.

    Raises:
        InputError: If the name is not among the known ones.
    """
    require_one_of("normalization", name, known)
    return known[name]


def as_examples(
    images: np.ndarray,
    labels: Sequence[int] | np.ndarray,
    normalization: Normalization,
    *,
    white: int = 255,
) -> Examples:
    """Return (images / white - mean) / std in float32, making no second float copy, with labels.

    Args:
        images: uint8 (N, C, H, W), writable (torch warns about others).
        labels: Class numbers (N,).
        normalization: As many means and standard deviations as channels.
        white: The pixel value that stands for 1.
    """
    mean, std = (torch.tensor(s).reshape(-1, 1, 1) for s in (normalization.mean, normalization.std))
    inputs = torch.empty(images.shape, dtype=torch.float32)
    for chunk, pixels in zip(
        inputs.split(_CHUNK), torch.from_numpy(images).split(_CHUNK), strict=True
    ):
        chunk.copy_(pixels).div_(white).sub_(mean).div_(std)
    return inputs, torch.tensor(labels, dtype=torch.int64)
