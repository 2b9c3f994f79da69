"""Traps of the two passes: what they share, and that there are two."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD

from landscape.audit.audit_report import TrapResult, not_applicable, passed_if
from landscape.audit.cases import Network, Quadratic, RecordedDropout, RunningCenter
from landscape.audit.closed_forms import RHO, quadratic_steps
from landscape.audit.contract import Contract
from landscape.audit.trainee import CLOSURE, TWO_STEPS, Raised, are_close, attempt, farthest, moved

_OPTIONS: dict[str, Any] = {"rho": 0.05, "lr": 0.1}
# Of a loss near 1, in float64.
_TOLERANCE = 1e-9


def move_batchnorm_statistics_once(contract: Contract) -> TrapResult:
    """The running mean and variance of torch's own layer."""
    return _move_once(contract, nn.BatchNorm1d(8), ["running_mean", "running_var"])


def move_other_buffers_once(contract: Contract) -> TrapResult:
    """Buffers that no list of layer classes knows."""
    return _move_once(
        contract,
        nn.Sequential(nn.BatchNorm1d(8), RunningCenter()),
        ["num_batches_tracked", "1.mean", "num_passes"],
    )


def drop_the_same_features(contract: Contract) -> TrapResult:
    """The masks of dropout in both passes."""
    dropout = RecordedDropout()
    contract.build(Network(dropout), **_OPTIONS).step()
    first, second = dropout.masks[0], dropout.masks[-1]
    share = float((first != second).double().mean())
    return passed_if(
        len(dropout.masks) > 1 and share == 0,
        f"{100 * share:.0f} % of the mask differs in the second pass",
    )


def train_sam_with_a_closure_alone(contract: Contract) -> TrapResult:
    """step(closure) after zero_grad(), as torch.optim.LBFGS and training frameworks call it."""
    if not contract.calling.takes_closure:
        return not_applicable("it has no step(closure)")
    trainee = contract.build(Quadratic(), rho=RHO, lr=0.1)
    before = trainee.flat()
    raised = attempt(lambda: [trainee.step(way=CLOSURE) for _ in range(3)])
    after = trainee.flat()
    if isinstance(raised, Raised):
        return passed_if(
            torch.equal(after, before), f"refused: {raised.summary}; {moved(after, before)}"
        )
    plain = quadratic_steps(SGD, {"lr": 0.1}, torch.zeros_like, 3)
    is_plain = are_close(after, plain)
    measured = (
        f"{farthest(after, plain)} from plain SGD after 3 steps, {farthest(after, before)} from "
        "the start"
    )
    return passed_if(not is_plain and not torch.equal(after, before), measured)


def return_the_loss(contract: Contract) -> TrapResult:
    """What step(closure) returns."""
    if contract.calling.way == TWO_STEPS:
        return not_applicable("it has no step(closure)")
    trainee = contract.build(Quadratic(), rho=RHO, lr=0.1)
    expected = float(trainee.model.loss())
    returned = trainee.step()
    if not isinstance(returned, Tensor | float):
        return passed_if(False, f"returned {returned!r}, the loss is {expected:.4g}")
    return passed_if(
        abs(float(returned) - expected) < _TOLERANCE,
        f"returned {float(returned):.4g}, the loss is {expected:.4g}",
    )


def _move_once(contract: Contract, layer: nn.Module, names: list[str]) -> TrapResult:
    model = Network(layer)
    reference = copy.deepcopy(model)
    reference.loss()
    contract.build(model, **_OPTIONS).step()
    pairs = zip(model.named_buffers(), reference.buffers(), strict=True)
    watched = [(name, a, b) for (name, a), b in pairs if name.endswith(tuple(names))]
    wrong = [name.removeprefix("layers.1.") for name, a, b in watched if not torch.equal(a, b)]
    switched = ", with its own switch of the statistics" if contract.calling.switches else ""
    told = (
        f"{', '.join(wrong)} not as after one pass"
        if wrong
        else f"{', '.join(names)} as after one pass"
    )
    return passed_if(not wrong, told + switched)
