"""Traps of everything around a step: saving, copying, schedules and new parameters."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import LambdaLR

from landscape.audit.audit_report import TrapResult, not_applicable, passed_if
from landscape.audit.cases import Network, Quadratic
from landscape.audit.contract import Contract
from landscape.audit.trainee import TWO_STEPS, Raised, Trainee, are_close, attempt, farthest, moved

_BASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "SGD with momentum": (SGD, {"lr": 0.1, "momentum": 0.9}),
    "Adam": (Adam, {"lr": 0.01}),
}
_SGD = {"rho": 0.05, "lr": 0.1, "momentum": 0.9}


def resume_exactly(contract: Contract) -> TrapResult:
    """Saving after 10 steps and going on for 5."""
    differences = {}
    for name, (base, options) in _BASES.items():
        if name == "Adam" and not contract.has_base:
            continue
        first, second = (
            contract.build(Network(), base=base, rho=0.05, **options) for _ in range(2)
        )
        first.steps(10)
        saved = copy.deepcopy((first.model.state_dict(), first.holder.state_dict()))
        second.model.load_state_dict(saved[0])
        second.holder.load_state_dict(saved[1])
        expected, found = first.steps(5), second.steps(5)
        differences[name] = (torch.equal(found, expected), farthest(found, expected))
    measured = "; ".join(
        f"{name}: {difference} apart" for name, (_, difference) in differences.items()
    )
    return passed_if(
        all(is_equal for is_equal, _ in differences.values()), f"{measured}, 5 steps after loading"
    )


def store_nothing_twice(contract: Contract) -> TrapResult:
    """Check that a state_dict stores no tensor twice, and no copy of the weights.

    The weights are those that the last step saw.
    """
    trainee = contract.build(Network(), **_SGD)
    trainee.steps(2)
    weights: list[Tensor] = []
    trainee.step(
        lambda _number: weights.extend(w.detach().clone() for w in trainee.model.parameters())
    )
    weights += [w.detach().clone() for w in trainee.model.parameters()]
    stored = [tensor for tensor in _tensors(trainee.holder.state_dict()) if tensor.numel() > 1]
    copies = sum(any(_are_same(tensor, w) for w in weights) for tensor in stored)
    twice = sum(_are_same(first, second) for first, second in combinations(stored, 2))
    return passed_if(
        not copies and not twice,
        f"{len(stored)} tensors: {copies} copies of weights, {twice} held twice",
    )


def keep_the_base_in_a_copy(contract: Contract) -> TrapResult:
    """copy.deepcopy of model and optimizer."""
    return _duplicate(contract, copy.deepcopy)


def keep_the_base_in_a_pickle(contract: Contract) -> TrapResult:
    """Model and optimizer through pickle."""
    return _duplicate(contract, lambda objects: pickle.loads(pickle.dumps(objects)))


def follow_a_schedule(contract: Contract) -> TrapResult:
    """A schedule that sets the learning rate to 0 after the first step."""
    trainee = contract.build(Network(), rho=0.05, lr=0.1)
    start = trainee.flat()
    scheduler = _one_step_schedule(trainee)
    first = trainee.steps(1)
    scheduler.step()
    second = trainee.steps(1)
    measured = f"{moved(first, start)} at the first rate; {moved(second, first)} at 0"
    return passed_if(are_close(first, second) and not are_close(first, start), measured)


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
    if not hasattr(contract.build(late, **_SGD).optimizer, "add_param_group"):
        return not_applicable("it has no add_param_group")
    reference = attempt(
        lambda: contract.build(early, [{"params": [w]} for w in early.parts], **_SGD)
    )
    if isinstance(reference, Raised):
        return not_applicable(f"it refuses groups: {reference.summary}")
    trainee = contract.build(late, [{"params": [late.parts[0]]}], **_SGD)
    trainee.optimizer.add_param_group({"params": [late.parts[1]]})
    expected, found = reference.steps(3), trainee.steps(3)
    return passed_if(
        torch.equal(found, expected), f"{farthest(found, expected)} from a group given at the start"
    )


def _warns(contract: Contract, way: str) -> bool:
    trainee = contract.build(Network(), rho=0.05, lr=0.1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scheduler = _one_step_schedule(trainee)
        trainee.step(way=way)
        scheduler.step()
    return any("lr_scheduler" in str(warning.message) for warning in caught)


def _duplicate(contract: Contract, duplicate: Callable[[Any], Any]) -> TrapResult:
    trainee = contract.build(Network(), **_SGD)
    trainee.steps(2)
    other = Trainee(trainee.calling, *duplicate((trainee.model, trainee.optimizer, trainee.base)))
    expected, found = trainee.steps(3), other.steps(3)
    return passed_if(
        torch.equal(found, expected), f"{farthest(found, expected)} apart, 3 steps later"
    )


def _one_step_schedule(trainee: Trainee) -> LambdaLR:
    return LambdaLR(trainee.holder, lambda epoch: float(epoch == 0))


def _tensors(state: Any) -> Iterator[Tensor]:
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, Mapping):
        for value in state.values():
            yield from _tensors(value)
    elif isinstance(state, list | tuple):
        for value in state:
            yield from _tensors(value)


def _are_same(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and torch.equal(first, second)
