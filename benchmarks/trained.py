"""Small networks that are briefly and reproducibly trained, and the data to measure them on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from landscape.data import build_data
from landscape.data.label_noise import with_label_noise
from landscape.data.subset import balanced_subset
from landscape.models import build_model

NOISE = 0.1
"""Share of wrong labels, so that the loss and with it the curvature stay away from 0."""


def digits_cnn() -> nn.Module:
    """Two convolutions and two linear layers for 8x8 images: 8 tensors, 27,822 weights."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(512, 44), nn.ReLU(), nn.Linear(44, 10)),
    )


@dataclass(frozen=True)
class Case:
    """A network, its data and its training.

    Attributes:
        build: Makes the network on the CPU.
        data: Name of a data set.
        num_examples: Examples; a class-balanced subset of the data.
        num_steps: Steps of gradient descent with momentum on all of them.
        learning_rate: Of these.
        num_rounds: How often each way of finding eigenvalues has its turn, from another start
            vector each time.
        num_products: Products in a turn when those are timed.
    """

    build: Callable[[], nn.Module]
    data: str
    num_examples: int
    num_steps: int
    learning_rate: float
    num_rounds: int
    num_products: int

    def examples(self, data_dir: str | None) -> tuple[Tensor, Tensor]:
        """Return inputs and targets, some wrong; random images without the data set's files."""
        if self.data != "digits" and data_dir is None:
            generator = torch.Generator().manual_seed(0)
            inputs = torch.randn(self.num_examples, 3, 32, 32, generator=generator)
            return inputs, torch.randint(10, (self.num_examples,), generator=generator)
        train, _ = build_data(
            self.data, **({} if self.data == "digits" else {"data_dir": data_dir})
        )
        chosen = balanced_subset(train[1], self.num_examples)
        return train[0][chosen].clone(), with_label_noise(
            train[1][chosen], NOISE, num_classes=10, seed=0
        )

    def network(self, data: tuple[Tensor, Tensor]) -> nn.Module:
        """Return the trained network in evaluation mode."""
        torch.manual_seed(0)
        model = self.build().train()
        optimizer = torch.optim.SGD(model.parameters(), lr=self.learning_rate, momentum=0.9)
        for _ in range(self.num_steps):
            optimizer.zero_grad()
            F.cross_entropy(model(data[0]), data[1]).backward()
            optimizer.step()
        optimizer.zero_grad()
        return model.eval()


CASES = {
    "mlp": Case(
        lambda: build_model("mlp", width=32, depth=1, activation="tanh"),
        "digits",
        1024,
        100,
        0.05,
        5,
        20,
    ),
    "cnn": Case(digits_cnn, "digits", 512, 150, 0.05, 2, 2),
    "resnet20": Case(lambda: build_model("resnet20"), "cifar10", 128, 30, 0.05, 1, 1),
}
