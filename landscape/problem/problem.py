"""Loss, accuracy, gradient and Hessian-vector product of a model on data, at any weights."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from landscape.errors import InputError, LandscapeError, copying_a_model
from landscape.problem.batches import (
    Batch,
    BatchData,
    Data,
    GraphData,
    TensorData,
    as_data,
    batch_length,
    hash_data,
    hash_tensors,
    map_tensors,
    tensors_in,
)
from landscape.problem.batchnorm import MODES, BatchNorm
from landscape.problem.curvature_graphs import (
    CurvatureGraph,
    HessianGraph,
    empirical_fisher,
    explained_derivatives,
    gauss_newton,
    nodes,
    require_twice_differentiable,
)
from landscape.problem.forward import (
    OwnBuffers,
    has_accuracy,
    outputs_and_loss,
    require_differentiable,
)
from landscape.problem.memory_format import prefers_channels_last, to_channels_last
from landscape.problem.plan import (
    Plan,
    choose_device,
    compiled,
    make_plan,
    repeatable,
    require_dtype,
    twice_differentiable,
)
from landscape.problem.points_per_pass import (
    AGREEMENT,
    fastest_count,
    largest_relative_difference,
    reason_against,
)
from landscape.problem.sampling_error import (
    Sample,
    are_separate,
    class_numbers,
    error_from_batches,
    error_of_mean,
    require_population,
    separate_losses,
)
from landscape.problem.second_derivatives import CheapSecondDerivatives
from landscape.problem.weights import WeightSpec, bind
from landscape.reductions import accumulation_dtype, norm

_SMALL = 1 << 16  # weights: joining their tensors takes less time than adding each where it belongs
_ROUNDINGS = 100  # of a mean over a batch, in float32 1e-5 of it
_ONE_POINT = "Pass --points-per-pass 1."

Loss: TypeAlias = Callable[[Any, Any], Tensor]
"""`loss(outputs, targets)` returns the mean over the batch, as torch's criteria do."""

Point: TypeAlias = Tensor | Callable[..., Any]
"""Weights (P,), or a function that writes them into the (P,) tensor that it is given as `out`."""


@dataclass(frozen=True)
class Evaluation:
    """Mean loss over the data.

    Attributes:
        loss: The mean.
        accuracy: Share of correct examples, where that exists.
        standard_error: Of the loss as an estimate for a larger set that the data were drawn from;
            None if there is none.
    """

    loss: float
    accuracy: float | None
    standard_error: float | None = None


@dataclass(frozen=True)
class Gradient:
    """Mean loss over the data and its gradient (P,), in the accumulation dtype."""

    loss: float
    vector: Tensor


