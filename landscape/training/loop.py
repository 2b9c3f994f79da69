"""The training loop: deterministic, silent, and resumable after every step, bit for bit."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from landscape.errors import Remark, explained_memory
from landscape.optim.sam import SAM
from landscape.problem.batches import Data
from landscape.problem.plan import compiled, deterministic, kept_modes, prefers_channels_last
from landscape.problem.reading import as_data
from landscape.results.history import History, make_history
from landscape.runtime import distributed
from landscape.runtime.progress import SILENT, Progress
from landscape.runtime.random_state import forked_random_state
from landscape.training.run import TrainingRun
from landscape.training.step import data_parallel
from landscape.training.training_plan import Criterion, TrainingPlan, TrainingState

_EXPLODED = 1000.0
"""Ratio of a test loss to the largest training loss from which it deserves a remark."""


def train(
    module: nn.Module,
    data: Any,
    test: Any,
    optimizer: Optimizer,
    plan: TrainingPlan,
    *,
    validation: Any = None,
    criterion: Criterion | None = None,
    device: torch.device | None = None,
    progress: Progress = SILENT,
    state: TrainingState | None = None,
    save: Callable[[TrainingState], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> History:
    """Train a module in place.

    The caller's random state and the module's training modes are as before afterwards. The same
    arguments give the same weights, bit for bit, on a device with deterministic kernels: on CUDA
    they are chosen as for an evaluation, where there are any, and products of float32 numbers are
    not rounded to TF32. On the CPU, images go through networks with 2-D convolutions in the
    channels_last layout, where these take it.

    In the processes of one `landscape.runtime.distributed.joined`, each takes its consecutive share
    of every batch and the gradients are averaged: without BatchNorm, dropout and augmentation,
    whose random numbers are each process's own, the curve is that of one process up to rounding.
    BatchNorm normalizes with the statistics of a process's share; the running ones that are
    evaluated and saved are the first process's.

    Args:
        module: The model, on `device`.
        data: Training set: whatever `landscape.problem.reading.as_data` reads.
        test: Test set, evaluated after every epoch; None for none.
        optimizer: For the module's parameters; `SAM` or any other.
        plan: How to train: epochs, batch size, schedules and the like.
        validation: Held out of the training set, evaluated as the test set is, by which settings
            may be chosen; None for none.
        criterion: Batch mean of the loss of (outputs, targets); None for the cross-entropy.
        device: Where module and data are; None takes the device of the module's first parameter.
        progress: Is told the loss, the accuracy and the speed at most ten times per second.
        state: Resume from here; with the other arguments the same, the run ends with exactly the
            weights of one that was not interrupted. It is not changed.
        save: Is given the state at the end of each epoch, and where the run is stopped; in the
            first process only.
        should_stop: Is asked after each step; if it says so in any process, the state is saved and
            the run ends there.

    Returns:
        One row per epoch, those before a resume included.

    Raises:
        InputError: If the plan, the optimizer, the data or the criterion do not fit each other, or
            the compiler fails.
        LandscapeError: If the training loss of an epoch is not finite. The state of the last good
            epoch has been saved by then.
        Interrupted: If `should_stop` said so.
    """
    parameter = next(module.parameters())
    device = parameter.device if device is None else device
    with explained_memory("moving the data to the device", "Pass fewer `samples`."):
        data, test, validation = (
            None if each is None else as_data(each).to(device, parameter.dtype.to_real())
            for each in (data, test, validation)
        )
    run = TrainingRun(
        module, data, test, validation, optimizer, plan, criterion, device, progress, save,
        should_stop,
    )  # fmt: skip
    repeatably = deterministic(device)
    with forked_random_state([device], seed=plan.seed), kept_modes(module), repeatably:
        run.is_channels_last = _is_channels_last_faster(module, data, device)
        with data_parallel(module, optimizer, run.probe) as run.parallel:
            run.forward = compiled(run.parallel) if plan.compile else run.parallel
            run.all_epochs(state)
    _remark_on_explosion(module, run.rows)
    settings = {
        "optimizer": type(optimizer).__name__,
        **asdict(plan),
        "sharpness_rho": run.radius,
        "num_processes": distributed.world_size(),
        "memory_format": "channels_last" if run.is_channels_last else "contiguous",
        "skipped_steps": optimizer.skipped_steps if isinstance(optimizer, SAM) else 0,
    }
    return make_history(run.rows, settings)


def _remark_on_explosion(module: nn.Module, rows: Sequence[Mapping[str, float]]) -> None:
    """Say where the test loss is out of all proportion to the training losses of the run.

    The largest of these tells which losses are usual: an overfitted network's last one is tiny.
    """
    test_loss, usual = rows[-1].get("test_loss", 0.0), max(row["train_loss"] for row in rows)
    if not usual > 0 or test_loss <= _EXPLODED * usual:
        return
    found = f"the test loss is {test_loss:.3g}, the training loss {rows[-1]['train_loss']:.3g}"
    why = (
        "Batch normalization's running statistics, which only evaluation uses, may not have "
        "settled: train longer or with a lower `lr`, or evaluate with `batchnorm='recalibrate'`."
        if any(isinstance(part, _BatchNorm) for part in module.modules())
        else "Look at the test data, or train with a lower `lr`."
    )
    warnings.warn(f"{found}. {why}", Remark, stacklevel=3)


def _is_channels_last_faster(module: nn.Module, data: Data, device: torch.device) -> bool:
    """Whether images should be in the channels_last layout; measured to pay on the CPU only."""
    if device.type != "cpu":
        return False
    with forked_random_state():
        return prefers_channels_last(module, data.batches(data.num_examples)[0][0])
