"""ResNet-18 with a stem for small images: a 3x3 convolution of stride 1 and no max pooling."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from landscape.models.initialization import check_at_least, initialize_he


class Block(nn.Module):
    """Two 3x3 convolutions with batch normalization, and a shortcut, projected if needed."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if in_channels != channels or stride != 1:
            projection = nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, channels, H / stride, W / stride)."""
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + self.shortcut(x))


class ResNet18(nn.Module):
    """A stem and four stages of two blocks; see `resnet18`."""

    def __init__(self, width: int, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = nn.Sequential(Block(width, width, 1), Block(width, width, 1))
        self.layer2 = nn.Sequential(Block(width, 2 * width, 2), Block(2 * width, 2 * width, 1))
        self.layer3 = nn.Sequential(Block(2 * width, 4 * width, 2), Block(4 * width, 4 * width, 1))
        self.layer4 = nn.Sequential(Block(4 * width, 8 * width, 2), Block(8 * width, 8 * width, 1))
        self.linear = nn.Linear(8 * width, num_classes)
        initialize_he(self)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) to logits (N, num_classes)."""
        x = F.relu(self.bn1(self.conv1(inputs)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.linear(x.mean(dim=(2, 3)))


def resnet18(*, width: int = 64, num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Build ResNet-18 for CIFAR, 11.2 million parameters.

    Args:
        width: Channels of the first stage; the last one has 8 times as many.
        num_classes: Number of outputs.
        in_channels: Channels of an image.

    Returns:
        A model (N, in_channels, H, W) -> (N, num_classes), He initialized.

    Raises:
        InputError: If a size is too small.

    Source:
        He et al. (2016), Deep Residual Learning for Image Recognition, arXiv:1512.03385, Table 1,
        option B. The stem is not theirs, whose 7x7 convolution and pooling would leave a CIFAR
        image 8x8 pixels.
    """
    check_at_least(1, width=width, num_classes=num_classes, in_channels=in_channels)
    return ResNet18(width, num_classes, in_channels)
