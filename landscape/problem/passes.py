"""Forward passes of a model over the batches of its data, at any weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from landscape.errors import InputError, explained_memory
from landscape.problem.batches import Batch, Data, tensors_in
from landscape.problem.criteria import (
    NotingLoss,
    checked,
    criterion_of,
    fitted,
    is_of_torch,
    loss_name,
    num_correct,
)
from landscape.problem.draws import drawn
from landscape.problem.forward import BatchNorm, OwnBuffers, changed, on_host, outputs_and_loss
from landscape.problem.habits import Habits, clone
from landscape.problem.own_loss import own_loss
from landscape.problem.own_model import deep_copy, own_model
from landscape.problem.plan import (
    Plan,
    choose_device,
    compiled,
    laid_out,
    make_plan,
    prefers_channels_last,
    repeatable,
    require_dtype,
    twice_differentiable,
)
from landscape.problem.purity import ends_of, find_habits
from landscape.problem.reading import as_data
from landscape.problem.state import State
from landscape.problem.weights import Point, WeightSpec, bind

Loss: TypeAlias = Callable[[Any, Any], Tensor]
"""`loss(outputs, targets)` returns the mean over the batch, as torch's criteria do."""


class Passes:
    """Evaluates the batches of a set of data at any weights, on a private copy of a model.

    The trainable parameters of the copy are views into one buffer (P,). A pass leaves nothing
    behind that a later one depends on: buffers, modes and random state are put back.

    Args:
        model: Any module with trainable parameters; copied.
        data: What `landscape.problem.reading.as_data` reads.
        criterion: The loss function, or its name; None for the default.
        device: Name of the device, or `auto`.
        dtype: One of `landscape.problem.plan.DTYPES`.
        batchnorm: One of `landscape.problem.forward.BATCHNORM_MODES`.
        batch_size: Examples per forward pass; None to choose by the kind of model.
        calibration: Data for `recalibrate`; None for `data`.
        is_compiled: Whether `measure_point` uses `torch.compile`'s version of the model.

    Attributes:
        device: Where the model and the data are.
        dtype: Dtype of the weights.
        criterion: The loss function.
        loss_name: What results call it.
        spec: Names, shapes and places of the weights.
        parameters: The trainable parameters of the copy, in order.
        norms: Its normalization layers and stored buffers.
        weights: The model's own weights (P,).
        plan: How the passes are carried out.
        data: All examples, on the device.
        batches: The same, cut up, in evaluation order.
        over: What the mean loss is over.
        sizes: Weights of the batches in it, over all draws (B,).
        num_examples: Examples in all batches.
        calibration: Batches for `recalibrate`; None for `batches`.
        separate: The criterion for single examples, if their losses are to be measured too.

    Raises:
        InputError: If model, data and loss do not fit together, or a weight is not finite.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Any,
        criterion: Loss | str | None,
        *,
        device: str,
        dtype: str,
        batchnorm: str,
        batch_size: int | None,
        calibration: Any,
        is_compiled: bool,
        draws: int,
    ) -> None:
        self.device = choose_device(device)
        self.dtype = require_dtype(dtype, self.device)
        self.given_criterion = criterion_of(criterion)
        own = own_loss(self.given_criterion, self.device, self.dtype, model.parameters())
        self._own_criterion = own.call
        self._returns_count = False
        self.habits = Habits.before_trial()
        self._module = own_model(model, self.device, self.dtype)
        self.spec = WeightSpec.from_module(self._module)
        self._buffer = torch.empty(self.spec.size, device=self.device, dtype=self.dtype)
        self.parameters = bind(self._module, self.spec, self._buffer)
        self.norms = BatchNorm(self._module, batchnorm)
        self.weights = self._buffer.clone()
        self.spec.require_finite(self.weights)
        self._own_version: int | None = None
        self._stack = self._buffer.new_empty(0, self.spec.size)
        self.separate: Loss | None = None
        resident, roots = self._moved(data), {"": self._module, "loss function": own.call}
        state = State(roots, ignored=self.norms.moving, shared=own.shared)
        with repeatable(self.device, dtype):
            is_channels_last = prefers_channels_last(self._module, resident.batches(2)[0][0])
        state.restore()
        self.plan: Plan = make_plan(
            device=self.device,
            dtype=dtype,
            batch_size=batch_size,
            is_channels_last=is_channels_last,
            is_compiled=is_compiled,
        )
        self._take_data(resident)
        self.write(None)
        with self.undisturbed(calibrates=False):
            self.criterion = checked(self.criterion, is_chosen=criterion is not None)
            ends = ends_of(self.data, self.batches)
            self.habits = find_habits(self.forward, ends, state, self.weights, self._check_weights)
        known = {*model.parameters(), *own.copied.values()}
        with self.undisturbed(calibrates=False):
            self.habits.require_own_weights(self.forward, set(self.parameters), known)
            self._check_weights_elsewhere()
        name = loss_name(self.given_criterion)
        self.loss_name = f"the model's own ({name})" if self.habits.returns_output else name
        self.habits.require_eager(is_compiled=is_compiled)
        self.plan = replace(self.plan, draws=draws if self.habits.is_random else 1)
        if not is_of_torch(own.call):
            self._returns_count = None not in self._note([self.habits.tried])
        self.cut(self.plan.batch_size)
        self.calibration: list[Batch] | None = None
        if calibration is not None and batchnorm == "recalibrate":
            batches = laid_out(self._moved(calibration), self.plan).batches(self.plan.batch_size)
            self.calibration = self._numbered(batches, 1)
        self._compiled: Callable[..., Any] = self._module
        if is_compiled:  # a separate program for each batch size
            mode = "reduce-overhead" if self.device.type == "cuda" else None
            self._compiled = compiled(self._module, dynamic=False, mode=mode)

    def copied_module(self) -> nn.Module:
        """Return a copy of the model at the weights that were last written."""
        return deep_copy(self._module)

    def with_weights(self, w: Tensor) -> Passes:
        """Return these passes with other own weights `w` (P,); model and data are shared."""
        self.spec.require_vector(w, "w")
        weights = w.detach().to(self.device, self.dtype, copy=True)
        self.spec.require_finite(weights)
        return changed(self, weights=weights, _own_version=None)  # the model reads those of self

    def has_moving_buffers(self) -> bool:
        """Whether training moves buffers, which then belong to their weights."""
        module, passes = self.copied_module(), changed(self, habits=Habits(fresh=clone))
        with self.undisturbed(calibrates=False), torch.no_grad():
            return self.norms.are_moved(module, lambda: passes.forward(self.habits.tried, module))

    def on(self, data: Any, batch_size: int | None = None) -> Passes:
        """Return these passes over other data, without single losses; the model is shared.

        Args:
            data: What `landscape.problem.reading.as_data` reads.
            batch_size: Examples per forward pass; None for the plan's own.
        """
        plan = replace(self.plan, batch_size=batch_size or self.plan.batch_size)
        other = changed(self, plan=plan, separate=None)
        other._take_data(self._moved(data))
        return other

    def joined(self, count: int) -> Passes:
        """Return these passes with `count` batches at a time joined; model and data are shared."""
        other = changed(self)
        other.cut(count * self.plan.batch_size)
        return other

    @contextmanager
    def under(self, plan: Plan) -> Iterator[None]:
        """Run inside under another plan for the same batches."""
        own, self.plan = self.plan, plan
        try:
            yield
        finally:
            self.plan = own

    @property
    def version(self) -> int:
        """A number that changes whenever weights are written, which makes earlier graphs void."""
        return self._buffer._version

    def write(self, w: Point | None) -> None:
        """Write weights `w` (P,), the model's own if None, where the model reads them."""
        if w is None and self._own_version == self.version:
            return
        self.spec.write(self.weights if w is None else w, self._buffer)
        self.spec.copy_complex(self._buffer, self.parameters)
        # A point may write where autograd does not see it.
        torch.autograd.graph.increment_version(self._buffer)
        self._own_version = self.version if w is None else None

    def at(self, w: Point | None) -> AbstractContextManager[nn.Module]:
        """Run inside at weights `w`, the model's own if None, repeatably; give the model."""
        self.write(w)
        return self.undisturbed()

    @contextmanager
    def undisturbed(self, *, calibrates: bool = True) -> Iterator[nn.Module]:
        """Run inside repeatably, with normalization layers as they are to be; give the model.

        Args:
            calibrates: Whether `recalibrate` estimates statistics, and does not take stored ones.
        """
        with (
            repeatable(self.device, self.plan.dtype) as messages,
            self.habits.undisturbed(),
            self.norms.evaluation(self._calibrate if calibrates else None),
        ):
            yield self._module
        self.plan = self.plan.warned(messages)

    def _calibrate(self) -> None:
        with self.habits.without_inference():
            for batch in self.calibration or self.own_batches:
                self.forward(batch)

    def forward(self, batch: Batch, model: Callable[..., Any] | None = None) -> tuple[Any, Tensor]:
        """Return the outputs of the model, or of another one, and the mean loss of a batch."""
        version = self.version
        with self.plan.autocast(), self.habits.around(batch) as given:
            criterion = self.habits.loss_of(self.criterion, batch)
            found = outputs_and_loss(model or self._module, criterion, *given)
        if self.version != version:
            self._check_weights()
        return found

    def _check_weights(self) -> None:
        """Raise InputError if a pass wrote to weights."""
        is_as_it_was = self.version == self._own_version
        self.spec.require_unwritten(
            self.parameters, self._buffer, self.weights, is_as_it_was=is_as_it_was
        )

    def _check_weights_elsewhere(self) -> None:
        """Raise InputError if a pass writes to weights that are not as it wants them."""
        point = partial(torch.mul, self.weights, -1.5)
        self.write(point)
        with self.habits.without_gradient(), suppress(InputError):
            self.forward(self.habits.tried)
        self.spec.require_unwritten(self.parameters, self._buffer, point(), is_as_it_was=True)

    def measure_many(
        self, points: Sequence[Point], batches: Sequence[Batch], size: int | None = None
    ) -> list[dict[str, np.ndarray]]:
        """Return what `measure_point` does at each point, `size` at a time.

        Without a size it is `plan.points_per_pass`.
        """
        size = size or self.plan.points_per_pass
        if size == 1:
            return [self.measure_point(point, batches) for point in points]
        return [
            found
            for start in range(0, len(points), size)
            for found in self.measure_stack(points[start : start + size], size, batches)
        ]

    @explained_memory("a forward pass")
    def measure_point(self, point: Point | None, batches: Sequence[Batch]) -> dict[str, np.ndarray]:
        """Return by name the values at a point.

        They are the losses and numbers correct of batches (B,), and the single losses (n,).
        """
        model = self._compiled if self.plan.is_compiled else self._module
        with self.at(point), self.habits.without_gradient():
            return on_host([self._measure(batch, model) for batch in batches])

    @explained_memory("a forward pass")
    def measure_stack(
        self, points: Sequence[Point], size: int, batches: Sequence[Batch]
    ) -> list[dict[str, np.ndarray]]:
        """Return what `measure_point` does at each of `points`, `size` points in one pass.

        The pass is filled up with copies of the last point.
        """
        if len(self._stack) != size:
            self._stack = self._buffer.new_empty(size, self.spec.size)
        for i, row in enumerate(self._stack):
            self.spec.write(points[min(i, len(points) - 1)], row)
        # Fused attention cannot be mapped over weights, what has a second derivative can; some
        # operations are done point by point.
        with (
            self.undisturbed() as module,
            twice_differentiable(module),
            self.habits.without_gradient(),
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings("ignore", "There is a performance drop")
            # A batch's random numbers are the same at all points.
            at_all = partial(vmap, randomness="same" if self.habits.sources else "error")
            found = on_host(
                [at_all(partial(self._measure_with, batch=each))(self._stack) for each in batches]
            )
        return [{name: values[i] for name, values in found.items()} for i in range(len(points))]

    def _measure_with(self, w: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return what `_measure` does, at weights `w` (P,) that are a function's argument."""
        weights = dict(zip(self.spec.names, self.spec.tensors(w), strict=True))
        return self._measure(
            batch, lambda *args, **named: functional_call(self._module, weights, args, named)
        )

    def _measure(self, batch: Batch, model: Callable[..., Any]) -> dict[str, Tensor]:
        """Return by name a batch's loss and number correct, (1,), and single losses, (n,).

        Values that are not available are left out.
        """
        outputs, loss = self.forward(batch, model)
        targets, found = batch[1], {"loss": loss}
        if (correct := num_correct(outputs, targets, self.over.loss)) is not None:
            found["correct"] = correct
        if self.separate is not None:
            found["losses"] = self.habits.apart(self.separate, batch)(outputs, targets)
        return {name: value.detach().to(self.dtype).reshape(-1) for name, value in found.items()}

    def mean(self, losses: np.ndarray) -> float:
        """Return the mean over what counts, of the losses of the batches (B,)."""
        return float(self.sizes @ losses / self.over.total)

    def own_buffers(self) -> OwnBuffers:
        """Return the model with copies of its present buffers; later writing leaves them alone."""
        return OwnBuffers(self._module, ignored=self.norms.moving)

    @property
    def resident(self) -> list[Tensor]:
        """The tensors that are there whether a graph is kept or not: weights, buffers and data."""
        return [
            self._buffer,
            *self._module.buffers(),
            *self._module.parameters(),
            *tensors_in(self.batches),
        ]

    @explained_memory("moving the data to the device", "Pass fewer `samples`.")
    def _moved(self, data: Any) -> Data:
        """Read the data and hash them where they are, before they are cast and moved."""
        return as_data(data).hashed().to(self.device, self.dtype)

    def _take_data(self, resident: Data) -> None:
        self.num_examples = resident.num_examples
        self.data = laid_out(resident, self.plan)
        self.cut(self.plan.batch_size)

    def cut(self, size: int) -> None:
        """Cut the data into batches of `size` examples; the user's own batches stay."""
        self.plan = replace(self.plan, batch_size=size)
        self.batches = self._numbered(self.data.batches(self.plan.batch_size), self.plan.draws)
        self.over = fitted(
            self._own_criterion, self.own_batches, self._note if self._returns_count else None
        )
        self.criterion = self.over.criterion
        self.over, self.batches = self.over.counted(self.batches, self.plan.draws)
        self.sizes = np.tile(self.over.sizes / self.plan.draws, self.plan.draws)

    def _note(self, batches: Sequence[Batch]) -> list[float | None]:
        """Return what the loss of each batch counts, from a pass at the model's own weights."""
        noting = NotingLoss(self._own_criterion)
        self.write(None)
        with self.undisturbed(calibrates=False), self.habits.without_inference():
            for batch in batches:
                changed(self, criterion=noting).forward(batch)
        return noting.counts

    def _numbered(self, batches: list[Batch], draws: int) -> list[Batch]:
        """Return the batches, once for each draw and with seeds if random numbers are drawn."""
        return batches if self.habits.sources is None else drawn(batches, draws)

    @property
    def own_batches(self) -> list[Batch]:
        """The batches of the first draw."""
        return self.batches[: len(self.batches) // self.plan.draws]
