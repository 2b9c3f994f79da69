"""Means over seeds with bands of one standard deviation, as the curves of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from landscape.plot.scale import choose_scale, require_finite
from landscape.plot.style import (
    Legend,
    color_of,
    dashed,
    draw_band,
    grid_shape,
    marker_of,
    new_figure,
    set_log_ticks,
    styled,
    width_of,
)
from landscape.plot.wild_values import highest_tame, mark_beyond

_FEW_POINTS = 3  # up to which each has a marker, so that a run of one epoch can be seen


@dataclass(frozen=True)
class Band:
    """A curve with a band.

    Attributes:
        label: Name in the legend; curves of one name have one colour in all panels.
        x: Places of the means, (n,).
        mean: Means, (n,); NaN if not measured.
        deviation: Half the height of the band, (n,); NaN without a band.
    """

    label: str
    x: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray


@styled
def plot_bands(
    panels: Mapping[str, Sequence[Band]], *, xlabel: str, ylabel: str, has_whole_x: bool = False
) -> Figure:
    """Draw curves with bands of one standard deviation, all panels on one vertical scale.

    A few means that would flatten the others are arrows on the edge of the axis.

    Args:
        panels: Title -> curves.
        xlabel: Name of the horizontal axes.
        ylabel: Name of the vertical axes.
        has_whole_x: Whether ticks are at whole numbers only.

    Raises:
        InputError: If nothing finite was measured.
    """
    drawn = [band for bands in panels.values() for band in bands]
    rule = f"curves of {ylabel} need at least one finite value to be drawn"
    means = require_finite([np.empty(0), *(band.mean for band in drawn)], rule, "")
    is_share = "%" in ylabel
    top = means.max() if is_share else highest_tame([band.mean for band in drawn])
    scale = choose_scale([means[means <= top]], is_share=is_share)
    labels = list(dict.fromkeys(band.label for band in drawn))
    rows, columns = grid_shape(len(panels), 2)
    figure = new_figure(columns, 2.2 * rows + 0.2)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    lines = {}
    for ax, (title, bands) in zip(grid.flat, panels.items(), strict=False):
        for band in bands:
            lines.setdefault(band.label, _draw_mean(ax, band, labels.index(band.label)))
        ax.set(xlabel=xlabel, title=title)
        ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=has_whole_x, min_n_ticks=1))
    for ax in grid.flat[len(panels) :]:
        ax.set_axis_off()
    for ax in grid[:, 0]:
        ax.set_ylabel(ylabel + scale.note * (scale.kind == "log"))
        if scale.kind == "log":
            set_log_ticks(ax, scale)
            ax.set_ylim(scale.low, scale.high)
        elif top < means.max():
            ax.set_ylim(min(0.0, means.min()), 1.06 * top)
    for ax in grid.flat[: len(panels)]:
        mark_beyond(ax, ax.get_lines())
    if labels != [""]:
        legend = Legend(list(lines.values()))
        figure.set_figheight(figure.get_figheight() + legend.height(width_of(columns)))
        legend.add_to(figure)
    return figure


def _draw_mean(ax: Axes, band: Band, index: int) -> Line2D:
    known = np.isfinite(band.mean)
    x, mean, deviation = band.x[known], band.mean[known], band.deviation[known]
    has_markers = x.size <= _FEW_POINTS or not known.all()
    color = color_of(index)
    (line,) = ax.plot(
        x,
        mean,
        **dashed(index),
        marker=marker_of(index) if has_markers else None,
        label=band.label,
    )
    if np.isfinite(deviation).any():
        draw_band(ax, x, mean - deviation, mean + deviation, color, 0.18, "deviation")
    return line
