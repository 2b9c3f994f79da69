"""The command-line application."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import landscape
from landscape.errors import LandscapeError, is_out_of_memory

from . import console
from .checks.command import assert_conditions, audit_optimizer, doctor, verify
from .compare.command import compare
from .data import data
from .files import convert, info
from .hessian.command import hessian
from .hints import learn_options
from .options import Command
from .plot.command import plot
from .plot.film import animate
from .program import CTRL_C, error_code, main
from .sharpness.command import sharpness
from .surface.command import surface
from .sweep.command import sweep
from .train.command import train

__all__ = ["app", "main"]


class _Group(TyperGroup):
    """A group that prints a user's error as a sentence and a hint, and exits with its code."""

    def make_context(self, *args: Any, **options: Any) -> Any:
        with _saying_what_is_wrong():  # help and version are printed here
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        with _saying_what_is_wrong(ctx):
            return super().invoke(ctx)


@contextmanager
def _saying_what_is_wrong(ctx: Any = None) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as interrupt:
        console.say("\nInterrupted.")
        raise typer.Exit(CTRL_C) from interrupt
    except typer.Exit:
        raise
    except Exception as exc:
        error = _of_user(exc)
        if error is None:
            raise
        console.show_error(error)
        raise typer.Exit(error_code(ctx and ctx.invoked_subcommand)) from exc


def _of_user(exc: Exception) -> LandscapeError | None:
    """Return what to tell a user of an exception; None for what is not theirs to know."""
    if is_out_of_memory(exc) and not (isinstance(exc, LandscapeError) and "emory" in str(exc)):
        return LandscapeError(
            "there is not enough memory.",
            hint="Free some, raise its limit, or pass a smaller `batch_size` or `samples`.",
        )
    if isinstance(exc, OSError) and exc.errno != errno.EPIPE:  # the reader has seen enough
        return LandscapeError(f"{exc.strerror or exc}: {exc.filename or 'standard output'}.")
    return exc if isinstance(exc, LandscapeError) else None


app = typer.Typer(
    name="landscape",
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Look at the loss landscape of trained neural networks: surfaces, Hessian eigenvalues, "
    "sharpness.",
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"landscape {landscape.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    ctx: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    learn_options(ctx.command)
    # cuBLAS repeats itself bit for bit only with a fixed workspace, chosen before torch starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


for command in (
    train,
    sweep,
    surface,
    hessian,
    sharpness,
    compare,
    verify,
    plot,
    animate,
    info,
    convert,
    doctor,
    audit_optimizer,
):
    app.command(cls=Command)(command)
app.command("assert", cls=Command)(assert_conditions)
app.add_typer(data, name="data")
