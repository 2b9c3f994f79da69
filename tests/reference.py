"""Dense, slow and obvious: what the fast code is compared with, in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn


def loss_of_vector(model: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """Cross-entropy on all the data as a function of the flat weights, in float64, and the weights."""
    model = copy.deepcopy(model).double().eval()
    names = [name for name, _ in model.named_parameters()]
    shapes = [parameter.shape for parameter in model.parameters()]
    w = torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])

    def loss(vector: Tensor) -> Tensor:
        parts = vector.split([shape.numel() for shape in shapes])
        parameters = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        outputs = torch.func.functional_call(model, parameters, (inputs.double(),))
        return nn.functional.cross_entropy(outputs, targets)

    return loss, w


def dense_hessian(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """The Hessian of the mean cross-entropy, (P, P) float64, by torch.func."""
    loss, w = loss_of_vector(model, inputs, targets)
    return torch.func.hessian(loss)(w).detach()
