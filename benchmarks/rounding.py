"""Measure what it costs to measure rounding, and whether its intervals hold in deep networks.

python benchmarks/rounding.py [cost|depth] [--data-dir DIR] [--samples N]

`cost`: the processor time of the top five eigenvalues and lambda_min of ResNet-20, and of the
measurement of their rounding, on one thread. `depth`: the eigenvalues of networks without
shortcuts at random and at briefly trained weights, with their residuals, their rounding, and their
distance from float64, where Lanczos runs to a relative residual of 1e-8.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from landscape import Problem
from landscape.data import build_data
from landscape.hessian.eigenpairs import Eigenpairs
from landscape.hessian.krylov.lanczos import lanczos
from landscape.hessian.operator import CurvatureOperator
from landscape.hessian.rounded import with_rounding
from landscape.models import build_model

NETWORKS = ("resnet20-noshort", "resnet56-noshort")
NUM_STEPS = 10


def examples(count: int, data_dir: str | None) -> tuple[Tensor, Tensor]:
    """Return images of CIFAR-10; random ones without its files."""
    if data_dir is not None:
        (inputs, targets), _ = build_data("cifar10", data_dir=data_dir)
        return inputs[:count], targets[:count]
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(count, 3, 32, 32, generator=generator)
    return inputs, torch.randint(10, (count,), generator=generator)


def network(name: str, data: tuple[Tensor, Tensor], num_steps: int) -> nn.Module:
    """Return a network after so many steps of gradient descent."""
    torch.manual_seed(0)
    model = build_model(name).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(num_steps):
        optimizer.zero_grad()
        F.cross_entropy(model(data[0]), data[1]).backward()
        optimizer.step()
    return model.eval()


def found(problem: Problem, *, top_k: int, tolerance: float | None) -> tuple[Eigenpairs, float]:
    """Return the eigenvalues with their rounding, and its share of the processor time."""
    start = time.process_time()
    operator = CurvatureOperator(problem)
    pairs = lanczos(operator, top_k=top_k, bottom_k=1, tolerance=tolerance)
    between = time.process_time()
    pairs = with_rounding(pairs, operator)
    return pairs, (time.process_time() - between) / (between - start)


def cost(data: tuple[Tensor, Tensor]) -> None:
    """Print a row for each number of images."""
    print("| images | products | rounding over the run | rounding of lambda_1 over it |")
    print("|---:|---:|---:|---:|")
    for count in (128, 512, 1024):
        if count > len(data[1]):
            return
        images = (data[0][:count], data[1][:count])
        problem = Problem(network("resnet20", images, 0), images, device="cpu")
        pairs, share = found(problem, top_k=5, tolerance=None)
        relative = pairs.rounding[0] / pairs.eigenvalues[0]
        print(f"| {count} | {pairs.num_matvecs} | {share:.3f} | {relative:.1e} |", flush=True)


def depth(data: tuple[Tensor, Tensor]) -> None:
    """Print a row for each eigenvalue."""
    print("| network | steps | value | residual | rounding | distance from float64 |")
    print("|---|---:|---:|---:|---:|---:|")
    for name in NETWORKS:
        for num_steps in (0, NUM_STEPS):
            problem = Problem(network(name, data, num_steps), data, device="cpu")
            pairs, _ = found(problem, top_k=2, tolerance=None)
            exact, _ = found(problem.in_dtype(), top_k=2, tolerance=1e-8)
            rows = zip(
                np.append(pairs.eigenvalues, pairs.bottom_eigenvalues),
                np.append(pairs.residuals, pairs.bottom_residuals),
                np.append(pairs.rounding, pairs.bottom_rounding),
                np.append(exact.eigenvalues, exact.bottom_eigenvalues),
                strict=True,
            )
            for value, residual, rounding, true in rows:
                row = f"{value:.8g} | {residual:.2g} | {rounding:.2g} | {abs(value - true):.2g}"
                print(f"| {name} | {num_steps} | {row} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("cost", "depth"))
    parser.add_argument("--data-dir")
    parser.add_argument("--samples", type=int, default=1024)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    chosen = examples(arguments.samples, arguments.data_dir)
    {"cost": cost, "depth": depth}[arguments.what](chosen)
