"""Trace and spectral density after as many products: ours beside the methods of the literature.

PYTHONPATH=tests python benchmarks/trace_density.py [--seeds 40]

The Hessian of a trained network (digits with 10 % wrong labels, one hidden layer of 32 tanh units,
2410 weights), dense in float64. Errors of the trace are root mean squares over the seeds, relative
to the trace. Errors of the density are Wasserstein-1 distances from the dense spectrum, relative to
lambda_max, means over a fifth of the seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from scipy.stats import wasserstein_distance
from spectra import hutch_plus_plus, hutchinson, krylov_space, trained_hessian, xtrace
from torch import Tensor

from landscape.hessian.density import density
from landscape.hessian.operator import MatrixOperator
from landscape.hessian.trace import trace
from landscape.results.spectral_density import mass_below, mass_near_zero, near_zero_width

SHARE = 0.6  # of the products that make the Krylov space before the trace
KRYLOV = 60  # products that find outliers before the density
TOLERANCE = 1e-3  # residual of an outlier, relative to lambda_max


def ours(matrix: Tensor, number: int, seed: int) -> float:
    """A Krylov space, and random signs on its complement."""
    operator, size = MatrixOperator(matrix), round(SHARE * number)
    space = krylov_space(operator, size, seed)
    return trace(operator, subspace=space, num_samples=number - size, seed=seed).value


TRACES: dict[str, Callable[[Tensor, int, int], float]] = {
    "Hutchinson": hutchinson,
    "Hutch++": hutch_plus_plus,
    "XTrace, signs": partial(xtrace, is_normalized=False),
    "XTrace": xtrace,
    "ours": ours,
}


def found_pairs(matrix: Tensor, seed: int) -> dict[str, np.ndarray | Tensor]:
    """The eigenpairs that a Krylov space holds to the tolerance."""
    space = krylov_space(MatrixOperator(matrix), KRYLOV, seed)
    values, coefficients = np.linalg.eigh((space.projected + space.projected.T) / 2)
    vectors = torch.from_numpy(coefficients.T.copy()) @ space.basis
    residuals = (vectors @ matrix - torch.from_numpy(values)[:, None] * vectors).norm(dim=1).numpy()
    is_found = residuals <= TOLERANCE * np.abs(values).max()
    return {
        "outliers": values[is_found],
        "residuals": residuals[is_found],
        "vectors": vectors[torch.from_numpy(is_found)],
    }


def without_reorthogonalisation(
    matrix: Tensor, num_probes: int, num_steps: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights of plain stochastic Lanczos quadrature, by the recurrence alone.

    The recurrence is the three-term recurrence, without reorthogonalisation.
    """
    generator, nodes, weights = torch.Generator().manual_seed(seed), [], []
    for _ in range(num_probes):
        q = torch.randn(len(matrix), generator=generator, dtype=torch.float64)
        q, before, alphas, betas = q / q.norm(), torch.zeros_like(q), [], [0.0]
        for _ in range(num_steps):
            v = matrix @ q - betas[-1] * before
            alphas.append(float(v @ q))
            v = v - alphas[-1] * q
            betas.append(float(v.norm()))
            before, q = q, v / betas[-1]
        values, vectors = eigh_tridiagonal(alphas, betas[1:-1])
        nodes.append(values)
        weights.append(vectors[0] ** 2 / num_probes)
    return np.concatenate(nodes), np.concatenate(weights)


