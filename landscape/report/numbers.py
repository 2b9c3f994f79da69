"""Numbers as tables show them: as many digits as the error leaves."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

ABSENT = "\N{EN DASH}"
_DIGITS = 5  # of a number without an error
_MOST_DIGITS = 6  # of a number whose error is smaller than that
_PLAIN = (1e-4, 1e6)  # magnitudes that are written without an exponent


@dataclass(frozen=True)
class Number:
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
    return 1 - _exponent(width)


def _exponent(value: float) -> int:
    return math.floor(math.log10(abs(value)))
