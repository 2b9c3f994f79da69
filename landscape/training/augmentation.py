"""Random changes to batches of images, as tensor operations on the images' own device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from landscape.errors import InputError

PADDING = 4
"""Pixels added on each side before a crop."""


def crop(images: Any, generator: torch.Generator) -> Tensor:
    """Shift each image by up to 4 pixels each way: pad with zeros, then crop to the old size.

    Args:
        images: (N, C, H, W). Zero is black, or the mean colour of images that were standardised.
        generator: On the CPU, so that every device sees the same shifts.

    Returns:
        New images (N, C, H, W).

    Raises:
        InputError: If the inputs are not images.
    """
    images = _check_images(images)
    count, _, height, width = images.shape
    offsets = torch.randint(2 * PADDING + 1, (2, count), generator=generator).to(images.device)
    padded = F.pad(images, [PADDING] * 4)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (N, C, dy, dx, H, W), a view
    return windows[torch.arange(count, device=images.device), :, offsets[0], offsets[1]]


def flip(images: Any, generator: torch.Generator) -> Tensor:
    """Mirror each image left to right with probability 1/2.

    Args:
        images: (N, C, H, W).
        generator: On the CPU, so that every device sees the same choices.

    Returns:
        New images (N, C, H, W).

    Raises:
        InputError: If the inputs are not images.
    """
    images = _check_images(images)
    is_flipped = torch.randint(2, (len(images), 1, 1, 1), generator=generator).bool()
    return torch.where(is_flipped.to(images.device), images.flip(3), images)


def crop_flip(images: Any, generator: torch.Generator) -> Tensor:
    """Crop as `crop` does, then mirror as `flip` does."""
    return flip(crop(images, generator), generator)


def keep(inputs: Any, generator: torch.Generator) -> Any:
    """Return the inputs, which may be anything, as they are."""
    return inputs


AUGMENTATIONS: dict[str, Callable[[Any, torch.Generator], Any]] = {
    "none": keep,
    "crop": crop,
    "flip": flip,
    "crop-flip": crop_flip,
}
"""Name -> function of the inputs of a batch and a CPU generator."""


def get_augmentation(name: str) -> Callable[[Any, torch.Generator], Any]:
    """Return the augmentation of that name.

    Raises:
        InputError: If there is none.
    """
    if name not in AUGMENTATIONS:
        raise InputError(f"an augmentation must be one of {', '.join(AUGMENTATIONS)}, got {name!r}.")
    return AUGMENTATIONS[name]


def _check_images(inputs: Any) -> Tensor:
    if isinstance(inputs, Tensor) and inputs.ndim == 4:
        return inputs
    shape = tuple(inputs.shape) if isinstance(inputs, Tensor) else type(inputs).__name__
    raise InputError(
        f"crop and flip need images of shape (N, C, H, W), got {shape}.", hint="Use the augmentation none."
    )
