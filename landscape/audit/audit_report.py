"""What an audit found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

PASSED, FAILED, NOT_APPLICABLE = "passed", "failed", "not applicable"
"""What a trap may come to."""


@dataclass(frozen=True)
class TrapResult:
    """What one trap came to.

    Attributes:
        result: `passed`, `failed` or `not applicable`.
        measured: What was measured, or why nothing was.
    """

    result: str
    measured: str


@dataclass(frozen=True)
class Row:
    """One line of a report.

    Attributes:
        trap: Name.
        claim: What should hold.
        result: As in `TrapResult`.
        measured: As in `TrapResult`.
    """

    trap: str
    claim: str
    result: str
    measured: str


@dataclass(frozen=True)
class AuditReport:
    """All traps, for one optimizer.

    Attributes:
        built: How it was built.
        called: How it was made to do a step.
        rows: One a trap.
    """

    built: str
    called: str
    rows: tuple[Row, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many traps came to each result."""
        return {
            result: sum(row.result == result for row in self.rows)
            for result in (PASSED, FAILED, NOT_APPLICABLE)
        }

    @property
    def failed(self) -> list[Row]:
        """The rows of the traps that failed."""
        return [row for row in self.rows if row.result == FAILED]

    def as_dict(self) -> dict[str, Any]:
        """Return the report as what JSON knows."""
        return {
            "built": self.built,
            "called": self.called,
            **{result.replace(" ", "_"): number for result, number in self.counts.items()},
            "traps": [asdict(row) for row in self.rows],
        }


def passed_if(holds: bool, measured: str) -> TrapResult:
    """Return `passed` or `failed`."""
    return TrapResult(PASSED if holds else FAILED, measured)


def not_applicable(reason: str) -> TrapResult:
    """Return `not applicable`."""
    return TrapResult(NOT_APPLICABLE, reason)
