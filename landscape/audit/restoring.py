"""Traps of the way back: after every step the weights are where the base optimizer expects them.

With an overflow too, and with losses that a torch.amp.GradScaler has scaled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.amp.grad_scaler import GradScaler

from landscape.audit.audit_report import TrapResult, not_applicable, passed_if
from landscape.audit.cases import START, Branches, Network, Quadratic
from landscape.audit.contract import Contract
from landscape.audit.trainee import TWO_STEPS, Trainee, Watch, are_close, farthest, moved

_NUM_STEPS = 1000
_SCALE = 1024.0
_NO_WAY = "step takes no scaler, and there is no place between two steps to unscale once"
_OPTIONS: dict[str, Any] = {"rho": 0.05, "lr": 0.1, "momentum": 0.9}


class _Stopped(RuntimeError):
    """Raised in a pass, as a data loader's worker may."""


class _Interrupted(KeyboardInterrupt):
    """Raised in a pass, as by Ctrl-C."""


def restore_exactly(contract: Contract) -> TrapResult:
    """Many steps with a learning rate of 0."""
    trainee = contract.build(Network(), rho=0.05, lr=0.0)
    before = trainee.flat()
    after = trainee.steps(_NUM_STEPS)
    return passed_if(
        torch.equal(after, before), f"{moved(after, before)} in {_NUM_STEPS} steps at lr 0"
    )


def keep_the_storage(contract: Contract) -> TrapResult:
    """The memory that the weights are in, before and after every step."""
    model = Network()
    trainee = contract.build(model, **_OPTIONS)
    places = [w.data_ptr() for w in model.parameters()]
    moved = 0
    for _ in range(3):
        trainee.step()
        moved = max(
            moved,
            sum(w.data_ptr() != place for w, place in zip(model.parameters(), places, strict=True)),
        )
    return passed_if(
        moved == 0, f"{moved} of {len(places)} tensors were in other memory after a step"
    )


def bear_no_gradient_in_the_first_pass(contract: Contract) -> TrapResult:
    """A weight that takes part in the second pass only."""
    return _return_with_a_branch_skipped(contract, 0)


def bear_no_gradient_in_the_second_pass(contract: Contract) -> TrapResult:
    """A weight that takes part in the first pass only."""
    return _return_with_a_branch_skipped(contract, 1)


def survive_an_exception(contract: Contract) -> TrapResult:
    """An exception, and Ctrl-C, in the second pass."""
    if contract.calling.way == TWO_STEPS:
        return not_applicable("the caller does the second pass, and has to restore the weights")
    lost = {
        name: _lost(contract, error)
        for name, error in (("exception", _Stopped), ("Ctrl-C", _Interrupted))
    }
    measured = ", ".join(
        f"{name}: weights moved by {distance:.2g}" for name, distance in lost.items()
    )
    return passed_if(not any(lost.values()), measured)


def skip_a_gradient_that_is_not_finite(contract: Contract) -> TrapResult:
    """Infinity in the first gradient, as after an overflow."""
    trainee = contract.build(Network(), **_OPTIONS)
    before = trainee.steps(1)
    trainee.step(overflowing(trainee))
    after = trainee.flat()
    later = trainee.steps(1)
    measured = f"{moved(after, before)}; a step later {moved(later, after)}"
    return passed_if(torch.equal(after, before) and bool(later.isfinite().all()), measured)


def bear_a_zero_gradient(contract: Contract) -> TrapResult:
    """A step at a stationary point."""
    trainee = contract.build(Quadratic(start=torch.zeros_like(START)), rho=0.05, lr=0.1)
    after = trainee.steps(1)
    return passed_if(
        not after.any(),
        f"weights at {', '.join(f'{w:.2g}' for w in after.tolist())} after a step from 0",
    )


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


def overflowing(trainee: Trainee) -> Watch:
    """Return what puts infinity into the first gradient of the first pass."""

    def overflow(number: int) -> None:
        gradient = next(trainee.model.parameters()).grad
        if number == 0 and gradient is not None:
            gradient.view(-1)[0] = torch.inf

    return overflow


def _return_with_a_branch_skipped(contract: Contract, skipped: int) -> TrapResult:
    trainee = contract.build(Branches(skipped), rho=0.05, lr=0.0)
    before = trainee.flat()
    after = trainee.steps(2)
    return passed_if(are_close(after, before), f"{moved(after, before)} at lr 0")


def _lost(contract: Contract, error: Callable[[], BaseException]) -> float:
    """Return how far an exception in the second pass moves the weights; infinity if swallowed."""
    trainee = contract.build(Network(), **_OPTIONS)
    before = trainee.steps(1)

    def fail(number: int) -> None:
        if number == 1:
            raise error()

    try:
        trainee.step(fail)
    except (_Stopped, _Interrupted):
        return float((trainee.flat() - before).abs().max())
    return torch.inf


def _way(contract: Contract) -> str:
    if contract.calling.two_steps is None or contract.calling.scales_by_itself:
        return "by step(closure, scaler=scaler)"
    return f"by unscale_ before {contract.calling.two_steps[1]}()"
