"""What an examination finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: Name of the check.
        severity: `problem` where a landscape would be of something else than was meant.
        message: One sentence, with the numbers.
        remedy: What to do about it, a command or an option; empty where there is nothing to do.
        values: The numbers, by name.
    """

    check: str
    severity: Severity
    message: str
    remedy: str = ""
    values: Mapping[str, float] = field(default_factory=dict)


def in_percent(share: float) -> str:
    """Return a share in per cent."""
    return f"{100 * share:.3g} %"
