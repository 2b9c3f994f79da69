"""Residual networks for CIFAR, with parameter-free shortcuts or with none.

The pair with and without shortcuts is the one of Li et al. (2018), Visualizing the Loss Landscape
of Neural Nets, arXiv:1712.09913. Any image size that can be halved twice goes in, so that width=4
and in_channels=1 make a small convolutional network for 8x8 digits.

Source:
    He et al. (2016), Deep Residual Learning for Image Recognition, arXiv:1512.03385, Section 4.2,
    option A.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from landscape.models.initialization import check_at_least, initialize_he


class Block(nn.Module):
    """Two 3x3 convolutions with batch normalization, and an optional shortcut around them."""

    def __init__(self, in_channels: int, channels: int, stride: int, has_shortcut: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.has_shortcut = has_shortcut
        self.stride = stride
        self.num_new_channels = channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, channels, H / stride, W / stride)."""
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + self.shortcut(x) if self.has_shortcut else out)

    def shortcut(self, x: Tensor) -> Tensor:
        """Take every stride-th pixel and pad with zero channels, as many before as after."""
        if self.num_new_channels == 0:
            return x
        before = self.num_new_channels // 2
        padding = (0, 0, 0, 0, before, self.num_new_channels - before)
        return F.pad(x[:, :, :: self.stride, :: self.stride], padding)


class ResNet(nn.Module):
    """6n + 2 weight layers: three stages of n blocks, with width, 2 width and 4 width channels."""

    def __init__(
        self, depth: int, *, has_shortcuts: bool, width: int, num_classes: int, in_channels: int
    ) -> None:
        super().__init__()
        check_at_least(1, width=width, num_classes=num_classes, in_channels=in_channels)
        num_blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, 1, num_blocks, has_shortcuts)
        self.layer2 = _stage(width, 2 * width, 2, num_blocks, has_shortcuts)
        self.layer3 = _stage(2 * width, 4 * width, 2, num_blocks, has_shortcuts)
        self.linear = nn.Linear(4 * width, num_classes)
        initialize_he(self)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) to logits (N, num_classes)."""
        x = F.relu(self.bn1(self.conv1(inputs)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean(dim=(2, 3)))


def _stage(
    in_channels: int, channels: int, stride: int, num_blocks: int, has_shortcuts: bool
) -> nn.Sequential:
    first = Block(in_channels, channels, stride, has_shortcuts)
    return nn.Sequential(
        first, *(Block(channels, channels, 1, has_shortcuts) for _ in range(num_blocks - 1))
    )


def resnet20(*, width: int = 16, num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Build ResNet-20; `width` is the number of channels of the first stage."""
    return ResNet(
        20, has_shortcuts=True, width=width, num_classes=num_classes, in_channels=in_channels
    )


def resnet32(*, width: int = 16, num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Build ResNet-32; `width` is the number of channels of the first stage."""
    return ResNet(
        32, has_shortcuts=True, width=width, num_classes=num_classes, in_channels=in_channels
    )


def resnet44(*, width: int = 16, num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Build ResNet-44; `width` is the number of channels of the first stage."""
    return ResNet(
        44, has_shortcuts=True, width=width, num_classes=num_classes, in_channels=in_channels
    )


def resnet56(*, width: int = 16, num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Build ResNet-56; `width` is the number of channels of the first stage."""
    return ResNet(
        56, has_shortcuts=True, width=width, num_classes=num_classes, in_channels=in_channels
    )


def resnet110(*, width: int = 16, num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Build ResNet-110; `width` is the number of channels of the first stage."""
    return ResNet(
        110, has_shortcuts=True, width=width, num_classes=num_classes, in_channels=in_channels
    )


def resnet20_noshort(*, width: int = 16, num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Build ResNet-20 without shortcuts; `width` is the number of channels of the first stage."""
    return ResNet(
        20, has_shortcuts=False, width=width, num_classes=num_classes, in_channels=in_channels
    )


def resnet32_noshort(*, width: int = 16, num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Build ResNet-32 without shortcuts; `width` is the number of channels of the first stage."""
    return ResNet(
        32, has_shortcuts=False, width=width, num_classes=num_classes, in_channels=in_channels
    )


def resnet44_noshort(*, width: int = 16, num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Build ResNet-44 without shortcuts; `width` is the number of channels of the first stage."""
    return ResNet(
        44, has_shortcuts=False, width=width, num_classes=num_classes, in_channels=in_channels
    )


def resnet56_noshort(*, width: int = 16, num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Build ResNet-56 without shortcuts; `width` is the number of channels of the first stage."""
    return ResNet(
        56, has_shortcuts=False, width=width, num_classes=num_classes, in_channels=in_channels
    )


def resnet110_noshort(*, width: int = 16, num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Build ResNet-110 without shortcuts; `width` is the number of channels of the first stage."""
    return ResNet(
        110, has_shortcuts=False, width=width, num_classes=num_classes, in_channels=in_channels
    )
