"""What the network at its weights says: normalization, filters, the loss around them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from landscape.directions.plane import Plane, random_directions
from landscape.doctor.findings import Finding, Severity, in_percent
from landscape.errors import LandscapeError, listed
from landscape.problem.batches import BatchData
from landscape.problem.problem import Evaluation, Gradient, Problem
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
_FALLS = {Severity.PROBLEM: (0.5, 0.1), Severity.WARNING: (0.1, 0.05)}
"""Share of the loss, and loss, by which it must fall in the descent; the worst severity first."""
_DEAD = 1e-6  # norm of a filter that counts as none, as a share of the largest one of its layer
_TOO_HIGH = (
    100.0  # rise at the end of the range, in rises to the level that an automatic range ends at
)
_TOO_LOW = 0.01  # of the loss, likewise
_LOWER = 0.05
_NORMALIZATION = "batch normalization"
_APART, _LEAST_APART = 2.0, 0.1
"""Of the larger loss to the smaller one, and their difference, from which they disagree."""
_OTHER_MODES = (
    "Pass `batchnorm='recalibrate'`, or `batchnorm='batch'`, to surface, hessian and sharpness, "
    "and compare."
)


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
    fall = here.loss - there
    severity = next(
        (
            severity
            for severity, (share, least) in _FALLS.items()
            if fall > max(share * abs(here.loss), least)
        ),
        Severity.OK,
    )
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


def check_filters(problem: Problem) -> Finding:
    """Count filters without a length, which a normalized direction leaves where they are."""
    spec = problem.spec
    counts = {}  # parameter name -> dead filters, all filters
    for weight, tensor in zip(spec.weights, spec.views(problem.weights), strict=True):
        if weight.num_filters and tensor.numel():
            norms = torch.linalg.vector_norm(weight.filters(tensor).flatten(1).double(), dim=1)
            counts[weight.name] = (int((norms <= _DEAD * norms.max()).sum()), len(norms))
    dead = {name: found for name, found in counts.items() if found[0]}
    count, total = (sum(each[i] for each in counts.values()) for i in (0, 1))
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
    scale, automatic = max(abs(center), LEAST_RISE), "Draw the surface with `range='auto'`."
    is_high = rise > _TOO_HIGH * (rise_level(center, MULTIPLE) - center)
    is_lower = min(below, above) < center - _LOWER * scale
    for is_so, what, remedy in (
        (is_high, "too far to see the minimum on a linear scale", automatic),
        (is_lower, "lower than at the weights", "See the finding on the minimum."),
        (rise < _TOO_LOW * scale, "too near to see it rise", automatic),
    ):
        if is_so:
            return Finding("range", Severity.WARNING, f"{where}: {what}.", remedy, values)
    return Finding("range", Severity.OK, f"{where}.", values=values)


def check_normalization(problem: Problem) -> Finding:
    """Check the running statistics, and compare the loss with that under batch statistics."""
    layers: list[Any] = [m for m in _as_stored(problem).modules() if isinstance(m, _NormBase)]
    if not layers:
        return Finding(_NORMALIZATION, Severity.OK, "The model has no batch normalization.")
    tracked = [layer for layer in layers if layer.running_mean is not None]
    if not tracked:
        return Finding(
            _NORMALIZATION,
            Severity.NOTE,
            f"{len(layers)} layers keep no running statistics: each batch is normalized by its "
            "own, and the loss "
            "depends on `batch_size`.",
            "Pass the same `batch_size` to all commands.",
        )
    untouched = sum(
        bool((layer.running_mean == 0).all() and (layer.running_var == 1).all())
        for layer in tracked
    )
    values = {"num_layers": len(tracked), "num_initial": untouched}
    start = (
        f"{untouched} of {len(tracked)} layers have running statistics of mean 0 and variance 1, "
        "as at the start"
    )
    try:
        stored, batch = in_mode(problem, "stored").evaluate(), in_mode(problem, "batch").evaluate()
    except LandscapeError as exc:
        return Finding(
            _NORMALIZATION,
            Severity.WARNING if untouched else Severity.NOTE,
            f"{start}; the two modes cannot be compared: {exc.message}",
            exc.hint,
            values,
        )
    values |= {"loss_stored": stored.loss, "loss_batch": batch.loss}
    message = (
        f"{start}; the loss is {_described(stored)} with them, {_described(batch)} with those of "
        "the batches."
    )
    is_apart = not math.isfinite(stored.loss) or (
        max(stored.loss, batch.loss) > _APART * min(stored.loss, batch.loss)
        and abs(stored.loss - batch.loss) > _LEAST_APART
    )
    num_signs = int(is_apart) + int(untouched > 0)
    severity = (Severity.OK, Severity.WARNING, Severity.PROBLEM)[num_signs]
    return Finding(_NORMALIZATION, severity, message, _OTHER_MODES if num_signs else "", values)


def in_mode(problem: Problem, mode: str) -> Problem:
    """Return the same problem with another batch normalization, on the same batches."""
    if problem.batchnorm == mode:
        return problem
    return Problem(
        _as_stored(problem),
        BatchData(tuple(problem.batches)),
        problem.passes.criterion,
        device=str(problem.device),
        dtype=problem.plan.dtype,
        batchnorm=mode,
        batch_size=problem.plan.batch_size,
    )


def _as_stored(problem: Problem) -> nn.Module:
    """Return a copy of the model with the checkpoint's buffers, which `recalibrate` replaces."""
    module = problem.copy_module()
    for buffer, stored in zip(module.buffers(), problem.buffers, strict=True):
        buffer.copy_(stored)
    return module


def _described(value: Evaluation) -> str:
    accuracy = "" if value.accuracy is None else f" (accuracy {in_percent(value.accuracy)})"
    return f"{value.loss:.4g}{accuracy}"
