"""VGG for CIFAR: with batch normalization, and one linear layer in place of three."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from landscape.models.initialization import Mean, check_at_least, he_initialized

NUM_CONVOLUTIONS = (2, 2, 3, 3, 3)
"""Convolutions before each pooling: configuration D."""

LARGEST_FACTOR = 8
"""Channels of the last stages over those of the first."""


def vgg16(*, width: int = 64, num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Build VGG-16 for CIFAR, 14.7 million parameters.

    The 13 convolutions of configuration D, with biases, each followed by batch normalization; one
    linear layer instead of the three that the ImageNet network has.

    Args:
        width: Channels of the first stage; the last ones have 8 times as many.
        num_classes: Number of outputs.
        in_channels: Channels of an image.

    Returns:
        A model (N, in_channels, H, W) -> (N, num_classes) for images of 32x32 pixels or more, He
        initialized.

    Raises:
        InputError: If a size is too small.

    Source:
        Simonyan & Zisserman (2015), Very Deep Convolutional Networks, arXiv:1409.1556, Table 1;
        batch normalization by Ioffe & Szegedy (2015), arXiv:1502.03167.
    """
    check_at_least(1, width=width, num_classes=num_classes, in_channels=in_channels)
    layers: list[nn.Module] = []
    for stage, num_convolutions in enumerate(NUM_CONVOLUTIONS):
        channels = width * min(2**stage, LARGEST_FACTOR)
        for _ in range(num_convolutions):
            convolution = nn.Conv2d(in_channels, channels, 3, padding=1)
            layers += [convolution, nn.BatchNorm2d(channels), nn.ReLU()]
            in_channels = channels
        layers.append(nn.MaxPool2d(2))
    parts = {
        "features": nn.Sequential(*layers),
        "mean": Mean(2, 3),
        "linear": nn.Linear(in_channels, num_classes),
    }
    return he_initialized(nn.Sequential(OrderedDict(parts)))
