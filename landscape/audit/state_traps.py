"""Traps of what a step leaves behind: weights where the base expects them, and the base's state.

With an overflow too, with losses that a torch.amp.GradScaler has scaled, and through saving,
copying, schedules and new parameters.
"""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import LambdaLR

from landscape.audit.contract import Contract
from landscape.audit.trainee import (
    START,
    TWO_STEPS,
    Branches,
    Network,
    Quadratic,
    Raised,
    Trainee,
    TrapResult,
    Watch,
    are_close,
    attempt,
    farthest,
    moved,
    not_applicable,
    passed_if,
    passed_if_agreed,
)
from landscape.problem.batches import tensors_in

_NUM_STEPS = 1000
_SCALE = 1024.0
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
    trainee = contract.build(Network(), **_OPTIONS)
    places = {w: w.data_ptr() for w in trainee.model.parameters()}
    num_moved = 0
    for _ in range(3):
        trainee.step()
        num_moved = max(num_moved, sum(w.data_ptr() != place for w, place in places.items()))
    return passed_if(
        num_moved == 0, f"{num_moved} of {len(places)} tensors were in other memory after a step"
    )


def return_with_a_branch_skipped(contract: Contract, skipped: int) -> TrapResult:
    """A weight that takes no part in the pass of this number."""
    trainee = contract.build(Branches(skipped), rho=0.05, lr=0.0)
    before = trainee.flat()
    after = trainee.steps(2)
    return passed_if(are_close(after, before), f"{moved(after, before)} at lr 0")


def survive_an_exception(contract: Contract) -> TrapResult:
    """An exception, and Ctrl-C, in the second pass."""
    errors = {"exception": _Stopped, "Ctrl-C": _Interrupted}
    lost = {name: _lost(contract, error) for name, error in errors.items()}
    return passed_if(
        not any(lost.values()),
        ", ".join(f"{name}: weights moved by {distance:.2g}" for name, distance in lost.items()),
    )


def skip_a_gradient_that_is_not_finite(contract: Contract) -> TrapResult:
    """Infinity in the first gradient, as after an overflow."""
    trainee = contract.build(Network(), **_OPTIONS)
    before = trainee.steps(1)
    trainee.step(_overflowing(trainee))
    after = trainee.flat()
    later = trainee.steps(1)
    return passed_if(
        torch.equal(after, before) and bool(later.isfinite().all()),
        f"{moved(after, before)}; a step later {moved(later, after)}",
    )


def bear_a_zero_gradient(contract: Contract) -> TrapResult:
    """A step at a stationary point."""
    model = Quadratic(start=torch.zeros_like(START))
    after = contract.build(model, rho=0.05, lr=0.1).steps(1)
    return passed_if(
        not after.any(),
        f"weights at {', '.join(f'{w:.2g}' for w in after.tolist())} after a step from 0",
    )


def train_with_scaled_losses(contract: Contract) -> TrapResult:
    """A few steps with and without a scaler."""
    plain, scaled = (contract.build(Network(dtype=torch.float64), **_OPTIONS) for _ in range(2))
    scaler = GradScaler("cpu", init_scale=_SCALE)
    for _ in range(3):
        scaled.step(scaler=scaler)
    measured = f"from unscaled losses after 3 steps, {_way(contract)}"
    return passed_if_agreed(scaled.flat(), plain.steps(3), measured, holds=are_close)


def skip_an_overflow(contract: Contract) -> TrapResult:
    """Infinity in the first of the scaled gradients."""
    trainee = contract.build(Network(), **_OPTIONS)
    scaler = GradScaler("cpu", init_scale=_SCALE)
    trainee.step(scaler=scaler)
    before = trainee.flat()
    trainee.step(_overflowing(trainee), scaler=scaler)
    after, scale = trainee.flat(), scaler.get_scale()
    return passed_if(
        torch.equal(after, before) and scale < _SCALE,
        f"{moved(after, before)}, scale {_SCALE:g} became {scale:g}, {_way(contract)}",
    )


def resume_exactly(contract: Contract) -> TrapResult:
    """Saving after 10 steps and going on for 5."""
    bases: dict[str, tuple[Any, dict[str, Any]]] = {
        "SGD with momentum": (SGD, {"lr": 0.1, "momentum": 0.9})
    }
    if contract.has_base:
        bases["Adam"] = (Adam, {"lr": 0.01})
    differences = {}
    for name, (base, options) in bases.items():
        first, second = (
            contract.build(Network(), base=base, rho=0.05, **options) for _ in range(2)
        )
        first.steps(10)
        saved = copy.deepcopy((first.model.state_dict(), first.holder.state_dict()))
        second.model.load_state_dict(saved[0])
        second.holder.load_state_dict(saved[1])
        expected, found = first.steps(5), second.steps(5)
        differences[name] = (torch.equal(found, expected), farthest(found, expected))
    measured = "; ".join(f"{name}: {apart} apart" for name, (_, apart) in differences.items())
    return passed_if(
        all(is_equal for is_equal, _ in differences.values()), f"{measured}, 5 steps after loading"
    )


