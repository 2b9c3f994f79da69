"""How a long computation reports where it is, saves what it has and stops in time."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from landscape.errors import InputError

T = TypeVar("T")


class Progress(Protocol):
    """A listener to one computation at a time."""

    def start(self, task: str, total: int | None) -> None:
        """Begin `task` of `total` units; None where the number is not known in advance."""

    def update(self, completed: int, **fields: float) -> None:
        """Say that `completed` units are done in all; `fields` are current values to show."""

    def stop(self) -> None:
        """End the task, finished or not."""


class NullProgress(Progress):
    """A listener that shows nothing, as the bodies of the protocol do."""

    def __repr__(self) -> str:
        return "SILENT"


SILENT = NullProgress()


@contextmanager
def reporting(progress: Progress, task: str, total: int | None) -> Iterator[None]:
    """Report a task of `total` units inside; it is ended whatever happens."""
    progress.start(task, total)
    try:
        yield
    finally:
        progress.stop()


class Sink(Protocol[T]):
    """Holds the newest state of one result while it is computed."""

    def load(self) -> T | None:
        """Return what was saved before, or None at a fresh start."""

    def save(self, result: T) -> None:
        """Take the newest state; may postpone writing it."""

    def flush(self) -> None:
        """Write the newest state now."""


class NullSink(Sink[T]):
    """A sink that keeps nothing."""


class Deadline:
    """A deadline that says, when asked before a step, whether that step would end too late.

    Each step is assumed to take as long as the longest one so far.

    Args:
        seconds: From now.

    Attributes:
        has_come: Whether it has said so.
    """

    def __init__(self, seconds: float) -> None:
        self.has_come = False
        self._end = time.monotonic() + seconds
        self._last: float | None = None
        self._longest = 0.0

    @classmethod
    def after_minutes(cls, minutes: float | None) -> Deadline:
        """Return a deadline that many minutes from now; None for one that never comes.

        Raises:
            InputError: If the number is not positive.
        """
        if minutes is not None and not minutes > 0:
            raise InputError(
                f"the minutes that a run may take must be a positive number, got {minutes:g}."
            )
        return cls(math.inf if minutes is None else 60 * minutes)

    def is_reached(self, num_steps: int = 1) -> bool:
        """Whether to stop; counts as the end of a step, except the first time.

        Args:
            num_steps: Steps that follow if it is not, before it can be asked again or the work is
                of use.
        """
        now = time.monotonic()
        if self._last is not None:
            self._longest = max(self._longest, now - self._last)
        self._last = now
        is_over = now + num_steps * self._longest > self._end
        self.has_come = self.has_come or is_over
        return is_over


def never(num_steps: int = 1) -> bool:
    """Return False: there is no deadline."""
    return False
