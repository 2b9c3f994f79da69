"""How a long computation reports where it is and saves what it has, whoever listens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

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
