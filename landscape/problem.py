"""Loss, accuracy, gradient and Hessian-vector product of a model on data, at any weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from landscape.batches import Batch, Data, as_data, batch_length, hash_data, hash_tensors
from landscape.batchnorm import MODES, BatchNorm
from landscape.errors import InputError, copying_a_model, first_line
from landscape.execution import (
    Plan,
    autocast,
    choose_device,
    make_plan,
    repeatable,
    require_dtype,
    twice_differentiable,
)
from landscape.forward import has_accuracy, outputs_and_loss, require_differentiable
from landscape.memory_format import prefers_channels_last, to_channels_last
from landscape.reductions import accumulation_dtype
from landscape.weights import WeightSpec, bind

Loss: TypeAlias = Callable[[Any, Any], Tensor]
"""`loss(outputs, targets)` returns the mean over the batch, as torch's criteria do."""


@dataclass(frozen=True)
class Evaluation:
    """Mean loss over the data.

    Attributes:
        loss: The mean.
        accuracy: Share of correct examples, where that exists.
        standard_error: Of the loss as an estimate for a larger set that the data were drawn from; None if
            there is none.
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
    touched. The same `w` gives the same number, bit for bit, under the same `plan`. Batches count by
    their size, per-batch values are summed in float64. The model runs in evaluation mode.

    Args:
        model: Any module with trainable parameters; its present weights become `weights`.
        data: What `landscape.batches.as_data` reads; kept on the device.
        loss: `loss(outputs, targets)`, the mean over a batch; default cross-entropy.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.
        dtype: `float32`, `float64`, or `bfloat16` (float32 weights under autocast).
        batchnorm: `stored`, `batch` or `recalibrate`, see `landscape.batchnorm.MODES`.
        batch_size: Examples a forward pass; chosen by the kind of model if None. Batches that the
            user made keep their size.
        calibration: Data for `recalibrate`; default `data`.

    Attributes:
        spec: Names, shapes and places of the weights.
        weights: The model's own weights (P,); do not write into it.
        num_examples: Examples in the data.
        batches: The data on the device, in evaluation order; do not write into it.
        criterion: The loss function.
        plan: How it is evaluated.

    Raises:
        InputError: If model, data and loss do not fit together, or a weight is not finite.
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
    ) -> None:
        if batchnorm not in MODES:
            raise InputError(f"batchnorm must be one of {', '.join(MODES)}, got {batchnorm!r}.")
        if batch_size is not None and batch_size < 1:
            raise InputError(f"batch size must be at least 1, got {batch_size}.")
        self.device = choose_device(device)
        self.dtype = require_dtype(dtype, self.device)
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
        self.num_examples = resident.num_examples
        self.data_hash = hash_data(resident)
        first = resident.batches(2)[0]
        with repeatable(self.device):
            is_channels_last = prefers_channels_last(self._module, first[0])
        self.plan: Plan = make_plan(
            device=self.device, dtype=dtype, batch_size=batch_size, is_channels_last=is_channels_last
        )
        self.batches = self._cut(resident)
        self._sizes = np.array([batch_length(batch) for batch in self.batches], dtype=np.float64)
        self._calibration = self.batches
        if calibration is not None and batchnorm == "recalibrate":
            self._calibration = self._cut(as_data(calibration).to(self.device, self.dtype))
        self._require_own_weights(*first)

    @property
    def weights_hash(self) -> str:
        """SHA-256 of the model's own weights and buffers, in the dtype of the evaluation."""
        return hash_tensors([self.weights, *self._norms.stored])

    def copy_module(self) -> nn.Module:
        """Return an independent copy of the model at its own weights, in evaluation mode."""
        with self._at(None):
            return copy.deepcopy(self._module)

    def with_buffers(self, buffers: Sequence[Tensor]) -> Problem:
        """Return this problem with the running statistics, and whatever else is a buffer, of another checkpoint.

        Model and data are shared with this problem, not copied.

        Args:
            buffers: As `module.buffers()` yields them.
        """
        other = copy.copy(self)
        other._norms = self._norms.with_stored(buffers)
        return other

    def evaluate(self, w: Tensor | None = None) -> Evaluation:
        """Return mean loss and accuracy at `w` (P,), the model's own weights if None.

        A loss that is not finite is a value, not an error.
        """
        losses = torch.empty(len(self.batches), device=self.device, dtype=self.dtype)
        correct = torch.zeros(len(self.batches), device=self.device, dtype=torch.int64)
        is_classified = True
        with self._at(w), torch.inference_mode():
            for i, (inputs, targets) in enumerate(self.batches):
                outputs, losses[i] = self._forward(inputs, targets)
                is_classified = is_classified and has_accuracy(outputs, targets)
                if is_classified:
                    correct[i] = (outputs.argmax(dim=1) == targets).sum()
        accuracy = int(correct.sum()) / self.num_examples if is_classified else None
        return Evaluation(self._mean(losses), accuracy)

    def loss(self, w: Tensor | None = None) -> float:
        """Return the mean loss at `w` (P,), the model's own weights if None."""
        return self.evaluate(w).loss

    def gradient(self, w: Tensor | None = None) -> Gradient:
        """Return mean loss and gradient at `w` (P,), the model's own weights if None.

        With `batch`, batch statistics are differentiated through; with `recalibrate` they are
        constants.
        """
        losses = torch.empty(len(self.batches), device=self.device, dtype=self.dtype)
        total = self._zeros()
        with self._at(w), twice_differentiable():
            for i, batch in enumerate(self.batches):
                loss = self._differentiable_loss(batch)
                gradients = torch.autograd.grad(loss, self._parameters, allow_unused=True)
                self._accumulate(total, gradients, i)
                losses[i] = loss.detach()
        return Gradient(self._mean(losses), total)

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
        with self._at(w), twice_differentiable():
            for i, batch in enumerate(self.batches):
                loss = self._differentiable_loss(batch)
                self._accumulate(total, self._second_derivative(loss, parts), i)
        return total

    def _second_derivative(self, loss: Tensor, parts: list[Tensor]) -> tuple[Tensor | None, ...]:
        gradients = torch.autograd.grad(loss, self._parameters, create_graph=True, allow_unused=True)
        curved = [(g, part) for g, part in zip(gradients, parts, strict=True) if g is not None and g.requires_grad]
        if not curved:  # the loss is linear in every weight
            return (None,) * len(self._parameters)
        outputs, directions = zip(*curved, strict=True)
        try:
            return torch.autograd.grad(outputs, self._parameters, directions, allow_unused=True)
        except RuntimeError as exc:
            if "derivative" not in str(exc):
                raise
            raise InputError(
                f"the loss cannot be differentiated twice: {first_line(exc)}",
                hint="Replace that operation in the model or the loss by one with a second derivative.",
            ) from exc

    def _require_own_weights(self, inputs: Any, targets: Any) -> None:
        """Raise InputError if the model computes with other tensors than its parameters.

        A closure or a list that was made in the model's constructor still holds the caller's
        parameters after the copy, and the loss would never move.
        """
        with self._at(None), twice_differentiable():
            loss = self._forward(inputs, targets)[1]
        if _leaves(loss) - {id(parameter) for parameter in self._parameters}:
            raise InputError(
                "the model computes with parameters that it reaches by another way than its attributes.",
                hint="Keep no parameter or layer in a lambda or a plain list; use nn.ParameterList or nn.ModuleList.",
            )

    def _differentiable_loss(self, batch: Batch) -> Tensor:
        loss = self._forward(*batch)[1]
        require_differentiable(loss)
        return loss

    def _forward(self, inputs: Any, targets: Any) -> tuple[Any, Tensor]:
        with autocast(self.plan):
            return outputs_and_loss(self._module, self.criterion, inputs, targets)

    @contextmanager
    def _at(self, w: Tensor | None) -> Iterator[None]:
        """Run inside at weights `w`, repeatably."""
        w = self.weights if w is None else w
        self.spec.require_vector(w, "w")
        with torch.no_grad():
            self._buffer.copy_(w)
        with repeatable(self.device), self._norms.evaluation(self._calibrate):
            yield

    @torch.no_grad()
    def _calibrate(self) -> None:
        for inputs, targets in self._calibration:
            self._forward(inputs, targets)

    def _cut(self, data: Data) -> list[Batch]:
        batches = data.batches(self.plan.batch_size)
        if self.plan.memory_format != "channels_last":
            return batches
        return [(to_channels_last(inputs), targets) for inputs, targets in batches]

    def _zeros(self) -> Tensor:
        return torch.zeros(self.spec.size, device=self.device, dtype=accumulation_dtype(self.device))

    def _accumulate(self, total: Tensor, tensors: tuple[Tensor | None, ...], i: int) -> None:
        """Add batch i's share of the mean; an unused parameter contributes zero."""
        share = self._sizes[i] / self.num_examples
        for part, tensor in zip(self.spec.views(total), tensors, strict=True):
            if tensor is not None:
                part.add_(tensor.detach(), alpha=share)

    def _mean(self, losses: Tensor) -> float:
        return float(self._sizes @ losses.cpu().double().numpy() / self.num_examples)


def _require_finite(spec: WeightSpec, w: Tensor) -> None:
    if torch.isfinite(w).all():
        return
    bad = [name for name, part in zip(spec.names, spec.views(w), strict=True) if not torch.isfinite(part).all()]
    raise InputError(
        f"weights must be finite, {len(bad)} of {len(spec.names)} tensors hold NaN or inf: {', '.join(bad[:5])}.",
        hint="The training that wrote them diverged; use an earlier checkpoint.",
    )


def _leaves(loss: Tensor) -> set[int]:
    """Return the identities of the tensors that a loss is differentiable in."""
    nodes, seen, leaves = [loss.grad_fn], set(), set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            leaves.add(id(leaf))
        nodes.extend(following for following, _ in node.next_functions)
    return leaves
