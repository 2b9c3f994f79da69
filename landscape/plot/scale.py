"""Which scale a figure is drawn on, and the rounded levels of its contours and colour bar.

The finite values of everything that is shown together decide it; nothing here draws.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from landscape.errors import require

LOG_RATIO = 50.0  # largest over smallest value above which a linear scale hides the basin
MAX_LINEAR_LEVELS = 10
MAX_LOG_LEVELS = 16  # 1-2-5 levels over five decades
_TINY = np.finfo(float).tiny
_CONSTANT = 1e-12  # relative range at which float64 values are the same but for rounding
_SMALLEST = 1e-300  # range below which float64 has no levels
_MEDIAN_RATIO = 10.0  # likewise of the largest over the median, where the smallest is no measure
_SMALLEST_SHARE = 1e-4  # of the largest magnitude, below which the sign of a value is no finding
_LOWEST_SHARE = 0.1  # quantile of the magnitudes that a symmetric log scale shows linearly


@dataclass(frozen=True)
class Scale:
    """A scale shared by everything that is compared.

    Attributes:
        kind: `linear`, `log`, `symlog` (logarithmic in magnitude, linear around 0) or `excess`
            (logarithmic in the excess over the lowest value and an offset).
        levels: Rounded and increasing: ticks, and the values of contour lines.
        threshold: Magnitude below which `symlog` is linear, offset of `excess`; 0 for the others.
        is_diverging: Whether it is symmetric about 0, so that colours tell the sign.
        ends: Lowest and highest value that is told apart; None for the first and last level.
        is_clipped: Whether there are values above the highest.
    """

    kind: Literal["linear", "log", "symlog", "excess"]
    levels: np.ndarray
    threshold: float = 0.0
    is_diverging: bool = False
    ends: tuple[float, float] | None = None
    is_clipped: bool = False

    @property
    def low(self) -> float:
        """Lowest value that is told apart."""
        return float(self.levels[0] if self.ends is None else self.ends[0])

    @property
    def high(self) -> float:
        """Highest value that is told apart."""
        return float(self.levels[-1] if self.ends is None else self.ends[1])

    @property
    def bands(self) -> np.ndarray:
        """The levels with both ends, between which there are bands of colour."""
        inside = self.levels[(self.levels > self.low) & (self.levels < self.high)]
        return np.array([self.low, *inside, self.high])

    @property
    def limits(self) -> np.ndarray:
        """The heights of the lowest and the highest value that is told apart, (2,)."""
        return self.transform(np.array([self.low, self.high]))

    @property
    def note(self) -> str:
        """What an axis or a colour bar says about the scale; nothing where it is linear."""
        note = ", ".join(filter(None, [self.name * (self.kind != "linear"), self._clipped]))
        return f" ({note})" if note else ""

    @property
    def name(self) -> str:
        """What lines and colours are even in."""
        lowest = f" {'-' if self.low > 0 else '+'} {abs(self.low):.3g}" if self.low else ""
        names = {
            "linear": "linear scale",
            "log": "log scale",
            "symlog": "symmetric log scale",
            "excess": f"log of value{lowest} + {self.threshold:g}",
        }
        return names[self.kind].replace("-", "\N{MINUS SIGN}")

    @property
    def summary(self) -> str:
        """A sentence that says what the scale is and where contour lines are."""
        levels = ", ".join(f"{level:g}" for level in self.levels)
        return ", ".join(
            filter(None, [self.name.capitalize(), self._clipped, f"lines at {levels}"])
        )

    @property
    def _clipped(self) -> str:
        return f"clipped at {self.high:.3g}" * self.is_clipped

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Map values to heights at which the scale is linear; keeps a mask."""
        if self.kind == "linear":
            return values
        if self.kind == "log":
            log10 = np.ma.log10 if isinstance(values, np.ma.MaskedArray) else np.log10
            return log10(values)
        if self.kind == "excess":
            return np.log10(np.maximum(values - self.low + self.threshold, _TINY))
        share = np.abs(values) / self.threshold
        return np.sign(values) * np.where(share <= 1, share, 1 + np.log10(np.maximum(share, 1)))

    def inverse(self, heights: np.ndarray) -> np.ndarray:
        """Map heights to the values that are there, the inverse of `transform`; keeps a mask."""
        if self.kind == "linear":
            return heights
        if self.kind == "log":
            return 10.0**heights
        if self.kind == "excess":
            return 10.0**heights - self.threshold + self.low
        share = np.abs(heights)
        return np.sign(heights) * self.threshold * np.where(share <= 1, share, 10.0 ** (share - 1))

    def thinned(self, most: int) -> np.ndarray:
        """Return evenly spaced levels from the first, so many at most, for ticks."""
        return self.levels[:: -(-len(self.levels) // most)]

    def levels_within(self, values: np.ndarray) -> np.ndarray:
        """Return the levels that contour lines can have, strictly inside the values' range."""
        if not values.size:
            return self.levels[:0]
        return self.levels[(self.levels > values.min()) & (self.levels < values.max())]


def extent(arrays: Sequence[np.ndarray]) -> tuple[float, float]:
    """Return the lowest and the highest of the values of several arrays."""
    together = np.concatenate(arrays)
    return float(together.min()), float(together.max())


def require_finite(
    arrays: Iterable[np.ndarray],
    rule: str = "a figure needs at least one finite value",
    hint: str = "Finish the computation, or look at its file for NaN and inf.",
) -> np.ndarray:
    """Join all finite values of arrays of any shape, (n,).

    Raises:
        InputError: If there are none, with the rule that was broken and the hint.
    """
    values = np.concatenate([np.ravel(array) for array in arrays]).astype(np.float64)
    values = values[np.isfinite(values)]
    require(values.size, f"{rule}, got none.", hint=hint)
    return values


def choose_scale(arrays: Iterable[np.ndarray], *, is_share: bool = False) -> Scale:
    """Choose one scale for all that is shown together.

    Logarithmic where the values are positive and the largest is more than `LOG_RATIO` times the
    smallest; where they come down to 0 or below, logarithmic in magnitude if more than half of them
    are `_MEDIAN_RATIO` times smaller than the largest; linear otherwise.

    Args:
        arrays: Of any shape; what is not finite does not count.
        is_share: Whether the values are percentages, which are always on a linear scale.

    Raises:
        InputError: If no value is finite.
    """
    values = require_finite(arrays)
    low, high = float(values.min()), float(values.max())
    if is_share:
        return Scale(
            "linear",
            np.unique(np.clip(linear_levels(low, high), min(low, 0.0), max(high, 100.0))),
        )
    if low > 0:
        return Scale("log", log_levels(low, high)) if high > LOG_RATIO * low else _linear(low, high)
    magnitudes = np.abs(values[values != 0])
    if not magnitudes.size or magnitudes.max() <= _MEDIAN_RATIO * np.median(np.abs(values)):
        return _linear(low, high)
    threshold = float(log_levels(np.quantile(magnitudes, _LOWEST_SHARE), magnitudes.max())[0])
    return Scale("symlog", _symlog_levels(low, high, threshold), threshold)


def choose_diverging_scale(arrays: Iterable[np.ndarray], kind: str | None = None) -> Scale:
    """Choose one scale, symmetric about 0, for all that is shown together.

    Logarithmic in magnitude if more than half of the values are `_MEDIAN_RATIO` times smaller in
    magnitude than the largest; linear otherwise.

    Args:
        arrays: Of any shape; what is not finite does not count.
        kind: `linear` or `log`, instead of that choice.

    Raises:
        InputError: If no value is finite.
    """
    magnitudes = np.abs(require_finite(arrays))
    largest = float(magnitudes.max())
    is_linear = largest <= _MEDIAN_RATIO * np.median(magnitudes)
    if not largest or kind == "linear" or (kind is None and is_linear):
        return Scale("linear", linear_levels(-largest, largest), is_diverging=True)
    lowest = max(np.quantile(magnitudes[magnitudes > 0], _LOWEST_SHARE), largest * _SMALLEST_SHARE)
    threshold = float(log_levels(lowest, largest)[0])
    return Scale(
        "symlog", _symlog_levels(-largest, largest, threshold), threshold, is_diverging=True
    )


def choose_share_scale(arrays: Iterable[np.ndarray]) -> Scale:
    """Choose one scale for magnitudes, 1 being large: linear from 0 to 1, else by `choose_scale`.

    Args:
        arrays: Of any shape, not negative; what is not finite does not count.

    Raises:
        InputError: If no value is finite.
    """
    values = require_finite(arrays)
    return _linear(0.0, float(values.max())) if 0 < values.max() <= 1 else choose_scale([values])


def linear_levels(low: float, high: float, max_levels: int = MAX_LINEAR_LEVELS) -> np.ndarray:
    """Return multiples of a step that enclose [low, high].

    The step is 1, 2, 2.5 or 5 times a power of ten.
    """
    if is_constant(low, high):
        margin = 0.1 * max(abs(low), abs(high))
        margin = margin if margin > _SMALLEST else 1.0
        low, high = low - margin, high + margin
    raw_step = (high - low) / max_levels
    magnitude = 10.0 ** np.floor(np.log10(raw_step))
    step = magnitude * next(m for m in (1, 2, 2.5, 5, 10) if m * magnitude >= raw_step * (1 - 1e-9))
    first, last = np.floor(low / step + 1e-9), np.ceil(high / step - 1e-9)
    decimals = max(0, 2 - int(np.floor(np.log10(step))))
    levels = np.round(step * np.arange(first, last + 1), decimals)
    levels[0], levels[-1] = min(levels[0], low), max(levels[-1], high)
    return levels


def is_constant(low: float, high: float) -> bool:
    """Return whether values between two are the same but for rounding."""
    return high - low <= max(_CONSTANT * max(abs(low), abs(high)), _SMALLEST)


def log_levels(low: float, high: float, max_levels: int = MAX_LOG_LEVELS) -> np.ndarray:
    """Return levels 1, 2, 5 times powers of ten that enclose [low, high].

    If these are too many, the levels are 1, 3 times powers of ten, or whole powers.
    """
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    for digits in ((1, 2, 5), (1, 3), (1,)):
        levels = [float(f"{digit}e{power}") for power in range(first, last + 1) for digit in digits]
        start = max((i for i, level in enumerate(levels) if level <= low), default=0)
        stop = min((i for i, level in enumerate(levels) if level >= high), default=len(levels) - 1)
        if stop - start < max_levels:
            return np.array(levels[start : max(stop, start + 1) + 1])
    stride = -(-(last - first) // (max_levels - 1))
    last = first + stride * -(-(last - first) // stride)
    return np.array([float(f"1e{power}") for power in range(first, last + 1, stride)])


def _linear(low: float, high: float) -> Scale:
    return Scale("linear", linear_levels(low, high))


def _symlog_levels(low: float, high: float, threshold: float) -> np.ndarray:
    """Return 0 and the log levels of each sign that the values reach."""
    max_levels = MAX_LOG_LEVELS - 1 if low == 0 or high == 0 else MAX_LOG_LEVELS // 2
    above, below = (_magnitudes(threshold, end, max_levels) for end in (high, -low))
    return np.concatenate([-below[::-1], [0.0], above])


def _magnitudes(threshold: float, end: float, max_levels: int) -> np.ndarray:
    """Return the levels from the threshold to the end of one sign; empty if no value has it."""
    if end <= 0:
        return np.empty(0)
    return log_levels(threshold, end, max_levels) if end > threshold else np.array([threshold])
