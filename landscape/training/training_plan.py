"""How a model is trained: the numbers and names that a run is made of, checked once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from landscape.errors import InputError
from landscape.optim.sam import SAM
from landscape.training.augmentation import get_augmentation
from landscape.training.schedules import check_schedule

Criterion = Callable[[Any, Any], Tensor]
"""A loss of outputs and targets that returns the batch mean."""


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
        schedule: Name of the learning rate's schedule in `landscape.training.schedules`.
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
            if not is_kept:
                raise InputError(rule)
        check_schedule(self.schedule)
        check_schedule(self.rho_schedule)
        get_augmentation(self.augmentation)

    def check(self, optimizer: Optimizer, criterion: Criterion | None) -> None:
        """Raise an InputError if the optimizer or the criterion has no use for a value.

        Args:
            optimizer: SAM or any other.
            criterion: The loss; None for the cross-entropy.
        """
        if self.label_smoothing and criterion is not None:
            raise InputError(
                "label smoothing is an option of the default cross-entropy only.",
                hint="Smooth the labels in your own loss, or leave it out.",
            )
        is_sam = isinstance(optimizer, SAM)
        if (self.rho_schedule != "constant" or self.last_fraction != 1) and not is_sam:
            raise InputError(
                "a rho schedule and a last fraction are options of SAM, got "
                f"{type(optimizer).__name__}.",
                hint="Leave them out, or use the optimizer sam.",
            )
        if is_sam and optimizer.scope == "micro-batch" and self.micro_batch is None:
            raise InputError(
                "SAM cannot make an ascent for each micro-batch without micro-batches.",
                hint="Set the micro-batch size, `micro_batch`, or the scope batch.",
            )
