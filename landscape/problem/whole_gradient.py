"""Whether the derivatives of a model that differentiates by itself are those of its loss."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from landscape.errors import InputError
from landscape.problem.batches import BatchData
from landscape.problem.curvature_graphs import GradientGraph
from landscape.problem.forward import require_differentiable
from landscape.problem.passes import Passes
from landscape.problem.plan import twice_differentiable
from landscape.reductions import norm

_STEPS = (1e-3, 1e-4, 1e-5, 1e-6)  # lengths of the central differences, relative to the weights
_AWAY = 1e-3  # relative distance from the weights, at which a kink may lie
_SAME = 1e-3  # relative difference of two central differences that can be trusted
_FAR = 1e-2  # relative difference to the gradient that is no rounding in float64
_SEEN = 1e4  # units in the last place by which the loss has to change
_NUM_DIRECTIONS = 2
_FREED = "backward through the graph a second time"


def require_whole_gradient(passes: Passes) -> None:
    """Compare a gradient with central differences of the loss, in float64, on a few examples.

    A derivative inside a model has no derivative by the weights unless it was taken with
    `create_graph=True`, and torch leaves it out of the gradient without a word. Differences are
    trusted only where two step sizes agree, so that kinks and rounding raise no alarm.

    Args:
        passes: Of the model, whose habits name the examples.

    Raises:
        InputError: If they differ by far.
    """
    exact = _in_float64(passes)
    if exact is None:
        return
    w, directions = _near(exact)
    gradient = _gradient(exact, w)
    if gradient is None or not all(_fits(exact, w, gradient, d) for d in directions):
        raise InputError(
            "the gradient is not that of the loss: a derivative that the model or the loss "
            "computes by itself is left out of it.",
            hint="Write torch.autograd.grad(..., create_graph=True), in evaluation mode too (not "
            "create_graph=self.training), and do not detach what it returns.",
        )


def require_whole_product(passes: Passes) -> None:
    """Compare a product of the Hessian with central differences of gradients, likewise.

    What a `torch.autograd.Function` of the user's detaches in its backward pass has no second
    derivative, and torch leaves it out of the product without a word.

    Args:
        passes: Of the model, whose habits name the examples.

    Raises:
        InputError: If they differ by far.
    """
    exact = _in_float64(passes)
    if exact is None:
        return
    w, (direction, *_) = _near(exact)
    product = _product(exact, w, direction)
    differences = [_difference(exact, w, step * direction) / step for step in _STEPS]
    trusted = [b for a, b in pairwise(differences) if norm(a - b) <= _SAME * norm(b)]
    if trusted and all(norm(each - product) > _FAR * norm(each) for each in trusted):
        raise InputError(
            "products with the Hessian are not derivatives of the gradient: the backward pass of "
            "an autograd.Function in the model or the loss detaches what has a derivative, or is "
            "that of another function.",
            hint="Let its backward use tensors from ctx.saved_tensors as they are, or pass "
            "`products='differences'` for a Hessian by differences of gradients.",
        )


def _in_float64(passes: Passes) -> Passes | None:
    """Return the same on a few examples; None for a model that is of one dtype."""
    try:
        return Passes(
            passes.copied_module(),
            BatchData((passes.habits.tried,)),
            passes.given_criterion,
            device="cpu" if passes.device.type == "mps" else str(passes.device),
            dtype="float64",
            batchnorm="batch" if passes.norms.mode == "batch" else "stored",
            batch_size=None,
            calibration=None,
            is_compiled=False,
            draws=1,
        )
    except InputError:
        return None


def _near(exact: Passes) -> tuple[Tensor, list[Tensor]]:
    """Return a point near the weights, and directions, of their length."""
    generator = torch.Generator().manual_seed(0)
    size = exact.spec.size
    drawn = torch.randn(1 + _NUM_DIRECTIONS, size, generator=generator, dtype=torch.float64)
    scale = float(exact.weights.norm()) or 1.0
    away, *directions = (each / each.norm() * scale for each in drawn.to(exact.weights))
    return exact.weights + _AWAY * away, directions


def _product(passes: Passes, w: Tensor, direction: Tensor) -> Tensor:
    with passes.at(w), twice_differentiable():
        loss = passes.forward(passes.habits.tried)[1]
        along = passes.spec.tensors(direction)
        found = GradientGraph([loss], passes.parameters).product(along, is_last=True)
    return _flat(passes, found)


def _difference(passes: Passes, w: Tensor, step: Tensor) -> Tensor:
    ends = [_gradient(passes, w + sign * step) for sign in (1, -1)]
    assert ends[0] is not None
    assert ends[1] is not None
    return (ends[0] - ends[1]) / 2


def _gradient(passes: Passes, w: Tensor) -> Tensor | None:
    """Return the gradient at w (P,); None if the model has used up its own graph."""
    with passes.at(w) as module, twice_differentiable(module):
        loss = passes.forward(passes.habits.tried)[1]
        require_differentiable(loss)
        try:
            found = torch.autograd.grad(loss, passes.parameters, allow_unused=True)
        except RuntimeError as exc:
            if _FREED in str(exc):
                return None
            raise
    return _flat(passes, found)


def _flat(passes: Passes, found: Sequence[Tensor | None]) -> Tensor:
    pairs = zip(found, passes.parameters, strict=True)
    return passes.spec.flatten([torch.zeros_like(p) if g is None else g for g, p in pairs])


def _fits(passes: Passes, w: Tensor, gradient: Tensor, direction: Tensor) -> bool:
    """Whether the loss changes along a direction (P,) as a gradient says, or cannot be said to."""
    slopes: list[float] = []
    for step in _STEPS:
        ends = [_loss(passes, w + sign * step * direction) for sign in (1, -1)]
        rounding = torch.finfo(w.dtype).eps * max(map(abs, ends))
        if abs(ends[0] - ends[1]) > _SEEN * rounding:
            slopes.append((ends[0] - ends[1]) / (2 * step))
    expected = float(gradient @ direction)
    trusted = [b for a, b in pairwise(slopes) if abs(a - b) <= _SAME * abs(b)]
    return not trusted or any(abs(each - expected) <= _FAR * abs(each) for each in trusted)


def _loss(passes: Passes, w: Tensor) -> float:
    with passes.at(w), passes.habits.without_gradient():
        return passes.forward(passes.habits.tried)[1].item()