def store_nothing_twice(contract: Contract) -> TrapResult:
    """Check that a state_dict stores no tensor twice, and no copy of the weights.

    The weights are those that the last step saw.
    """
    trainee = contract.build(Network(), **_OPTIONS)
    trainee.steps(2)
    weights: list[Tensor] = []
    trainee.step(
        lambda _number: weights.extend(w.detach().clone() for w in trainee.model.parameters())
    )
    weights += [w.detach().clone() for w in trainee.model.parameters()]
    stored = [t for t in tensors_in(trainee.holder.state_dict()) if t.numel() > 1]
    copies = sum(any(torch.equal(tensor, w) for w in weights) for tensor in stored)
    twice = sum(torch.equal(first, second) for first, second in combinations(stored, 2))
    return passed_if(
        not copies and not twice,
        f"{len(stored)} tensors: {copies} copies of weights, {twice} held twice",
    )


def keep_the_base_in_a_duplicate(contract: Contract, duplicate: Callable[[Any], Any]) -> TrapResult:
    """A copy of model and optimizer."""
    trainee = contract.build(Network(), **_OPTIONS)
    trainee.steps(2)
    other = Trainee(trainee.calling, *duplicate((trainee.model, trainee.optimizer, trainee.base)))
    return passed_if_agreed(other.steps(3), trainee.steps(3), "apart, 3 steps later")


def through_a_pickle(objects: Any) -> Any:
    """Return what comes out of a pickle of some objects."""
    return pickle.loads(pickle.dumps(objects))


def follow_a_schedule(contract: Contract) -> TrapResult:
    """A schedule that sets the learning rate to 0 after the first step."""
    trainee = contract.build(Network(), rho=0.05, lr=0.1)
    start = trainee.flat()
    scheduler = _one_step_schedule(trainee)
    first = trainee.steps(1)
    scheduler.step()
    second = trainee.steps(1)
    return passed_if(
        are_close(first, second) and not are_close(first, start),
        f"{moved(first, start)} at the first rate; {moved(second, first)} at 0",
    )


def warn_of_no_missing_step(contract: Contract) -> TrapResult:
    """Warnings of a scheduler that is called in the right order, with every way of doing a step."""
    ways = [contract.calling.way, *([TWO_STEPS] if contract.calling.two_steps else [])]
    warned = [
        str(replace(contract.calling, way=way))
        for way in dict.fromkeys(ways)
        if _warns(contract, way)
    ]
    return passed_if(
        not warned, f"a warning after {' and after '.join(warned)}" if warned else "no warning"
    )


def train_a_new_group(contract: Contract) -> TrapResult:
    """A group of parameters that comes later, beside one that was there from the start."""
    late, early = (Quadratic(sizes=(2, 1)) for _ in range(2))
    if not hasattr(contract.build(late, **_OPTIONS).optimizer, "add_param_group"):
        return not_applicable("it has no add_param_group")
    reference = attempt(
        lambda: contract.build(early, [{"params": [w]} for w in early.parts], **_OPTIONS)
    )
    if isinstance(reference, Raised):
        return not_applicable(f"it refuses groups: {reference.summary}")
    trainee = contract.build(late, [{"params": [late.parts[0]]}], **_OPTIONS)
    trainee.optimizer.add_param_group({"params": [late.parts[1]]})
    measured = "from a group given at the start"
    return passed_if_agreed(trainee.steps(3), reference.steps(3), measured)


def _overflowing(trainee: Trainee) -> Watch:
    """Return what puts infinity into the first gradient of the first pass."""

    def overflow(number: int) -> None:
        gradient = next(trainee.model.parameters()).grad
        if number == 0 and gradient is not None:
            gradient.view(-1)[0] = torch.inf

    return overflow


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
    if contract.calling.two_steps is None or contract.calling.takes_scaler:
        return "by step(closure, scaler=scaler)"
    return f"by unscale_ before {contract.calling.two_steps[1]}()"


def _warns(contract: Contract, way: str) -> bool:
    trainee = contract.build(Network(), rho=0.05, lr=0.1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scheduler = _one_step_schedule(trainee)
        trainee.step(way=way)
        scheduler.step()
    return any("lr_scheduler" in str(warning.message) for warning in caught)


def _one_step_schedule(trainee: Trainee) -> LambdaLR:
    return LambdaLR(trainee.holder, lambda epoch: float(epoch == 0))
