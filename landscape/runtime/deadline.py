"""When a computation that goes from point to point has to stop, to end in time."""

from __future__ import annotations

import math
import time

from landscape.errors import InputError


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
