"""One training run: its epochs, its steps, and what a resume needs of it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from landscape.data.subset import fixed_subset
from landscape.errors import (
    CheckpointError,
    LandscapeError,
    copying_a_model,
    explained_memory,
    first_line,
    require,
)
from landscape.problem.batches import Batch, Data
from landscape.problem.criteria import checked, fitted
from landscape.problem.forward import (
    outputs_and_loss,
    outputs_loss_and_count,
    require_differentiable,
)
from landscape.problem.habits import Habits
from landscape.problem.own_loss import own_loss
from landscape.problem.plan import autocast, explained_compiler, to_channels_last
from landscape.runtime import distributed
from landscape.runtime.progress import Progress
from landscape.runtime.random_state import derived_seeds, seed_random_states
from landscape.training.augmentation import get_augmentation
from landscape.training.meter import (
    EpochClock,
    Meter,
    ascent_sharpness,
    euclidean_radius,
    evaluate,
    loss_and_correct,
)
from landscape.training.step import (
    Piece,
    choose_weighting,
    cut,
    note_count,
    set_rho_factor,
    take_step,
)
from landscape.training.training_plan import (
    Criterion,
    Interrupted,
    TrainingPlan,
    TrainingState,
    copied,
    factor_at,
)

_UNFIT = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What torch raises on a state of something else."""


