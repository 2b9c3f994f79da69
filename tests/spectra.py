"""Spectra of trained networks, and other ways to a trace, as their papers have them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from landscape import Problem
from landscape.data.digits import digits
from landscape.models import build_model


@cache
def trained_hessian(*, width: int = 32, num_steps: int = 300, noise: float = 0.1) -> Tensor:
    """The Hessian (P, P), float64, of a tanh network of one hidden layer trained on digits, some
    mislabelled."""
    (inputs, targets), _ = digits()
    generator = torch.Generator().manual_seed(1)
    is_noisy = torch.rand(len(inputs), generator=generator) < noise
    targets = torch.where(is_noisy, torch.randint(10, targets.shape, generator=generator), targets)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model("mlp", width=width, depth=1, activation="tanh")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    for _ in range(num_steps):
        batch = torch.randint(len(inputs), (128,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs[batch]), targets[batch]).backward()
        optimizer.step()
    problem = Problem(model, (inputs, targets), device="cpu", dtype="float64")
    rows = [
        problem.hessian_vector_product(row)
        for row in torch.eye(problem.spec.size, dtype=torch.float64)
    ]
    matrix = torch.stack(rows)
    return (matrix + matrix.T) / 2


@dataclass
class Space:
    """An orthonormal basis (m, P) and the operator projected on it."""

    basis: Tensor
    projected: np.ndarray

    @property
    def size(self) -> int:
        return len(self.basis)

    def remove(self, v: Tensor) -> Tensor:
        for _ in range(2):
            v = v - self.basis.T @ (self.basis @ v)
        return v


def krylov_space(operator, size: int, seed: int = 0) -> Space:
    """Orthonormalise q, A q, A^2 q, ..., one product each."""
    v = torch.randn(
        operator.size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    space, products = (
        Space(torch.empty(0, operator.size, dtype=torch.float64), np.empty((0, 0))),
        [],
    )
    for _ in range(size):
        v = space.remove(v)
        space.basis = torch.vstack([space.basis, v / v.norm()])
        v = operator.matvec(space.basis[-1])
        products.append(v)
    space.projected = (space.basis @ torch.stack(products).T).numpy()
    return space


def random_signs(rows: int, columns: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(2, (rows, columns), generator=generator).double() * 2 - 1


def hutchinson(matrix: Tensor, number: int, seed: int) -> float:
    signs = random_signs(len(matrix), number, seed)
    return float((signs * (matrix @ signs)).sum() / number)


def hutch_plus_plus(matrix: Tensor, number: int, seed: int) -> float:
    """Meyer, Musco, Musco & Woodruff (2021), algorithm 1: a third each for sketch, its products and
    the rest."""
    third = number // 3
    signs = random_signs(len(matrix), number - third, seed)
    basis, _ = torch.linalg.qr(matrix @ signs[:, :third])
    rest = signs[:, third : number - third]
    rest = rest - basis @ (basis.T @ rest)
    return float((basis * (matrix @ basis)).sum() + (rest * (matrix @ rest)).sum() / rest.shape[1])


def xtrace(matrix: Tensor, number: int, seed: int, *, is_normalized: bool = True) -> float:
    """Epperly, Tropp & Webber (2024), section 2.1; with random signs, or normalized to the sphere
    of the complement."""
    size, half = len(matrix), number // 2
    tests = random_signs(size, half, seed)
    if is_normalized:
        tests = torch.randn(
            size, half, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
        )
        tests *= size**0.5 / tests.norm(dim=0)
    images = matrix @ tests
    basis, triangle = torch.linalg.qr(images)
    left_out = torch.linalg.inv(triangle).T
    left_out = left_out / left_out.norm(
        dim=0
    )  # column i: what the basis loses without test vector i
    basis_images, estimates = matrix @ basis, []
    projected = basis.T @ basis_images
    for i in range(half):
        s, inside = left_out[:, i], basis.T @ tests[:, i]
        inside = inside - s * (s @ inside)
        rest, rest_image = tests[:, i] - basis @ inside, images[:, i] - basis_images @ inside
        scale = (size - half + 1) / (rest @ rest) if is_normalized else 1.0
        estimates.append(projected.trace() - s @ projected @ s + scale * (rest @ rest_image))
    return float(torch.stack(estimates).mean())
