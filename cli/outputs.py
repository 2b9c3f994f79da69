"""The files that a command writes: their default names, and whether they may be written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path

from landscape.errors import StoreError, require
from landscape.results.provenance import Provenance
from landscape.runtime.files import folder_of, locked

from . import console

_kept: ContextVar[frozenset[Path]] = ContextVar("kept", default=frozenset())


def with_loss(title: str, origin: Provenance) -> str:
    """Return a title that ends with the name of the loss function, where that was recorded."""
    return ", loss ".join([title, *(name for _, name in origin.named_loss())])


def show_draws(origin: Provenance) -> None:
    """Print how far the loss at the weights differs between draws, if several were averaged."""
    for split, error in origin.draws_error.items():
        console.answer(
            f"Mean over {origin.plan['draws']} draws of random numbers; standard error of the "
            f"{split} loss at the weights over them: {console.number(error, 2)}"
        )


def default_output(source: Path, suffix: str) -> Path:
    """Return the name of a file beside `source`, with another suffix.

    Raises:
        InputError: If `source` has no name of its own.
    """
    require(source.name, f"a file is needed, got the folder {str(source)!r}.", "Name a file in it.")
    return source.with_suffix(suffix)


def prepare_output(
    path: Path, *, force: bool, resume: bool | None = None, inputs: Sequence[Path | None] = ()
) -> None:
    """Raise an error if an output cannot be written, or exists and may not be touched.

    An existing output may be touched only if it is to be replaced or continued.

    Args:
        path: The output; its folder need not be there.
        force: Whether it is to be replaced.
        resume: Whether it is to be continued; None where the command cannot do that.
        inputs: Files that the command reads, or writes besides, which it never replaces; None for
            no file.

    Raises:
        InputError: If it is refused.
        StoreError: If it cannot be written.
    """
    go_on = "" if resume is None else "--resume to continue it, "
    try:
        require(
            not (force and resume),
            "--force and --resume exclude each other.",
            "Pass one of them.",
        )
        require(
            path.resolve() not in [other.resolve() for other in inputs if other is not None],
            f"output {path} is another file of this command.",
            "Name another file.",
        )
        require(
            path.is_file() or not path.exists(),
            f"output {path} is no regular file.",
            "Name a file.",
        )
        require(
            force or resume or not path.exists(),
            f"output {path} exists.",
            f"Pass {go_on}--force to replace it, or another --out.",
        )
        with folder_of(path), tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as exc:
        raise StoreError(
            f"output {path} cannot be written: {exc.strerror}.", hint="Pass another --out."
        ) from exc


@contextmanager
def keeping(paths: Sequence[Path], prepare: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Keep outputs for what is done inside, which may keep them again; others are refused.

    Args:
        paths: Files.
        prepare: Raises an error if they may not be written, before they are kept or then.
    """
    prepare()
    new = [path for path in map(Path.resolve, paths) if path not in _kept.get()]
    before = _kept.set(_kept.get() | {*new})
    with ExitStack() as locks:
        locks.callback(_kept.reset, before)
        for path in new:
            locks.enter_context(locked(path))
        prepare()
        yield


@contextmanager
def output_of_this_run(
    path: Path | None,
    inputs: Sequence[Path | None],
    *,
    force: bool,
    resume: bool,
    besides: Path | None = None,
) -> Iterator[None]:
    """Keep an output for this run, whose first process writes it.

    Args:
        path: The output; None for none.
        inputs: Files that the command reads, or writes besides; None for no file.
        force: Whether it is to be replaced.
        resume: Whether it is to be continued.
        besides: Another file that the command writes.
    """
    if path is None or not console.is_heard():
        yield
        return

    def prepare() -> None:
        prepare_output(path, force=force, resume=resume, inputs=inputs)
        if besides is not None:
            prepare_output(besides, force=force, resume=resume, inputs=[*inputs, path])

    with keeping([path], prepare):
        # A process that torchrun starts again goes on with what is there.
        if force and "TORCHELASTIC_RESTART_COUNT" in os.environ:
            path.unlink(missing_ok=True)
        yield
