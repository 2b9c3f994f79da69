"""What the terminal shows: answers on stdout, everything else on stderr. The only user of rich."""

from __future__ import annotations

import json
import math
import os
import shlex
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from landscape.errors import LandscapeError, Remark, printable

from .hints import in_options
from .program import CTRL_C, interrupt

_answers: ContextVar[TextIO | None] = ContextVar("answers", default=None)
_is_quiet: ContextVar[bool] = ContextVar("is_quiet", default=False)
_is_verbose: ContextVar[bool] = ContextVar("is_verbose", default=False)

_UNLIMITED = 10_000  # columns


@contextmanager
def answering(*, is_quiet: bool, is_verbose: bool = False) -> Iterator[None]:
    """Keep stdout for the answers of a command, of which a quiet one prints nothing else.

    A verbose one also prints details, which are how the numbers were computed.

    Whatever else is printed, by the user's code, goes to stderr. Each of the library's remarks is
    said once.
    """
    answers, quiet = _answers.set(sys.stdout), _is_quiet.set(is_quiet)
    verbose = _is_verbose.set(is_verbose)
    try:
        with redirect_stdout(sys.stderr), _saying_remarks():
            yield
    finally:
        _answers.reset(answers)
        _is_quiet.reset(quiet)
        _is_verbose.reset(verbose)


@contextmanager
def _saying_remarks() -> Iterator[None]:
    said: set[str] = set()
    with warnings.catch_warnings():
        show = warnings.showwarning

        def say_once(message: Any, category: type[Warning], *place: Any) -> None:
            if not issubclass(category, Remark):
                show(message, category, *place)
            elif str(message) not in said:
                said.add(str(message))
                say(in_options(str(message)))

        warnings.simplefilter("always", Remark)
        warnings.showwarning = say_once
        yield


def show_error(error: LandscapeError) -> None:
    """Print a user's error, as a command line has it: one sentence and a hint."""
    lines = in_options(error.message).split("\n")  # a place below the sentence
    text = Text.assemble(("Error:", "bold red"), " ", "\n".join(map(printable, lines)))
    if error.hint:
        text.append("\nHint:", "bold")
        text.append(f" {printable(in_options(error.hint))}")
    # At once: where memory runs out while it is printed, the sentence is not printed twice.
    console = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False, markup=False)
    console.print(text)


def is_heard() -> bool:
    """Return whether this process prints messages: the first of those that torchrun started.

    Errors are printed by every process that has one.
    """
    return os.environ.get("RANK", "0") == "0"


def is_restarted() -> bool:
    """Whether torchrun has started this process anew after one was lost."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def say(text: str) -> None:
    """Print a remark to stderr."""
    if is_heard() and not _is_quiet.get():
        typer.echo(_lines(text), err=True)


def is_verbose() -> bool:
    """Whether the answer has details of how it was computed."""
    return _is_verbose.get()


def say_detail(text: str) -> None:
    """Print a remark to stderr of how something is computed, where details are wanted."""
    if is_verbose():
        say(text)


def log(text: str) -> None:
    """Print a step of a long computation to stderr where no progress line shows it."""
    if not sys.stderr.isatty():
        say(text)


def answer(text: str) -> None:
    """Print part of the answer to stdout."""
    if is_heard():
        typer.echo(_lines(text), file=_answers.get())


def answer_detail(text: str) -> None:
    """Print part of the answer to stdout where details are wanted."""
    if is_verbose():
        answer(text)


def _lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def answer_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, num_texts: int = 1
) -> None:
    """Print a table to stdout, leading text columns left-aligned and numbers right-aligned."""
    if not is_heard():
        return
    table = Table()
    for i, column in enumerate(map(printable, columns)):
        table.add_column(column, justify="left" if i < num_texts else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(printable, row))
    file = _answers.get() or sys.stdout
    # A file or a pipe has room for a line of any length.
    is_cut = file.isatty() or "COLUMNS" in os.environ
    width = None if is_cut else _UNLIMITED
    console = Console(file=file, width=width, highlight=False, emoji=False, markup=False)
    console.print(printable(title), style="bold", soft_wrap=True)
    console.print(table)


def answer_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object to stdout; numbers that are not finite become null."""
    answer(json.dumps(_finite(value), indent=2))


