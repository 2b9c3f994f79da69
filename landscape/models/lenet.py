"""LeNet-5 with rectifiers and max pooling."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from landscape.models.initialization import check_at_least, initialize_he

SMALLEST_IMAGE = 12
"""Pixels per side that leave one for the second convolution's output after pooling."""


class LeNet(nn.Module):
    """Two 5x5 convolutions and three linear layers; see `lenet`."""

    def __init__(self, in_channels: int, image_size: int, num_classes: int) -> None:
        super().__init__()
        # LeCun's 28x28 digits stood in a 32x32 field.
        padding = 2 if image_size < 32 else 0
        side = ((image_size + 2 * padding - 4) // 2 - 4) // 2
        self.conv1 = nn.Conv2d(in_channels, 6, 5, padding=padding)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.linear1 = nn.Linear(16 * side * side, 120)
        self.linear2 = nn.Linear(120, 84)
        self.linear3 = nn.Linear(84, num_classes)
        initialize_he(self)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map images (N, in_channels, image_size, image_size) to logits (N, num_classes)."""
        x = F.max_pool2d(F.relu(self.conv1(inputs)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.linear1(x.flatten(1)))
        return self.linear3(F.relu(self.linear2(x)))


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
    return LeNet(in_channels, image_size, num_classes)
