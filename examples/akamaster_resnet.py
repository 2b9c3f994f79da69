"""ResNet-20 for CIFAR-10, matching the checkpoint resnet20-12fca82f.th of pytorch_resnet_cifar10.

A model file as you would bring your own: `landscape ... --model
examples/akamaster_resnet.py:resnet20`. The checkpoint expects images with ImageNet's normalization:
build cifar10 with normalization=imagenet.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two convolutions; the shortcut takes every second pixel and pads with zero channels."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.is_wider = channels != in_channels
        stride = 2 if self.is_wider else 1
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(block(x) + shortcut(x))."""
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.is_wider:
            pad = out.shape[1] // 4
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, pad, pad))
        return F.relu(out + x)


class ResNet(nn.Module):
    """A convolution, three stages of three blocks, global average pooling, a linear layer."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(BasicBlock(16, 16), BasicBlock(16, 16), BasicBlock(16, 16))
        self.layer2 = nn.Sequential(BasicBlock(16, 32), BasicBlock(32, 32), BasicBlock(32, 32))
        self.layer3 = nn.Sequential(BasicBlock(32, 64), BasicBlock(64, 64), BasicBlock(64, 64))
        self.linear = nn.Linear(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, num_classes) of images (N, 3, 32, 32)."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))


def resnet20(num_classes: int = 10) -> nn.Module:
    """Build the network, randomly initialized."""
    return ResNet(num_classes)
