"""Wide residual networks for CIFAR: WRN-d-k has d weight layers and k times the usual channels.

Pre-activation blocks of two 3x3 convolutions. A block that changes the number of channels has a 1x1
convolution as its shortcut and normalizes its input once for both ways, as the authors' code does;
any other block adds the input itself. Parameter counts tell the network from look-alikes: WRN-16-8
has 11.0 million; with 17.2 million a network of that name is WRN-22-8, whose stages have one block
more.

Source:
    Zagoruyko & Komodakis (2016), Wide Residual Networks, arXiv:1605.07146, Table 1 and Fig. 1 (d).
"""

from __future__ import annotations

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from landscape.models.initialization import (
    Mean,
    check_at_least,
    check_dropout,
    he_initialized,
)


class PreactivationBlock(nn.Module):
    """Twice normalization, ReLU and a 3x3 convolution, dropout between them, and a shortcut."""

    def __init__(self, in_channels: int, channels: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        is_same = in_channels == channels and stride == 1
        self.shortcut = (
            None if is_same else nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, channels, H / stride, W / stride)."""
        activated = F.relu(self.bn1(x))
        out = self.conv2(self.dropout(F.relu(self.bn2(self.conv1(activated)))))
        return out + (x if self.shortcut is None else self.shortcut(activated))


def _stage(
    in_channels: int, channels: int, stride: int, num_blocks: int, dropout: float
) -> nn.Sequential:
    first = PreactivationBlock(in_channels, channels, stride, dropout)
    return nn.Sequential(
        first, *(PreactivationBlock(channels, channels, 1, dropout) for _ in range(num_blocks - 1))
    )


def wide_resnet(
    depth: int,
    factor: int,
    /,
    *,
    dropout: float = 0.0,
    width: int = 16,
    num_classes: int = 10,
    in_channels: int = 3,
) -> nn.Module:
    """Build WRN-d-k.

    Millions of parameters: WRN-28-10 36.5, WRN-22-8 17.2, WRN-16-8 11.0, WRN-16-4 2.7.

    Args:
        depth: Number of weight layers, d.
        factor: Widening factor, k.
        dropout: Share of activations that training sets to 0 between the convolutions of a block.
        width: Channels of the stem; the stages have k, 2 k and 4 k times as many.
        num_classes: Number of outputs.
        in_channels: Channels of an image.

    Returns:
        A model (N, in_channels, H, W) -> (N, num_classes), He initialized.

    Raises:
        InputError: If a size is too small or the dropout is not a probability below 1.
    """
    check_at_least(1, width=width, num_classes=num_classes, in_channels=in_channels)
    check_dropout(dropout)
    num_blocks, channels = (depth - 4) // 6, width * factor
    parts: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(in_channels, width, 3, padding=1, bias=False),
        "layer1": _stage(width, channels, 1, num_blocks, dropout),
        "layer2": _stage(channels, 2 * channels, 2, num_blocks, dropout),
        "layer3": _stage(2 * channels, 4 * channels, 2, num_blocks, dropout),
        "bn": nn.BatchNorm2d(4 * channels),
        "relu": nn.ReLU(),
        "mean": Mean(2, 3),
        "linear": nn.Linear(4 * channels, num_classes),
    }
    return he_initialized(nn.Sequential(OrderedDict(parts)))
