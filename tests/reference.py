"""Dense, slow and obvious: what the fast code is compared with, in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def loss_of_vector(
    model: nn.Module, inputs: Tensor, targets: Any, criterion: Any = nn.functional.cross_entropy
) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The criterion on all the data as a function of the flat weights, in float64, and the
    weights."""
    model = copy.deepcopy(model).double().eval()
    names = [name for name, _ in model.named_parameters()]
    shapes = [parameter.shape for parameter in model.parameters()]
    w = torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])

    def loss(vector: Tensor) -> Tensor:
        parts = vector.split([shape.numel() for shape in shapes])
        parameters = {
            name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)
        }
        outputs = torch.func.functional_call(model, parameters, (inputs.double(),))
        return criterion(outputs, targets)

    return loss, w


def dense_hessian(
    model: nn.Module, inputs: Tensor, targets: Any, criterion: Any = nn.functional.cross_entropy
) -> Tensor:
    """The Hessian of the criterion, (P, P) float64, by torch.func."""
    loss, w = loss_of_vector(model, inputs, targets, criterion)
    return torch.func.hessian(loss)(w).detach()


def trust_region_value(matrix: Tensor, linear: Tensor, rho: float) -> float:
    """The maximum of 1/2 e' A e + b' e over ||e|| <= rho, by the secular equation ||(mu - A)^-1 b||
    = rho.

    Source:
        More & Sorensen (1983), "Computing a trust region step".
    """
    values, basis = torch.linalg.eigh(matrix)
    b = basis.T @ linear
    is_top = values > values[-1] - 1e-12
    lowest = max(float(values[-1]), 0.0)

    def solution(mu: float) -> Tensor:
        return torch.where((b == 0) | (mu == values), 0.0, b / (mu - values))

    is_bounded_at_top = float(b[is_top].abs().max()) < 1e-12 or lowest > float(values[-1])
    if is_bounded_at_top:  # inside the ball, or the hard case
        e = torch.where(is_top & (lowest == values[-1]), 0.0, solution(lowest))
        if e.norm() <= rho:
            missing = rho**2 - float(e @ e)
            return float((0.5 * values * e + b) @ e) + 0.5 * lowest * missing
    low, high = lowest, lowest + float(b.norm()) / rho
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if solution(middle).norm() > rho else (low, middle)
    e = solution(high)
    return float((0.5 * values * e + b) @ e)
