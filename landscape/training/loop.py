"""The training loop: deterministic, silent, and resumable after every step, bit for bit."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from landscape import distributed
from landscape.batches import Data
from landscape.errors import InputError, LandscapeError
from landscape.forward import outputs_and_loss, require_differentiable
from landscape.memory_format import prefers_channels_last, to_channels_last
from landscape.optim.sam import SAM
from landscape.progress import SILENT, Progress
from landscape.random_state import derived_seeds, forked_random_state, seed_random_states
from landscape.results import History
from landscape.training.acceleration import autocast, check_precision, compiled, explained_compiler
from landscape.training.ascent_sharpness import ascent_sharpness, fixed_subset
from landscape.training.augmentation import get_augmentation
from landscape.training.evaluation import evaluate
from landscape.training.history import make_history
from landscape.training.meter import Meter, measure
from landscape.training.schedules import check_schedule, factor_at
from landscape.training.state import Interrupted, TrainingState, copied
from landscape.training.step import Piece, cut, data_parallel, set_rho_factor, take_step

Criterion = Callable[[Any, Any], Tensor]
"""A loss of outputs and targets that returns the batch mean."""

DEFAULT_RHO = 0.05
"""Radius of the sharpness where the optimizer has none."""

_SECONDS_BETWEEN_UPDATES = 0.1


def _never() -> bool:
    return False


def train(
    module: nn.Module,
    data: Data,
    test: Data | None,
    optimizer: Optimizer,
    *,
    epochs: int,
    batch_size: int = 128,
    micro_batch_size: int | None = None,
    schedule: str = "cosine",
    label_smoothing: float = 0.0,
    criterion: Criterion | None = None,
    augmentation: str = "none",
    seed: int = 0,
    device: torch.device | None = None,
    progress: Progress = SILENT,
    state: TrainingState | None = None,
    save: Callable[[TrainingState], None] | None = None,
    should_stop: Callable[[], bool] = _never,
    rho_schedule: str = "constant",
    sam_fraction: float = 1.0,
    precision: str | None = None,
    is_compiled: bool = False,
    ema: float | None = None,
    num_asc_samples: int | None = None,
    sharpness_rho: float = DEFAULT_RHO,
) -> History:
    """Train a module in place.

    The caller's random state and the module's training modes are as before afterwards. The same
    arguments give the same weights, bit for bit, on a device with deterministic kernels. On the CPU,
    images go through networks with 2-D convolutions in the channels_last layout, where these take it.

    In the processes of one `landscape.distributed.joined`, each takes its consecutive share of every batch
    and the gradients are averaged: without BatchNorm, dropout and augmentation, whose random numbers are
    each process's own, the curve is that of one process up to rounding. BatchNorm normalizes with the
    statistics of a process's share; the running ones that are evaluated and saved are the first process's.

    Args:
        module: The model, on `device`.
        data: Training set, on `device`.
        test: Test set, evaluated after every epoch; None for none.
        optimizer: For the module's parameters; `SAM` or any other.
        epochs: Number of epochs in the whole run, those done before a resume included.
        batch_size: Examples a step, of all processes together; the last step of an epoch may have fewer.
            Batches that the user made keep their size.
        micro_batch_size: Examples a pass at most, for batches that do not fit into memory: gradients
            of consecutive pieces of a batch are added up. None for whole batches. The step is that of
            the whole batch up to rounding, unless the model computes statistics of what it is given,
            as BatchNorm does.
        schedule: `constant`, `cosine` or `step` (`landscape.training.schedules`).
        label_smoothing: In [0, 1), for the default criterion, in training only.
        criterion: Batch mean of the loss of (outputs, targets); None for the cross-entropy.
        augmentation: `none`, or `crop`, `flip` and `cutout` joined by dashes, in training only.
        seed: Of the order of the examples, the augmentation, and the global random state inside.
        device: Where module and data are; None takes the device of the module's first parameter.
        progress: Is told the loss, the accuracy and the speed at most ten times a second.
        state: Go on from here; with the other arguments the same, the run ends with exactly the weights
            of one that was not interrupted. It is not changed.
        save: Is given the state at the end of each epoch, and where the run is stopped; in the first
            process only.
        should_stop: Is asked after each step; if it says so in any process, the state is saved and the
            run ends there.
        rho_schedule: Of SAM's radii, named as for `schedule`; with the same name a radius stays
            proportional to the learning rate.
        sam_fraction: SAM steps in this last share of all steps, in [0, 1], and steps of its base before.
        precision: `bf16` computes training's forward passes and losses in bfloat16 where that serves
            (autocast); weights and the evaluation keep their dtype. None computes all in it.
        is_compiled: Whether training's passes run compiled (torch.compile).
        ema: Decay in [0, 1) of an exponential moving average of weights and buffers, updated after each
            step; it is evaluated on the test set beside the weights themselves. None for none.
        num_asc_samples: Examples of the training set, a fixed class-balanced subset without augmentation,
            on which L^Asc - L is measured after each epoch; None for no such measurement.
        sharpness_rho: Euclidean radius of the first-order and the ascent sharpness. Where the optimizer is
            SAM and its ball is Euclidean, that one's rho, whatever its schedule and the fraction.

    Returns:
        One row an epoch, those before a resume included.

    Raises:
        InputError: If an argument is out of range or does not fit another, or the compiler fails.
        LandscapeError: If the training loss of an epoch is not finite. The state of the last good epoch
            has been saved by then.
        Interrupted: If `should_stop` said so.
    """
    _check_numbers(epochs, batch_size, micro_batch_size, label_smoothing, criterion)
    check_schedule(schedule)
    check_precision(precision)
    _check_sam_options(optimizer, rho_schedule, sam_fraction)
    if ema is not None and not 0 <= ema < 1:
        raise InputError(f"the decay of the moving average must be in [0, 1), got {ema}.")
    device = next(module.parameters()).device if device is None else device
    run = _Run(
        module=module,
        data=data,
        test=test,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=batch_size,
        micro_batch_size=micro_batch_size,
        schedule=schedule,
        rho_schedule=rho_schedule,
        sam_fraction=sam_fraction,
        precision=precision,
        is_compiled=is_compiled,
        average=None if ema is None else _average(module, ema),
        asc_data=None if num_asc_samples is None else fixed_subset(data, num_asc_samples),
        train_loss=_training_loss(criterion, label_smoothing),
        test_loss=F.cross_entropy if criterion is None else criterion,
        augment=get_augmentation(augmentation),
        seed=seed,
        device=device,
        progress=progress,
        save=save,
        should_stop=should_stop,
        sharpness_rho=_sharpness_rho(optimizer, sharpness_rho),
    )
    with forked_random_state([device], seed=seed), _kept_modes(module):
        run.is_channels_last = _is_channels_last_faster(module, data, device)
        with data_parallel(module, optimizer, run.probe) as run.parallel:
            run.forward = compiled(run.parallel) if is_compiled else run.parallel
            run.all_epochs(state)
    settings = {
        "optimizer": type(optimizer).__name__,
        "epochs": epochs,
        "batch_size": batch_size,
        "micro_batch_size": micro_batch_size,
        "schedule": schedule,
        "label_smoothing": label_smoothing,
        "augmentation": augmentation,
        "seed": seed,
        "num_processes": distributed.world_size(),
        "rho_schedule": rho_schedule,
        "sam_fraction": sam_fraction,
        "precision": precision,
        "is_compiled": is_compiled,
        "ema": ema,
        "num_asc_samples": num_asc_samples,
        "sharpness_rho": run.sharpness_rho,
        "memory_format": "channels_last" if run.is_channels_last else "contiguous",
        "skipped_steps": optimizer.skipped_steps if isinstance(optimizer, SAM) else 0,
    }
    return make_history(run.rows, settings)


@dataclass
class _Run:
    """One call of `train`: its arguments, then where it is."""

    module: nn.Module
    data: Data
    test: Data | None
    optimizer: Optimizer
    epochs: int
    batch_size: int
    micro_batch_size: int | None
    schedule: str
    rho_schedule: str
    sam_fraction: float
    precision: str | None
    is_compiled: bool
    average: AveragedModel | None
    asc_data: Data | None
    train_loss: Criterion
    test_loss: Criterion
    augment: Callable[[Any, torch.Generator], Any]
    seed: int
    device: torch.device
    progress: Progress
    save: Callable[[TrainingState], None] | None
    should_stop: Callable[[], bool]
    sharpness_rho: float
    is_channels_last: bool = False
    parallel: nn.Module = field(init=False)
    forward: Callable[..., Any] = field(init=False)

    rows: list[dict[str, float]] = field(default_factory=list)
    step: int = 0
    seconds_before: float = 0.0

    def __post_init__(self) -> None:
        self.steps_per_epoch = len(self.data.batches(self.batch_size))
        self.order = torch.Generator().manual_seed(self.seed)
        self.order_of_epoch = self.order.get_state()
        self.augmentation = torch.Generator()
        self.meter = Meter(self.device)

    def all_epochs(self, state: TrainingState | None) -> None:
        """Run the epochs that are left; learning rates end as they began."""
        for group in self.optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        self.progress.start("training", self.num_steps)
        try:
            if state is not None:
                self.restore(state)
            while len(self.rows) < self.epochs:
                self.rows.append(self.epoch())
                self.begin_epoch()
                self.hand_over()
        finally:
            self.optimizer.zero_grad()
            for group in self.optimizer.param_groups:
                group["lr"] = group.pop("initial_lr")
            set_rho_factor(self.optimizer, 1.0)
            self.progress.stop()

    def begin_epoch(self) -> None:
        """Count from 0 again."""
        self.step = 0
        self.seconds_before = 0.0
        self.meter.reset()
        self.order_of_epoch = self.order.get_state()

    def epoch(self) -> dict[str, float]:
        """Do what is left of an epoch and return its row."""
        clock = _Clock(self.seconds_before)
        row = {"epoch": len(self.rows) + 1, **self.train_epoch(clock), **self.evaluate()}
        return {**row, "seconds": clock.seconds()}

    def train_epoch(self, clock: _Clock) -> dict[str, float]:
        """Run through what is left of the training set."""
        self.module.train()
        batches = self.data.shuffled(self.batch_size, self.order)
        seeds = derived_seeds(2 * len(batches), self.seed, len(self.rows), distributed.rank())
        while self.step < len(batches):
            self.apply_schedules()
            self.train_batch(batches[self.step], *seeds[2 * self.step : 2 * self.step + 2])
            self.step += 1
            if clock.is_due():
                self.report(self.meter, clock)
            if distributed.anywhere(self.should_stop()):
                self.stop(clock)
        meter = self.meter.in_all_processes()
        self.report(meter, clock)
        return self.train_row(meter)

    def train_batch(self, indices: Tensor, augmentation_seed: int, seed: int) -> None:
        """Take one optimizer step, with random numbers of its own."""
        self.augmentation.manual_seed(augmentation_seed)
        seed_random_states(seed, [self.device])
        pieces = cut(self.data, indices, self.micro_batch_size, self.change)
        norm = take_step(self.optimizer, [self.closure(piece) for piece in pieces], self.parallel)
        self.meter.add_batch(gradient_norm=norm)
        if self.average is not None:
            self.average.update_parameters(self.module)

    def closure(self, piece: Piece) -> Callable[[], Tensor]:
        """Return what adds a piece's gradient; sums are of its first call, which is at the weights themselves."""
        is_first = True

        def run() -> Tensor:
            nonlocal is_first
            with autocast(self.precision, self.device):
                outputs, loss = outputs_and_loss(self.forward, self.train_loss, *piece.batch)
            require_differentiable(loss)
            share = loss if piece.weight == 1 else loss * piece.weight
            with explained_compiler() if self.is_compiled else nullcontext():
                share.backward()
            if is_first:
                self.meter.add(piece.num_examples, **measure(loss, outputs, piece.batch[1]))
                is_first = False
            return share.detach()

        return run

    def change(self, inputs: Any) -> Any:
        """Augment the inputs of a batch."""
        return self.arrange(self.augment(inputs, self.augmentation))

    def arrange(self, inputs: Any) -> Any:
        """Images in the layout that convolutions are fast in; anything else as it is."""
        return to_channels_last(inputs) if self.is_channels_last else inputs

    def probe(self) -> Tensor:
        """Return the loss of two examples."""
        inputs, targets = self.data.batches(2)[0]
        return outputs_and_loss(self.module, self.train_loss, self.arrange(inputs), targets)[1]

    def evaluate(self) -> dict[str, float]:
        """Columns of what is measured at the end of an epoch, in evaluation mode."""
        row = self.evaluate_on_test(self.module)
        if self.average is not None:
            averaged = self.evaluate_on_test(self.average.module)
            row |= {f"ema_{name}": averaged[name] for name in ("test_loss", "test_accuracy") if name in averaged}
        if self.asc_data is not None and distributed.rank() == 0:
            row["ascent_sharpness"] = self.ascent_sharpness(self.asc_data)
        return row

    def evaluate_on_test(self, module: nn.Module) -> dict[str, float]:
        """Plain loss and errors on the test set, if there is one."""
        if self.test is None:
            return {}
        options = {"batch_size": self.batch_size, "device": self.device, "change": self.arrange}
        return evaluate(module, self.test, self.test_loss, **options)

    def ascent_sharpness(self, data: Data) -> float:
        """L^Asc - L of the weights as they are."""
        size = self.micro_batch_size or self.batch_size
        rho = self.sharpness_rho or DEFAULT_RHO
        return ascent_sharpness(self.module, data, self.test_loss, rho, batch_size=size, device=self.device)

    @property
    def num_steps_done(self) -> int:
        """In the whole run."""
        return len(self.rows) * self.steps_per_epoch + self.step

    @property
    def num_steps(self) -> int:
        """Of the whole run."""
        return self.epochs * self.steps_per_epoch

    def apply_schedules(self) -> None:
        """Set learning rates and radii of the step to come to the initial ones times the schedules' factors."""
        factor = factor_at(self.schedule, self.num_steps_done, self.num_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        is_sam = self.num_steps_done >= self.num_steps - round(self.sam_fraction * self.num_steps)
        rho_factor = factor_at(self.rho_schedule, self.num_steps_done, self.num_steps) if is_sam else 0.0
        set_rho_factor(self.optimizer, rho_factor)

    def train_row(self, meter: Meter) -> dict[str, float]:
        """What the epoch measured."""
        first_factor = factor_at(self.schedule, len(self.rows) * self.steps_per_epoch, self.num_steps)
        loss = meter.per_example("loss")
        if not math.isfinite(loss):
            raise LandscapeError(
                f"training diverged in epoch {len(self.rows) + 1}: the mean loss is {loss}.",
                hint="Lower the learning rate (--lr).",
            )
        return {
            "learning_rate": float(self.optimizer.param_groups[0]["initial_lr"]) * first_factor,
            "train_loss": loss,
            "train_accuracy": meter.per_example("correct"),
            "first_order_sharpness": self.sharpness_rho * meter.per_batch("gradient_norm"),
        }

    def report(self, meter: Meter, clock: _Clock) -> None:
        """Tell the progress where the epoch is: the only place that waits for the device in an epoch."""
        fields = {"epoch": len(self.rows) + 1, "loss": meter.per_example("loss")}
        accuracy = meter.per_example("correct")
        fields |= {} if math.isnan(accuracy) else {"accuracy": accuracy}
        self.progress.update(self.num_steps_done, **fields, examples_per_second=meter.num_examples / clock.seconds())

    def stop(self, clock: _Clock) -> None:
        """Hand over the state and leave."""
        self.seconds_before = clock.seconds()
        self.hand_over()
        raise Interrupted(len(self.rows) + 1, self.step, self.steps_per_epoch)

    def hand_over(self) -> None:
        """Let the first process save; the others wait for it."""
        meters = distributed.gathered(self.meter.as_dict())
        if self.save is not None and distributed.rank() == 0:
            self.save(self.capture(meters))
        distributed.anywhere(False)

    def capture(self, meters: list[dict[str, Any]]) -> TrainingState:
        """Copy everything that a resume needs."""
        return TrainingState(
            epoch=len(self.rows),
            step=self.step,
            module=copied(self.module.state_dict()),
            optimizer=copy.deepcopy(self.optimizer.state_dict()),
            order=self.order_of_epoch,
            meters=meters,
            seconds=self.seconds_before,
            rows=[dict(row) for row in self.rows],
            average=None if self.average is None else copied(self.average.module.state_dict()),
        )

    def restore(self, state: TrainingState) -> None:
        """Go to a captured state."""
        if state.epoch > self.epochs:
            raise InputError(
                f"a run of {self.epochs} epochs cannot go on from epoch {state.epoch}.",
                hint=f"Pass epochs={state.epoch} or more.",
            )
        if len(state.meters) != distributed.world_size() or state.step > self.steps_per_epoch:
            raise InputError(
                f"a run of {distributed.world_size()} processes and {self.steps_per_epoch} steps an epoch cannot go on"
                f" from step {state.step} of {len(state.meters)} processes.",
                hint="Repeat the data, the batch size and the number of processes of the first run.",
            )
        if (self.average is None) != (state.average is None):
            raise InputError("a run goes on with a moving average if it had one before, and only then.")
        self.module.load_state_dict(state.module)
        self.optimizer.load_state_dict(copy.deepcopy(state.optimizer))
        self.sharpness_rho = _sharpness_rho(self.optimizer, self.sharpness_rho)
        self.order.set_state(state.order.cpu())
        self.order_of_epoch = self.order.get_state()
        self.meter.include(state.meters[distributed.rank()])
        self.step = state.step
        self.seconds_before = state.seconds
        self.rows = [dict(row) for row in state.rows]
        if self.average is not None and state.average is not None:
            self.average.module.load_state_dict(state.average)
            self.average.n_averaged.fill_(self.num_steps_done)


class _Clock:
    """Says when a report is due, and how long an epoch has taken."""

    def __init__(self, seconds_before: float) -> None:
        self._last = time.perf_counter()
        self._start = self._last - seconds_before

    def is_due(self) -> bool:
        """Whether the last report is a while ago; if so, starts anew."""
        now = time.perf_counter()
        if now - self._last < _SECONDS_BETWEEN_UPDATES:
            return False
        self._last = now
        return True

    def seconds(self) -> float:
        """Since the start of the epoch, what was before an interruption included; never 0."""
        return max(time.perf_counter() - self._start, 1e-9)


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


def _average(module: nn.Module, decay: float) -> AveragedModel:
    return AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


def _sharpness_rho(optimizer: Optimizer, rho: float) -> float:
    """SAM's radius where its ball is one Euclidean ball; otherwise `rho`."""
    groups = optimizer.param_groups if isinstance(optimizer, SAM) else []
    balls = {(group["rho"], group["p"], group["adaptive"]) for group in groups}
    radius, p, is_adaptive = balls.pop() if len(balls) == 1 else (rho, 2, False)
    return radius if p == 2 and not is_adaptive else rho


def _is_channels_last_faster(module: nn.Module, data: Data, device: torch.device) -> bool:
    """Whether images should be in the channels_last layout; measured to pay on the CPU only."""
    if device.type != "cpu":
        return False
    with forked_random_state():
        return prefers_channels_last(module, data.batches(data.num_examples)[0][0])


def _check_numbers(
    epochs: int,
    batch_size: int,
    micro_batch_size: int | None,
    label_smoothing: float,
    criterion: Criterion | None,
) -> None:
    if epochs < 1:
        raise InputError(f"epochs must be at least 1, got {epochs}.")
    if batch_size < 1:
        raise InputError(f"batch size must be at least 1, got {batch_size}.")
    if micro_batch_size is not None and micro_batch_size < 1:
        raise InputError(f"micro-batch size must be at least 1, got {micro_batch_size}.")
    if not 0 <= label_smoothing < 1:
        raise InputError(f"label smoothing must be in [0, 1), got {label_smoothing}.")
    if label_smoothing and criterion is not None:
        raise InputError(
            "label smoothing is an option of the default cross-entropy only.",
            hint="Smooth the labels in your own loss, or leave it out.",
        )


def _check_sam_options(optimizer: Optimizer, rho_schedule: str, sam_fraction: float) -> None:
    check_schedule(rho_schedule)
    if not 0 <= sam_fraction <= 1:
        raise InputError(f"the last fraction of SAM must be in [0, 1], got {sam_fraction}.")
    if (rho_schedule != "constant" or sam_fraction != 1) and not isinstance(optimizer, SAM):
        raise InputError(
            f"a rho schedule and a last fraction are options of SAM, got {type(optimizer).__name__}.",
            hint="Leave them out, or use the optimizer sam.",
        )
