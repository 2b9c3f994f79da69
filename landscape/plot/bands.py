"""Curves with bands: means over seeds, and their standard deviation, in a panel for each group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from landscape.errors import InputError
from landscape.plot.scale import choose_scale
from landscape.plot.style import (
    LINE_COLORS,
    LINE_MARKERS,
    LINE_STYLES,
    ONE_COLUMN,
    TWO_COLUMNS,
    new_figure,
    set_log_ticks,
    styled,
)

_FEW_POINTS = 3  # up to which each has a marker, so that a curve of one point can be seen
_BAND = 0.18  # opacity
_CHARACTER, _HANDLE = 0.07, 0.55  # inches, of an entry of the legend


@dataclass(frozen=True)
class Band:
    """A curve with a band.

    Attributes:
        label: As the legend names it; curves of one name have one colour in all panels.
        x: Where, (n,).
        mean: (n,); NaN where it was not measured.
        deviation: Half the height of the band, (n,); NaN where there is none.
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
        ylabel: Of the vertical ones.
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
    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    width = ONE_COLUMN if columns == 1 else TWO_COLUMNS
    legend_columns = max(
        1, min(len(labels), int(width / (_CHARACTER * max(map(len, labels)) + _HANDLE)))
    )
    legend_height = 0.2 * -(-len(labels) // legend_columns) if labels != [""] else 0.0
    figure = new_figure(width, 2.2 * rows + 0.2 + legend_height)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for ax, (title, bands) in zip(grid.flat, panels.items(), strict=False):
        for band in bands:
            _draw(ax, band, labels.index(band.label))
        ax.set(xlabel=xlabel, title=title)
        ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=has_whole_x, min_n_ticks=1))
    for ax in list(grid.flat)[len(panels) :]:
        ax.set_axis_off()
    _scale(list(grid[:, 0]), finite, ylabel)
    if labels != [""]:
        handles = {}
        for ax in grid.flat:
            handles |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
        figure.legend(
            handles.values(), handles.keys(), loc="outside lower center", ncols=legend_columns
        )
    return figure


def _draw(ax: Axes, band: Band, index: int) -> None:
    known = np.isfinite(band.mean)
    color = LINE_COLORS[index % len(LINE_COLORS)]
    x, mean = band.x[known], band.mean[known]
    has_markers = x.size <= _FEW_POINTS or not known.all()
    marker = LINE_MARKERS[index % len(LINE_MARKERS)] if has_markers else None
    style = LINE_STYLES[index // len(LINE_COLORS) % len(LINE_STYLES)]
    ax.plot(x, mean, color=color, linestyle=style, marker=marker, label=band.label)
    deviation = band.deviation[known]
    if np.isfinite(deviation).any():
        ax.fill_between(
            x,
            mean - deviation,
            mean + deviation,
            color=color,
            alpha=_BAND,
            linewidth=0,
            gid="deviation",
        )


def _scale(left: Sequence[Axes], finite: Sequence[np.ndarray], ylabel: str) -> None:
    """Choose the vertical scale that all panels share."""
    scale = choose_scale(finite, is_share="%" in ylabel)
    for ax in left:
        if scale.kind == "log":
            set_log_ticks(ax, scale)
            ax.set_ylim(scale.low, scale.high)
        ax.set_ylabel(ylabel + (scale.note if scale.kind == "log" else ""))
