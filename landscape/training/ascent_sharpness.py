"""The standardized sharpness of a model in training, on a fixed part of its training set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from landscape.optim.sam import SAM
from landscape.problem.batches import Data
from landscape.problem.problem import Problem
from landscape.sharpness import measure_sharpness


def euclidean_radius(optimizer: Optimizer, rho: float) -> float:
    """Return the radius of the sharpness: SAM's if it is usable, and otherwise `rho`.

    SAM's radius is usable if its ball is a single Euclidean ball and not a point.

    Args:
        optimizer: SAM or any other.
        rho: A radius.
    """
    groups = optimizer.param_groups if isinstance(optimizer, SAM) else []
    balls = {(group["rho"], group["p"], group["adaptive"]) for group in groups}
    radius, p, is_adaptive = balls.pop() if len(balls) == 1 else (rho, 2, False)
    return radius if p == 2 and not is_adaptive and radius else rho


def ascent_sharpness(
    module: nn.Module,
    data: Data,
    criterion: Callable[[Any, Any], Any],
    rho: float,
    *,
    batch_size: int,
    device: torch.device,
) -> float:
    """Return L^Asc - L of a module as it is, in evaluation mode and in float32 or float64.

    It is computed in float64 if that is the module's dtype, and in float32 otherwise.

    Args:
        module: Left as it is.
        data: What L is the mean over.
        criterion: Batch mean of the loss.
        rho: Radius.
        batch_size: Examples a pass.
        device: Of module and data.

    Source:
        S001 Table 1 and section 4.1.
    """
    is_double = next(module.parameters()).dtype == torch.float64
    dtype = "float64" if is_double else "float32"
    problem = Problem(
        module, data, criterion, device=str(device), dtype=dtype, batch_size=batch_size
    )
    return measure_sharpness(problem, [rho], measures=("asc",)).measures[0].sharpness
