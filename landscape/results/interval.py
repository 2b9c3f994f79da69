"""Numbers that know how far they can be off: intervals, their arithmetic, and how they are written.

Torch is not needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from landscape.results.display import Record

CONFIDENCE = 0.95
"""Confidence of every interval, unless the caller chooses another."""

ABSENT = "\N{EN DASH}"
_ALIKE = 1e-3  # relative difference of two errors that are shown as one
_DIGITS = 5  # of a number without an error
_MOST_DIGITS = 6  # of a number whose error is smaller than that
_PLAIN = (1e-4, 1e6)  # magnitudes that are written without an exponent


def half_width(
    error: float | None, *, num_values: int | None = None, confidence: float = CONFIDENCE
) -> float:
    """Return half the width of the confidence interval of a mean, from its standard error.

    Args:
        error: Standard error; None if unknown.
        num_values: Number of independent values that the error was estimated from, which then
            decide by Student's t; None for a normal distribution.
        confidence: Of the interval, in (0, 1).

    Returns:
        The half width; NaN if unknown.
    """
    from scipy.special import ndtri, stdtrit  # results of no interval do without scipy

    if error is None:
        return math.nan
    quantile = (1 + confidence) / 2
    factor = ndtri(quantile) if num_values is None else stdtrit(num_values - 1, quantile)
    return float(factor) * error


@dataclass(frozen=True)
class Interval(Record):
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
    def text(self) -> str:
        """The value with its error or its ends, as many digits as these leave."""
        below, above = self.value - self.low, self.high - self.value
        if math.isfinite(self.error) and math.isclose(below, above, rel_tol=_ALIKE):
            return Number(self.value, self.error).text
        return Number(self.value, low=self.low, high=self.high).text

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
    if any(map(math.isnan, ends)):
        return _known(value, math.nan, math.nan)
    return _known(value, min(ends), max(ends))


def _known(value: float, low: float, high: float) -> Interval:
    """Return an interval in which an end that is NaN becomes unknown.

    For example, the difference of two infinities may be anything.
    """
    return Interval(
        value, -math.inf if math.isnan(low) else low, math.inf if math.isnan(high) else high
    )


@dataclass(frozen=True)
class Number(Record):
    """A number and what is known of its error.

    Attributes:
        value: The number; None where there is none.
        error: Half the width of an interval around it; None where it has none.
        low: Lower end of an interval that is not symmetric.
        high: Upper end.
        remark: What is to be said beside the number, or in its place.
    """

    value: float | None = None
    error: float | None = None
    low: float | None = None
    high: float | None = None
    remark: str = ""

    def times(self, factor: float) -> Number:
        """Return the number in another unit; the factor is positive."""
        scaled = {
            name: None if (each := getattr(self, name)) is None else factor * each
            for name in ("value", "error", "low", "high")
        }
        return replace(self, **scaled)

    @property
    def is_known(self) -> bool:
        """Whether there is a finite number."""
        return self.value is not None and math.isfinite(self.value)

    @property
    def main(self) -> str:
        """The number, without its error."""
        if self.value is None or math.isnan(self.value):
            return ABSENT
        return _rounded(self.value, self._width)

    @property
    def spread(self) -> str:
        """Its error; empty where it has none."""
        width = self._width
        if not self.is_known or width is None:
            return ""
        if self.low is not None and self.high is not None:
            return f"[{_rounded(self.low, width)}, {_rounded(self.high, width)}]"
        assert self.value is not None
        return f"\N{PLUS-MINUS SIGN} {_rounded_error(self.value, width)}"

    @property
    def text(self) -> str:
        """Number and error; where there is no number, why."""
        return " ".join(filter(None, [self.main, self.spread]))

    @property
    def _width(self) -> float | None:
        """The error or half the interval, which decides the digits; None if unknown or 0."""
        width = self.error
        if self.low is not None and self.high is not None:  # an end near 0 is not rounded to it
            nearest = min(abs(self.low), abs(self.high)) or math.inf
            width = min((self.high - self.low) / 2, 10 * nearest)
        return width if width is not None and math.isfinite(width) and width > 0 else None


def _rounded(value: float, width: float | None) -> str:
    """Write a number to the second digit of its error, at most to its own sixth."""
    if width is None or not math.isfinite(value):
        return _with_digits(value, _DIGITS)
    rounded = round(value, _decimals(width))
    return "0" if rounded == 0 else _with_digits(rounded, _exponent(rounded) + _decimals(width) + 1)


def _rounded_error(value: float, width: float) -> str:
    """Write two digits of an error, one where it is below the last digit of the number."""
    decimals = _decimals(width)
    if value and decimals > _MOST_DIGITS - 1 - _exponent(value):
        return f"{width:.1g}"
    return f"{round(width, decimals):.{max(decimals, 0)}f}" if _is_plain(value) else f"{width:.2g}"


def _with_digits(value: float, digits: int) -> str:
    """Write that many digits, zeros at the end included, at most as many as a number has."""
    digits = min(max(digits, 1), _MOST_DIGITS)
    if not _is_plain(value):
        return f"{value:.{digits}g}"
    return f"{value:.{max(digits - 1 - (_exponent(value) if value else 0), 0)}f}"


def _is_plain(value: float) -> bool:
    return value == 0 or _PLAIN[0] <= abs(value) < _PLAIN[1]


def _decimals(width: float) -> int:
    """Return the decimal place of the second digit of an error; 0.0997 counts as 0.10."""
    return 1 - _exponent(float(f"{width:.1e}"))


def _exponent(value: float) -> int:
    return math.floor(math.log10(abs(value)))
