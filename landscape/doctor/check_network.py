"""What the loss around the weights says: a minimum or not, dead filters, the range to look at."""

from __future__ import annotations

import math

import torch

from landscape.directions.plane import Plane
from landscape.directions.random import random_directions
from landscape.doctor.findings import Finding, Severity, in_percent
from landscape.errors import listed
from landscape.problem.problem import Gradient, Problem
from landscape.reductions import norm
from landscape.surface.auto_range import LEAST_RISE, MULTIPLE, rise_level

_SHARE = 0.01
"""Length of the step at which the first order is stated, which is also the first of a descent, as a
share of the weights' length."""
_NUM_STEPS = 20  # tried in the descent
_LONGER, _SHORTER = (
    2.0,
    4.0,
)  # factors of the next step, after one that lowered the loss and one that did not
_FALL, _LEAST_FALL = 0.1, 0.05  # share of the loss, and loss, by which it must fall for a warning
_DEEP_FALL, _LEAST_DEEP_FALL = 0.5, 0.1  # and for a problem
_DEAD = 1e-6  # norm of a filter that counts as none, as a share of the largest one of its layer
_TOO_HIGH = (
    100.0  # rise at the end of the range, in rises to the level that an automatic range ends at
)
_TOO_LOW = 0.01  # of the loss, likewise
_LOWER = 0.05


def check_minimum(problem: Problem) -> Finding:
    """Look how far the loss falls in a few steps against the gradient."""
    here = problem.gradient()
    slope, step = norm(here.vector), _SHARE * norm(problem.weights)
    values = {"loss": here.loss, "gradient_norm": slope, "step": step}
    if slope == 0:
        return Finding("minimum", Severity.OK, "The gradient is 0.", values=values)
    there = _descended(problem, here, step)
    values["loss_after_descent"] = there
    message = (
        f"The gradient norm is {slope:.3g}: to first order, a step of {in_percent(_SHARE)} of the "
        "weights' length lowers "
        f"the loss by {step * slope:.3g}; {_NUM_STEPS} steps of steepest descent lower it from "
        f"{here.loss:.4g} to "
        f"{there:.4g}."
    )
    severity = _how_far_from_minimum(here.loss - there, abs(here.loss))
    remedy = "Train on with `init=CKPT`, or take the last checkpoint, and not one on the way."
    return Finding("minimum", severity, message, "" if severity == Severity.OK else remedy, values)


def _descended(problem: Problem, here: Gradient, step: float) -> float:
    """Return the loss after steps against the gradient, whose length is found by trying."""
    w, loss, step = problem.weights, here.loss, step or 1.0
    direction = here.vector
    for _ in range(_NUM_STEPS):
        slope = norm(direction)
        if slope == 0:
            break
        candidate = torch.add(w, direction.to(w), alpha=-step / slope)
        found = problem.gradient(candidate)
        if found.loss < loss:
            w, loss, direction, step = candidate, found.loss, found.vector, _LONGER * step
        else:
            step /= _SHORTER
    return loss


def _how_far_from_minimum(fall: float, loss: float) -> Severity:
    if fall > max(_DEEP_FALL * loss, _LEAST_DEEP_FALL):
        return Severity.PROBLEM
    return Severity.WARNING if fall > max(_FALL * loss, _LEAST_FALL) else Severity.OK


def check_filters(problem: Problem) -> Finding:
    """Count filters without a length, which a normalized direction leaves where they are."""
    spec = problem.spec
    dead, total = {}, 0
    for weight, tensor in zip(spec.weights, spec.views(problem.weights), strict=True):
        if len(weight.shape) < 2 or not tensor.numel():
            continue
        norms = torch.linalg.vector_norm(weight.filters(tensor).flatten(1).double(), dim=1)
        total += len(norms)
        if count := int((norms <= _DEAD * norms.max()).sum()):
            dead[weight.name] = (count, len(norms))
    count = sum(number for number, _ in dead.values())
    values = {
        "num_filters": total,
        "num_dead": count,
        **{f"num_dead in {name}": n for name, (n, _) in dead.items()},
    }
    if not dead:
        return Finding(
            "filters", Severity.OK, f"None of {total} filters has norm 0.", values=values
        )
    where = listed([f"{name} ({number} of {size})" for name, (number, size) in dead.items()])
    return Finding(
        "filters",
        Severity.WARNING,
        f"{count} of {total} filters have norm 0, up to a millionth of their layer's largest: "
        f"{where}; "
        "filter normalization leaves them where they are.",
        "Draw with `normalization='layer'` too, and compare; a smaller `weight_decay` kills fewer.",
        values,
    )


def check_range(problem: Problem, *, seed: int) -> Finding:
    """Look at the loss at -1 and 1 along a random direction, where a surface ends by default."""
    (direction,) = random_directions(
        1, problem.weights, problem.spec, seed=seed, normalization="filter"
    )
    if not direction.any():
        return Finding(
            "range",
            Severity.PROBLEM,
            "A random direction is 0: every filter has norm 0, or all tensors have one dimension.",
            "Draw the surface with `with_1d=True`, or with `normalization='none'`.",
        )
    line = Plane(problem.weights, (direction,))
    center, below, above = (problem.loss(line.point(x)) for x in (0.0, -1.0, 1.0))
    values = {"loss": center, "loss_at_minus_1": below, "loss_at_1": above}
    where = (
        f"Along a random direction the loss is {below:.4g} at -1, {center:.4g} at 0 and "
        f"{above:.4g} at 1"
    )
    rise = max(x if math.isfinite(x) else math.inf for x in (below, above)) - center
    if rise > _TOO_HIGH * (rise_level(center, MULTIPLE) - center):
        message, remedy = (
            f"{where}: too far to see the minimum on a linear scale.",
            "Draw the surface with `range='auto'`.",
        )
    elif min(below, above) < center - _LOWER * max(abs(center), LEAST_RISE):
        message, remedy = f"{where}: lower than at the weights.", "See the finding on the minimum."
    elif rise < _TOO_LOW * max(abs(center), LEAST_RISE):
        message, remedy = (
            f"{where}: too near to see it rise.",
            "Draw the surface with `range='auto'`.",
        )
    else:
        return Finding("range", Severity.OK, f"{where}.", values=values)
    return Finding("range", Severity.WARNING, message, remedy, values)
