"""When a computation that goes from point to point has to stop, to end in time."""

from __future__ import annotations

import time


class Deadline:
    """Asked before each step, says when another one would end too late: a step takes as long as the longest so far.

    Args:
        seconds: From now.
    """

    def __init__(self, seconds: float) -> None:
        self._last = time.monotonic()
        self._end = self._last + seconds
        self._longest = 0.0
        self._is_first = True

    def is_reached(self) -> bool:
        """Whether to stop; counts as the end of a step, except the first time."""
        now = time.monotonic()
        if not self._is_first:
            self._longest = max(self._longest, now - self._last)
        self._is_first, self._last = False, now
        return now + self._longest > self._end
