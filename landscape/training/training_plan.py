"""What a training run is made of: its schedules, its plan, and the state it resumes from."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from landscape.errors import require, require_in_limits, require_one_of
from landscape.optim.sam import SAM
from landscape.training.augmentation import get_augmentation

Criterion = Callable[[Any, Any], Tensor]
"""A loss of outputs and targets that returns the batch mean."""


def _step(done: float) -> float:
    if done < 0.5:
        return 1.0
    return 0.1 if done < 0.75 else 0.01


SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "step": _step,
    "step-0.2": lambda done: 0.2 ** sum(done >= share for share in (0.3, 0.6, 0.8)),
}
"""Name -> factor, given the share of all steps that is done, in [0, 1)."""


def factor_at(schedule: str, step: int, num_steps: int) -> float:
    """Return the factor of the initial learning rate or radius at optimizer step `step`.

    `constant` is 1; `cosine` falls from 1 to 0, (1 + cos(pi step / num_steps)) / 2, anew at every
    step; `step` is 1, 0.1 from half of all steps on, and 0.01 from three quarters on (half and
    three quarters of the epochs, since all epochs have the same number of steps). `step-0.2` is 1,
    0.2 from 30 % of all steps on, 0.04 from 60 % on and 0.008 from 80 % on.

    Args:
        schedule: `constant`, `cosine`, `step` or `step-0.2`.
        step: From 0, the first step; `num_steps` is the end of the run.
        num_steps: Optimizer steps in the whole run.

    Returns:
        A factor in [0, 1].

    Raises:
        InputError: If the schedule is unknown, or `step` is not in the run.

    Source:
        Cosine: Loshchilov and Hutter (2017), "SGDR", Eq. 5, without restarts.
        `step-0.2`: Zagoruyko and Komodakis (2016), "Wide Residual Networks", section 3.
    """
    check_schedule(schedule)
    require(
        0 <= step <= num_steps and num_steps > 0,
        f"step must be from 0 to the number of steps, got {step} of {num_steps}.",
    )
    return SCHEDULES[schedule](step / num_steps)


def check_schedule(name: str) -> None:
    """Raise an InputError that lists the known names if `name` is not one of them."""
    require_one_of("a schedule", name, SCHEDULES)


@dataclass(frozen=True)
class TrainingPlan:
    """How a model is trained, apart from what is trained on what.

    Attributes:
        epochs: Number of epochs in the whole run, those done before a resume included.
        batch_size: Examples per step, of all processes together; the last step of an epoch may have
            fewer. Batches that the user made keep their size. Batch normalization cannot train on a
            single example, so none should be left over where a model has it.
        micro_batch: Largest number of examples per pass, for batches that do not fit into memory:
            gradients of consecutive pieces of a batch are added up. None for whole batches. The
            step is that of the whole batch up to rounding, unless the model computes statistics of
            what it is given, as BatchNorm does.
        schedule: Name of the learning rate's schedule, one of `landscape.training.SCHEDULES`.
        rho_schedule: Name of the schedule of SAM's radii; with that of `schedule`, a radius stays
            proportional to the learning rate.
        last_fraction: Share of all steps, in [0, 1], that are SAM's, the last ones; those before
            are steps of its base.
        label_smoothing: In [0, 1), for the default criterion, in training only.
        augmentation: `none`, or `crop`, `flip` and `cutout` joined by dashes, in training only.
        ema: Decay in [0, 1) of an exponential moving average of weights and buffers, updated after
            each step; it is evaluated on the test set in addition to the weights. None for none.
        asc_samples: Examples of the training set, a fixed class-balanced subset without
            augmentation, on which L^Asc - L is measured after each epoch. None for no measurement.
        amp: `bf16` computes training's forward passes and losses in bfloat16 where that is
            accurate enough (autocast); weights and the evaluation keep their dtype. None computes
            everything in that dtype.
        compile: Whether training's passes run compiled (torch.compile).
        seed: In [0, 2^64): of the order of the examples, the augmentation, and the global random
            state inside.
        sharpness_rho: Euclidean radius of the first-order and the ascent sharpness. Where the
            optimizer is SAM and its ball is Euclidean, SAM's own rho unless it is 0, whatever its
            schedule and `last_fraction`.

    Raises:
        InputError: If a value is out of range.
    """

    epochs: int = 15
    batch_size: int = 128
    micro_batch: int | None = None
    schedule: str = "cosine"
    rho_schedule: str = "constant"
    last_fraction: float = 1.0
    label_smoothing: float = 0.0
    augmentation: str = "none"
    ema: float | None = None
    asc_samples: int | None = None
    amp: str | None = None
    compile: bool = False
    seed: int = 0
    sharpness_rho: float = 0.05

    def __post_init__(self) -> None:
        require_in_limits(vars(self))
        ema, size = self.ema, self.micro_batch
        rules = {
            f"epochs must be at least 1, got {self.epochs}.": self.epochs >= 1,
            f"batch size must be at least 1, got {self.batch_size}.": self.batch_size >= 1,
            f"micro-batch size must be at least 1, got {size}.": size is None or size >= 1,
            f"the decay of the moving average must be in [0, 1), got {ema}.": (
                ema is None or 0 <= ema < 1
            ),
            f"label smoothing must be in [0, 1), got {self.label_smoothing}.": (
                0 <= self.label_smoothing < 1
            ),
            f"seed must be from 0 to 2^64 - 1, got {self.seed}.": 0 <= self.seed < 2**64,
            f"the radius of the sharpness must be a positive number, got {self.sharpness_rho}.": (
                0 < self.sharpness_rho < math.inf
            ),
            f"the last fraction of SAM must be in [0, 1], got {self.last_fraction}.": (
                0 <= self.last_fraction <= 1
            ),
            f"mixed precision must be bf16 or nothing, got {self.amp!r}.": (
                self.amp in (None, "bf16")
            ),
        }
        for rule, is_kept in rules.items():
            require(is_kept, rule)
        check_schedule(self.schedule)
        check_schedule(self.rho_schedule)
        get_augmentation(self.augmentation)

    def check(self, optimizer: Optimizer, criterion: Criterion | None) -> None:
        """Raise an InputError if the optimizer or the criterion has no use for a value.

        Args:
            optimizer: SAM or any other.
            criterion: The loss; None for the cross-entropy.
        """
        is_sam = isinstance(optimizer, SAM)
        require(
            criterion is None or not self.label_smoothing,
            "label smoothing is an option of the default cross-entropy only.",
            hint="Smooth the labels in your own loss, or leave it out.",
        )
        require(
            is_sam or (self.rho_schedule == "constant" and self.last_fraction == 1),
            "a rho schedule and a last fraction are options of SAM, got "
            f"{type(optimizer).__name__}.",
            hint="Leave them out, or use the optimizer sam.",
        )
        require(
            not is_sam or optimizer.scope != "micro-batch" or self.micro_batch is not None,
            "SAM cannot make an ascent for each micro-batch without micro-batches.",
            hint="Set the micro-batch size, `micro_batch`, or the scope batch.",
        )


@dataclass(frozen=True)
class TrainingState:
    """Everything that an exact resume after any step needs; tensors, numbers and strings only.

    Random numbers of a step depend on its place in the run alone, so only the order's are kept.

    Attributes:
        epoch: Number of whole epochs done.
        step: Optimizer steps done in the epoch after them.
        module: Copy of the module's state_dict.
        optimizer: Copy of the optimizer's state_dict, initial learning rates included.
        order: State of the generator of the order, before it drew that epoch's.
        meters: What each process has measured in that epoch, by rank.
        seconds: Time spent in that epoch.
        rows: One dict a whole epoch, named as the columns of `landscape.results.history.History`.
        average: Copy of the state_dict of the module with averaged weights; None if none is kept.
    """

    epoch: int
    step: int
    module: dict[str, Any]
    optimizer: dict[str, Any]
    order: Tensor
    meters: list[dict[str, Any]]
    seconds: float
    rows: list[dict[str, float]]
    average: dict[str, Any] | None = None


class Interrupted(BaseException):
    """A run stopped before its end because it was asked to; its state has been handed over.

    Like KeyboardInterrupt, it is no error, and nothing that handles errors takes it for one.

    Attributes:
        epoch: The epoch under way, from 1.
        step: Optimizer steps done in it.
        num_steps: Optimizer steps of an epoch.
    """

    def __init__(self, epoch: int, step: int, num_steps: int) -> None:
        super().__init__(f"stopped in epoch {epoch}, after step {step} of {num_steps}")
        self.epoch = epoch
        self.step = step
        self.num_steps = num_steps


def copied(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state_dict that shares nothing with the original."""
    return {
        name: v.detach().clone() if isinstance(v, Tensor) else copy.deepcopy(v)
        for name, v in values.items()
    }
