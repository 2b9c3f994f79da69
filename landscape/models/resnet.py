"""Residual networks: those for CIFAR, with parameter-free shortcuts or with none, and ResNet-18.

The pair with and without shortcuts is the one of Li et al. (2018), Visualizing the Loss Landscape
of Neural Nets, arXiv:1712.09913. Any image size that can be halved twice goes in, so that width=4
and in_channels=1 make a small convolutional network for 8x8 digits.

Source:
    He et al. (2016), Deep Residual Learning for Image Recognition, arXiv:1512.03385: Section 4.2,
    option A, and Table 1, option B.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from landscape.models.initialization import Mean, check_at_least, he_initialized

MakeShortcut = Callable[[int, int, int], nn.Module]
"""From the channels before and after a block, and its stride."""


class PaddedShortcut(nn.Module):
    """Take every stride-th pixel and pad with zero channels, as many before as after: option A."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.num_new_channels = channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, channels, H / stride, W / stride)."""
        if self.num_new_channels == 0:
            return x
        before = self.num_new_channels // 2
        padding = (0, 0, 0, 0, before, self.num_new_channels - before)
        return F.pad(x[:, :, :: self.stride, :: self.stride], padding)


def projected_shortcut(in_channels: int, channels: int, stride: int) -> nn.Module:
    """Return the identity, or a normalized 1x1 convolution where the shape changes: option B."""
    if in_channels == channels and stride == 1:
        return nn.Sequential()
    projection = nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False)
    return nn.Sequential(projection, nn.BatchNorm2d(channels))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch normalization, and an optional shortcut around them."""

    def __init__(
        self, in_channels: int, channels: int, stride: int, make_shortcut: MakeShortcut | None
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = make_shortcut(in_channels, channels, stride) if make_shortcut else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, channels, H / stride, W / stride)."""
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out if self.shortcut is None else out + self.shortcut(x))


def _resnet(
    num_stages: int,
    num_blocks: int,
    make_shortcut: MakeShortcut | None,
    *,
    width: int,
    num_classes: int,
    in_channels: int,
) -> nn.Module:
    """Build a stem and stages of residual blocks, each twice as wide as the one before."""
    check_at_least(1, width=width, num_classes=num_classes, in_channels=in_channels)
    parts: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(in_channels, width, 3, padding=1, bias=False),
        "bn1": nn.BatchNorm2d(width),
        "relu": nn.ReLU(),
    }
    channels = [width, *(width * 2**stage for stage in range(num_stages))]
    for stage in range(num_stages):
        narrow, wide = channels[stage : stage + 2]
        blocks = [ResidualBlock(narrow, wide, 2 if stage else 1, make_shortcut)]
        blocks += [ResidualBlock(wide, wide, 1, make_shortcut) for _ in range(1, num_blocks)]
        parts[f"layer{stage + 1}"] = nn.Sequential(*blocks)
    parts |= {"mean": Mean(2, 3), "linear": nn.Linear(channels[-1], num_classes)}
    return he_initialized(nn.Sequential(OrderedDict(parts)))


def resnet(
    depth: int,
    has_shortcuts: bool,
    /,
    *,
    width: int = 16,
    num_classes: int = 10,
    in_channels: int = 3,
) -> nn.Module:
    """Build a ResNet for CIFAR: 6n + 2 weight layers in three stages of n blocks.

    Args:
        depth: Number of weight layers.
        has_shortcuts: Whether there is a shortcut around each block.
        width: Channels of the first stage; the last one has 4 times as many.
        num_classes: Number of outputs.
        in_channels: Channels of an image.

    Returns:
        A model (N, in_channels, H, W) -> (N, num_classes), He initialized.

    Raises:
        InputError: If a size is too small.
    """
    return _resnet(
        3,
        (depth - 2) // 6,
        PaddedShortcut if has_shortcuts else None,
        width=width,
        num_classes=num_classes,
        in_channels=in_channels,
    )


def resnet18(*, width: int = 64, num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Build ResNet-18 for CIFAR, 11.2 million parameters: four stages of two blocks.

    The stem is a 3x3 convolution of stride 1 without max pooling. It is not that of the authors,
    whose 7x7 convolution and pooling would leave 8x8 pixels of a CIFAR image.

    Args:
        width: Channels of the first stage; the last one has 8 times as many.
        num_classes: Number of outputs.
        in_channels: Channels of an image.

    Returns:
        A model (N, in_channels, H, W) -> (N, num_classes), He initialized.

    Raises:
        InputError: If a size is too small.
    """
    return _resnet(
        4, 2, projected_shortcut, width=width, num_classes=num_classes, in_channels=in_channels
    )
