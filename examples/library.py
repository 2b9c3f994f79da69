"""The library from a trained network to a figure: what `landscape` does on the command line.

    python examples/library.py [FOLDER]

Trains two small networks on scikit-learn's digits, by SGD and by SAM, and compares their minima.
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import torch
from torch import nn

import landscape
from landscape.data.digits import digits
from landscape.models.mlp import mlp


def train(network: nn.Module, optimizer: torch.optim.Optimizer) -> landscape.Problem:
    """Train a network on digits, and return its loss on the training set as a problem."""
    train_set, test_set = digits()
    plan = landscape.TrainingPlan(epochs=10, batch_size=64)
    print(landscape.train(network, train_set, test_set, optimizer, plan))
    return landscape.Problem(network, train_set)


def main(folder: Path) -> None:
    """Train, measure, save and draw."""
    torch.manual_seed(0)
    first = mlp(width=16)
    second = copy.deepcopy(first)
    options = {"lr": 0.05, "momentum": 0.9}
    sgd = torch.optim.SGD(first.parameters(), **options)
    sam = landscape.SAM(second.parameters(), torch.optim.SGD, rho=0.05, module=second, **options)
    problems = {"SGD": train(first, sgd), "SAM": train(second, sam)}
    folder.mkdir(parents=True, exist_ok=True)
    for name, problem in problems.items():
        print(name, landscape.hessian(problem, top_k=1))
        print(name, landscape.sharpness(problem, rho=0.05, measures=["asc", "avg"]))
        surface = landscape.surface(problem, grid=11)
        landscape.save(folder / f"{name}.surface.h5", surface)
        surface.plot().figure.savefig(folder / f"{name}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/library"))
