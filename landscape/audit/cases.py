"""Tiny training problems on which an optimizer is tried; they can be copied and pickled."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MATRIX = torch.tensor([[3.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 1.0]], dtype=torch.float64)
"""Of the quadratic w'Aw/2."""

START = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
"""Where the quadratic's weights begin."""


class Case(nn.Module):
    """A model that knows its data and its loss.

    Attributes:
        pass_number: Which pass of a step comes next, from 0.
    """

    pass_number = 0

    def loss(self) -> Tensor:
        """Return the loss of the one batch that there is."""
        raise NotImplementedError


class Quadratic(Case):
    """The loss w'Aw/2 of three weights in float64.

    Args:
        sizes: How the weights are divided over parameters.
        start: Their values, (3,).
    """

    def __init__(self, sizes: Sequence[int] = (3,), start: Tensor = START) -> None:
        super().__init__()
        self.parts = nn.ParameterList([part.clone() for part in start.split(list(sizes))])

    def loss(self) -> Tensor:
        """Return w'Aw/2."""
        w = torch.cat(list(self.parts))
        return w @ MATRIX @ w / 2


class Network(Case):
    """A network with one hidden layer and fixed first weights, and 20 examples in 3 classes.

    Args:
        middle: Layers between, which keep 8 features.
        dtype: Of weights and inputs.
    """

    def __init__(self, *middle: nn.Module, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.layers = nn.Sequential(nn.Linear(6, 8), *middle, nn.Tanh(), nn.Linear(8, 3)).to(dtype)
        for w in self.parameters():
            nn.init.normal_(w, std=0.4, generator=generator)
        self.inputs = torch.randn(20, 6, generator=generator, dtype=dtype)
        self.targets = torch.randint(3, (20,), generator=generator)

    def loss(self) -> Tensor:
        """Return the mean cross-entropy."""
        return F.cross_entropy(self.layers(self.inputs), self.targets)


class Branches(Case):
    """Two weight vectors, one of which is unused in one pass, as when layers are randomly dropped.

    Args:
        skipped: Number of that pass.
    """

    def __init__(self, skipped: int) -> None:
        super().__init__()
        self.skipped = skipped
        self.often = nn.Parameter(torch.tensor([0.3, -0.7, 1.1]))
        self.seldom = nn.Parameter(torch.tensor([-0.2, 0.9]))

    def loss(self) -> Tensor:
        """Return the mean of the squares of what takes part."""
        loss = self.often.square().mean()
        return loss if self.pass_number == self.skipped else loss + self.seldom.square().mean()


class RunningCenter(nn.Module):
    """A normalization layer of no library: it subtracts batch means and keeps a running mean."""

    mean: Tensor
    num_passes: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(8))
        self.register_buffer("num_passes", torch.tensor(0))

    def forward(self, inputs: Tensor) -> Tensor:
        """Center the features."""
        mean = inputs.mean(0)
        self.mean.lerp_(mean.detach(), 0.1)
        self.num_passes += 1
        return inputs - mean


class RecordedDropout(nn.Module):
    """Dropout of half the features.

    Attributes:
        masks: What every pass multiplied with.
    """

    def __init__(self) -> None:
        super().__init__()
        self.masks: list[Tensor] = []

    def forward(self, inputs: Tensor) -> Tensor:
        """Drop features."""
        self.masks.append(F.dropout(torch.ones_like(inputs), 0.5))
        return inputs * self.masks[-1]
