"""The processes of one command: which of them writes the output, and how they end together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import typer

from . import console
from .options import ProblemOptions
from .resolve import Opened, open_checkpoint, prepare_output


@contextmanager
def output_of_this_run(
    path: Path, inputs: Sequence[Path], *, force: bool, resume: bool, besides: Path | None = None
) -> Iterator[None]:
    """Keep an output for this run, whose first process writes it.

    Args:
        path: The output.
        inputs: Files that the command reads.
        force: Whether it is to be replaced.
        resume: Whether it is to be continued.
        besides: Another file that the command writes.
    """
    from landscape.runtime.files import locked

    if not console.is_heard():
        yield
        return
    prepare_output(path, force=force, resume=resume, inputs=inputs)
    if besides is not None:
        prepare_output(besides, force=force, resume=resume, inputs=[*inputs, path])
    with locked(path):
        if (
            force and console.is_launched()
        ):  # a process that torchrun starts again goes on with what is there
            path.unlink(missing_ok=True)
        yield


@contextmanager
def working_together(path: Path | None = None) -> Iterator[None]:
    """Work with the other processes of torchrun; when stopped, report what is saved in `path`."""
    with nullcontext() if path is None else console.resumable(path):
        from landscape.runtime import distributed  # brings torch, and a signal may come meanwhile

        try:
            with distributed.joined():
                yield
        except distributed.FailedElsewhereError as exc:
            raise typer.Exit(1) from exc


def open_together(
    checkpoint: Path, options: ProblemOptions, splits: Sequence[str], **arguments: Any
) -> Opened:
    """Open a checkpoint on this process's device, with the arguments of `open_checkpoint`."""
    from landscape.problem.plan import choose_device
    from landscape.runtime import distributed

    device = distributed.local_device(choose_device(options.device))
    return open_checkpoint(
        checkpoint, dataclasses.replace(options, device=str(device)), splits, **arguments
    )