class Problem:
    """The mean loss of a model on a set of data, as a pure function of the flat weights `w` (P,).

    Works on a private copy: the caller's model, gradients, mode, buffers and random state are never
    touched. The same `w` gives the same number, bit for bit, under the same `plan`. Batches count
    by their size, per-batch values are summed in float64. The model runs in evaluation mode.

    Losses can be computed at K points a forward pass, the weights stacked along a first dimension,
    with `stored` batch normalization. On a plane of two directions this takes, beside model and
    data, K + 3 vectors (P,) - the K points (none if K is 1: the model's own weights are written
    over), `weights` and both directions - and the activations of K batches, if points are given as
    functions that write them. Measured as peak resident memory, perceptrons keep to that; a
    convolution on the CPU besides rearranges a copy of its layer's weights.

    Args:
        model: Any module with trainable parameters; its present weights become `weights`.
        data: What `landscape.problem.batches.as_data` reads; kept on the device.
        loss: `loss(outputs, targets)`, the mean over a batch; default cross-entropy.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.
        dtype: `float32`, `float64`, `bfloat16` (float32 weights under autocast), or on CUDA `tf32`.
        batchnorm: `stored`, `batch` or `recalibrate`, see `landscape.problem.batchnorm.MODES`.
        batch_size: Examples a forward pass; chosen by the kind of model if None. Batches that the
            user made keep their size.
        calibration: Data for `recalibrate`; default `data`.
        points_per_pass: K, for `evaluate_many`; None takes what is fastest, found by trying.
        compile: Whether losses are computed by `torch.compile`'s version of the model, on CUDA
            in CUDA graphs; derivatives are not.
        num_population: Number of examples that the data were drawn from; losses then have a
            standard error.
        is_stratified: Whether they were drawn class by class.

    Attributes:
        spec: Names, shapes and places of the weights.
        weights: The model's own weights (P,); do not write into it.
        num_examples: Examples in the data.
        data: All examples, on the device; do not write into them.
        batches: The same, cut up, in evaluation order.
        criterion: The loss function.
        plan: How it is evaluated.
        one_at_a_time: Why it is evaluated one point at a time although None was passed for
            `points_per_pass`; empty if it is not.

    Raises:
        InputError: If model, data and loss do not fit together, a weight is not finite, or the
            model cannot be evaluated at so many points a pass.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Any,
        loss: Loss | None = None,
        *,
        device: str = "auto",
        dtype: str = "float32",
        batchnorm: str = "stored",
        batch_size: int | None = None,
        calibration: Any = None,
        points_per_pass: int | None = 1,
        compile: bool = False,
        num_population: int | None = None,
        is_stratified: bool = False,
    ) -> None:
        if batchnorm not in MODES:
            raise InputError(f"batchnorm must be one of {', '.join(MODES)}, got {batchnorm!r}.")
        if batch_size is not None and batch_size < 1:
            raise InputError(f"batch size must be at least 1, got {batch_size}.")
        if points_per_pass is not None and points_per_pass < 1:
            raise InputError(f"points per pass must be at least 1, got {points_per_pass}.")
        self.device = choose_device(device)
        self.dtype = require_dtype(dtype, self.device)
        self._chooses_batches = batch_size is None and batchnorm == "stored"
        self.batchnorm = batchnorm
        self.criterion: Loss = loss or nn.functional.cross_entropy

        with copying_a_model():
            copied = copy.deepcopy(model)
        self._module = copied.to(self.device, self.dtype).eval()
        self._module.zero_grad(set_to_none=True)
        self.spec = WeightSpec.from_module(self._module)
        self._buffer = torch.empty(self.spec.size, device=self.device, dtype=self.dtype)
        self._parameters = bind(self._module, self.spec, self._buffer)
        self._norms = BatchNorm(self._module, batchnorm)
        self.weights = self._buffer.clone()
        _require_finite(self.spec, self.weights)

        resident = as_data(data).to(self.device, self.dtype)
        first = resident.batches(2)[0]
        with repeatable(self.device, dtype):
            is_channels_last = prefers_channels_last(self._module, first[0])
        self.plan: Plan = make_plan(
            device=self.device,
            dtype=dtype,
            batch_size=batch_size,
            is_channels_last=is_channels_last,
            is_compiled=compile,
        )
        self._set_data(resident)
        self._calibration: list[Batch] | None = None
        if calibration is not None and batchnorm == "recalibrate":
            calibrating = self._laid_out(as_data(calibration).to(self.device, self.dtype))
            self._calibration = calibrating.batches(self.plan.batch_size)
        self._own_version: int | None = None
        self._checked: set[tuple[int, ...]] = set()
        self._require_own_weights(*first)
        self._compiled: Callable[..., Any] = self._compile() if compile else self._module
        self._stack = self._buffer.new_empty(0, self.spec.size)
        self._population = require_population(num_population, self.num_examples)
        self._separate = None if self._population is None else self._find_separate_losses()
        self._strata = class_numbers(self.batches) if is_stratified else None
        self.one_at_a_time = ""
        self._choose_points_per_pass(points_per_pass)

    @property
    def weights_hash(self) -> str:
        """SHA-256 of the model's own weights and buffers, in the dtype of the evaluation."""
        return hash_tensors([self.weights, *self._norms.stored])

    @property
    def sample(self) -> Sample | None:
        """How the data were drawn from a larger set; None if they are all there is, or if unknown.

        The units are the examples, where the loss is a mean over them, and else the batches.
        """
        if self._population is None:
            return None
        share = self.num_examples / self._population
        if self._separate is None:
            return Sample(self._sizes, share)
        return Sample(np.ones(self.num_examples), share, self._strata)

    def copy_module(self) -> nn.Module:
        """Return an independent copy of the model at its own weights, in evaluation mode."""
        with self._at(None):
            return copy.deepcopy(self._module)

    def in_double(self) -> Problem:
        """Return the same problem in float64, on the same device and the same batches.

        Model and data are copied; one point goes through a forward pass.

        Raises:
            InputError: If the device has no float64.
        """
        require_dtype("float64", self.device)
        criterion = self.criterion
        if isinstance(criterion, nn.Module):
            criterion = copy.deepcopy(criterion).to(self.device, torch.float64)
        other = Problem(
            self.copy_module(),
            BatchData(tuple(self.batches)),
            criterion,
            device=str(self.device),
            dtype="float64",
            batchnorm=self.batchnorm,
            batch_size=self.plan.batch_size,
            calibration=None if self._calibration is None else BatchData(tuple(self._calibration)),
        )
        other.data_hash = self.data_hash
        return other

    @property
    def buffers(self) -> Sequence[Tensor]:
        """The model's own buffers, as `module.buffers()` yields them; do not write into them."""
        return self._norms.stored

    def with_buffers(self, buffers: Sequence[Tensor]) -> Problem:
        """Return this problem with the running statistics and other buffers of another checkpoint.

        Model and data are shared with this problem, not copied.

        Args:
            buffers: As `module.buffers()` yields them.
        """
        other = copy.copy(self)
        other._norms = self._norms.with_stored(buffers)
        return other

    def with_weights(self, w: Tensor) -> Problem:
        """Return this problem with other weights `w` (P,); model and data are shared.

        Raises:
            InputError: If it is another shape, or not finite.
        """
        self.spec.require_vector(w, "w")
        other = copy.copy(self)
        other.weights = w.detach().to(self.device, self.dtype, copy=True)
        _require_finite(self.spec, other.weights)
        other._own_version = None  # what the model reads are the weights of this one
        return other

    def on(self, data: Any, *, batch_size: int | None = None) -> Problem:
        """Return this problem on other data, under the same plan; the model is shared.

        Losses have no standard error. Where normalization is recalibrated on the problem's own
        data, it is on these.

        Args:
            data: What `landscape.problem.batches.as_data` reads; kept on the device.
            batch_size: Examples a forward pass; None for the plan's own.
        """
        other = copy.copy(self)
        if batch_size is not None:
            other.plan = replace(self.plan, batch_size=batch_size)
            other._chooses_batches = False
        other._set_data(as_data(data).to(self.device, self.dtype))
        other._population = other._separate = other._strata = None
        return other

    @property
    def may_join_batches(self) -> bool:
        """Whether there are batches to join, which the problem's options let it choose."""
        return self._chooses_batches and isinstance(self.data, TensorData) and len(self.batches) > 1

    def with_joined_batches(self, count: int) -> Problem:
        """Return this problem with `count` batches at a time joined; model and data are shared.

        It is this problem itself where that could make another function of it: where batches were
        made or asked for by the user, statistics are computed from them, the loss is no plain mean
        over examples, or the gradient of the first joined batch is not that of its parts, since the
        model draws random numbers or looks across a batch.
        """
        if count < 2 or not self.may_join_batches:
            return self
        other = copy.copy(self)
        other.plan = replace(self.plan, batch_size=count * self.plan.batch_size)
        other._cut()
        if count not in self._joinable:
            self._joinable[count] = self._is_plain_mean() and self._has_first_gradient_of(
                other, count
            )
        return other if self._joinable[count] else self

    def evaluate(self, w: Point | None = None) -> Evaluation:
        """Return mean loss and accuracy at `w` (P,), the model's own weights if None.

        A loss that is not finite is a value, not an error. The device is waited for once, at the
        end.
        """
        return self.evaluation_of(self.measure_point(w, self.batches))

    def evaluate_many(self, points: Sequence[Point] | Tensor) -> list[Evaluation]:
        """Return mean loss and accuracy at each point, `plan.points_per_pass` points at a time.

        A point's value does not depend on the others, bit for bit; the last pass is filled up with
        copies.

        Args:
            points: Any number of them; best a multiple of `plan.points_per_pass`.
        """
        size, points = self.plan.points_per_pass, list(points)
        if size == 1:
            return [self.evaluate(point) for point in points]
        stacks = [points[start : start + size] for start in range(0, len(points), size)]
        return [value for stack in stacks for value in self._evaluate_stack(stack, size)]

    def largest_deviation(self, points: Sequence[Point] | Tensor) -> dict[str, float]:
        """Measure the relative error of the losses of `evaluate_many` against plain evaluation.

        Plain is float32 (or float64), one point at a time, not compiled.

        Args:
            points: Some points, a few of those that are evaluated; at least one.

        Returns:
            What is not plain, such as `bfloat16, 8 points per pass` -> the largest |loss - plain| /
            |plain|; empty if everything is plain.

        Raises:
            LandscapeError: If several points a pass, and nothing else, make more than 1e-6 of
                difference.
        """
        deviations = self.plan.deviations
        if not deviations:
            return {}
        found = self.evaluate_many(points)
        with self.under(self.plan.plain()):
            plain = [self.evaluate(point) for point in points]
        losses, references = (
            np.array([value.loss for value in values]) for values in (found, plain)
        )
        largest = largest_relative_difference(
            torch.from_numpy(losses), torch.from_numpy(references)
        )
        if self.plan.points_per_pass > 1 and len(deviations) == 1 and largest > AGREEMENT:
            raise LandscapeError(
                f"losses at {deviations[0]} must be those of one point at a time to {AGREEMENT:g} "
                "of them, "
                f"one differs by {largest:.1e}.",
                hint=_ONE_POINT,
            )
        return {", ".join(deviations): largest}

    def loss(self, w: Tensor | None = None) -> float:
        """Return the mean loss at `w` (P,), the model's own weights if None."""
        return self.evaluate(w).loss

    def outputs(self, num_batches: int | None = None) -> list[Tensor]:
        """Return copies of the tensors that the model outputs at its own weights.

        They are those of the first batches, or of all batches.
        """
        with self._at(None), torch.no_grad():
            outputs = (self._forward(*batch)[0] for batch in self.batches[:num_batches])
            return [tensor.clone() for output in outputs for tensor in tensors_in(output)]

    def gradient(self, w: Tensor | None = None) -> Gradient:
        """Return mean loss and gradient at `w` (P,), the model's own weights if None.

        With `batch`, batch statistics are differentiated through; with `recalibrate` they are
        constants.
        """
        losses, total = self.gradient_share(range(len(self.batches)), w)
        return Gradient(self._mean(losses), total)

    def gradient_share(
        self, numbers: Sequence[int], w: Point | None = None
    ) -> tuple[np.ndarray, Tensor]:
        """Return what some batches contribute to the gradient.

        Args:
            numbers: Of the batches.
            w: Weights (P,), the model's own if None.

        Returns:
            Their mean losses (len(numbers),), and their share of the gradient (P,), in the
            accumulation dtype: the shares of all batches add up to it.
        """
        losses = torch.empty(len(numbers), device=self.device, dtype=self.dtype)
        total = self._zeros()
        with self._at(w), twice_differentiable():
            for i, number in enumerate(numbers):
                loss = self._differentiable_loss(self.batches[number])
                gradients = torch.autograd.grad(loss, self._parameters, allow_unused=True)
                self.accumulate(total, self.spec, gradients, number)
                losses[i] = loss.detach()
        return losses.cpu().double().numpy(), total

    def hessian_vector_product(self, v: Tensor, w: Tensor | None = None) -> Tensor:
        """Return H v (P,) at `w`, the model's own weights if None, in the accumulation dtype.

        By double backward, exact up to rounding; batch by batch, so that memory does not grow with
        the data.

        Args:
            v: Vector (P,).
            w: Weights (P,).

        Raises:
            InputError: If the loss cannot be differentiated twice.
        """
        self.spec.require_vector(v, "v")
        parts = self.spec.views(v.to(self.device, self.dtype))
        total = self._zeros()
        self.write(w)
        with self.differentiating():
            for i in range(len(self.batches)):
                self.accumulate(
                    total, self.spec, self.curvature_graph(i).product(parts, is_last=True), i
                )
        return total

    @property
    def version(self) -> int:
        """A number that changes whenever weights are written where the model reads them.

        A graph from before is of other weights, and void.
        """
        return self._buffer._version

    def write(self, w: Point | None) -> None:
        """Write weights `w` (P,), the model's own if None, where the model reads them."""
        if w is None and self._own_version == self.version:
            return
        self._write(self.weights if w is None else w, self._buffer)
        torch.autograd.graph.increment_version(
            self._buffer
        )  # a point may write where autograd does not see it
        self._own_version = self.version if w is None else None

    @contextmanager
    def differentiating(self) -> Iterator[None]:
        """Run `curvature_graph` and its products repeatably inside this context.

        They are computed at the weights that were last written.

        Raises:
            InputError: If the loss cannot be differentiated twice.
            LandscapeError: If the device is out of memory.
        """
        with self._undisturbed(), twice_differentiable(), explained_derivatives():
            yield

    def curvature_graph(
        self,
        number: int,
        kind: str = "hessian",
        *,
        tensors: tuple[int, ...] | None = None,
        model: Callable[..., Any] | None = None,
    ) -> CurvatureGraph:
        """Return the curvature of a batch's mean loss at the weights that were last written.

        Args:
            number: Of the batch.
            kind: One of `landscape.problem.curvature_graphs.CURVATURES`.
            tensors: Numbers of the parameter tensors whose diagonal block is meant; None for all.
            model: What computes the outputs; None for the model.

        Raises:
            InputError: If there is no such curvature of this loss.
        """
        inputs, targets = self.batches[number]
        is_plain = (
            self.plan.dtype == "bfloat16"
        )  # there the operations choose their dtypes themselves
        cheap = nullcontext() if is_plain else CheapSecondDerivatives(is_full=kind == "hessian")
        with self._alone(tensors) as parameters, cheap:
            outputs, loss = self._forward(inputs, targets, model)
            self._require_twice_differentiable(loss, parameters, tensors)
            if kind == "hessian":
                return HessianGraph(loss, parameters)
            if kind == "fisher":
                return empirical_fisher(self._losses_apart(outputs, targets), parameters)
            leaves = map_tensors(lambda t: t.detach().requires_grad_(t.requires_grad), outputs)
            curved = self._forward(inputs, targets, lambda *args, **named: leaves)[1]
            return gauss_newton(_variable(outputs), curved, _variable(leaves), parameters)

    @contextmanager
    def _alone(self, tensors: tuple[int, ...] | None) -> Iterator[list[nn.Parameter]]:
        """Give the parameters of these numbers; inside, the others are constants."""
        wanted = set(range(len(self._parameters)) if tensors is None else tensors)
        others = [parameter for i, parameter in enumerate(self._parameters) if i not in wanted]
        for parameter in others:
            parameter.requires_grad_(False)
        try:
            yield [parameter for i, parameter in enumerate(self._parameters) if i in wanted]
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

    def _losses_apart(self, outputs: Any, targets: Any) -> Tensor:
        """Return the losses of the examples of a batch (n,)."""
        separate = separate_losses(self.criterion)
        with self.plan.autocast():
            if separate is None or not are_separate(
                separate, outputs, targets, self.criterion(outputs, targets)
            ):
                raise InputError(
                    "the empirical Fisher matrix needs one loss an example, whose plain mean is "
                    "the batch's loss; "
                    "this loss function does not give them.",
                    hint="Use one that honours reduction='none', as torch's do, or the GGN.",
                )
            return separate(outputs, targets)

    def own_buffers(self) -> OwnBuffers:
        """Return the model with copies of its present buffers; later writing leaves them alone."""
        return OwnBuffers(
            self._module, ignored=self._norms.moving if self.batchnorm == "batch" else set()
        )

    @property
    def resident(self) -> list[Tensor]:
        """The tensors that are there whether a graph is kept or not: weights, buffers and data."""
        return [
            self._buffer,
            *self._module.buffers(),
            *self._module.parameters(),
            *tensors_in(self.batches),
        ]

    def _require_own_weights(self, inputs: Any, targets: Any) -> None:
        """Raise InputError if the model computes with other tensors than its parameters.

        A closure or a list that was made in the model's constructor still holds the caller's
        parameters after the copy, and the loss would never move.
        """
        with self._at(None), twice_differentiable():
            loss = self._forward(inputs, targets)[1]
        if _leaves(loss) - {id(parameter) for parameter in self._parameters}:
            raise InputError(
                "the model computes with parameters that it reaches by another way than its "
                "attributes.",
                hint="Keep no parameter or layer in a lambda or a plain list; use nn.ParameterList "
                "or nn.ModuleList.",
            )

    def _find_separate_losses(self) -> Loss | None:
        """Return the criterion that gives one loss an example, where these have the same mean."""
        separate = separate_losses(self.criterion)
        with self._at(None), torch.inference_mode():
            for inputs, targets in (self.batches[0], self.batches[-1]):
                outputs, loss = self._forward(inputs, targets)
                if separate is None or not are_separate(separate, outputs, targets, loss):
                    return None
        return separate

    def _is_plain_mean(self) -> bool:
        """Whether the loss of every batch is the plain mean over its examples, up to rounding."""
        separate = separate_losses(self.criterion)
        if separate is None:
            return False
        rounding = _ROUNDINGS * torch.finfo(self.dtype).eps
        with self._at(None), torch.inference_mode():
            found = (self._forward(*batch) for batch in self.batches)
            return all(
                are_separate(separate, outputs, targets, loss, rounding)
                for (_, targets), (outputs, loss) in zip(self.batches, found, strict=True)
            )

    def _has_first_gradient_of(self, other: Problem, count: int) -> bool:
        """Return whether the first batch of `other` has the gradient of our first `count`."""
        numbers = range(min(count, len(self.batches)))
        shares = [self.gradient_share([number])[1] for number in numbers]
        difference = norm(other.gradient_share([0])[1] - torch.stack(shares).sum(0))
        return difference <= math.sqrt(torch.finfo(self.dtype).eps) * sum(map(norm, shares))

    def _choose_points_per_pass(self, count: int | None) -> None:
        """Take so many points a pass, or if None what is fastest."""
        if count is None:
            count, self.one_at_a_time = fastest_count(self)
        elif count > 1:
            reason = reason_against(self, count)
            if reason:
                raise InputError(
                    f"a pass of {count} points is not possible: {reason}.", hint=_ONE_POINT
                )
        self.plan = replace(self.plan, points_per_pass=count)

    def _differentiable_loss(self, batch: Batch) -> Tensor:
        loss = self._forward(*batch)[1]
        require_differentiable(loss)
        return loss

    def _forward(
        self, inputs: Any, targets: Any, model: Callable[..., Any] | None = None
    ) -> tuple[Any, Tensor]:
        with self.plan.autocast():
            return outputs_and_loss(model or self._module, self.criterion, inputs, targets)

    def _measure(self, batch: Batch, model: Callable[..., Any]) -> dict[str, Tensor]:
        """Return by name a batch's loss and number correct, (1,), and single losses, (n,).

        Values that are not available are left out.
        """
        inputs, targets = batch
        outputs, loss = self._forward(inputs, targets, model)
        found = {"loss": loss}
        if has_accuracy(outputs, targets):
            found["correct"] = (outputs.argmax(dim=1) == targets).sum()
        if self._separate is not None:
            found["losses"] = self._separate(outputs, targets)
        return {name: value.to(self.dtype).reshape(-1) for name, value in found.items()}

    def _measure_with(self, w: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return what `_measure` does, at weights `w` (P,) that are a function's argument."""
        weights = dict(zip(self.spec.names, self.spec.views(w), strict=True))
        return self._measure(
            batch, lambda *args, **named: functional_call(self._module, weights, args, named)
        )

    def measure_point(self, point: Point | None, batches: Sequence[Batch]) -> dict[str, np.ndarray]:
        """Return by name the values at a point.

        They are the losses and numbers correct of batches (B,), and the single losses (n,).
        """
        model = self._compiled if self.plan.is_compiled else self._module
        with self._at(point), torch.inference_mode():
            return _on_host([self._measure(batch, model) for batch in batches])

    def measure_stack(
        self, points: Sequence[Point], size: int, batches: Sequence[Batch]
    ) -> dict[str, np.ndarray]:
        """Return what `measure_point` does, (size, ...), at each of `points`.

        Rows beyond the last point are at copies of that point.
        """
        if len(self._stack) != size:
            self._stack = self._buffer.new_empty(size, self.spec.size)
        for i, row in enumerate(self._stack):
            self._write(points[min(i, len(points) - 1)], row)
        # Fused attention cannot be mapped over weights; what has a second derivative can.
        with (
            self._undisturbed(),
            twice_differentiable(),
            torch.inference_mode(),
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings(
                "ignore", "There is a performance drop"
            )  # operations done point by point
            return _on_host(
                [
                    vmap(partial(self._measure_with, batch=batch), randomness="error")(self._stack)
                    for batch in batches
                ]
            )

    def _evaluate_stack(self, points: Sequence[Point], size: int) -> list[Evaluation]:
        found = self.measure_stack(points, size, self.batches)
        return [
            self.evaluation_of({name: values[i] for name, values in found.items()})
            for i in range(len(points))
        ]

    def evaluation_of(self, found: dict[str, np.ndarray]) -> Evaluation:
        """Return the means of what `measure_point` gives for all batches."""
        losses = found["loss"]
        accuracy = int(found["correct"].sum()) / self.num_examples if "correct" in found else None
        return Evaluation(
            self._mean(losses), accuracy, self._standard_error(losses, found.get("losses"))
        )

    def _standard_error(self, losses: np.ndarray, separate: np.ndarray | None) -> float | None:
        if self._population is None:
            return None
        if separate is None:
            return error_from_batches(losses, self._sizes, self._population)
        return error_of_mean(separate, self._population, self._strata)

    @contextmanager
    def _at(self, w: Point | None) -> Iterator[None]:
        """Run inside at weights `w`, repeatably."""
        self.write(w)
        with self._undisturbed():
            yield

    @torch.no_grad()
    def _write(self, point: Point, out: Tensor) -> None:
        """Write a point into `out` (P,)."""
        if isinstance(point, Tensor):
            self.spec.require_vector(point, "w")
            out.copy_(point)
        else:
            point(out=out)

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """Run inside repeatably, and with normalization layers as they are to be."""
        with repeatable(self.device, self.plan.dtype), self._norms.evaluation(self._calibrate):
            yield

    @contextmanager
    def under(self, plan: Plan) -> Iterator[None]:
        """Run inside under another plan for the same batches."""
        own, self.plan = self.plan, plan
        try:
            yield
        finally:
            self.plan = own

    def _compile(self) -> Callable[..., Any]:
        """Return the compiled model, with a separate program for each batch size."""
        in_graphs = {"mode": "reduce-overhead"} if self.device.type == "cuda" else {}
        return compiled(self._module, dynamic=False, **in_graphs)

    @torch.no_grad()
    def _calibrate(self) -> None:
        for inputs, targets in self._calibration or self.batches:
            self._forward(inputs, targets)

    def _set_data(self, resident: Data) -> None:
        self.num_examples = resident.num_examples
        self.data_hash = hash_data(resident)
        self.data = self._laid_out(resident)
        self._cut()

    def _cut(self) -> None:
        self._joinable: dict[int, bool] = {}
        self.batches = self.data.batches(self.plan.batch_size)
        self._sizes = np.array([batch_length(batch) for batch in self.batches], dtype=np.float64)

    def _laid_out(self, data: Data) -> Data:
        """Return the data in the plan's memory format."""
        if self.plan.memory_format != "channels_last" or isinstance(data, GraphData):
            return data
        if isinstance(data, TensorData):
            return TensorData(to_channels_last(data.inputs), data.targets)
        return BatchData(
            tuple((to_channels_last(inputs), targets) for inputs, targets in data.items)
        )

    def _zeros(self) -> Tensor:
        return torch.zeros(
            self.spec.size, device=self.device, dtype=accumulation_dtype(self.device)
        )

    def accumulate(
        self, total: Tensor, spec: WeightSpec, tensors: Sequence[Tensor | None], number: int
    ) -> None:
        """Add a batch's share of the mean to `total` (P,), which `spec` describes.

        Args:
            total: Sum of the shares so far.
            spec: Places of the tensors.
            tensors: One a parameter tensor; None contributes zero.
            number: Of the batch.
        """
        share = float(self._sizes[number]) / self.num_examples
        dense = [t.detach() for t in tensors if t is not None and t.layout == torch.strided]
        if len(dense) == len(tensors) and spec.size < _SMALL:
            total.add_(spec.flatten(dense), alpha=share)
            return
        for place, tensor in zip(spec.views(total), tensors, strict=True):
            if tensor is not None:
                place.add_(tensor.detach(), alpha=share)

    def _mean(self, losses: np.ndarray) -> float:
        return float(self._sizes @ losses / self.num_examples)


def _on_host(batches: list[dict[str, Tensor]]) -> dict[str, np.ndarray]:
    """Join what all batches have along the last dimension, as float64 on the host.

    The values are moved to the host in one transfer.
    """
    names = [name for name in batches[0] if all(name in found for found in batches)]
    parts = [torch.cat([found[name] for found in batches], dim=-1) for name in names]
    values = torch.cat(parts, dim=-1).cpu().double().numpy()
    ends = list(accumulate(part.shape[-1] for part in parts))
    return {
        name: values[..., start:end]
        for name, start, end in zip(names, [0, *ends], ends, strict=False)
    }


def _require_finite(spec: WeightSpec, w: Tensor) -> None:
    if torch.isfinite(w).all():
        return
    bad = [
        name
        for name, part in zip(spec.names, spec.views(w), strict=True)
        if not torch.isfinite(part).all()
    ]
    raise InputError(
        f"weights must be finite, {len(bad)} of {len(spec.names)} tensors hold NaN or inf: "
        f"{', '.join(bad[:5])}.",
        hint="The training that wrote them diverged; use an earlier checkpoint.",
    )


def _leaves(loss: Tensor) -> set[int]:
    """Return the identities of the tensors that a loss is differentiable in."""
    leaves = (getattr(node, "variable", None) for node in nodes([loss]))
    return {id(leaf) for leaf in leaves if leaf is not None}


def _variable(outputs: Any) -> list[Tensor]:
    return [tensor for tensor in tensors_in(outputs) if tensor.requires_grad]
