"""The processes of one command: how they open a checkpoint, and how they end together."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import typer

from landscape.io.open import OpenedProblems, ProblemChoice, open_problems
from landscape.problem.plan import choose_device
from landscape.runtime import distributed
from landscape.runtime.progress import Deadline

from . import console
from .options import ProblemOptions


def open_checkpoint(
    checkpoint: Path, options: ProblemOptions, splits: Sequence[str], **arguments: Any
) -> OpenedProblems:
    """Open a checkpoint on this process's device, and record the command.

    Args:
        checkpoint: Checkpoint file.
        options: How it is evaluated, and on what.
        splits: Splits to open.
        **arguments: Further arguments of `open_problems`.
    """
    device = distributed.local_device(choose_device(options.device), options.device)
    choice = options.choice(ProblemChoice)
    mode = choice.batchnorm or "stored"  # None where nothing was typed
    choice = dataclasses.replace(choice, device=str(device), batchnorm=mode)
    opened = open_problems(checkpoint, choice, splits, **arguments)
    return dataclasses.replace(opened, settings={**opened.settings, "command": sys.argv[1:]})


def reached_together(deadline: Deadline, num_steps: int = 1) -> bool:
    """Whether the first process has to stop, for all of them: more steps would end too late."""
    return distributed.from_first(deadline.is_reached(num_steps))


@contextmanager
def working_together(path: Path | None = None) -> Iterator[None]:
    """Work with the other processes of torchrun; when stopped, report what is saved in `path`."""
    with nullcontext() if path is None else console.resumable(path):
        try:
            with distributed.joined():
                yield
        except distributed.FailedElsewhereError as exc:
            raise typer.Exit(1) from exc
