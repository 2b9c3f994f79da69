"""The number of products that any Krylov method needs for a Hessian's extreme eigenvalues.

It is a lower bound for the results of benchmarks/hessian.py.

python benchmarks/krylov_floor.py [--models mlp cnn] [--seeds 3]

Lanczos with full reorthogonalisation, in which after m products the extreme Ritz values are the
best that any method can know that starts from the same vector and only multiplies. Printed is the
first m from which on all errors, relative to the eigenvalue itself, stay within 1e-3; nothing is
certified, and no rule has to find out when to stop.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from trained import CASES

from landscape import Problem
from landscape.hessian.operator import CurvatureOperator

NUM_PRODUCTS = 130
NUM_TOP = 5
GOAL = 1e-3


def ritz_values(operator: CurvatureOperator, seed: int) -> list[np.ndarray]:
    """Return the Ritz values, ascending, after each product."""
    generator = torch.Generator().manual_seed(seed)
    v = torch.randn(operator.size, generator=generator, dtype=torch.float64)
    basis, products, found = (
        (v / v.norm())[None],
        torch.empty(0, operator.size, dtype=torch.float64),
        [],
    )
    for _ in range(NUM_PRODUCTS):
        products = torch.cat([products, operator.matvec(basis[-1])[None].double()])
        projected = basis @ products.T
        found.append(np.linalg.eigvalsh(((projected + projected.T) / 2).numpy()))
        rest = products[-1]
        for _ in range(2):
            rest = rest - basis.T @ (basis @ rest)
        basis = torch.cat([basis, (rest / rest.norm())[None]])
    return found


def first_within(found: list[np.ndarray], *, at_bottom: bool) -> int:
    """Return after how many products the values at one end are known."""
    exact = found[-1][:1] if at_bottom else found[-1][-NUM_TOP:]
    errors = [
        np.abs((values[:1] if at_bottom else values[-NUM_TOP:]) / exact - 1).max()
        if len(values) >= NUM_TOP
        else np.inf
        for values in found
    ]
    return 1 + max(number for number, error in enumerate(errors, 1) if error > GOAL)


def main() -> None:
    """Print a row a model."""
    parser = argparse.ArgumentParser(description="Products that any Krylov method needs.")
    parser.add_argument("--models", nargs="*", choices=list(CASES), default=["mlp", "cnn"])
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| model | top five | lambda_min |\n|---|--:|--:|")
    for name in arguments.models:
        case = CASES[name]
        data = case.examples(None)
        operator = CurvatureOperator(
            Problem(case.network(data), data, device="cpu", dtype="float64")
        )
        runs = [ritz_values(operator, seed) for seed in range(arguments.seeds)]
        cells = [[first_within(run, at_bottom=end) for run in runs] for end in (False, True)]
        print(
            f"| {name} | " + " | ".join(f"{min(counts)}-{max(counts)}" for counts in cells) + " |",
            flush=True,
        )


if __name__ == "__main__":
    main()
