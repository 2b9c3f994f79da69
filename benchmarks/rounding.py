"""Measure what it costs to measure rounding, and whether its intervals hold in deep networks.

python benchmarks/rounding.py [cost|depth] [--data-dir DIR] [--samples N]

`cost`: the processor time that the spectrum of ResNet-20 takes with default options, and the share
of it in which rounding is measured, on one thread. `depth`: the eigenvalues of networks without
shortcuts at random and at trained weights, with their residuals, their rounding, and their
distance from float64, where Lanczos runs to a relative residual of 1e-8.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import wraps
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from landscape import Problem
from landscape.data import build_data
from landscape.hessian import spectrum as spectrum_module
from landscape.hessian.eigenpairs import Eigenpairs
from landscape.hessian.krylov.lanczos import lanczos
from landscape.hessian.operator import CurvatureOperator
from landscape.hessian.rounded import with_rounding
from landscape.hessian.spectrum import hessian_spectrum
from landscape.models import build_model
from landscape.problem.rounding import Rounding

NETWORKS = ("resnet20-noshort", "resnet56-noshort")
NUM_STEPS = 200
RATE = 0.005  # at 0.05 the deep one diverges


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
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)
    for _ in range(num_steps):
        optimizer.zero_grad()
        F.cross_entropy(model(data[0]), data[1]).backward()
        optimizer.step()
    return model.eval()


def found(problem: Problem, *, tolerance: float | None) -> Eigenpairs:
    """Return the two largest eigenvalues and the smallest one with their rounding."""
    operator = CurvatureOperator(problem)
    pairs = lanczos(operator, top_k=2, bottom_k=1, tolerance=tolerance)
    return with_rounding(pairs, operator, Rounding(operator.problem))


def cost(data: tuple[Tensor, Tensor]) -> None:
    """Print a row for each number of images."""
    print("| images | products | CPU s | rounding over the rest of the run | of lambda_1 over it |")
    print("|---:|---:|---:|---:|---:|")
    for count in (128, 512, 2048):
        if count > len(data[1]):
            return
        images = (data[0][:count], data[1][:count])
        problem = Problem(network("resnet20", data, 0), images, device="cpu")
        watch = Stopwatch()
        start = time.process_time()
        with (
            patch.object(spectrum_module, "with_rounding", watch.timed(with_rounding)),
            patch.object(Rounding, "of", watch.timed(Rounding.of)),
        ):
            result = hessian_spectrum(problem)
        whole = time.process_time() - start
        share = watch.seconds / (whole - watch.seconds)
        relative = result.rounding[0] / result.eigenvalues[0]
        row = f"{result.num_matvecs} | {whole:.1f} | {share:.3f} | {relative:.1e}"
        print(f"| {count} | {row} |", flush=True)


class Stopwatch:
    """Adds up the processor time of calls; one inside another counts once."""

    def __init__(self) -> None:
        self.seconds, self._is_running = 0.0, False

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, timed."""

        @wraps(function)
        def call(*args: Any, **named: Any) -> Any:
            if self._is_running:
                return function(*args, **named)
            start, self._is_running = time.process_time(), True
            try:
                return function(*args, **named)
            finally:
                self.seconds += time.process_time() - start
                self._is_running = False

        return call


def depth(data: tuple[Tensor, Tensor]) -> None:
    """Print a row for each eigenvalue."""
    print("| network | steps | value | residual | rounding | distance from float64 |")
    print("|---|---:|---:|---:|---:|---:|")
    for name in NETWORKS:
        for num_steps in (0, NUM_STEPS):
            problem = Problem(network(name, data, num_steps), data, device="cpu")
            pairs = found(problem, tolerance=None)
            exact = found(problem.in_dtype(), tolerance=1e-8)
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
