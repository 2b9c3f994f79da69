"""Curves with bands: means over seeds, and their standard deviation, in a panel for each group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from landscape.errors import InputError
from landscape.plot.legend import Legend
from landscape.plot.scale import choose_scale
from landscape.plot.style import (
    LINE_COLORS,
    color_of,
    draw_band,
    grid_shape,
    line_style_of,
    marker_of,
    new_figure,
    set_log_ticks,
    styled,
    width_of,
)

_FEW_POINTS = 3  # up to which each has a marker, so that a curve of one point can be seen
_OPACITY = 0.18


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

    Args:
        panels: Title -> curves.
        xlabel: Name of the horizontal axes.
        ylabel: Name of the vertical axes.
        has_whole_x: Whether ticks are at whole numbers only.

    Raises:
        InputError: If nothing finite was measured.
    """
    finite = [band.mean[np.isfinite(band.mean)] for bands in panels.values() for band in bands]
    if not sum(values.size for values in finite):
        raise InputError(
            f"curves of {ylabel} need at least one finite value to be drawn, got none."
        )
    labels = list(dict.fromkeys(band.label for bands in panels.values() for band in bands))
    rows, columns = grid_shape(len(panels), 2)
    width = width_of(columns)
    figure = new_figure(width, 2.2 * rows + 0.2)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    lines = {}
    for ax, (title, bands) in zip(grid.flat, panels.items(), strict=False):
        for band in bands:
            lines.setdefault(band.label, _draw(ax, band, labels.index(band.label)))
        ax.set(xlabel=xlabel, title=title)
        ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=has_whole_x, min_n_ticks=1))
    for ax in grid.flat[len(panels) :]:
        ax.set_axis_off()
    _scale(list(grid[:, 0]), finite, ylabel)
    if labels != [""]:
        legend = Legend(list(lines.values()), "")
        figure.set_figheight(figure.get_figheight() + legend.height(width))
        legend.add_to(figure)
    return figure


def _draw(ax: Axes, band: Band, index: int) -> Line2D:
    known = np.isfinite(band.mean)
    x, mean, deviation = band.x[known], band.mean[known], band.deviation[known]
    has_markers = x.size <= _FEW_POINTS or not known.all()
    marker = marker_of(index) if has_markers else None
    style = line_style_of(index // len(LINE_COLORS))
    (line,) = ax.plot(x, mean, color=color_of(index), linestyle=style, marker=marker)
    line.set_label(band.label)
    if np.isfinite(deviation).any():
        low, high = mean - deviation, mean + deviation
        draw_band(ax, x, low, high, color_of(index), _OPACITY, "deviation")
    return line


def _scale(left: Sequence[Axes], finite: Sequence[np.ndarray], ylabel: str) -> None:
    """Choose the vertical scale that all panels share."""
    scale = choose_scale(finite, is_share="%" in ylabel)
    for ax in left:
        if scale.kind == "log":
            set_log_ticks(ax, scale)
            ax.set_ylim(scale.low, scale.high)
        ax.set_ylabel(ylabel + (scale.note if scale.kind == "log" else ""))
