"""Random changes to batches of images, as tensor operations on the images' own device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from landscape.errors import require

PADDING = 4
"""Pixels added on each side before a crop."""

HOLE = 16
"""Pixels on each side of the square that cutout removes: what DeVries & Taylor use for CIFAR-10."""


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


def cutout(images: Any, generator: torch.Generator) -> Tensor:
    """Set a randomly centred square of 16x16 pixels in each image to zero.

    A part of the square may lie outside the image.

    Args:
        images: (N, C, H, W), more than 16 pixels high and wide.
        generator: On the CPU, so that every device sees the same squares.

    Returns:
        New images (N, C, H, W).

    Raises:
        InputError: If the inputs are not images, or the images are too small.

    Source:
        DeVries & Taylor (2017), Improved Regularization of Convolutional Neural Networks with
        Cutout, arXiv:1708.04552, Section 3.2.
    """
    images = _check_images(images)
    count, _, height, width = images.shape
    require(
        min(height, width) > HOLE,
        f"cutout needs images of more than {HOLE}x{HOLE} pixels, got {height}x{width}.",
        hint="Leave cutout out of the augmentation.",
    )
    rows, columns = (_is_in_hole(size, count, generator) for size in (height, width))
    is_cut = rows[:, None, :, None] & columns[:, None, None, :]  # (N, 1, H, W)
    return images.masked_fill(is_cut.to(images.device), 0)


def _is_in_hole(size: int, count: int, generator: torch.Generator) -> Tensor:
    """Return (N, size): which of `size` positions are within 8 before and 7 after a centre.

    The centres are random.
    """
    distance = torch.arange(size) - torch.randint(size, (count, 1), generator=generator)
    return (distance >= -HOLE // 2) & (distance < HOLE // 2)


AUGMENTATIONS: dict[str, Callable[[Any, torch.Generator], Tensor]] = {
    "crop": crop,
    "flip": flip,
    "cutout": cutout,
}
"""Name -> function of the inputs of a batch and a CPU generator; joined by dashes, one after the
other."""


def get_augmentation(name: str) -> Callable[[Any, torch.Generator], Any]:
    """Return the augmentation of that name.

    Args:
        name: `none`, or names of `AUGMENTATIONS` joined by dashes, each at most once and applied in
            that order.

    Returns:
        A function of the inputs of a batch and a CPU generator; that of `none` takes anything and
        returns it.

    Raises:
        InputError: If there is none.
    """
    parts = [] if name == "none" else name.split("-")
    require(
        len(set(parts)) == len(parts) and set(parts) <= set(AUGMENTATIONS),
        f"an augmentation must be one of none and {', '.join(AUGMENTATIONS)}, or some joined by "
        f"dashes, got {name!r}.",
        hint="Pass `augmentation='crop-flip-cutout'`.",
    )
    return partial(_apply, [AUGMENTATIONS[part] for part in parts])


def _apply(
    functions: Sequence[Callable[[Any, torch.Generator], Any]],
    inputs: Any,
    generator: torch.Generator,
) -> Any:
    for function in functions:
        inputs = function(inputs, generator)
    return inputs


def _check_images(inputs: Any) -> Tensor:
    shape = tuple(inputs.shape) if isinstance(inputs, Tensor) else type(inputs).__name__
    require(
        isinstance(inputs, Tensor) and inputs.ndim == 4,
        f"{', '.join(AUGMENTATIONS)} need images of shape (N, C, H, W), got {shape}.",
        hint="Use the augmentation none.",
    )
    return inputs
