"""How a long computation saves what it has, without knowing where it goes."""

from __future__ import annotations

from typing import Protocol, TypeVar

T = TypeVar("T")


class Sink(Protocol[T]):
    """Holds the newest state of one result while it is computed."""

    def load(self) -> T | None:
        """Return what was saved before, or None at a fresh start."""

    def save(self, result: T) -> None:
        """Take the newest state; may postpone writing it."""

    def flush(self) -> None:
        """Write the newest state now."""


class NullSink(Sink[T]):
    """A sink that keeps nothing, as the bodies of the protocol do."""