def number(value: float | None, digits: int = 6) -> str:
    """Format a number for a table; None and NaN are a dash."""
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}g}"


def extent(interval: Any) -> str:
    """Format the ends of an interval for a table."""
    return f"{number(interval.low)} to {number(interval.high)}"


def percent(value: float | None) -> str:
    """Format a share for a table; None and NaN are a dash."""
    return "-" if value is None or math.isnan(value) else f"{100 * value:.2f} %"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def resumable(path: Path) -> Iterator[None]:
    """On Ctrl-C or SIGTERM, report what is saved in `path`, and exit with 130 or 143.

    The message also names the command that continues the work.
    """
    with StopSignals() as signals:
        try:
            yield
        except KeyboardInterrupt as exc:
            saved = (
                f"What was computed is in {path}." if path.exists() else "Nothing was computed yet."
            )
            say(f"\nInterrupted. {saved} {to_go_on()}")
            raise typer.Exit(signals.exit_code or CTRL_C) from exc


def to_go_on() -> str:
    """Return the command line that continues this one, introduced."""
    program = ["landscape"]
    if processes := os.environ.get("LOCAL_WORLD_SIZE"):
        program = ["torchrun", "--nproc-per-node", processes, "-m", "landscape_cli"]
    return f"To go on:\n  {shlex.join([*program, *typed_words(), '--resume'])}"


def typed_words() -> list[str]:
    """Return the words of the command line, but for what becomes of earlier results."""
    return [word for word in sys.argv[1:] if word not in ("--force", "--resume")]


class StopSignals:
    """Ctrl-C and SIGTERM, of which the first lets a computation under way come to a good end.

    The first before `wait_for_step`, and every Ctrl-C after the first signal, raise
    KeyboardInterrupt. Launchers repeat SIGTERM: one that is not the first signal does nothing, so
    that what is being saved then is saved.

    Attributes:
        exit_code: 128 and the number of the first signal; 0 before.
    """

    def __init__(self) -> None:
        self.exit_code = 0
        self._is_waiting = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():  # no other can
            numbers = (signal.SIGINT, signal.SIGTERM)
            self._previous = {number: signal.signal(number, self._receive) for number in numbers}
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def wait_for_step(self) -> None:
        """From now on, only note the first signal."""
        self._is_waiting = True

    def end_undisturbed(self) -> None:
        """Ignore SIGTERM from now on.

        When one process has exited, torchrun sends SIGTERM to the others.
        """
        self._previous[signal.SIGTERM] = signal.SIG_IGN

    def is_received(self) -> bool:
        """Whether the computation should stop."""
        return self.exit_code != 0

    def _receive(self, number: int, frame: FrameType | None) -> None:
        is_first = not self.exit_code
        self.exit_code = self.exit_code or 128 + number
        if is_first and self._is_waiting:
            if is_heard() and not _is_quiet.get():  # print is not safe in a handler
                os.write(2, b"\nFinishing the step; Ctrl-C stops at once.\n")
            return
        if is_first or number == signal.SIGINT:
            interrupt(frame, 128 + number)


def _shown(name: str, value: float) -> str:
    """Format a current value for the progress line."""
    if name.endswith("_per_second"):
        return f"{value:,.3g} {name.removesuffix('_per_second')}/s"
    return f"{name} {value:.4g}"


class TerminalProgress:
    """A progress line on stderr with the rate, the time left and the current values.

    Shows nothing where stderr is no terminal, or only answers are wanted.
    """

    def __init__(self) -> None:
        console = Console(stderr=True)
        is_terminal = sys.stderr.isatty()  # console.is_terminal is true with FORCE_COLOR
        is_shown = is_terminal and is_heard() and not _is_quiet.get()
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[values]}"),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=console,
            disable=not is_shown,
            transient=True,
        )
        self._task: Any = None

    def start(self, task: str, total: int | None) -> None:
        """Begin a task."""
        self._bar.start()
        self._task = self._bar.add_task(printable(task), total=total, values="")

    def update(self, completed: int, **fields: float) -> None:
        """Show how far it is."""
        self._bar.update(
            self._task, completed=completed, values=" ".join(map(_shown, fields, fields.values()))
        )

    def stop(self) -> None:
        """Remove the line."""
        self._bar.remove_task(self._task)
        self._bar.stop()
