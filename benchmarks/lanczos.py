"""What a Lanczos run takes besides its products, at eleven million weights, next to curvlinops.

python benchmarks/lanczos.py [--rounds 3] [--width 3000] [--examples 100]

A multilayer perceptron on random examples, one batch, one thread, processor time. Ours finds the
top five, certifies each with a product of its own and looks for missed eigenvalues with twelve
more; curvlinops' operator goes into scipy's `eigsh` as its documentation has it. "basis" says in
which dtype ours keeps the vectors, which follows from the memory that it may use.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from curvlinops import HessianLinearOperator
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn

from landscape import Problem
from landscape.hessian.krylov.lanczos import lanczos
from landscape.hessian.memory_plan import plan_memory
from landscape.hessian.operator import CurvatureOperator

NUM_TOP = 5
BYTES_PER_VECTOR = {"float32": 8, "float64": 16}  # of each weight, where 128 vectors are ample


class Timed:
    """A function with its number of calls and their processor time."""

    def __init__(self, function: Callable) -> None:
        self._function = function
        self.num_calls, self.seconds = 0, 0.0

    def __call__(self, *arguments: object) -> object:
        """Call the function."""
        start = time.process_time()
        result = self._function(*arguments)
        self.seconds += time.process_time() - start
        self.num_calls += 1
        return result


def ours(model: nn.Module, data: tuple[Tensor, Tensor], dtype: str) -> tuple[np.ndarray, Timed]:
    """The top five of ours, with the vectors kept in a dtype."""
    operator = CurvatureOperator(Problem(model, data, batch_size=len(data[0])))
    budget = 128 * BYTES_PER_VECTOR[dtype] * operator.size
    plan = plan_memory(operator.size, device=operator.device, wanted=NUM_TOP, budget=budget)
    assert str(plan.dtype) == f"torch.{dtype}", plan
    operator.matvec = timed = Timed(operator.matvec)
    return lanczos(operator, top_k=NUM_TOP, memory=plan).eigenvalues, timed


def theirs(model: nn.Module, data: tuple[Tensor, Tensor]) -> tuple[np.ndarray, Timed]:
    """The top five of curvlinops with scipy."""
    operator = HessianLinearOperator(
        model, nn.CrossEntropyLoss(), list(model.parameters()), [data]
    ).to_scipy()
    timed = Timed(operator.matvec)
    counting = LinearOperator(operator.shape, matvec=timed, dtype=np.float32)
    return eigsh(counting, k=NUM_TOP, which="LA", return_eigenvectors=False)[::-1], timed


def main() -> None:
    """Print a line per way and round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--width", type=int, default=3000)
    parser.add_argument("--examples", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    width = options.width
    sizes = [784, width, width, 10]
    layers = [nn.Linear(*pair) for pair in pairwise(sizes)]
    model = nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh(), layers[2])
    data = torch.randn(options.examples, 784), torch.randint(10, (options.examples,))
    ways = {
        "ours, float32 basis": lambda: ours(model, data, "float32"),
        "ours, float64 basis": lambda: ours(model, data, "float64"),
        "curvlinops, eigsh": lambda: theirs(model, data),
    }
    print(f"{sum(p.numel() for p in model.parameters()):,} weights, torch {torch.__version__}")
    for number in range(options.rounds):
        for name, way in ways.items():
            start = time.process_time()
            values, timed = way()
            taken = time.process_time() - start
            outside = taken - timed.seconds
            print(
                f"{number} {name}: {taken:.1f} s, {timed.num_calls} products, of which "
                f"{outside / taken:.0%} outside them ({outside / timed.num_calls:.2f} s each); "
                f"largest {values[0]:.7g}",
                flush=True,
            )


if __name__ == "__main__":
    main()
