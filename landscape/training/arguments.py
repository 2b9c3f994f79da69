"""Which arguments a training run takes."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch.optim import Optimizer

from landscape.errors import InputError
from landscape.optim.sam import SAM
from landscape.training.schedules import check_schedule


def check_counts(*, epochs: int, batch_size: int, micro_batch_size: int | None) -> None:
    """Raise an InputError unless all are at least 1; a micro-batch size may also be None."""
    counts = {"epochs": epochs, "batch size": batch_size, "micro-batch size": micro_batch_size}
    for name, count in counts.items():
        if count is not None and count < 1:
            raise InputError(f"{name} must be at least 1, got {count}.")


def check_seed(seed: int) -> None:
    """Raise an InputError unless torch's generators take it and seeds can be derived from it."""
    if not 0 <= seed < 2**64:
        raise InputError(f"seed must be from 0 to 2^64 - 1, got {seed}.")


def check_radius(rho: float) -> None:
    """Raise an InputError unless a sharpness can be measured at it."""
    if not 0 < rho < math.inf:
        raise InputError(f"the radius of the sharpness must be a positive number, got {rho}.")


def check_label_smoothing(label_smoothing: float, criterion: Callable[..., object] | None) -> None:
    """Raise an InputError unless it is in [0, 1), and 0 for any loss but the default one, None."""
    if not 0 <= label_smoothing < 1:
        raise InputError(f"label smoothing must be in [0, 1), got {label_smoothing}.")
    if label_smoothing and criterion is not None:
        raise InputError(
            "label smoothing is an option of the default cross-entropy only.",
            hint="Smooth the labels in your own loss, or leave it out.",
        )


def check_sam_options(
    optimizer: Optimizer, *, rho_schedule: str, sam_fraction: float, micro_batch_size: int | None
) -> None:
    """Raise an InputError if one is out of range, or serves nothing."""
    check_schedule(rho_schedule)
    if not 0 <= sam_fraction <= 1:
        raise InputError(f"the last fraction of SAM must be in [0, 1], got {sam_fraction}.")
    if (rho_schedule != "constant" or sam_fraction != 1) and not isinstance(optimizer, SAM):
        raise InputError(
            "a rho schedule and a last fraction are options of SAM, got "
            f"{type(optimizer).__name__}.",
            hint="Leave them out, or use the optimizer sam.",
        )
    if isinstance(optimizer, SAM) and optimizer.scope == "micro-batch" and micro_batch_size is None:
        raise InputError(
            "SAM cannot make an ascent for each micro-batch without micro-batches.",
            hint="Set the micro-batch size (--micro-batch), or the scope batch.",
        )
