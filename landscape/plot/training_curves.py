"""Training curves: those of runs against the epoch, and means over seeds with bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from landscape.errors import require
from landscape.plot.kinds import list_results
from landscape.plot.scale import choose_scale, extent, require_finite
from landscape.plot.style import (
    LINE_COLORS,
    LINE_STYLES,
    Legend,
    color_of,
    draw_band,
    grid_shape,
    key,
    line_style_of,
    marker_of,
    name_keys,
    new_figure,
    set_log_ticks,
    styled,
    width_of,
)
from landscape.results.history import History

_SPLITS = ("train", "test")
_AVERAGED = "test, averaged weights"
_CURVES = (*_SPLITS, _AVERAGED)
_WIDTH = 1.4  # points
_FEW_POINTS = 3  # up to which each has a marker, so that a run of one epoch can be seen

_Curves: TypeAlias = dict[str, list[np.ndarray]]
"""Split -> values of each run, (num_epochs,), NaN if not measured."""


@styled
def plot_history(
    histories: History | Sequence[History],
    *,
    labels: Sequence[str] | None = None,
    split: str | None = None,
) -> Figure:
    """Draw training runs, each with its own colour and marker.

    Lines are solid for train, dashed for test and dash-dotted for averaged weights.

    A panel that no run has measured is left out. What was measured in some epochs only is joined
    across the others, with a marker at each measurement.

    Args:
        histories: One or several.
        labels: One per history, for the legend.
        split: `train` or `test`; None or `all` for both.

    Raises:
        InputError: If the split is another, or nothing finite was measured.
    """
    histories, names = list_results(histories, labels)
    require(
        split in (None, "all", *_SPLITS),
        f"the split must be one that training measures, got {split!r}.",
        hint=f"Splits of a history: {', '.join(_SPLITS)}.",
    )
    panels = _panels(histories, split)
    rows, columns = grid_shape(len(panels), 2)
    legend = Legend(_handles(names, panels, histories))
    figure = legend.new_figure(columns, 2.0 * rows + 0.2)
    for index, (label, curves) in enumerate(panels.items()):
        _draw_panel(figure.add_subplot(rows, columns, index + 1), label, curves, histories)
    return figure


@styled
def draw_history_panel(ax: Axes, history: History) -> None:
    """Draw the first panel of `plot_history`, which is the loss, on given axes."""
    label, curves = next(iter(_panels([history], None).items()))
    _draw_panel(ax, label, curves, [history])
    ax.legend(handles=_handles([""], {label: curves}, [history]))


def _panels(histories: Sequence[History], split: str | None) -> dict[str, _Curves]:
    """Return label -> curves of the panels that have values, in reading order.

    What has no split has an empty name.
    """
    prefix = f"{split} " if split in _SPLITS else ""
    panels: dict[str, _Curves] = {
        f"{prefix}loss": {
            "train": [h.train_loss for h in histories],
            "test": [h.test_loss for h in histories],
            _AVERAGED: [h.ema_test_loss for h in histories],
        },
        f"{prefix}top-1 error (%)": {
            "train": [100 * (1 - h.train_accuracy) for h in histories],
            "test": [100 * h.test_top1_error for h in histories],
            _AVERAGED: [100 * (1 - h.ema_test_accuracy) for h in histories],
        },
        "learning rate": {"": [h.learning_rate for h in histories]},
        "first-order sharpness": {"": [h.first_order_sharpness for h in histories]},
        "ascent sharpness": {"": [h.ascent_sharpness for h in histories]},
    }
    kept = {label: _of_split(curves, split) for label, curves in panels.items()}
    require_finite(
        map(_joined, kept.values()),
        "a history needs at least one finite measurement to be drawn",
        "Train for an epoch or more.",
    )
    return {label: kept[label] for label in kept if np.isfinite(_joined(kept[label])).any()}


def _joined(curves: _Curves) -> np.ndarray:
    return np.concatenate([run for runs in curves.values() for run in runs])


def _of_split(curves: _Curves, split: str | None) -> _Curves:
    """Keep the curves of a split, or all, and what has no split.

    Those of averaged weights are kept only if a run has measured them.
    """
    return {
        name: runs
        for name, runs in curves.items()
        if not name or split not in _SPLITS or name.startswith(str(split))
        if name != _AVERAGED or any(np.isfinite(run).any() for run in runs)
    }


def _draw_panel(ax: Axes, label: str, curves: _Curves, histories: Sequence[History]) -> None:
    """Draw the curves of one panel over whole epochs."""
    for name, runs in curves.items():
        for index, (history, run) in enumerate(zip(histories, runs, strict=True)):
            is_measured = np.isfinite(run)
            has_gaps = not is_measured.all() or run.size <= _FEW_POINTS
            ax.plot(
                history.epoch[is_measured],
                run[is_measured],
                color=color_of(index),
                linestyle=LINE_STYLES[_CURVES.index(name) if name else 0],
                linewidth=_width(runs, index),
                marker=marker_of(index) if has_gaps else None,
                markerfacecolor="white" if name == "test" else None,
            )
    first, last = extent([history.epoch for history in histories])
    margin = 0.02 * (last - first) or 0.5
    finite = require_finite([_joined(curves)])
    scale = choose_scale([finite], is_share="%" in label)
    ax.set(xlabel="epoch", ylabel=label, xlim=(first - margin, last + margin))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if scale.kind == "log":
        set_log_ticks(ax, scale)
        ax.set_ylabel(label + scale.note)
    elif finite.min() >= 0:
        ax.set_ylim(0.0, 1.06 * finite.max() or 1.0)


def _width(runs: list[np.ndarray], index: int) -> float:
    """Return a line width at which the line shows on both sides of later ones that are the same."""
    return _WIDTH * (1 + sum(np.array_equal(runs[index], later) for later in runs[index + 1 :]))


def _handles(
    names: Sequence[str], panels: Mapping[str, _Curves], histories: Sequence[History]
) -> list[Line2D]:
    """Name the runs by colour and the splits by line style, each only where there is a choice."""
    handles = name_keys(names, marker=None)
    splits = {name for curves in panels.values() for name in curves if name}
    color = color_of(0) if len(names) == 1 else "0.25"
    has_markers = any(history.epoch.size <= _FEW_POINTS for history in histories)
    for style, name in zip(LINE_STYLES, _CURVES, strict=False):
        if name in splits and len(splits) > 1:
            face = "white" if name == "test" else color
            marker = {"marker": "o", "markerfacecolor": face} if has_markers else {}
            handles.append(key(name, color=color, linestyle=style, **marker))
    return handles


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
    drawn = [band for bands in panels.values() for band in bands]
    finite = require_finite(
        [np.empty(0), *(band.mean for band in drawn)],
        f"curves of {ylabel} need at least one finite value to be drawn",
        "",
    )
    scale = choose_scale([finite], is_share="%" in ylabel)
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
        color=color,
        linestyle=line_style_of(index // len(LINE_COLORS)),
        marker=marker_of(index) if has_markers else None,
        label=band.label,
    )
    if np.isfinite(deviation).any():
        draw_band(ax, x, mean - deviation, mean + deviation, color, 0.18, "deviation")
    return line
