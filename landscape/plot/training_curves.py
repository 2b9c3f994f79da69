"""Curves of training runs: what was measured by epoch, eigenvalues, means over seeds with bands."""

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
from landscape.plot.names import list_results, split_of, unit_of
from landscape.plot.scale import Scale, choose_scale, extent, log_levels, require_finite
from landscape.plot.style import (
    LINE_COLORS,
    LINE_STYLES,
    OPEN,
    Legend,
    color_of,
    draw_band,
    draw_open_markers,
    draw_residuals,
    figure_of,
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
from landscape.results.eigenvalue_history import CurvatureHistory
from landscape.results.history import History

_SPLITS = ("train", "test")
_AVERAGED = "test, averaged weights"
_CURVES = (*_SPLITS, _AVERAGED)
_WIDTH = 1.4  # points
_FEW_POINTS = 3  # up to which each has a marker, so that a run of one epoch can be seen
_HEIGHTS = (1.9, 1.1)  # inches, of the panels of the largest and of the smallest eigenvalue
_VISIBLE = 0.02  # share of the value or range below which an error bar is thinner than a marker
_MAX_MARKERS = 40  # snapshots of a run up to which each has a marker
_LOG_RATIO = 8.0  # largest over smallest value above which an axis is logarithmic
_FARTHEST = 10.0  # times the largest eigenvalue up to which a line above it is shown
_MARGIN = 1.25  # factor that a logarithmic axis goes beyond the values

_Curves: TypeAlias = dict[str, list[np.ndarray]]
"""Split -> values of each run, (num_epochs,), NaN if not measured."""


@styled
def plot_history(
    histories: History | Sequence[History],
    *,
    labels: Sequence[str] | None = None,
    split: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw training runs, each with its own colour and marker.

    Lines are solid for train, dashed for test and dash-dotted for averaged weights. A panel that no
    run has measured is left out. What was measured in some epochs only is joined across the others,
    with a marker at each measurement.

    Args:
        histories: One or several.
        labels: One per history, for the legend.
        split: `train` or `test`; None or `all` for both.
        ax: Where to draw the first panel alone, which is the loss; None for a new figure.

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
    if ax is not None:
        label, curves = next(iter(panels.items()))
        _draw_panel(ax, label, curves, histories)
        ax.legend(handles=_history_handles(names, {label: curves}, histories))
        return figure_of(ax)
    rows, columns = grid_shape(len(panels), 2)
    figure = Legend(_history_handles(names, panels, histories)).new_figure(
        columns, 2.0 * rows + 0.2
    )
    for index, (label, curves) in enumerate(panels.items()):
        _draw_panel(figure.add_subplot(rows, columns, index + 1), label, curves, histories)
    return figure


def _panels(histories: Sequence[History], split: str | None) -> dict[str, _Curves]:
    """Return label -> curves of the panels that have values; an empty name is no split."""
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
    """Keep the curves of a split, or all; those of averaged weights only if they were measured."""
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
            num_hiding = sum(np.array_equal(run, later) for later in runs[index + 1 :])
            ax.plot(
                history.epoch[is_measured],
                run[is_measured],
                color=color_of(index),
                linestyle=LINE_STYLES[_CURVES.index(name) if name else 0],
                linewidth=_WIDTH * (1 + num_hiding),  # shows on both sides of those
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


def _history_handles(
    names: Sequence[str], panels: Mapping[str, _Curves], histories: Sequence[History]
) -> list[Line2D]:
    """Name the runs by colour and the splits by line style, each only where there is a choice."""
    splits = {name for curves in panels.values() for name in curves if name}
    color = color_of(0) if len(names) == 1 else "0.25"
    marker = "o" if any(history.epoch.size <= _FEW_POINTS for history in histories) else None
    of_splits = [
        key(name, color=color, ls=style, marker=marker, mfc="white" if name == "test" else color)
        for style, name in zip(LINE_STYLES, _CURVES, strict=False)
        if name in splits and len(splits) > 1
    ]
    return [*name_keys(names, marker=None), *of_splits]


@styled
def plot_curvature_history(
    histories: CurvatureHistory | Sequence[CurvatureHistory],
    *,
    labels: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the largest eigenvalue at the snapshots of runs: a colour and a marker per run.

    Where the learning rate is known, 2 / learning rate is dashed, in grey if all runs have the
    same: gradient descent on a quadratic diverges where the largest eigenvalue is above it. The
    axis ends where the lowest point of these lines can be seen; where that is far above the
    eigenvalues, the legend alone says so. Snapshots that did not converge have open markers;
    residuals, within which an eigenvalue lies, are error bars where they can be seen. A figure of
    its own has the smallest eigenvalue, its sign changed, in a panel under it.

    Args:
        histories: One or several.
        labels: One per history, for the legend.
        ax: Where to draw the largest eigenvalue; None for a new figure.

    Returns:
        The axes of the largest eigenvalue.

    Raises:
        InputError: If no eigenvalue is finite.

    Source:
        Cohen et al. (2021), Gradient descent on neural networks typically occurs at the edge of
        stability.
    """
    histories, names = list_results(histories, labels)
    require_finite(
        [_values(history, "top")[1] for history in histories],
        "a history of curvature needs at least one finite eigenvalue to be drawn",
        "Finish the computation, or look at the losses of the snapshots.",
    )
    legend = Legend(_curvature_handles(histories, names))
    if ax is not None:
        _draw_top(ax, histories)
        legend.add_to(figure_of(ax))
        return ax
    has_bottom = any(np.isfinite(_values(history, "bottom")[1]).any() for history in histories)
    heights = _HEIGHTS[: 1 + has_bottom]
    figure = legend.new_figure(1, 0.5 + sum(heights))
    top, *below = figure.subplots(
        len(heights), squeeze=False, sharex=True, height_ratios=heights
    ).flat
    _draw_top(top, histories)
    for bottom in below:
        _draw_curves(bottom, histories, "bottom", np.empty(0))
        bottom.set(xlabel=top.get_xlabel(), ylabel="\N{MINUS SIGN}" + r"$\lambda_{\min}$")
    top.label_outer()
    return top


def _values(history: CurvatureHistory, end: str) -> np.ndarray:
    """Return epoch, extreme eigenvalue upwards, its error and 1 if converged else 0, (4, n)."""
    values, errors = history.eigenvalues, history.half_widths[0]
    if end == "bottom":
        values, errors = -history.bottom_eigenvalues, history.half_widths[1]
    if not values.shape[1]:
        return np.empty((4, 0))
    rows = np.stack([history.epoch, values[:, 0], errors[:, 0], history.converged])
    return rows[:, history.done.astype(bool)]


def _thresholds(history: CurvatureHistory) -> np.ndarray:
    """Return 2 / learning rate at each snapshot, (n,); NaN where it is not known or 0."""
    return 2 / np.where(history.learning_rate > 0, history.learning_rate, np.nan)


def _draw_top(ax: Axes, histories: Sequence[CurvatureHistory]) -> None:
    lowest, is_near = _lowest_thresholds(histories)
    known = [each for each in map(_thresholds, histories) if np.isfinite(each).any()]
    is_same = all(np.array_equal(each, known[0], equal_nan=True) for each in known)
    for index in np.flatnonzero(is_near).tolist():
        ax.plot(
            histories[index].epoch,
            _thresholds(histories[index]),
            color="0.45" if is_same else color_of(index),
            linestyle=LINE_STYLES[1],
            gid="edge-of-stability",
        )
    _draw_curves(ax, histories, "top", lowest[is_near])
    ax.set(xlabel=unit_of(histories), ylabel=rf"$\lambda_{{\max}}$ ({split_of(histories)} loss)")


def _lowest_thresholds(histories: Sequence[CurvatureHistory]) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest 2 / learning rate of each run, and whether it is on the axis, (n,) each.

    It is NaN if unknown, and on the axis if that would also show the eigenvalues.
    """
    lowest = np.array([np.fmin.reduce(_thresholds(each), initial=np.nan) for each in histories])
    largest = max(np.nanmax(_values(each, "top")[1], initial=-np.inf) for each in histories)
    return lowest, lowest <= _FARTHEST * largest


def _draw_curves(
    ax: Axes, histories: Sequence[CurvatureHistory], end: str, limits: np.ndarray
) -> None:
    """Draw one eigenvalue of all runs on a scale that also holds the limits."""
    drawn = [_values(history, end) for history in histories]
    values = require_finite([limits, *(rows[1] for rows in drawn)])
    is_log = values.min() > 0 and values.max() > _LOG_RATIO * values.min()
    span = float(np.ptp(np.append(values, 0.0)))
    for index, rows in enumerate(drawn):
        epochs, run, residuals, converged = rows
        ax.plot(
            epochs,
            run,
            color=color_of(index),
            marker=marker_of(index) if len(epochs) <= _MAX_MARKERS else None,
        )
        draw_residuals(ax, rows[:3], residuals > _VISIBLE * (np.abs(run) if is_log else span))
        draw_open_markers(ax, epochs, run, converged == 0, index)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if is_log:
        set_log_ticks(ax, Scale("log", log_levels(values.min(), values.max())))
        ax.set_ylim(values.min() / _MARGIN, values.max() * _MARGIN)
        return
    low, high = extent([values, np.zeros(1)])
    ax.set_ylim(low - 0.06 * span * (low < 0), high + 0.06 * span or 1.0)
    if low < 0:
        ax.axhline(0.0, color="black", linewidth=0.7)


def _curvature_handles(histories: Sequence[CurvatureHistory], names: Sequence[str]) -> list[Line2D]:
    """Name the runs, the dashed line and the open markers, each only where there is one."""
    handles = name_keys(names)
    lowest, is_near = _lowest_thresholds(histories)
    if np.isfinite(lowest).any():
        note = "" if is_near.any() else f" (above the axis, from {np.nanmin(lowest):.4g})"
        handles.append(key(f"2 / learning rate{note}", color="0.45", linestyle=LINE_STYLES[1]))
    if any((_values(history, "top")[3] == 0).any() for history in histories):
        handles.append(key("not converged", color="0.25", **OPEN))
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
    rule = f"curves of {ylabel} need at least one finite value to be drawn"
    means = require_finite([np.empty(0), *(band.mean for band in drawn)], rule, "")
    scale = choose_scale([means], is_share="%" in ylabel)
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
