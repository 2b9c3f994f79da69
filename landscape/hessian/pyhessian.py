"""The PyHessian package as a reference engine: the only place that imports it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape.errors import InputError
from landscape.execution import autocast, repeatable, twice_differentiable
from landscape.forward import call_model
from landscape.hessian.lanczos import Eigenpairs, require_tolerance
from landscape.hessian.operator import CurvatureOperator
from landscape.problem import Problem
from landscape.reductions import norm


def power_iteration(
    problem: Problem, *, top_k: int, tolerance: float | None = None, max_matvecs: int = 500, seed: int = 0
) -> Eigenpairs:
    """Find eigenvalues with PyHessian 0.1's deflated power iteration, and certify them.

    PyHessian finds the largest eigenvalues by magnitude, in order of discovery, and stops when its
    estimate changes by less than `tolerance`. It runs on a copy of the model; its vectors are then
    sorted, and get Rayleigh quotients and residuals from our own Hessian-vector products.

    Args:
        problem: With batch normalization `stored`; more than one batch needs tensor inputs.
        top_k: Number of eigenvalues.
        tolerance: PyHessian's `tol`; by default what the problem's dtype can meet.
        max_matvecs: Shared evenly between the eigenvalues as PyHessian's `maxIter`.
        seed: Of the start vectors.

    Returns:
        Pairs sorted by value, none at the bottom. `converged` means that every residual is at most
        sqrt(tolerance) |theta|, which a value whose error is of order tolerance satisfies.

    Raises:
        InputError: If the problem is of a kind that PyHessian cannot take.

    Source:
        Yao et al. (2020), PyHessian: Neural Networks Through the Lens of the Hessian.
    """
    if problem.batchnorm != "stored":
        raise InputError(
            f"PyHessian evaluates with stored batch-norm statistics only, got {problem.batchnorm!r}.",
            hint="Pass --bn stored, or --engine lanczos.",
        )
    if not 1 <= top_k <= problem.spec.size:
        raise InputError(f"top-k must be between 1 and the number of parameters {problem.spec.size}, got {top_k}.")
    tolerance = require_tolerance(tolerance, CurvatureOperator(problem).dtype)
    vectors, num_products = _run_pyhessian(problem, top_k, tolerance, max(1, max_matvecs // top_k), seed)
    return _certify(problem, vectors, num_products, tolerance)


def _run_pyhessian(
    problem: Problem, top_k: int, tolerance: float, max_iterations: int, seed: int
) -> tuple[list[Tensor], int]:
    """Return PyHessian's eigenvectors (P,) and the number of products it used."""
    from pyhessian import hessian

    module = _Adapted(problem)
    is_used = _freeze_unused(problem, module)
    criterion = _CountingLoss(problem.criterion)
    with repeatable(problem.device, problem.plan.dtype), twice_differentiable(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using backward\\(\\) with create_graph=True")  # its way, on our copy
        torch.random.manual_seed(seed)
        engine = hessian(module, criterion, cuda=problem.device.type == "cuda", **_as_pyhessian_data(problem))
        before = criterion.num_calls
        found = engine.eigenvalues(maxIter=max_iterations, tol=tolerance, top_n=top_k)[1]
    num_products = (criterion.num_calls - before) // len(problem.batches)
    return [_restore_unused(problem, parts, is_used) for parts in found], num_products


def _as_pyhessian_data(problem: Problem) -> dict[str, Any]:
    if any(not isinstance(inputs, Tensor) for inputs, _ in problem.batches):
        raise InputError("PyHessian takes inputs that are one tensor, these are not.", hint="Pass --engine lanczos.")
    return {"dataloader": problem.batches}


class _Adapted(nn.Module):
    """The model, called as the problem calls it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.inner = problem.copy_module()
        self._plan = problem.plan

    def forward(self, inputs: Any) -> Any:
        with autocast(self._plan):
            return call_model(self.inner, inputs)


class _CountingLoss:
    """A loss that counts its calls: PyHessian makes one a batch and product."""

    def __init__(self, loss: Any) -> None:
        self._loss = loss
        self.num_calls = 0

    def __call__(self, outputs: Any, targets: Any) -> Tensor:
        self.num_calls += 1
        return self._loss(outputs, targets)


def _freeze_unused(problem: Problem, module: nn.Module) -> list[bool]:
    """Freeze parameters with a constant gradient, on which PyHessian fails; say which ones are used."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    inputs, targets = problem.batches[0]
    with twice_differentiable():
        loss = problem.criterion(module(inputs), targets)
        gradients = torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True)
    is_used = [gradient is not None and gradient.requires_grad for gradient in gradients]
    for parameter, used in zip(parameters, is_used, strict=True):
        parameter.requires_grad_(used)
    return is_used


def _restore_unused(problem: Problem, parts: list[Tensor], is_used: list[bool]) -> Tensor:
    """Return a flat vector (P,) with zeros for the frozen parameters."""
    found = iter(parts)
    shapes = [weight.shape for weight in problem.spec.weights]
    full = [
        next(found).detach() if used else torch.zeros(shape, device=problem.device, dtype=problem.dtype)
        for shape, used in zip(shapes, is_used, strict=True)
    ]
    return problem.spec.flatten(full)


def _certify(problem: Problem, vectors: list[Tensor], num_products: int, tolerance: float) -> Eigenpairs:
    pairs = []
    for vector in vectors:
        unit = vector.double() / norm(vector)
        product = problem.hessian_vector_product(unit)
        value = float(unit @ product)
        pairs.append((value, norm(product - value * unit), unit))
    pairs.sort(key=lambda pair: -pair[0])
    values, residuals, units = zip(*pairs, strict=True)
    return Eigenpairs(
        top=np.array(values),
        top_residuals=np.array(residuals),
        bottom=np.array([]),
        bottom_residuals=np.array([]),
        vectors=torch.stack(units),
        num_matvecs=num_products + len(vectors),
        converged=all(r <= tolerance**0.5 * abs(v) for v, r in zip(values, residuals, strict=True)),
        tolerance=tolerance,
        floor=0.0,
    )
