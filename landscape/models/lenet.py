"""LeNet-5 with rectifiers and max pooling."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from landscape.models.initialization import check_at_least, he_initialized

SMALLEST_IMAGE = 12
"""Pixels per side that leave one for the second convolution's output after pooling."""


def lenet(*, in_channels: int = 1, image_size: int = 28, num_classes: int = 10) -> nn.Module:
    """Build LeNet-5 in its present-day form: ReLU, max pooling, full connections, no RBF layer.

    Args:
        in_channels: Channels of an image.
        image_size: Pixels per side, at least 12; below 32 the images are padded by 2.
        num_classes: Number of outputs.

    Returns:
        A model (N, in_channels, image_size, image_size) -> (N, num_classes), He initialized.

    Raises:
        InputError: If a size is too small.

    Source:
        LeCun et al. (1998), Gradient-Based Learning Applied to Document Recognition, Fig. 2.
    """
    check_at_least(1, in_channels=in_channels, num_classes=num_classes)
    check_at_least(SMALLEST_IMAGE, image_size=image_size)
    # LeCun's 28x28 digits stood in a 32x32 field.
    padding = 2 if image_size < 32 else 0
    side = ((image_size + 2 * padding - 4) // 2 - 4) // 2
    layers: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(in_channels, 6, 5, padding=padding),
        "relu1": nn.ReLU(),
        "pool1": nn.MaxPool2d(2),
        "conv2": nn.Conv2d(6, 16, 5),
        "relu2": nn.ReLU(),
        "pool2": nn.MaxPool2d(2),
        "flatten": nn.Flatten(),
        "linear1": nn.Linear(16 * side * side, 120),
        "relu3": nn.ReLU(),
        "linear2": nn.Linear(120, 84),
        "relu4": nn.ReLU(),
        "linear3": nn.Linear(84, num_classes),
    }
    return he_initialized(nn.Sequential(OrderedDict(layers)))
