"""Values so far above all others that an axis which held them would flatten the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from landscape.plot.presets import current_style, sized
from landscape.plot.scale import LOG_RATIO, require_finite
from landscape.plot.style import format_level

_GAP = 10.0  # factor over the next lower value of the curve, from which a value is wild
_MOST = 10  # one value of a curve in so many may be wild, and at least one
_FEWEST = 3  # values that a curve must have next to these
_ARROW = {"markersize": 5.0, "clip_on": False}
_LEAST_SHARE = 0.5  # of the height, which the others have anyway on a logarithmic axis


def highest_tame(curves: Sequence[np.ndarray]) -> float:
    """Return the largest value that an axis must hold for most values to fill half of it.

    Wild are the few values of a curve, one in ten, that are more than ten times the next lower.

    Args:
        curves: Values that share the axis; what is not finite does not count.

    Returns:
        The largest value, if none has to be left out.

    Raises:
        InputError: If no value is finite.
    """
    values, tame = require_finite(curves), np.concatenate([_tame(each) for each in curves])
    low, high = tame.min(), values.max()
    if low > 0 and high > LOG_RATIO * low:
        is_flat = np.log(tame.max() / low) < _LEAST_SHARE * np.log(high / low)
        return float(tame.max() if is_flat else high)
    return float(tame.max())


def _tame(curve: np.ndarray) -> np.ndarray:
    """Return the values of a curve that are not wild, ascending."""
    values = np.sort(curve[np.isfinite(curve)])
    first = max(values.size + -values.size // _MOST, _FEWEST)
    steps = zip(values[first - 1 :], values[first:], strict=False)
    jumps = [index for index, (low, high) in enumerate(steps) if 0 < _GAP * low < high]
    return values[: first + jumps[0]] if jumps else values


def mark_beyond(ax: Axes, lines: Iterable[Line2D]) -> None:
    """Mark points above the axis by arrows on its edge, the highest by its value.

    The limits of the axis must be set.
    """
    top = ax.get_ylim()[1]
    beyond = [
        (y, x, line.get_color())
        for line in lines
        for x, y in np.asarray(line.get_xydata())
        if y > top
    ]
    edge = ax.get_xaxis_transform()
    for _, x, color in beyond:
        ax.plot([x], [1.0], "^", color=color, **sized(_ARROW), transform=edge, gid="beyond")
    if beyond:
        high, x, _ = max(beyond, key=lambda point: point[0])
        ax.annotate(
            format_level(float(f"{high:.3g}")),
            (x, 1.0),
            (5, 1),
            xycoords=edge,
            textcoords="offset points",
            fontsize=current_style().label_size,
            annotation_clip=False,
        )
