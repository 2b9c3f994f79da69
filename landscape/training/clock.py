"""The time that an epoch takes."""

from __future__ import annotations

import time

_SECONDS_BETWEEN_UPDATES = 0.1


class Clock:
    """Says when a report is due, and how long an epoch has taken.

    Args:
        seconds_before: What the epoch took before it was interrupted.
    """

    def __init__(self, seconds_before: float) -> None:
        self._last = time.perf_counter()
        self._start = self._last - seconds_before

    def is_due(self) -> bool:
        """Whether the last report is a while ago; if so, starts anew."""
        now = time.perf_counter()
        if now - self._last < _SECONDS_BETWEEN_UPDATES:
            return False
        self._last = now
        return True

    def seconds(self) -> float:
        """Since the start of the epoch, what was before an interruption included; never 0."""
        return max(time.perf_counter() - self._start, 1e-9)
