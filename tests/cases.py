"""Small problems with known answers, used across the tests."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


class Quadratic(nn.Module):
    """A bare parameter w (P,); `quadratic_loss` makes its loss 1/2 w' A w + b' w."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(start.clone())

    def forward(self, inputs: Tensor) -> Tensor:
        return self.w


def quadratic_loss(matrix: Tensor, linear: Tensor):
    """loss(outputs, targets) = 1/2 w' A w + b' w, whatever the targets."""

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        matrix_, linear_ = matrix.to(outputs), linear.to(outputs)
        return 0.5 * outputs @ matrix_ @ outputs + linear_ @ outputs

    return loss


def symmetric_with_spectrum(eigenvalues: list[float], seed: int = 0) -> Tensor:
    """A dense float64 matrix with the given eigenvalues and random eigenvectors."""
    generator = torch.Generator().manual_seed(seed)
    size = len(eigenvalues)
    basis, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    matrix = basis @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ basis.T
    return (matrix + matrix.T) / 2


DUMMY_DATA = (torch.zeros(1, 1), torch.zeros(1))


class MemorySink:
    """Keeps every state; can stop the computation after a number of points."""

    def __init__(self, stored=None, stop_after=None):
        self.stored, self.stop_after, self.num_flushes = stored, stop_after, 0

    def load(self):
        return self.stored

    def save(self, result):
        self.stored = result
        if self.stop_after is not None and result.done.sum() == self.stop_after:
            self.stop_after = None
            raise KeyboardInterrupt

    def flush(self):
        self.num_flushes += 1


def seeded(build, seed: int = 0):
    """Build something with torch's global generator seeded, and restored afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build()


def tiny_mlp() -> nn.Module:
    """5 -> 7 -> 3, tanh: 66 parameters."""
    return seeded(lambda: nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)))


def tiny_cnn() -> nn.Module:
    """A convolutional network with batch normalization whose running statistics are not trivial."""

    def build() -> nn.Module:
        model = nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1),
            nn.BatchNorm2d(3),
            nn.Softplus(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(12, 3),
        )
        model[1].running_mean.normal_()
        model[1].running_var.uniform_(0.5, 2)
        return model

    return seeded(build)


def classification(
    num_examples: int = 20, num_features: int = 5, num_classes: int = 3, seed: int = 1
):
    """A pair (inputs (N, D), targets (N,)) of noise."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(num_examples, num_features, generator=generator)
    return inputs, torch.randint(num_classes, (num_examples,), generator=generator)


def images(num_examples: int = 20, seed: int = 2):
    """A pair (inputs (N, 1, 6, 6), targets (N,)) of noise."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(num_examples, 1, 6, 6, generator=generator)
    return inputs, torch.randint(3, (num_examples,), generator=generator)