@dataclass
class TrainingRun:
    """One call of `train`: its arguments, then where it is."""

    module: nn.Module
    data: Data
    test: Data | None
    validation: Data | None
    optimizer: Optimizer
    plan: TrainingPlan
    criterion: Criterion | None
    device: torch.device
    progress: Progress
    save: Callable[[TrainingState], None] | None
    should_stop: Callable[[], bool]
    is_channels_last: bool = False
    parallel: nn.Module = field(init=False)
    forward: Callable[..., Any] = field(init=False)

    rows: list[dict[str, float]] = field(default_factory=list)
    step: int = 0
    seconds_before: float = 0.0
    num_passes: int = 0

    def __post_init__(self) -> None:
        plan = self.plan
        plan.check(self.optimizer, self.criterion)
        self.average = None if plan.ema is None else _moving_average(self.module, plan.ema)
        count = plan.asc_samples
        self.asc_data = None if count is None else fixed_subset(self.data, count)
        smoothed = partial(F.cross_entropy, label_smoothing=plan.label_smoothing)
        self.test_loss = self.own_criterion() or F.cross_entropy
        train_loss = smoothed if self.criterion is None else self.test_loss
        self.over = fitted(train_loss, self.data.batches(plan.batch_size))
        self.train_loss = checked(self.over.criterion, is_chosen=self.criterion is not None)
        self.habits, self.test_habits = Habits.of_training(), Habits.of_training()
        self.augment = get_augmentation(plan.augmentation)
        self.steps_per_epoch = len(self.data.batches(plan.batch_size))
        self.order = torch.Generator().manual_seed(plan.seed)
        self.order_of_epoch = self.order.get_state()
        self.augmentation = torch.Generator()
        self.meter = Meter()

    def own_criterion(self) -> Criterion | None:
        """Return the criterion with constants of its own, unless they are trained too."""
        if self.criterion is None:
            return None
        own = own_loss(self.criterion, self.device, next(self.module.parameters()).dtype)
        trained = {w for group in self.optimizer.param_groups for w in group["params"]}
        return self.criterion if trained & own.copied.keys() else own.call

    def all_epochs(self, state: TrainingState | None) -> None:
        """Run the epochs that are left; learning rates end as they began."""
        for group in self.optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        self.progress.start("training", self.num_steps)
        try:
            if state is not None:
                self.restore(state)
            while len(self.rows) < self.plan.epochs:
                self.rows.append(self.epoch())
                self.step, self.seconds_before = 0, 0.0
                self.meter = Meter()
                self.order_of_epoch = self.order.get_state()
                self.hand_over()
        finally:
            self.optimizer.zero_grad()
            for group in self.optimizer.param_groups:
                group["lr"] = group.pop("initial_lr")
            set_rho_factor(self.optimizer, 1.0)
            self.progress.stop()

    def epoch(self) -> dict[str, float]:
        """Do what is left of an epoch and return its row."""
        clock = EpochClock(self.seconds_before)
        return {
            "epoch": len(self.rows) + 1,
            **self.train_epoch(clock),
            **self.evaluate(),
            "seconds": clock.seconds(),
        }

    def train_epoch(self, clock: EpochClock) -> dict[str, float]:
        """Run through what is left of the training set."""
        self.module.train()
        batches = self.data.shuffled(self.plan.batch_size, self.order)
        seeds = derived_seeds(2 * len(batches), self.plan.seed, len(self.rows), distributed.rank())
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

    @explained_memory("a training step", "Pass a smaller `micro_batch` or `batch_size`.")
    def train_batch(self, indices: Tensor, augmentation_seed: int, seed: int) -> None:
        """Take one optimizer step, with random numbers of its own."""
        self.augmentation.manual_seed(augmentation_seed)
        seed_random_states(seed, [self.device])
        pieces = cut(self.data, indices, self.plan.micro_batch, self.change, self.count)
        self.num_passes = 0
        norm = take_step(self.optimizer, list(map(self.closure, pieces)), self.parallel)
        self.meter.add_batch(
            gradient_norm=norm, gradients=torch.tensor(self.num_passes / len(pieces))
        )
        if self.average is not None:
            self.average.update_parameters(self.module)

    @cached_property
    def count(self) -> Callable[[Batch], float]:
        """What tells what the mean loss of a piece is over."""
        whole = self.plan.batch_size
        size = min(self.plan.micro_batch or whole, distributed.largest_share(whole))
        pieces = None if size == whole else partial(self.data.batches, size)
        note = partial(note_count, self.module, self.train_loss, self.habits)
        return choose_weighting(self.over, pieces, note)

    def closure(self, piece: Piece) -> Callable[[], Tensor]:
        """Return a function that adds a piece's gradient.

        Sums are only updated in its first call, which is at the weights themselves.
        """
        is_first = True

        def run() -> Tensor:
            nonlocal is_first
            self.num_passes += 1
            with (
                autocast(self.device.type, is_on=self.plan.amp is not None),
                self.habits.around(piece.batch) as given,
            ):
                outputs, loss, count = outputs_loss_and_count(self.forward, self.train_loss, *given)
            require_differentiable(loss)
            share = loss if piece.weight == 1 else loss * piece.weight
            with explained_compiler() if self.plan.compile else nullcontext():
                share.backward()
            if is_first:
                found = loss_and_correct(loss, count, outputs, piece.batch[1], self.over)
                self.meter.add(piece.num_examples, **found)
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
        with Habits.of_training().around(self.data.batches(2)[0]) as (inputs, targets):
            return outputs_and_loss(self.module, self.train_loss, self.arrange(inputs), targets)[1]

    def evaluate(self) -> dict[str, float]:
        """Columns of what is measured at the end of an epoch, in evaluation mode."""
        size = self.plan.batch_size
        measured = partial(
            evaluate,
            criterion=self.test_loss,
            habits=self.test_habits,
            batch_size=size,
            change=self.arrange,
        )
        row = measured(self.module, self.test)
        held_out = measured(self.module, self.validation)
        row |= {name.replace("test", "validation"): value for name, value in held_out.items()}
        if self.average is not None:
            averaged = measured(self.average.module, self.test)
            names = [name for name in ("test_loss", "test_accuracy") if name in averaged]
            row |= {f"ema_{name}": averaged[name] for name in names}
        if self.asc_data is not None and distributed.rank() == 0:
            row["ascent_sharpness"] = ascent_sharpness(
                self.module,
                self.asc_data,
                self.test_loss,
                self.radius,
                batch_size=self.plan.micro_batch or size,
                device=self.device,
            )
        return row

    @property
    def radius(self) -> float:
        """Of the first-order and the ascent sharpness."""
        return euclidean_radius(self.optimizer, self.plan.sharpness_rho)

    @property
    def num_steps_done(self) -> int:
        """In the whole run."""
        return len(self.rows) * self.steps_per_epoch + self.step

    @property
    def num_steps(self) -> int:
        """Of the whole run."""
        return self.plan.epochs * self.steps_per_epoch

    def apply_schedules(self) -> None:
        """Set the next step's learning rates and radii: initial ones times schedule factors."""
        done, count = self.num_steps_done, self.num_steps
        factor = factor_at(self.plan.schedule, done, count)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        is_sam = done >= count - round(self.plan.last_fraction * count)
        set_rho_factor(
            self.optimizer, factor_at(self.plan.rho_schedule, done, count) if is_sam else 0.0
        )

    def train_row(self, meter: Meter) -> dict[str, float]:
        """What the epoch measured."""
        first_factor = factor_at(
            self.plan.schedule, len(self.rows) * self.steps_per_epoch, self.num_steps
        )
        loss = meter.per_example("loss")
        if not math.isfinite(loss):
            raise LandscapeError(
                f"training diverged in epoch {len(self.rows) + 1}: the mean loss is {loss}.",
                hint="Lower the learning rate, `lr`.",
            )
        return {
            "learning_rate": float(self.optimizer.param_groups[0]["initial_lr"]) * first_factor,
            "train_loss": loss,
            "train_accuracy": meter.per_example("correct"),
            "first_order_sharpness": self.radius * meter.per_batch("gradient_norm"),
            "num_gradients": self.steps_per_epoch * meter.per_batch("gradients"),
        }

    def report(self, meter: Meter, clock: EpochClock) -> None:
        """Tell the progress where the epoch is.

        Reading the sums waits for the device, so this is not done at every step. Nothing else of
        the loop of one process waits within an epoch; an optimizer may, as SAM does to look at its
        gradients' norms.
        """
        fields = {"epoch": len(self.rows) + 1, "loss": meter.per_example("loss")}
        accuracy = meter.per_example("correct")
        fields |= {} if math.isnan(accuracy) else {"accuracy": accuracy}
        self.progress.update(
            self.num_steps_done, **fields, examples_per_second=meter.num_examples / clock.seconds()
        )

    def stop(self, clock: EpochClock) -> None:
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
        num_processes = distributed.world_size()
        require(
            state.epoch <= self.plan.epochs,
            f"a run of {self.plan.epochs} epochs cannot go on from epoch {state.epoch}.",
            hint=f"Pass epochs={state.epoch} or more.",
        )
        require(
            len(state.meters) == num_processes and state.step <= self.steps_per_epoch,
            f"a run of {num_processes} processes and {self.steps_per_epoch} steps an epoch cannot "
            f"go on from step {state.step} of {len(state.meters)} processes.",
            hint="Repeat the data, the batch size and the number of processes of the first run.",
        )
        require(
            (self.average is None) == (state.average is None),
            "a run goes on with a moving average if it had one before, and only then.",
        )
        try:
            self.module.load_state_dict(state.module)
            self.optimizer.load_state_dict(copy.deepcopy(state.optimizer))
            self.order.set_state(state.order.cpu())
            self.order_of_epoch = self.order.get_state()
            self.meter.include(state.meters[distributed.rank()])
        except _UNFIT as exc:
            raise CheckpointError(
                f"the training state does not fit the model and its optimizer: {first_line(exc)}"
            ) from exc
        self.step = state.step
        self.seconds_before = state.seconds
        self.rows = [dict(row) for row in state.rows]
        if self.average is not None and state.average is not None:
            self.average.module.load_state_dict(state.average)
            self.average.n_averaged.fill_(self.num_steps_done)


def _moving_average(module: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of a module whose weights and buffers follow the original's."""
    with copying_a_model():
        return AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
