"""Numbers that know how far they can be off, and arithmetic with them."""

from __future__ import annotations

import math
from dataclasses import dataclass

_ALIKE = 1e-3  # relative difference of two errors that are shown as one


@dataclass(frozen=True)
class Interval:
    """A value, and the ends between which it lies.

    An end that is not known is infinite. Quantities count as independent of each other, and of
    themselves: x - x is not 0 but as wide as twice x. The rounding of float64 is not counted.

    Attributes:
        value: The estimate.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    @classmethod
    def exact(cls, value: float) -> Interval:
        """Return a value without an error; of NaN nothing is known."""
        return cls.around(value, 0.0)

    @classmethod
    def around(cls, value: float, error: float) -> Interval:
        """Return value - error to value + error; an error of NaN is unknown."""
        return _known(value, value - error, value + error)

    @property
    def error(self) -> float:
        """Distance from the value to the farther end."""
        return max(self.value - self.low, self.high - self.value)

    @property
    def is_exact(self) -> bool:
        """Whether there is no error."""
        return self.low == self.high

    @property
    def is_symmetric(self) -> bool:
        """Whether both ends are about as far away, and known."""
        below, above = self.value - self.low, self.high - self.value
        return math.isfinite(self.error) and math.isclose(below, above, rel_tol=_ALIKE)

    def __neg__(self) -> Interval:
        return Interval(-self.value, -self.high, -self.low)

    def __abs__(self) -> Interval:
        low, high = sorted((abs(self.low), abs(self.high)))
        return Interval(abs(self.value), 0.0 if self.low <= 0 <= self.high else low, high)

    def __add__(self, other: Interval) -> Interval:
        return _known(self.value + other.value, self.low + other.low, self.high + other.high)

    def __sub__(self, other: Interval) -> Interval:
        return self + -other

    def __mul__(self, other: Interval) -> Interval:
        ends = [a * b for a in (self.low, self.high) for b in (other.low, other.high)]
        return _between(self.value * other.value, ends)

    def __truediv__(self, other: Interval) -> Interval:
        value = self.value / other.value if other.value else math.nan
        if other.low <= 0 <= other.high:
            return Interval(value, -math.inf, math.inf)
        return _between(
            value, [a / b for a in (self.low, self.high) for b in (other.low, other.high)]
        )


def _between(value: float, ends: list[float]) -> Interval:
    is_known = not any(map(math.isnan, ends))
    return _known(value, min(ends), max(ends)) if is_known else _known(value, math.nan, math.nan)


def _known(value: float, low: float, high: float) -> Interval:
    """Return an interval in which an end that is NaN becomes unknown.

    For example, the difference of two infinities may be anything.
    """
    return Interval(
        value, -math.inf if math.isnan(low) else low, math.inf if math.isnan(high) else high
    )
