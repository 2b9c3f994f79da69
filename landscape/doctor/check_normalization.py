"""What batch normalization does to the loss."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from landscape.doctor.findings import Finding, Severity, in_percent
from landscape.errors import LandscapeError
from landscape.problem.batches import BatchData
from landscape.problem.problem import Evaluation, Problem

_CHECK = "batch normalization"
_FACTOR, _LEAST = (
    2.0,
    0.1,
)  # of the larger loss to the smaller one, and their difference, from which they disagree
_REMEDY = (
    "Pass `batchnorm='recalibrate'`, or `batchnorm='batch'`, to surface, hessian and sharpness, "
    "and compare."
)


def check_normalization(problem: Problem) -> Finding:
    """Check the running statistics, and compare the loss with that under batch statistics."""
    layers = [layer for layer in _as_stored(problem).modules() if isinstance(layer, _NormBase)]
    if not layers:
        return Finding(_CHECK, Severity.OK, "The model has no batch normalization.")
    tracked = [layer for layer in layers if layer.running_mean is not None]
    if not tracked:
        return Finding(
            _CHECK,
            Severity.NOTE,
            f"{len(layers)} layers keep no running statistics: each batch is normalized by its "
            "own, and the loss "
            "depends on `batch_size`.",
            "Pass the same `batch_size` to all commands.",
        )
    untouched = sum(map(_is_initial, tracked))
    values = {"num_layers": len(tracked), "num_initial": untouched}
    start = (
        f"{untouched} of {len(tracked)} layers have running statistics of mean 0 and variance 1, "
        "as at the start"
    )
    try:
        stored, batch = in_mode(problem, "stored").evaluate(), in_mode(problem, "batch").evaluate()
    except LandscapeError as exc:
        severity = Severity.WARNING if untouched else Severity.NOTE
        message = f"{start}; the two modes cannot be compared: {exc.message}"
        return Finding(_CHECK, severity, message, exc.hint, values)
    values |= {"loss_stored": stored.loss, "loss_batch": batch.loss}
    message = (
        f"{start}; the loss is {_described(stored)} with them, {_described(batch)} with those of "
        "the batches."
    )
    severity = _severity(untouched, stored.loss, batch.loss)
    return Finding(_CHECK, severity, message, "" if severity == Severity.OK else _REMEDY, values)


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


def _is_initial(layer: nn.Module) -> bool:
    mean, variance = layer.running_mean, layer.running_var
    assert isinstance(mean, torch.Tensor)
    assert isinstance(variance, torch.Tensor)
    return bool((mean == 0).all() and (variance == 1).all())


def _severity(untouched: int, stored: float, batch: float) -> Severity:
    is_apart = not math.isfinite(stored) or (
        max(stored, batch) > _FACTOR * min(stored, batch) and abs(stored - batch) > _LEAST
    )
    if is_apart and untouched:
        return Severity.PROBLEM
    return Severity.WARNING if is_apart or untouched else Severity.OK


def _described(value: Evaluation) -> str:
    accuracy = "" if value.accuracy is None else f" (accuracy {in_percent(value.accuracy)})"
    return f"{value.loss:.4g}{accuracy}"
