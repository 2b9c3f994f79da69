"""The scale of a field on a plane: which transform spreads its values, and the lines even in it.

The finite values of everything that is shown together decide it; nothing here draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from landscape.errors import require
from landscape.plot.look import DEFAULT_LOOK, Look
from landscape.plot.scale import (
    LOG_RATIO,
    Scale,
    choose_diverging_scale,
    choose_scale,
    is_constant,
    linear_levels,
    require_finite,
)

_LEAST_MEDIAN = 1 / 6  # of the height, where half of the plane has two of twelve lines or more
_LOWEST_SHARE = 0.1  # quantile of the excess that the first lines still tell apart
_FIRST_LINES = 3.0  # offsets that this quantile is, at most
_ROUNDING = 0.2  # of the distance between lines, by which one is moved to a short number
_TOO_FAR = 2.0  # largest excess over that on the border, above which corners rule a scale
_MOST_DIGITS = 17
_STEPS = (1.0, 2.0, 2.5, 5.0)


def choose_plane_scale(
    arrays: Sequence[np.ndarray],
    look: Look = DEFAULT_LOOK,
    *,
    is_share: bool = False,
    is_diverging: bool = False,
) -> Scale:
    """Choose the scale of all planes that are shown together, with lines that are even in it.

    Linear where the median is a sixth of the way from the lowest to the highest value or more;
    else logarithmic where the values are positive, cover a factor of more than `LOG_RATIO`, and the
    median is as high there; else logarithmic in the excess over the lowest value, with an offset
    that puts the median in the middle.

    Args:
        arrays: (ny, nx) each; what is masked or not finite does not count.
        look: What was asked for.
        is_share: Whether the values are percentages, which are on a linear scale.
        is_diverging: Whether the scale is symmetric about 0.

    Raises:
        InputError: If no value is finite, or what was asked for does not fit the values.
    """
    values = require_finite([np.ma.masked_invalid(each).compressed() for each in arrays])
    if is_diverging:
        scale = _diverging(values, look)
    else:
        scale = _one_sided(values, arrays, look, is_share=is_share)
    if isinstance(look.levels, int):
        return scale
    levels = np.array(look.levels, dtype=float)
    require(
        ((levels > values.min()) & (levels < values.max())).any(),
        f"`levels` must have one between the lowest and the highest value, {values.min():.4g} and "
        f"{values.max():.4g}, got {', '.join(f'{level:g}' for level in levels)}.",
        hint="Pass `levels=12`.",
    )
    return replace(scale, levels=levels)


def _one_sided(
    values: np.ndarray, arrays: Sequence[np.ndarray], look: Look, *, is_share: bool
) -> Scale:
    """Choose the scale of values whose sign does not matter."""
    low, high = float(values.min()), float(values.max())
    highest = _clip(arrays, low, high, look.clip)
    is_clipped = highest < high
    require(
        highest > low or is_constant(low, high),
        f"`clip` must be above the lowest value, {low:.4g}, got {highest:g}.",
        hint="Pass `clip='auto'`.",
    )
    high = highest
    require(
        look.scale != "log" or low > 0,
        f"a log scale needs values above 0, got {low:.4g} as the lowest.",
        hint="Pass `scale='excess'`.",
    )
    if is_constant(low, high):
        return replace(Scale("linear", linear_levels(low, high)), is_clipped=is_clipped)
    values = np.minimum(values, high)
    kind = look.scale or ("linear" if is_share else _kind(values))
    offset = _offset(values - low) if kind == "excess" else 0.0
    if is_share:
        shares = choose_scale([values], is_share=True)
        low, high = shares.low, shares.high
    scale = Scale(kind, values[:0], offset, ends=(low, high), is_clipped=is_clipped)  # pyright: ignore[reportArgumentType]
    return replace(scale, levels=even_levels(scale, _num_lines(look)))


def _diverging(values: np.ndarray, look: Look) -> Scale:
    """Choose the scale of values of both signs, symmetric about 0."""
    require(
        look.scale != "excess",
        "values of both signs are on a linear or a log scale about 0, got 'excess'.",
        hint="Pass `scale='log'`.",
    )
    largest = float(np.abs(values).max())
    if is_constant(0.0, largest):
        return choose_diverging_scale([values])
    highest = _clip([values], 0.0, largest, None if look.clip == "auto" else look.clip)
    require(
        highest > 0,
        f"`clip` must be above 0 where both signs occur, got {highest:g}.",
        hint=f"Pass `clip={largest:.3g}`.",
    )
    if highest < largest:
        values = np.clip(values, -highest, highest)
    scale = choose_diverging_scale([values], look.scale)
    scale = replace(scale, ends=(-highest, highest), is_clipped=highest < largest)
    above = even_levels(replace(scale, ends=(0.0, highest)), max(_num_lines(look) // 2, 1))
    return replace(scale, levels=np.array([*-above[::-1], 0.0, *above]))


def _num_lines(look: Look) -> int:
    return look.levels if isinstance(look.levels, int) else len(look.levels)


def even_levels(scale: Scale, num_lines: int) -> np.ndarray:
    """Return about so many values between the ends of a scale, rounded and nearly even on it.

    On a linear scale they are multiples of 1, 2, 2.5 or 5 times a power of ten; on others each is
    rounded to as few digits as leave it near its place.

    Args:
        scale: Its ends are not the same.
        num_lines: At least 1.
    """
    low, high = scale.low, scale.high
    if scale.kind == "linear":
        return _multiples(low, high, num_lines)
    heights = np.linspace(scale.limits[0], scale.limits[1], num_lines + 2)
    spacing = heights[1] - heights[0]
    levels: list[float] = []
    for raw, height in zip(scale.inverse(heights[1:-1]), heights[1:-1], strict=True):
        for digits in range(_MOST_DIGITS):
            level = float(f"{raw:.{digits}e}")
            is_near = abs(float(scale.transform(np.array(level))) - height) <= _ROUNDING * spacing
            if is_near and low < level < high and level > max(levels, default=low):
                levels.append(level)
                break
    return np.array(levels) if levels else np.array([(low + high) / 2])


def _multiples(low: float, high: float, num_lines: int) -> np.ndarray:
    """Return the multiples of a short step that are inside, nearest in number to what is wanted."""
    raw = (high - low) / num_lines
    power = int(np.floor(np.log10(raw)))
    found = []
    for exponent in (power - 1, power, power + 1):
        for digits in _STEPS:
            step = digits * 10.0**exponent
            first, last = np.floor(low / step) + 1, np.ceil(high / step) - 1
            if 1 <= last - first + 1 <= 4 * num_lines + 4:
                levels = np.round(step * np.arange(first, last + 1), max(0, 2 - exponent))
                found.append(levels[(levels > low) & (levels < high)])
    found = [levels for levels in found if levels.size]
    middle = np.array([(low + high) / 2])
    return min(found, key=lambda levels: abs(len(levels) - num_lines), default=middle)


def _kind(values: np.ndarray) -> str:
    """Return the first scale on which the median is not among the lowest lines."""
    low, middle, high = float(values.min()), float(np.median(values)), float(values.max())
    if middle - low >= _LEAST_MEDIAN * (high - low):
        return "linear"
    if low > 0 and high > LOG_RATIO * low:
        low, middle, high = np.log([low, middle, high])
        if middle - low >= _LEAST_MEDIAN * (high - low):
            return "log"
    return "excess"


def _offset(excess: np.ndarray) -> float:
    """Return the offset that puts the median excess in the middle of a log scale, to one digit.

    It is no smaller than a third of the lowest tenth: lines between fewer points mean nothing.

    Args:
        excess: Over the lowest value, (n,), not all 0.
    """
    above = excess[excess > 0]
    middle, largest = float(np.median(above)), float(above.max())
    offset = middle * (middle / (largest - 2 * middle)) if largest > 3 * middle else largest
    least = float(np.quantile(above, _LOWEST_SHARE)) / _FIRST_LINES
    return float(f"{max(offset, least, largest * 1e-12):.0e}")


def _clip(
    arrays: Sequence[np.ndarray], low: float, high: float, asked: float | str | None
) -> float:
    """Return the largest value that is told apart."""
    if asked is None:
        return high
    if not isinstance(asked, str):
        return min(float(asked), high)
    borders = [
        np.ma.masked_invalid(edge).compressed()
        for array in arrays
        if array.ndim == 2
        for edge in (array[0], array[-1], array[1:-1, 0], array[1:-1, -1])
    ]
    border = np.concatenate([*borders, np.empty(0)])
    middle = float(np.median(border)) if border.size else high
    rounded = float(f"{middle:.1e}")
    return rounded if low < rounded and high - low > _TOO_FAR * (rounded - low) else high
