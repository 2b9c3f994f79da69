"""Gradients of batches, and the curvature of their losses as graphs and products."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape.errors import InputError, explained_memory, require
from landscape.problem.batch_means import find_separate
from landscape.problem.batches import Batch, BatchData, TensorData, map_tensors, tensors_in
from landscape.problem.criteria import ClassLoss, is_of_torch
from landscape.problem.curvature_graphs import (
    CurvatureGraph,
    GaussNewtonGraph,
    GradientGraph,
    empirical_fisher,
    explained_derivatives,
    gauss_newton,
    require_twice_differentiable,
)
from landscape.problem.forward import changed, require_differentiable
from landscape.problem.passes import Passes
from landscape.problem.plan import twice_differentiable
from landscape.problem.sampling_error import are_separate, separate_losses
from landscape.problem.second_derivatives import CheapSecondDerivatives
from landscape.problem.weights import Point, WeightSpec, as_pairs
from landscape.problem.whole_gradient import require_whole_gradient, require_whole_product
from landscape.reductions import accumulation_dtype, norm

_SMALL = 1 << 16  # weights: joining their tensors takes less time than adding each where it belongs
_ROUNDINGS = 100  # of a mean over a batch, in float32 1e-5 of it


class Derivatives:
    """First and second derivatives of the losses of batches in the weights.

    Args:
        passes: What evaluates the batches.
        chooses_batches: Whether nobody asked for batches of this size.

    Attributes:
        passes: As given.
    """

    def __init__(self, passes: Passes, *, chooses_batches: bool) -> None:
        self.passes = passes
        self._chooses_batches = chooses_batches
        self._checked: set[tuple[int, ...]] = set()
        self._joinable: dict[int, bool] = {}

    def of(self, passes: Passes, *, chooses_batches: bool = True) -> Derivatives:
        """Return the derivatives of the same model and loss in other passes.

        Args:
            passes: Passes of the same model.
            chooses_batches: Whether nobody asked for batches of this size either.
        """
        return changed(
            self,
            passes=passes,
            _chooses_batches=self._chooses_batches and chooses_batches,
            _joinable=self._joinable if passes.batches is self.passes.batches else {},
        )

    @property
    def may_join(self) -> bool:
        """Whether there are batches to join, which the problem's options let it choose."""
        data, batches = self.passes.data, self.passes.batches
        return self._chooses_batches and isinstance(data, TensorData) and len(batches) > 1

    @property
    def may_halve(self) -> bool:
        """Whether batches may be cut in half without another loss than before.

        Nobody asked for batches of their size, no random numbers are drawn for each, and the loss
        is a mean over examples or what it counts.
        """
        passes = self.passes
        return (
            self._chooses_batches
            and not isinstance(passes.data, BatchData)
            and passes.habits.sources is None
            and (is_of_torch(passes.given_criterion) or passes.over.is_counted)
        )

    def joined(self, count: int) -> Derivatives:
        """Return the derivatives with `count` batches at a time joined; model and data are shared.

        They are these themselves where that could make another function of the loss: where batches
        were made or asked for by the user, statistics are computed from them, the loss is no mean
        over examples or what it counts, or the gradient of the first joined batch is not that of
        its parts, since the model draws random numbers or looks across a batch.
        """
        if count < 2 or not self.may_join:
            return self
        other = self.of(self.passes.joined(count))
        if count not in self._joinable:
            rounding = _ROUNDINGS * torch.finfo(self.passes.dtype).eps
            is_same_mean = (
                _has_same_sums(self.passes, other.passes, count, rounding)
                if self.passes.over.is_counted
                else find_separate(self.passes, self.passes.batches, rounding) is not None
            )
            self._joinable[count] = is_same_mean and self._has_first_gradient_of(other, count)
        return other if self._joinable[count] else self

    def _has_first_gradient_of(self, other: Derivatives, count: int) -> bool:
        """Return whether the first batch of `other` has the gradient of our first `count`."""
        numbers = range(min(count, len(self.passes.batches)))
        shares = [self.gradient_share([number])[1] for number in numbers]
        difference = norm(other.gradient_share([0])[1] - torch.stack(shares).sum(0))
        return difference <= math.sqrt(torch.finfo(self.passes.dtype).eps) * sum(map(norm, shares))

    @explained_memory("a gradient")
    def gradient_share(
        self, numbers: Sequence[int], w: Point | None = None
    ) -> tuple[np.ndarray, Tensor]:
        """Return what some batches contribute to the gradient.

        Args:
            numbers: Numbers of the batches.
            w: Weights (P,), the model's own if None.

        Returns:
            Their mean losses (len(numbers),), and their share of the gradient (P,), in the
            accumulation dtype: the shares of all batches add up to it.
        """
        self._require_whole_gradient()
        passes = self.passes
        losses = torch.empty(len(numbers), device=passes.device, dtype=passes.dtype)
        total = self._zeros()
        with passes.at(w) as module, twice_differentiable(module):
            for i, number in enumerate(numbers):
                loss = passes.forward(passes.batches[number])[1]
                require_differentiable(loss)
                gradients = torch.autograd.grad(loss, passes.parameters, allow_unused=True)
                self.accumulate(total, passes.spec, gradients, number)
                losses[i] = loss.detach()
        return losses.cpu().double().numpy(), total

    @explained_memory("a matrix-vector product")
    def product(self, v: Tensor, w: Point | None = None) -> Tensor:
        """Return the product of the Hessian with `v` (P,), as `Problem.hessian_vector_product`."""
        spec = self.passes.spec
        spec.require_vector(v, "v")
        parts = spec.tensors(v.to(self.passes.device, self.passes.dtype))
        total = self._zeros()
        self.passes.write(w)
        with self.differentiating():
            for number in range(len(self.passes.batches)):
                product = self.graph(number).product(parts, is_last=True)
                self.accumulate(total, spec, product, number)
        return total

    @contextmanager
    def differentiating(self) -> Iterator[None]:
        """Run `graph` and its products repeatably inside this context.

        They are computed at the weights that were last written.

        Raises:
            InputError: If the loss cannot be differentiated twice.
            LandscapeError: If the device is out of memory.
        """
        self._require_whole_gradient()
        with (
            self.passes.undisturbed() as module,
            twice_differentiable(module),
            explained_derivatives(),
        ):
            yield

    def _require_whole_gradient(self) -> None:
        """Check, once, a model that differentiates by itself; others pay nothing."""
        habits = self.passes.habits
        require(
            not habits.is_reentrant,
            "the model recomputes activations by reentrant checkpointing, and torch leaves the "
            "weights in such a part out of gradients.",
            hint="Pass use_reentrant=False to torch.utils.checkpoint.checkpoint.",
        )
        if habits.mode != "inference" and not habits.is_whole:
            require_whole_gradient(self.passes)
            habits.is_whole = True

    def _require_whole_product(self) -> None:
        """Check, once, a model with a `torch.autograd.Function` of the user's."""
        habits = self.passes.habits
        if not habits.is_product_whole:
            require_whole_product(self.passes)
            habits.is_product_whole = True

    def graph(
        self,
        number: int,
        kind: str = "hessian",
        *,
        tensors: tuple[int, ...] | None = None,
        model: Callable[..., Any] | None = None,
    ) -> CurvatureGraph:
        """Return the curvature of a batch's mean loss at the weights that were last written.

        Args:
            number: Number of the batch.
            kind: One of `landscape.problem.curvature_graphs.CURVATURES`.
            tensors: Numbers of the parameter tensors whose diagonal block is meant; None for all.
            model: What computes the outputs; None for the model.

        Raises:
            InputError: If there is no such curvature of this loss.
        """
        passes = self.passes
        batch = passes.batches[number]
        cheap = CheapSecondDerivatives(is_full=kind == "hessian")
        # Under autocast the operations choose their dtypes themselves.
        chosen = nullcontext() if passes.plan.dtype == "bfloat16" else cheap
        with self._alone(tensors) as parameters, chosen:
            outputs, loss = passes.forward(batch, model)
            self._require_twice_differentiable(loss, parameters, tensors)
            if kind == "hessian":
                self._require_whole_product()
                return GradientGraph([loss], parameters)
            if kind == "fisher":
                return self._fisher(outputs, batch, parameters)
            leaves = map_tensors(lambda t: t.detach().requires_grad_(t.requires_grad), outputs)
            curved = passes.forward(batch, lambda *args, **named: leaves)[1]
            return gauss_newton(_variable(outputs), curved, _variable(leaves), parameters)

    @contextmanager
    def _alone(self, tensors: tuple[int, ...] | None) -> Iterator[list[nn.Parameter]]:
        """Give the parameters of these numbers; inside, the others are constants."""
        every = self.passes.parameters
        wanted = set(range(len(every)) if tensors is None else tensors)
        others = [parameter for i, parameter in enumerate(every) if i not in wanted]
        for parameter in others:
            parameter.requires_grad_(False)
        try:
            yield [parameter for i, parameter in enumerate(every) if i in wanted]
        finally:
            for parameter in others:
                parameter.requires_grad_(True)

    def _require_twice_differentiable(
        self, loss: Tensor, parameters: list[nn.Parameter], tensors: tuple[int, ...] | None
    ) -> None:
        """Look once at the graph that leads to each set of parameter tensors."""
        if tensors is None:
            require_differentiable(loss)
        key = tensors or ()
        if key not in self._checked and loss.requires_grad:
            require_twice_differentiable(loss, parameters)
            self._checked.add(key)

    def _fisher(
        self, outputs: Any, batch: Batch, parameters: list[nn.Parameter]
    ) -> GaussNewtonGraph:
        passes = self.passes
        if not isinstance(passes.criterion, ClassLoss):
            return empirical_fisher(self._losses_apart(outputs, batch), parameters)
        with passes.plan.autocast():
            losses, counts = passes.criterion.apart(outputs, batch[1])
            return empirical_fisher(losses, parameters, counts)

    def _losses_apart(self, outputs: Any, batch: Batch) -> Tensor:
        """Return the losses of the examples of a batch (n,)."""
        passes, targets = self.passes, batch[1]
        separate = separate_losses(passes.criterion)
        with passes.plan.autocast():
            if separate is None or not are_separate(
                passes.habits.apart(separate, batch),
                outputs,
                targets,
                passes.habits.apart(passes.criterion, batch)(outputs, targets),
            ):
                raise InputError(
                    "the empirical Fisher matrix needs one loss an example, whose plain mean is "
                    "the batch's loss; this loss function does not give them.",
                    hint="Use one that honours reduction='none', as torch's do, or the GGN.",
                )
            return passes.habits.apart(separate, batch)(outputs, targets)

    def accumulate(
        self, total: Tensor, spec: WeightSpec, tensors: Sequence[Tensor | None], number: int
    ) -> None:
        """Add a batch's share of the mean to `total` (P,), which `spec` describes.

        Args:
            total: Sum of the shares so far.
            spec: Places of the tensors.
            tensors: One per parameter tensor; None contributes zero.
            number: Number of the batch.
        """
        share = float(self.passes.sizes[number]) / self.passes.over.total
        dense = [t.detach() for t in tensors if t is not None and t.layout == torch.strided]
        if len(dense) == len(tensors) and spec.size < _SMALL:
            total.add_(spec.flatten(dense), alpha=share)
            return
        for place, tensor in zip(spec.views(total), tensors, strict=True):
            if tensor is not None:
                place.add_(as_pairs(tensor.detach()), alpha=share)

    def _zeros(self) -> Tensor:
        device = self.passes.device
        return torch.zeros(self.passes.spec.size, device=device, dtype=accumulation_dtype(device))


def _has_same_sums(passes: Passes, joined: Passes, count: int, agreement: float) -> bool:
    """Whether the joined batches have the sums of the losses and of the counts of their parts."""
    found = []
    for each in (passes, joined):
        losses = each.measure_point(None, each.own_batches)["loss"]
        found.append(np.stack([each.over.sizes * losses, each.over.sizes]))
    parts = np.add.reduceat(found[0], range(0, len(passes.own_batches), count), axis=1)
    return np.allclose(parts, found[1], rtol=agreement, atol=0.0, equal_nan=True)


def _variable(outputs: Any) -> list[Tensor]:
    return [tensor for tensor in tensors_in(outputs) if tensor.requires_grad]
