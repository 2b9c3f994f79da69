"""The training loop: deterministic, silent, and resumable at every epoch, bit for bit."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from landscape.ascent import dual_norm
from landscape.batches import Batch, Data, batch_length
from landscape.errors import InputError, LandscapeError
from landscape.forward import outputs_and_loss, require_differentiable
from landscape.memory_format import prefers_channels_last, to_channels_last
from landscape.optim.sam import SAM
from landscape.progress import SILENT, Progress
from landscape.random_state import forked_random_state, get_random_states, set_random_states
from landscape.results import History
from landscape.training.augmentation import get_augmentation
from landscape.training.history import make_history
from landscape.training.meter import Meter, among_five, measure
from landscape.training.schedules import check_schedule, learning_rate_at

Criterion = Callable[[Any, Any], Tensor]
"""A loss of outputs and targets that returns the batch mean."""

_SECONDS_BETWEEN_UPDATES = 0.1


@dataclass(frozen=True)
class TrainingState:
    """Everything that an exact resume at the end of an epoch needs; tensors, numbers and strings only.

    Attributes:
        epoch: Number of epochs done.
        module: Copy of the module's state_dict.
        optimizer: Copy of the optimizer's state_dict, initial learning rates included.
        generators: Name -> state of the generators of the order and of the augmentation.
        random_states: Global random state of the CPU, then of the accelerator, if one is in use.
        rows: One dict an epoch, named as the columns of `landscape.results.History`.
    """

    epoch: int
    module: dict[str, Any]
    optimizer: dict[str, Any]
    generators: dict[str, Tensor]
    random_states: list[Tensor]
    rows: list[dict[str, float]]


def train(
    module: nn.Module,
    data: Data,
    test: Data | None,
    optimizer: Optimizer,
    *,
    epochs: int,
    batch_size: int = 128,
    schedule: str = "cosine",
    label_smoothing: float = 0.0,
    criterion: Criterion | None = None,
    augmentation: str = "none",
    seed: int = 0,
    device: torch.device | None = None,
    progress: Progress = SILENT,
    state: TrainingState | None = None,
    after_epoch: Callable[[TrainingState], None] | None = None,
    sharpness_rho: float = 0.05,
) -> History:
    """Train a module in place.

    The caller's random state and the module's training modes are as before afterwards. The same
    arguments give the same weights, bit for bit, on a device with deterministic kernels. On the CPU,
    images go through networks with 2-D convolutions in the channels_last layout, where these take it.

    Args:
        module: The model, on `device`.
        data: Training set, on `device`.
        test: Test set, evaluated after every epoch; None for none.
        optimizer: For the module's parameters; `SAM` or any other.
        epochs: Number of epochs in the whole run, those done before a resume included.
        batch_size: Examples a step; the last step of an epoch may have fewer. Batches that the user
            made keep their size.
        schedule: `constant`, `cosine` or `step` (`landscape.training.schedules`).
        label_smoothing: In [0, 1), for the default criterion, in training only.
        criterion: Batch mean of the loss of (outputs, targets); None for the cross-entropy.
        augmentation: `none`, `crop`, `flip` or `crop-flip`, in training only.
        seed: Of the order of the examples, the augmentation, and the global random state inside.
        device: Where module and data are; None takes the device of the module's first parameter.
        progress: Is told the loss, the accuracy and the speed at most ten times a second.
        state: Go on from here; with the other arguments the same, the run ends with exactly the weights
            of one that was not interrupted. It is not changed.
        after_epoch: Is given the state at the end of each epoch.
        sharpness_rho: Radius of the first-order sharpness; SAM's own rho where the optimizer is SAM.

    Returns:
        One row an epoch, those before a resume included.

    Raises:
        InputError: If an argument is out of range or does not fit another.
        LandscapeError: If the training loss of an epoch is not finite. The state of the last good epoch
            has been handed to `after_epoch` by then.
    """
    _check_numbers(epochs, batch_size, label_smoothing, criterion)
    check_schedule(schedule)
    device = next(module.parameters()).device if device is None else device
    run = _Run(
        module=module,
        data=data,
        test=test,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=batch_size,
        schedule=schedule,
        train_loss=_training_loss(criterion, label_smoothing),
        test_loss=F.cross_entropy if criterion is None else criterion,
        augment=get_augmentation(augmentation),
        meter=Meter(device),
        progress=progress,
        sharpness_rho=_sharpness_rho(optimizer, sharpness_rho),
        order=torch.Generator().manual_seed(seed),
        # Not the order's own seed, or shifts and order would come from the same numbers.
        augmentation=torch.Generator().manual_seed(seed + 2**32),
    )
    with forked_random_state([device], seed=seed), _kept_modes(module):
        run.is_channels_last = _is_channels_last_faster(module, data, device)
        rows = run.all_epochs(state, after_epoch)
    settings = {
        "optimizer": type(optimizer).__name__,
        "epochs": epochs,
        "batch_size": batch_size,
        "schedule": schedule,
        "label_smoothing": label_smoothing,
        "augmentation": augmentation,
        "seed": seed,
        "sharpness_rho": run.sharpness_rho,
        "memory_format": "channels_last" if run.is_channels_last else "contiguous",
        "skipped_steps": optimizer.skipped_steps if isinstance(optimizer, SAM) else 0,
    }
    return make_history(rows, settings)


@dataclass
class _Run:
    """One call of `train`."""

    module: nn.Module
    data: Data
    test: Data | None
    optimizer: Optimizer
    epochs: int
    batch_size: int
    schedule: str
    train_loss: Criterion
    test_loss: Criterion
    augment: Callable[[Any, torch.Generator], Any]
    meter: Meter
    progress: Progress
    sharpness_rho: float
    order: torch.Generator
    augmentation: torch.Generator
    is_channels_last: bool = False

    def __post_init__(self) -> None:
        self.steps_per_epoch = len(self.data.batches(self.batch_size))

    def all_epochs(
        self, state: TrainingState | None, after_epoch: Callable[[TrainingState], None] | None
    ) -> list[dict[str, float]]:
        """Run the epochs that are left and return the rows of all; learning rates end as they began."""
        for group in self.optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        self.progress.start("training", self.epochs * self.steps_per_epoch)
        try:
            rows = [] if state is None else self.restore(state)
            for epoch in range(len(rows), self.epochs):
                start = time.perf_counter()
                row = {"epoch": epoch + 1, **self.train_epoch(epoch), **self.evaluate()}
                rows.append({**row, "seconds": time.perf_counter() - start})
                if after_epoch is not None:
                    self.hand_over(after_epoch, rows)
        finally:
            self.optimizer.zero_grad()
            for group in self.optimizer.param_groups:
                group["lr"] = group.pop("initial_lr")
            self.progress.stop()
        return rows

    def train_epoch(self, epoch: int) -> dict[str, float]:
        """Run through the training set once."""
        self.module.train()
        self.meter.reset()
        first_step = epoch * self.steps_per_epoch
        self.set_learning_rate(first_step)
        learning_rate = float(self.optimizer.param_groups[0]["lr"])
        clock = _Clock()
        for step, batch in enumerate(self.data.shuffled(self.batch_size, self.order), start=first_step):
            self.set_learning_rate(step)
            self.train_batch(batch)
            if clock.is_due():
                self.report(step + 1, clock)
        row = {"learning_rate": learning_rate, **self.train_row()}
        if not math.isfinite(row["train_loss"]):
            raise LandscapeError(
                f"training diverged in epoch {epoch + 1}: the mean loss is {row['train_loss']}.",
                hint="Lower the learning rate (--lr).",
            )
        self.report(first_step + self.steps_per_epoch, clock)
        return row

    def train_batch(self, batch: Batch) -> None:
        """Take one optimizer step; sums are of its first pass, which is at the weights themselves."""
        targets = batch[1]
        inputs = self.arrange(self.augment(batch[0], self.augmentation))
        measured: dict[str, Tensor] = {}

        def closure() -> Tensor:
            self.optimizer.zero_grad()
            outputs, loss = outputs_and_loss(self.module, self.train_loss, inputs, targets)
            require_differentiable(loss)
            loss.backward()
            if not measured:
                measured.update(measure(loss, outputs, targets))
                measured.update(self.gradient_norm())
            return loss

        self.optimizer.step(closure)  # pyright: ignore[reportCallIssue, reportArgumentType]  # returns a tensor
        if isinstance(self.optimizer, SAM):
            measured["gradient_norm"] = self.optimizer.gradient_norm
        self.meter.add(batch_length(batch), **measured)

    def gradient_norm(self) -> dict[str, Tensor]:
        """Euclidean norm of the gradient; nothing under SAM, which knows it."""
        if isinstance(self.optimizer, SAM):
            return {}
        weights = (w for group in self.optimizer.param_groups for w in group["params"])
        gradients = [w.grad for w in weights if w.grad is not None]
        return {"gradient_norm": dual_norm([g.to_dense() if g.is_sparse else g for g in gradients])}

    def evaluate(self) -> dict[str, float]:
        """Plain loss and errors on the test set, in evaluation mode."""
        if self.test is None:
            return {}
        self.module.eval()
        meter = Meter(self.meter.device)
        with torch.no_grad():  # inference_mode would break modules that cache a tensor for training
            for inputs, targets in self.test.batches(self.batch_size):
                outputs, loss = outputs_and_loss(self.module, self.test_loss, self.arrange(inputs), targets)
                measured = measure(loss, outputs, targets)
                meter.add(batch_length((inputs, targets)), **measured, **among_five(outputs, targets))
        return {
            "test_loss": meter.per_example("loss"),
            "test_accuracy": meter.per_example("correct"),
            "test_top1_error": 1 - meter.per_example("correct"),
            "test_top5_error": 1 - meter.per_example("among_five"),
        }

    def arrange(self, inputs: Any) -> Any:
        """Images in the layout that convolutions are fast in; anything else as it is."""
        return to_channels_last(inputs) if self.is_channels_last else inputs

    def set_learning_rate(self, step: int) -> None:
        """Set every group to its initial learning rate times the schedule's factor."""
        factor = learning_rate_at(self.schedule, step, self.epochs * self.steps_per_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor

    def train_row(self) -> dict[str, float]:
        """What the epoch measured."""
        return {
            "train_loss": self.meter.per_example("loss"),
            "train_accuracy": self.meter.per_example("correct"),
            "first_order_sharpness": self.sharpness_rho * self.meter.per_batch("gradient_norm"),
        }

    def report(self, completed: int, clock: _Clock) -> None:
        """Tell the progress where the epoch is: the only place that waits for the device in an epoch."""
        loss, accuracy = self.meter.per_example("loss"), self.meter.per_example("correct")
        speed = self.meter.num_examples / clock.seconds()
        fields = {"epoch": math.ceil(completed / self.steps_per_epoch), "loss": loss}
        fields |= {} if math.isnan(accuracy) else {"accuracy": accuracy}
        self.progress.update(completed, **fields, examples_per_second=speed)

    def hand_over(self, after_epoch: Callable[[TrainingState], None], rows: list[dict[str, float]]) -> None:
        """Call the caller's function, whose use of random numbers must not change the run."""
        with forked_random_state([self.meter.device]):
            after_epoch(self.capture(rows))

    def capture(self, rows: list[dict[str, float]]) -> TrainingState:
        """Copy everything that a resume needs."""
        return TrainingState(
            epoch=len(rows),
            module={name: _copy(value) for name, value in self.module.state_dict().items()},
            optimizer=copy.deepcopy(self.optimizer.state_dict()),
            generators={"order": self.order.get_state(), "augmentation": self.augmentation.get_state()},
            random_states=get_random_states([self.meter.device]),
            rows=[dict(row) for row in rows],
        )

    def restore(self, state: TrainingState) -> list[dict[str, float]]:
        """Go to a captured state and return its rows."""
        if state.epoch > self.epochs:
            raise InputError(
                f"a run of {self.epochs} epochs cannot go on from epoch {state.epoch}.",
                hint="Raise --epochs.",
            )
        self.module.load_state_dict(state.module)
        self.optimizer.load_state_dict(copy.deepcopy(state.optimizer))
        self.sharpness_rho = _sharpness_rho(self.optimizer, self.sharpness_rho)
        self.order.set_state(state.generators["order"].cpu())
        self.augmentation.set_state(state.generators["augmentation"].cpu())
        set_random_states(state.random_states, [self.meter.device])
        return [dict(row) for row in state.rows]


class _Clock:
    """Says when a report is due."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.last = self.start

    def is_due(self) -> bool:
        """Whether the last report is a while ago; if so, starts anew."""
        now = time.perf_counter()
        if now - self.last < _SECONDS_BETWEEN_UPDATES:
            return False
        self.last = now
        return True

    def seconds(self) -> float:
        """Since the start; never 0."""
        return max(time.perf_counter() - self.start, 1e-9)


@contextmanager
def _kept_modes(module: nn.Module) -> Iterator[None]:
    """Put every part of the module back into its training or evaluation mode at the end."""
    modes = {part: part.training for part in module.modules()}
    try:
        yield
    finally:
        for part, is_training in modes.items():
            part.training = is_training


def _training_loss(criterion: Criterion | None, label_smoothing: float) -> Criterion:
    if criterion is not None:
        return criterion
    return lambda outputs, targets: F.cross_entropy(outputs, targets, label_smoothing=label_smoothing)


def _sharpness_rho(optimizer: Optimizer, rho: float) -> float:
    """SAM's radius where it has one, the same for all groups; otherwise `rho`."""
    if not isinstance(optimizer, SAM):
        return rho
    radii = {group["rho"] for group in optimizer.param_groups}
    return radii.pop() if len(radii) == 1 else rho


def _is_channels_last_faster(module: nn.Module, data: Data, device: torch.device) -> bool:
    """Whether images should be in the channels_last layout; measured to pay on the CPU only."""
    if device.type != "cpu":
        return False
    with forked_random_state():
        return prefers_channels_last(module, data.batches(data.num_examples)[0][0])


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else copy.deepcopy(value)


def _check_numbers(epochs: int, batch_size: int, label_smoothing: float, criterion: Criterion | None) -> None:
    if epochs < 1:
        raise InputError(f"epochs must be at least 1, got {epochs}.")
    if batch_size < 1:
        raise InputError(f"batch size must be at least 1, got {batch_size}.")
    if not 0 <= label_smoothing < 1:
        raise InputError(f"label smoothing must be in [0, 1), got {label_smoothing}.")
    if label_smoothing and criterion is not None:
        raise InputError(
            "label smoothing is an option of the default cross-entropy only.",
            hint="Smooth the labels in your own loss, or leave it out.",
        )
