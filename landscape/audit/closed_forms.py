"""Traps of what is computed: steps on a quadratic, whose gradients anyone can write down."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from landscape.ascent.steepest import ascend
from landscape.audit.audit_report import PASSED, TrapResult, not_applicable, passed_if
from landscape.audit.cases import MATRIX, START, Network, Quadratic
from landscape.audit.contract import Contract
from landscape.audit.trainee import Raised, are_close, attempt, farthest

RHO = 0.3
_NUM_STEPS = 10
_SGD: dict[str, Any] = {"lr": 0.1, "momentum": 0.9}


def follow_the_closed_form(contract: Contract) -> TrapResult:
    """SAM around SGD with momentum on a quadratic."""
    return _follow(contract, SGD, _SGD)


def follow_the_closed_form_around_adam(contract: Contract) -> TrapResult:
    """SAM around Adam, which begins its state only where it finds none."""
    if not contract.has_base:
        return not_applicable("it goes around no other optimizer")
    return _follow(contract, Adam, {"lr": 0.1})


def follow_the_adaptive_closed_form(contract: Contract) -> TrapResult:
    """The perturbation of the adaptive ball."""
    if not contract.takes("adaptive"):
        return not_applicable("it takes no adaptive")
    eta = 0.02 if contract.takes("eta") else 0.0
    options = {"adaptive": True, "eta": eta} if contract.takes("eta") else {"adaptive": True}
    return _perturb(contract, options, {"scaling": [START.abs() + eta]})


def follow_the_closed_form_in_other_norms(contract: Contract) -> TrapResult:
    """The perturbations of balls in other norms."""
    if not contract.takes("p"):
        return not_applicable("it takes no p")
    results = [_perturb(contract, {"p": p}, {"p": p}) for p in (1.0, 1.5, math.inf)]
    measured = "; ".join(
        f"p = {p}: {o.measured}" for p, o in zip(("1", "1.5", "inf"), results, strict=True)
    )
    return passed_if(all(each.result == PASSED for each in results), measured)


def equal_the_base_at_radius_zero(contract: Contract) -> TrapResult:
    """Radius zero, which a sweep over radii begins with."""
    model = Network()
    trainee = attempt(lambda: contract.build(model, rho=0.0, **_SGD))
    if isinstance(trainee, Raised):
        return passed_if(True, f"refused: {trainee.summary}")
    expected = train_plainly(Network(), SGD, _SGD, 5)
    found = trainee.steps(5)
    return passed_if(
        torch.equal(found, expected), f"{farthest(found, expected)} from SGD after 5 steps"
    )


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
    measured = (
        f"moves of {sizes[0]:.3g} and {sizes[1]:.3g}, {size:.3g} in all, for radii of .05 and .5"
    )
    is_per_group = all(math.isclose(*pair, rel_tol=1e-6) for pair in zip(sizes, radii, strict=True))
    is_one = any(math.isclose(size, radius, rel_tol=1e-6) for radius in radii)
    meaning = "a ball per group" if is_per_group else "one ball" if is_one else "neither"
    return passed_if(is_per_group or is_one, f"{meaning}: {measured}")


def train_plainly(
    model: Network, base: type[Optimizer], options: dict[str, Any], num_steps: int
) -> Tensor:
    """Return the weights, (P,), after steps of the base optimizer alone."""
    optimizer = base(model.parameters(), **options)
    for _ in range(num_steps):
        optimizer.zero_grad()
        model.loss().backward()
        optimizer.step()
    return torch.cat([w.detach().flatten() for w in model.parameters()])


def quadratic_steps(
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
        at = w.detach()
        w.grad = MATRIX @ (at + perturb(MATRIX @ at))
        optimizer.step()
    return w.detach()


def _follow(contract: Contract, base: type[Optimizer], options: dict[str, Any]) -> TrapResult:
    expected = quadratic_steps(
        base, options, lambda gradient: RHO * gradient / gradient.norm(), _NUM_STEPS
    )
    plain = quadratic_steps(base, options, torch.zeros_like, _NUM_STEPS)
    found = contract.build(Quadratic(), base=base, rho=RHO, **options).steps(_NUM_STEPS)
    distances = (
        f"{farthest(found, expected)} from the closed form, {farthest(found, plain)} from the base"
    )
    return passed_if(are_close(found, expected), f"{distances}, after {_NUM_STEPS} steps")


def _perturb(contract: Contract, options: dict[str, Any], ball: dict[str, Any]) -> TrapResult:
    seen = contract.build(Quadratic(), rho=RHO, lr=0.1, **options).trace()
    (expected,) = ascend([MATRIX @ START], RHO, **ball)
    found = seen[1] - seen[0]
    return passed_if(
        are_close(found, expected), f"{farthest(found, expected)} from the closed form"
    )
