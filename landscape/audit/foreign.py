"""Calls of code that others wrote, which may raise anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from landscape.errors import first_line

T = TypeVar("T")


@dataclass(frozen=True)
class Raised:
    """That a call ended in an exception.

    Attributes:
        summary: Its type and the first line of what it says.
    """

    summary: str


def attempt(call: Callable[[], T]) -> T | Raised:
    """Return what a call returns, or what it raised."""
    try:
        return call()
    except Exception as exc:  # foreign code: whatever it raises is a finding
        return Raised(f"{type(exc).__name__}: {first_line(exc)}")
