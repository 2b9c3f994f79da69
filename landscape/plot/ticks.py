"""Ticks with room for their labels, whatever the size of type, whenever a figure is drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axis import XAxis, YAxis
from matplotlib.figure import Figure
from matplotlib.ticker import AutoLocator, MaxNLocator

from landscape.plot.presets import current_style

_MAX_TICKS = 9
_WIDTH = 4.6  # points, of a character in a label of 8 point type
_STEP = 24.0  # points between ticks of a vertical axis, with type of 8 points


def space_ticks(figure: Figure) -> None:
    """Let axes choose ticks by the type of the current style, whenever they are drawn."""
    size = current_style().small_size
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            if "labelsize" not in axis.get_tick_params():
                axis.set_tick_params(labelsize=size)
            if type(axis.get_major_locator()) is AutoLocator:
                axis.set_major_locator(RoomyLocator())


class RoomyLocator(MaxNLocator):
    """Ticks of a linear axis at rounded numbers, as many as leave room between their labels."""

    def __init__(self) -> None:
        super().__init__(steps=[1, 2, 2.5, 5, 10])

    def __call__(self) -> Any:
        """Return the ticks of the axis as long as it is by now."""
        assert isinstance(self.axis, XAxis | YAxis)
        (low, high), box = self.axis.get_view_interval(), self.axis.axes.bbox
        scale = (box.height if isinstance(self.axis, YAxis) else box.width) / abs(high - low)
        ticks = np.empty(0)
        for most in range(_MAX_TICKS, 0, -1):
            self.set_params(nbins=most)
            ticks = np.asarray(self.tick_values(low, high))
            if scale * np.ptp(ticks[:2]) >= room_between(self.axis, ticks, _STEP):
                break
        return ticks


def room_between(axis: XAxis | YAxis, levels: np.ndarray, height: float) -> float:
    """Return how far apart ticks at some levels must be, in pixels.

    Args:
        axis: Horizontal, where labels need room by their length, or vertical.
        levels: What the labels say, (n,).
        height: Points between ticks of a vertical axis, with type of 8 points.
    """
    size = axis.get_tick_params().get("labelsize", current_style().small_size)
    unit = float(size) / 8 * axis.axes.figure.dpi / 72
    longest = max(len(f"{level:g}") for level in levels)
    return unit * (height if isinstance(axis, YAxis) else _WIDTH * (longest + 1))
