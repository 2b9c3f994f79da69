"""The training loop: deterministic, silent, and resumable after every step, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import Optimizer

from landscape.optim.sam import SAM
from landscape.problem.batches import Data
from landscape.problem.memory_format import prefers_channels_last
from landscape.problem.plan import compiled
from landscape.results.history import History
from landscape.runtime import distributed
from landscape.runtime.progress import SILENT, Progress
from landscape.runtime.random_state import forked_random_state
from landscape.training.acceleration import check_precision
from landscape.training.arguments import (
    check_counts,
    check_label_smoothing,
    check_radius,
    check_sam_options,
    check_seed,
)
from landscape.training.ascent_sharpness import DEFAULT_RHO, fixed_subset
from landscape.training.augmentation import get_augmentation
from landscape.training.moving_average import moving_average
from landscape.training.rows import make_history
from landscape.training.run import Criterion, Run
from landscape.training.schedules import check_schedule
from landscape.training.step import data_parallel
from landscape.training.training_state import TrainingState


def _never() -> bool:
    return False


def train(
    module: nn.Module,
    data: Data,
    test: Data | None,
    optimizer: Optimizer,
    *,
    epochs: int,
    validation: Data | None = None,
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
    arguments give the same weights, bit for bit, on a device with deterministic kernels. On the
    CPU, images go through networks with 2-D convolutions in the channels_last layout, where these
    take it.

    In the processes of one `landscape.runtime.distributed.joined`, each takes its consecutive share of
    every batch and the gradients are averaged: without BatchNorm, dropout and augmentation, whose
    random numbers are each process's own, the curve is that of one process up to rounding.
    BatchNorm normalizes with the statistics of a process's share; the running ones that are
    evaluated and saved are the first process's.

    Args:
        module: The model, on `device`.
        data: Training set, on `device`.
        test: Test set, evaluated after every epoch; None for none.
        optimizer: For the module's parameters; `SAM` or any other.
        epochs: Number of epochs in the whole run, those done before a resume included.
        validation: Held out of the training set, evaluated as the test set is, by which settings
            may be chosen; None for none.
        batch_size: Examples a step, of all processes together; the last step of an epoch may have
            fewer. Batches that the user made keep their size. Batch normalization cannot train on a
            single example, so none should be left over where a model has it.
        micro_batch_size: Examples a pass at most, for batches that do not fit into memory:
            gradients of consecutive pieces of a batch are added up. None for whole batches. The
            step is that of the whole batch up to rounding, unless the model computes statistics of
            what it is given, as BatchNorm does.
        schedule: `constant`, `cosine` or `step` (`landscape.training.schedules`).
        label_smoothing: In [0, 1), for the default criterion, in training only.
        criterion: Batch mean of the loss of (outputs, targets); None for the cross-entropy.
        augmentation: `none`, or `crop`, `flip` and `cutout` joined by dashes, in training only.
        seed: In [0, 2^64): of the order of the examples, the augmentation, and the global random
            state inside.
        device: Where module and data are; None takes the device of the module's first parameter.
        progress: Is told the loss, the accuracy and the speed at most ten times a second.
        state: Go on from here; with the other arguments the same, the run ends with exactly the
            weights of one that was not interrupted. It is not changed.
        save: Is given the state at the end of each epoch, and where the run is stopped; in the
            first process only.
        should_stop: Is asked after each step; if it says so in any process, the state is saved and
            the run ends there.
        rho_schedule: Of SAM's radii, named as for `schedule`; with the same name a radius stays
            proportional to the learning rate.
        sam_fraction: SAM steps in this last share of all steps, in [0, 1], and steps of its base
            before.
        precision: `bf16` computes training's forward passes and losses in bfloat16 where that
            serves (autocast); weights and the evaluation keep their dtype. None computes all in it.
        is_compiled: Whether training's passes run compiled (torch.compile).
        ema: Decay in [0, 1) of an exponential moving average of weights and buffers, updated after
            each step; it is evaluated on the test set beside the weights themselves. None for none.
        num_asc_samples: Examples of the training set, a fixed class-balanced subset without
            augmentation, on which L^Asc - L is measured after each epoch; None for no such
            measurement.
        sharpness_rho: Euclidean radius of the first-order and the ascent sharpness. Where the
            optimizer is SAM and its ball is Euclidean, that one's rho unless it is 0, whatever its
            schedule and the fraction.

    Returns:
        One row an epoch, those before a resume included.

    Raises:
        InputError: If an argument is out of range or does not fit another, or the compiler fails.
        LandscapeError: If the training loss of an epoch is not finite. The state of the last good
            epoch has been saved by then.
        Interrupted: If `should_stop` said so.
    """
    check_counts(epochs=epochs, batch_size=batch_size, micro_batch_size=micro_batch_size)
    check_seed(seed)
    check_radius(sharpness_rho)
    check_label_smoothing(label_smoothing, criterion)
    check_schedule(schedule)
    check_precision(precision)
    check_sam_options(
        optimizer,
        rho_schedule=rho_schedule,
        sam_fraction=sam_fraction,
        micro_batch_size=micro_batch_size,
    )
    device = next(module.parameters()).device if device is None else device
    run = Run(
        module=module,
        data=data,
        validation=validation,
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
        average=None if ema is None else moving_average(module, ema),
        asc_data=None if num_asc_samples is None else fixed_subset(data, num_asc_samples),
        train_loss=_training_loss(criterion, label_smoothing),
        test_loss=F.cross_entropy if criterion is None else criterion,
        augment=get_augmentation(augmentation),
        seed=seed,
        device=device,
        progress=progress,
        save=save,
        should_stop=should_stop,
        sharpness_rho=sharpness_rho,
    )
    own_precision = torch.autocast(device.type, enabled=False)
    with forked_random_state([device], seed=seed), _kept_modes(module), own_precision:
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
        "sharpness_rho": run.radius,
        "memory_format": "channels_last" if run.is_channels_last else "contiguous",
        "skipped_steps": optimizer.skipped_steps if isinstance(optimizer, SAM) else 0,
    }
    return make_history(run.rows, settings)


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
    return lambda outputs, targets: F.cross_entropy(
        outputs, targets, label_smoothing=label_smoothing
    )


def _is_channels_last_faster(module: nn.Module, data: Data, device: torch.device) -> bool:
    """Whether images should be in the channels_last layout; measured to pay on the CPU only."""
    if device.type != "cpu":
        return False
    with forked_random_state():
        return prefers_channels_last(module, data.batches(data.num_examples)[0][0])
