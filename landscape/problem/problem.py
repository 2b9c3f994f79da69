"""Loss, accuracy, gradient and Hessian-vector product of a model on data, at any weights."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape.errors import (
    Remark,
    explained_memory,
    require,
    require_in_limits,
    require_one_of,
    without_remarks,
)
from landscape.problem.batch_means import find_sample, warn_of_batch_size
from landscape.problem.batch_memory import fit_into_memory, until_it_fits
from landscape.problem.batches import Batch, BatchData, Data, hash_tensors, tensors_in
from landscape.problem.curvature import Derivatives
from landscape.problem.forward import BATCHNORM_MODES, changed
from landscape.problem.passes import Loss, Passes
from landscape.problem.plan import Plan
from landscape.problem.points_per_pass import choose_count
from landscape.problem.sampling_error import (
    combined,
    error_over_draws,
)
from landscape.problem.weights import Point, WeightSpec, load_own_state, trainable_parameters
from landscape.runtime import distributed


@dataclass(frozen=True)
class Evaluation:
    """Mean loss over the data.

    Attributes:
        loss: The mean.
        accuracy: Share of correct examples, where that exists.
        standard_error: Standard error of the loss as an estimate for a larger set that the data
            were drawn from, and for all draws of random numbers; None if there is none.
        draws_error: The part that is over the draws; None for one draw.
    """

    loss: float
    accuracy: float | None
    standard_error: float | None = None
    draws_error: float | None = None


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

    Losses can be computed at K points per forward pass, the weights stacked along a first
    dimension, with `stored` batch normalization. On a plane of two directions this takes, in
    addition to model and data, K + 3 vectors (P,) - the K points (none if K is 1: the model's own
    weights are written over), `weights` and both directions - and the activations of K batches, if
    points are given as functions that write them. Measured as peak resident memory, perceptrons
    keep to that; a convolution on the CPU also rearranges a copy of its layer's weights.

    Args:
        model: Any module with trainable parameters; its present weights become `weights`.
        data: What `landscape.problem.reading.as_data` reads; kept on the device.
        loss: `loss(outputs, targets)`, the mean over a batch, or `(sum, count)` for a mean over
            what it counts; or one of `landscape.problem.criteria.LOSSES`. Default cross-entropy.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.
        dtype: `float32`, `float64`, `bfloat16` (float32 weights under autocast), or on CUDA `tf32`.
        batchnorm: One of `landscape.problem.forward.BATCHNORM_MODES`.
        batch_size: Examples per forward pass; chosen by the kind of model if None. Batches that the
            user made keep their size.
        calibration: Data for `recalibrate`; default `data`.
        points_per_pass: K, for `evaluate_many`; None takes what is fastest, found by trying.
        compile: Whether losses are computed by `torch.compile`'s version of the model, on CUDA
            in CUDA graphs; derivatives are not.
        num_population: Number of examples that the data were drawn from; losses then have a
            standard error.
        is_stratified: Whether they were drawn class by class.
        draws: Number of fixed draws of the random numbers of model and loss that are averaged.

    Attributes:
        passes: Evaluates the batches on the private copy.
        derivatives: Differentiates their losses.
        sample: How the data were drawn from a larger set; None if they are all there is, or if
            unknown. The units are the examples, where the loss is a mean over them, and else the
            batches.
        one_at_a_time: Why one point at a time is evaluated although None was passed for
            `points_per_pass`; empty if several are.

    Raises:
        InputError: If model, data and loss do not fit together, a weight is not finite, or the
            model cannot be evaluated at so many points a pass.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Any,
        loss: Loss | str | None = None,
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
        draws: int = 1,
    ) -> None:
        require_one_of("batchnorm", batchnorm, BATCHNORM_MODES)
        counts = {"batch size": batch_size, "points per pass": points_per_pass, "draws": draws}
        for name, count in counts.items():
            require(count is None or count >= 1, f"{name} must be at least 1, got {count}.")
        require_in_limits({"batch_size": batch_size, "points_per_pass": points_per_pass})
        self.passes = Passes(
            model,
            data,
            loss,
            device=device,
            dtype=dtype,
            batchnorm=batchnorm,
            batch_size=batch_size,
            calibration=calibration,
            is_compiled=compile,
            draws=draws,
        )
        fit_into_memory(self.passes)
        self.passes.habits.warn(draws)
        warn_of_batch_size(self.passes)
        self.derivatives = Derivatives(
            self.passes, chooses_batches=batch_size is None and batchnorm == "stored"
        )
        self.sample = find_sample(self.passes, num_population, is_stratified=is_stratified)
        count, self.one_at_a_time = choose_count(self.passes, points_per_pass)
        self.passes.plan = replace(self.plan, points_per_pass=count)

    def __repr__(self) -> str:
        plan = self.plan
        return (
            f"<Problem weights: {self.spec.size:,}, examples: {self.num_examples:,}, {plan.dtype} "
            f"on {plan.device}, batchnorm: {self.batchnorm}>"
        )

    @property
    def spec(self) -> WeightSpec:
        """Names, shapes and places of the weights."""
        return self.passes.spec

    @property
    def weights(self) -> Tensor:
        """The model's own weights (P,); do not write into them."""
        return self.passes.weights

    @property
    def device(self) -> torch.device:
        """Where model and data are."""
        return self.passes.device

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the weights."""
        return self.passes.dtype

    @property
    def batchnorm(self) -> str:
        """What batch normalization does."""
        return self.passes.norms.mode

    @property
    def plan(self) -> Plan:
        """How the problem is evaluated."""
        return self.passes.plan

    @property
    def data(self) -> Data:
        """All examples, on the device; do not write into them."""
        return self.passes.data

    @property
    def batches(self) -> list[Batch]:
        """The examples, cut up, in evaluation order."""
        return self.passes.own_batches

    @property
    def num_examples(self) -> int:
        """Number of examples in the data."""
        return self.passes.num_examples

    @property
    def data_hash(self) -> str:
        """SHA-256 of the data as they were read, whatever the dtype of the evaluation."""
        return self.passes.data.hash

    @property
    def weights_hash(self) -> str:
        """SHA-256 of the model's own weights and buffers, in the dtype of the evaluation."""
        return hash_tensors([self.weights, *self.buffers])

    @property
    def buffers(self) -> Sequence[Tensor]:
        """The model's own buffers, as `module.buffers()` yields them; do not write into them."""
        return self.passes.norms.stored

    def copy_module(self) -> nn.Module:
        """Return an independent copy of the model at its own weights, in evaluation mode."""
        with self.passes.at(None):
            return self.passes.copied_module()

    @without_remarks()
    def in_dtype(self, dtype: str = "float64") -> Problem:
        """Return the same problem in another dtype, on the same batches.

        Model and data are copied. It is on the host where the device has no float64.

        Args:
            dtype: `float32` or `float64`.
        """
        device = "cpu" if (self.device.type, dtype) == ("mps", "float64") else str(self.device)
        calibration = self.passes.calibration
        return Problem(
            self.copy_module(),
            BatchData(tuple(self.batches), digest=self.data_hash),
            self.passes.given_criterion,
            device=device,
            dtype=dtype,
            batchnorm=self.batchnorm,
            batch_size=self.plan.batch_size,
            calibration=None if calibration is None else BatchData(tuple(calibration)),
            draws=self.plan.draws,
        )

    def with_buffers(self, buffers: Sequence[Tensor], w: Tensor | None = None) -> Problem:
        """Return this problem with the buffers of another checkpoint; model and data are shared.

        Args:
            buffers: As `module.buffers()` yields them.
            w: Weights (P,) that belong to them; None for the present ones.
        """
        passes = self.passes if w is None else self.passes.with_weights(w)
        return self.through(changed(passes, norms=passes.norms.with_stored(buffers)))

    def with_weights(self, w: Tensor | Mapping[str, Tensor]) -> Problem:
        """Return this problem with other weights; model and data are shared.

        Args:
            w: State dict of the model, or weights (P,) alone, for a model none of whose buffers
                move in training, such as running statistics: those belong to their weights.

        Raises:
            InputError: If they do not fit the model, are not finite, or lack such buffers.
        """
        if isinstance(w, Mapping):
            module = self.copy_module()
            load_own_state(module, w)
            tensors = [parameter.detach() for _, parameter in trainable_parameters(module)]
            return self.with_buffers(list(module.buffers()), self.spec.flatten(tensors))
        has_statistics = self.batchnorm == "stored" and self.passes.norms.has_statistics
        other = ", or open the problem with `batchnorm='recalibrate'`" if has_statistics else ""
        require(
            not (has_statistics or self.passes.has_moving_buffers()),
            "other weights need the buffers that moved with them, such as running statistics.",
            hint=f"Pass `model.state_dict()`{other}.",
        )
        return self.through(self.passes.with_weights(w))

    def on(self, data: Any, *, batch_size: int | None = None) -> Problem:
        """Return this problem on other data, under the same plan; the model is shared.

        Losses have no standard error. Recalibration on the problem's own data is on these.

        Args:
            data: What `landscape.problem.reading.as_data` reads; kept on the device.
            batch_size: Examples per forward pass; None for the plan's own.
        """
        other = self.through(self.passes.on(data, batch_size), chooses_batches=batch_size is None)
        return changed(other, sample=None)

    def through(self, passes: Passes, *, chooses_batches: bool = True) -> Problem:
        """Return this problem as other passes of the same model evaluate it."""
        derivatives = self.derivatives.of(passes, chooses_batches=chooses_batches)
        return changed(self, passes=passes, derivatives=derivatives)

    def evaluate(self, w: Point | None = None) -> Evaluation:
        """Return mean loss and accuracy at `w` (P,), the model's own weights if None.

        A loss that is not finite is a value, not an error. The device is waited for once.
        """
        found = until_it_fits(
            lambda: self.passes.measure_point(w, self.passes.batches), self.halve_batches
        )
        return self.evaluation_of(found)

    def evaluate_many(self, points: Sequence[Point] | Tensor) -> list[Evaluation]:
        """Return mean loss and accuracy at each point, `plan.points_per_pass` points at a time.

        A point's value does not depend on the others, bit for bit.

        Args:
            points: Any number of them; best a multiple of `plan.points_per_pass`.
        """
        found = until_it_fits(
            lambda: self.passes.measure_many(list(points), self.passes.batches), self.halve_batches
        )
        return list(map(self.evaluation_of, found))

    def evaluation_of(self, found: dict[str, np.ndarray]) -> Evaluation:
        """Return the means of what `Passes.measure_point` gives for all batches."""
        draws, losses = self.plan.draws, found["loss"]
        count = self.passes.over.num_judged * draws
        accuracy = int(found["correct"].sum()) / count if "correct" in found else None
        over_draws = error_over_draws(losses, self.passes.sizes, draws)
        error = None if self.sample is None else self.sample.error_of(found, draws)
        mean = self.passes.mean(losses)
        return Evaluation(mean, accuracy, combined(error, over_draws), over_draws)

    def loss(self, w: Tensor | None = None) -> float:
        """Return the mean loss at `w` (P,), the model's own weights if None."""
        return self.evaluate(w).loss

    def outputs(self, num_batches: int | None = None) -> list[Tensor]:
        """Return copies of the model's outputs at its own weights, of the first or all batches."""
        with self.passes.at(None), self.passes.habits.without_inference():
            outputs = (self.passes.forward(batch)[0] for batch in self.batches[:num_batches])
            return [tensor.detach().clone() for output in outputs for tensor in tensors_in(output)]

    def gradient(self, w: Tensor | None = None) -> Gradient:
        """Return mean loss and gradient at `w` (P,), the model's own weights if None.

        With `batch`, batch statistics are differentiated through; with `recalibrate` they are
        constants.
        """
        losses, total = until_it_fits(
            lambda: self.derivatives.gradient_share(range(len(self.passes.batches)), w),
            self.halve_batches,
        )
        return Gradient(self.passes.mean(losses), total)

    def hessian_vector_product(self, v: Tensor, w: Tensor | None = None) -> Tensor:
        """Return H v (P,) at `w`, the model's own weights if None, in the accumulation dtype.

        By double backward, exact up to rounding; memory does not grow with the data.

        Args:
            v: Vector (P,).
            w: Weights (P,).

        Raises:
            InputError: If the loss cannot be differentiated twice.
        """
        return until_it_fits(lambda: self.derivatives.product(v, w), self.halve_batches)

    @explained_memory("cutting the data into batches")
    def halve_batches(self) -> bool:
        """Halve the batch size from here on, as `plan` tells, where memory was too little.

        Returns:
            Whether that was done: on an accelerator, where nobody chose the size, no loss depends
            on it, and no other process counts on it.
        """
        size = min(self.plan.batch_size, self.num_examples) // 2
        is_of_batches = self.sample is not None and self.passes.separate is None
        is_bound = is_of_batches or distributed.is_on() or self.device.type == "cpu"
        if size < 1 or is_bound or not self.derivatives.may_halve:
            return False
        self.passes.cut(size)
        warnings.warn(f"Memory ran out; {size} examples per pass now.", Remark, stacklevel=2)
        return True
