"""Traps of mixed precision: losses that a torch.amp.GradScaler has scaled."""

from __future__ import annotations

from typing import Any

import torch
from torch.amp.grad_scaler import GradScaler

from landscape.audit.audit_report import TrapResult, not_applicable, passed_if
from landscape.audit.cases import Network
from landscape.audit.contract import Contract
from landscape.audit.distances import are_close, farthest, moved
from landscape.audit.restoring import overflowing

_OPTIONS: dict[str, Any] = {"rho": 0.05, "lr": 0.1, "momentum": 0.9}
_SCALE = 1024.0
_NO_WAY = "step takes no scaler, and there is no place between two steps to unscale once"


def train_with_scaled_losses(contract: Contract) -> TrapResult:
    """A few steps with and without a scaler."""
    if not contract.calling.can_scale:
        return not_applicable(_NO_WAY)
    plain, scaled = (contract.build(Network(dtype=torch.float64), **_OPTIONS) for _ in range(2))
    scaler = GradScaler("cpu", init_scale=_SCALE)
    for _ in range(3):
        scaled.scaled_step(scaler)
    found, expected = scaled.flat(), plain.steps(3)
    measured = f"{farthest(found, expected)} from unscaled losses after 3 steps, {_way(contract)}"
    return passed_if(are_close(found, expected), measured)


def skip_an_overflow(contract: Contract) -> TrapResult:
    """Infinity in the first of the scaled gradients."""
    if not contract.calling.can_scale:
        return not_applicable(_NO_WAY)
    trainee = contract.build(Network(), **_OPTIONS)
    scaler = GradScaler("cpu", init_scale=_SCALE)
    trainee.scaled_step(scaler)
    before = trainee.flat()
    trainee.scaled_step(scaler, overflowing(trainee))
    after, scale = trainee.flat(), scaler.get_scale()
    measured = f"{moved(after, before)}, scale {_SCALE:g} became {scale:g}, {_way(contract)}"
    return passed_if(torch.equal(after, before) and scale < _SCALE, measured)


def _way(contract: Contract) -> str:
    if contract.calling.two_steps is None or contract.calling.scales_by_itself:
        return "by step(closure, scaler=scaler)"
    return f"by unscale_ before {contract.calling.two_steps[1]}()"