def with_reorthogonalisation(
    matrix: Tensor, num_probes: int, num_steps: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights with no eigenpair known."""
    nothing = {"outliers": np.empty(0), "residuals": np.empty(0), "vectors": torch.empty(0, 0)}
    found = density(
        MatrixOperator(matrix), **nothing, num_probes=num_probes, num_steps=num_steps, seed=seed
    )
    return found.nodes.ravel(), found.weights.ravel() / num_probes


def with_outliers(
    matrix: Tensor, num_probes: int, num_steps: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights, including the outliers found in a Krylov space.

    The probes take fewer steps, to make up for the products of that space.
    """
    left = (num_probes * num_steps - KRYLOV) // num_probes
    known = found_pairs(matrix, seed)
    found = density(
        MatrixOperator(matrix), **known, num_probes=num_probes, num_steps=left, seed=seed
    )
    masses = np.full(len(found.outliers), 1 / found.num_parameters)
    return np.append(found.nodes, found.outliers), np.append(found.weights / num_probes, masses)


DENSITIES = {
    "SLQ, not reorthogonalised": without_reorthogonalisation,
    "SLQ": with_reorthogonalisation,
    "ours": with_outliers,
}


def print_traces(matrix: Tensor, num_seeds: int) -> None:
    """One row a method, one column a number of products."""
    true, numbers = float(matrix.trace()), (30, 60, 99, 200)
    print(
        "| trace | "
        + " | ".join(f"{number} products" for number in numbers)
        + " |\n|---|"
        + "---:|" * len(numbers)
    )
    for name, method in TRACES.items():
        errors = [
            np.sqrt(
                np.mean(
                    [(method(matrix, number, seed) / true - 1) ** 2 for seed in range(num_seeds)]
                )
            )
            for number in numbers
        ]
        print(
            f"| {name} | " + " | ".join(f"{100 * error:.2f} %" for error in errors) + " |",
            flush=True,
        )


def print_densities(matrix: Tensor, values: np.ndarray, num_seeds: int) -> None:
    """One row a method, one column probes times steps."""
    shapes = ((2, 50), (5, 40), (2, 100), (5, 80))
    print(
        "\n| density | "
        + " | ".join(f"{p} x {m} products" for p, m in shapes)
        + " |\n|---|"
        + "---:|" * len(shapes)
    )
    for name, method in DENSITIES.items():
        cells = []
        for num_probes, num_steps in shapes:
            found = [method(matrix, num_probes, num_steps, seed) for seed in range(num_seeds)]
            far = (
                np.mean([wasserstein_distance(nodes, values, weights) for nodes, weights in found])
                / values[-1]
            )
            copies = np.mean(
                [
                    np.count_nonzero(np.abs(nodes - values[-1]) < 1e-6 * values[-1])
                    for nodes, _ in found
                ]
            )
            cells.append(f"{far:.2e} ({copies / (1 if name == 'ours' else num_probes):.1f})")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def print_masses(matrix: Tensor, values: np.ndarray) -> None:
    """Masses at three values, with bounds and errors, beside the true ones."""
    print("\n| mass | true | found | standard error | bounds |\n|---|---:|---:|---:|---:|")
    found = density(MatrixOperator(matrix), **found_pairs(matrix, 0))
    width = near_zero_width(found)
    rows = {
        "near zero": ((np.abs(values) <= width).mean(), mass_near_zero(found)),
        "below zero and not near": ((values < -width).mean(), mass_below(found, -width)),
        "below -1e-6 lambda_max": (
            (values < -1e-6 * values[-1]).mean(),
            mass_below(found, -1e-6 * values[-1]),
        ),
    }
    for name, (true, mass) in rows.items():
        bounds = f"{mass.low:.4f} to {mass.high:.4f}"
        print(f"| {name} | {true:.4f} | {mass.value:.4f} | {mass.standard_error:.4f} | {bounds} |")


def main() -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser(
        description="Trace and density beside the literature's methods."
    )
    parser.add_argument("--seeds", type=int, default=40, help="runs of each method (default 40)")
    arguments = parser.parse_args()
    matrix = trained_hessian(width=32)
    values = np.linalg.eigvalsh(matrix.numpy())
    print(
        f"P = {len(values)}, lambda_max = {values[-1]:.4g}, lambda_min = {values[0]:.4g}, trace = "
        f"{values.sum():.4g}\n"
    )
    print_traces(matrix, arguments.seeds)
    print_densities(matrix, values, max(arguments.seeds // 5, 1))
    print_masses(matrix, values)


if __name__ == "__main__":
    main()
