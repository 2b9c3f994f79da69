"""Traps of a step: what it computes, and what its passes share.

What it computes is tried on a quadratic, whose gradients anyone can write down.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from landscape.ascent.steepest import ascend
from landscape.audit.contract import Contract
from landscape.audit.trainee import (
    CLOSURE,
    MATRIX,
    PASSED,
    START,
    Calling,
    Network,
    Quadratic,
    Raised,
    RecordedDropout,
    Trainee,
    TrapResult,
    are_close,
    attempt,
    farthest,
    moved,
    not_applicable,
    passed_if,
    passed_if_agreed,
)

RHO = 0.3
_NUM_STEPS = 10
# Of a loss near 1, in float64.
_TOLERANCE = 1e-9


def follow_the_closed_form(
    contract: Contract, base: type[Optimizer], options: dict[str, Any]
) -> TrapResult:
    """SAM on a quadratic, around a base optimizer."""
    expected = _quadratic_steps(base, options, lambda g: RHO * g / g.norm(), _NUM_STEPS)
    plain = _quadratic_steps(base, options, torch.zeros_like, _NUM_STEPS)
    found = contract.build(Quadratic(), base=base, rho=RHO, **options).steps(_NUM_STEPS)
    return passed_if(
        are_close(found, expected),
        f"{farthest(found, expected)} from the closed form, {farthest(found, plain)} from the "
        f"base, after {_NUM_STEPS} steps",
    )


def follow_the_adaptive_closed_form(contract: Contract) -> TrapResult:
    """The perturbation of the adaptive ball."""
    options = {"eta": 0.02} if contract.takes("eta") else {}
    scaling = [START.abs() + options.get("eta", 0.0)]
    return _perturb(contract, {"adaptive": True, **options}, {"scaling": scaling})


def follow_the_closed_form_in_other_norms(contract: Contract) -> TrapResult:
    """The perturbations of balls in other norms."""
    results = {p: _perturb(contract, {"p": p}, {"p": p}) for p in (1.0, 1.5, math.inf)}
    return passed_if(
        all(each.result == PASSED for each in results.values()),
        "; ".join(f"p = {p:g}: {each.measured}" for p, each in results.items()),
    )


def equal_the_base_at_radius_zero(contract: Contract) -> TrapResult:
    """Radius zero, which a sweep over radii begins with."""
    options: dict[str, Any] = {"lr": 0.1, "momentum": 0.9}
    trainee = attempt(lambda: contract.build(Network(), rho=0.0, **options))
    if isinstance(trainee, Raised):
        return passed_if(True, f"refused: {trainee.summary}")
    model = Network()
    plain = Trainee(Calling(), model, SGD(model.parameters(), **options))
    return passed_if_agreed(trainee.steps(5), plain.steps(5), "from SGD after 5 steps")


def mean_one_ball_or_a_ball_per_group(contract: Contract) -> TrapResult:
    """Two parameter groups with a radius each."""
    model, radii = Quadratic(sizes=(2, 1)), (0.05, 0.5)
    groups = [{"params": [w], "rho": radius} for w, radius in zip(model.parts, radii, strict=True)]
    trainee = attempt(lambda: contract.build(model, groups, rho=radii[0], lr=0.1))
    if isinstance(trainee, Raised):
        return not_applicable(f"it refuses groups: {trainee.summary}")
    seen = trainee.trace()
    move = seen[1] - seen[0]
    sizes = [float(part.norm()) for part in move.split([2, 1])]
    size = float(move.norm())
    is_close = partial(math.isclose, rel_tol=1e-6)
    meanings = {
        "a ball per group": all(map(is_close, sizes, radii)),
        "one ball": any(is_close(size, radius) for radius in radii),
    }
    meaning = next((name for name, holds in meanings.items() if holds), "neither")
    return passed_if(
        any(meanings.values()),
        f"{meaning}: moves of {sizes[0]:.3g} and {sizes[1]:.3g}, {size:.3g} in all, for radii of "
        ".05 and .5",
    )


def move_once(contract: Contract, layer: nn.Module, names: list[str]) -> TrapResult:
    """The buffers of these names in a layer, of torch's own or of no list of layer classes."""
    model = Network(copy.deepcopy(layer))
    reference = copy.deepcopy(model)
    reference.loss()
    contract.build(model, rho=0.05, lr=0.1).step()
    pairs = zip(model.named_buffers(), reference.buffers(), strict=True)
    wrong = [
        name.removeprefix("layers.1.")
        for (name, found), expected in pairs
        if name.endswith(tuple(names)) and not torch.equal(found, expected)
    ]
    switched = ", with its own switch of the statistics" if contract.calling.switches else ""
    no = "not " if wrong else ""
    return passed_if(not wrong, f"{', '.join(wrong or names)} {no}as after one pass{switched}")


def drop_the_same_features(contract: Contract) -> TrapResult:
    """The masks of dropout in both passes."""
    dropout = RecordedDropout()
    contract.build(Network(dropout), rho=0.05, lr=0.1).step()
    share = float((dropout.masks[0] != dropout.masks[-1]).double().mean())
    return passed_if(
        len(dropout.masks) > 1 and share == 0,
        f"{100 * share:.0f} % of the mask differs in the second pass",
    )


def train_sam_with_a_closure_alone(contract: Contract) -> TrapResult:
    """step(closure) after zero_grad(), as torch.optim.LBFGS and training frameworks call it."""
    trainee = contract.build(Quadratic(), rho=RHO, lr=0.1)
    before = trainee.flat()
    raised = attempt(lambda: [trainee.step(way=CLOSURE) for _ in range(3)])
    after = trainee.flat()
    is_still = torch.equal(after, before)
    if isinstance(raised, Raised):
        return passed_if(is_still, f"refused: {raised.summary}; {moved(after, before)}")
    plain = _quadratic_steps(SGD, {"lr": 0.1}, torch.zeros_like, 3)
    return passed_if(
        not are_close(after, plain) and not is_still,
        f"{farthest(after, plain)} from plain SGD after 3 steps, {farthest(after, before)} from "
        "the start",
    )


def return_the_loss(contract: Contract) -> TrapResult:
    """What step(closure) returns."""
    trainee = contract.build(Quadratic(), rho=RHO, lr=0.1)
    expected = float(trainee.model.loss())
    returned = trainee.step()
    if not isinstance(returned, Tensor | float):
        return passed_if(False, f"returned {returned!r}, the loss is {expected:.4g}")
    return passed_if(
        abs(float(returned) - expected) < _TOLERANCE,
        f"returned {float(returned):.4g}, the loss is {expected:.4g}",
    )


def _quadratic_steps(
    base: type[Optimizer],
    options: dict[str, Any],
    perturb: Callable[[Tensor], Tensor],
    num_steps: int,
) -> Tensor:
    """Return the quadratic's weights, (3,), after some steps.

    Each step uses the gradient at w + perturb(gradient at w).
    """
    w = nn.Parameter(START.clone())
    optimizer = base([w], **options)
    for _ in range(num_steps):
        w.grad = MATRIX @ (w.detach() + perturb(MATRIX @ w.detach()))
        optimizer.step()
    return w.detach()


def _perturb(contract: Contract, options: dict[str, Any], ball: dict[str, Any]) -> TrapResult:
    seen = contract.build(Quadratic(), rho=RHO, lr=0.1, **options).trace()
    expected = ascend([MATRIX @ START], RHO, **ball)[0]
    return passed_if_agreed(seen[1] - seen[0], expected, "from the closed form", holds=are_close)
