"""The layout of images in memory that convolutions are fast in."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def prefers_channels_last(model: nn.Module, inputs: Any) -> bool:
    """Whether a model has 2-D convolutions and runs on channels-last images at all.

    A model that flattens with `view` raises on such activations, so two examples are tried, in
    evaluation mode, without a gradient.

    Args:
        model: Left as it is.
        inputs: Those of any batch, on the model's device.
    """
    if not _is_images(inputs) or not any(isinstance(part, nn.Conv2d) for part in model.modules()):
        return False
    modes = {part: part.training for part in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            model(to_channels_last(inputs[:2]))
    except (
        Exception
    ):  # the user's own model; if it does not run at all, its first real batch says why
        return False
    finally:
        for part, is_training in modes.items():
            part.training = is_training
    return True


def to_channels_last(inputs: Any) -> Any:
    """Return images (N, C, H, W) in the channels-last layout, anything else as it is."""
    if not _is_images(inputs):
        return inputs
    # Not `contiguous`: it takes images of one channel for channels-last already, and convolutions
    # do not.
    return torch.empty_like(inputs, memory_format=torch.channels_last).copy_(inputs)


def _is_images(inputs: Any) -> bool:
    return isinstance(inputs, Tensor) and inputs.ndim == 4
