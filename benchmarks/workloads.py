"""The models that benchmarks train, and random data of the right shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from landscape.models import build_model
from landscape.problem.plan import prefers_channels_last, to_channels_last

IMAGE = (3, 32, 32)


class ManySmall(nn.Module):
    """300 residual layers of 12 units: 600 tensors, 46,800 weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(12, 12) for _ in range(300))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 12) to logits (N, 12)."""
        for layer in self.layers:
            x = x + 0.1 * torch.tanh(layer(x))
        return x


def small_cnn() -> nn.Module:
    """Two convolutions and two linear layers: 8 tensors, 545,098 weights."""
    return nn.Sequential(
        *(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(4096, 128), nn.ReLU(), nn.Linear(128, 10)),
    )


def wide_mlp() -> nn.Module:
    """Three linear layers: 6 tensors, 4,217,610 weights."""
    return nn.Sequential(
        nn.Linear(1024, 1600), nn.ReLU(), nn.Linear(1600, 1600), nn.ReLU(), nn.Linear(1600, 10)
    )


@dataclass(frozen=True)
class Workload:
    """A model and the shape of a batch.

    Attributes:
        build: Makes the model on the CPU.
        batch_size: Examples a step.
        shape: Of one example.
        num_classes: Number of outputs.
        num_steps: Steps that are timed together, so that the clock is fine enough.
    """

    build: Callable[[], nn.Module]
    batch_size: int
    shape: tuple[int, ...] = IMAGE
    num_classes: int = 10
    num_steps: int = 1

    def examples(self, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return `count` random inputs and targets, always the same."""
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(count, *self.shape, generator=generator)
        targets = torch.randint(self.num_classes, (count,), generator=generator)
        return inputs.to(device), targets.to(device)

    def model(self, device: torch.device) -> nn.Module:
        """Return the model in training mode, always with the same weights."""
        torch.manual_seed(0)
        return self.build().to(device)

    def batch(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return one batch, images in the layout that `landscape.training` gives them."""
        inputs, targets = self.examples(self.batch_size, device)
        is_channels_last = device.type == "cpu" and prefers_channels_last(
            self.model(device), inputs
        )
        return (to_channels_last(inputs) if is_channels_last else inputs), targets


ON_CPU = {
    "small-cnn": Workload(small_cnn, 64),
    "resnet20": Workload(lambda: build_model("resnet20"), 128),
    "many-small": Workload(ManySmall, 32, (12,), 12, num_steps=3),
    "wide-mlp": Workload(wide_mlp, 16, (1024,), num_steps=5),
}
ON_CUDA = {
    "wrn-16-4": Workload(lambda: build_model("wrn-16-4"), 128, num_steps=20),
    "resnet18": Workload(lambda: build_model("resnet18"), 128, num_steps=20),
}
