"""Extreme eigenvalues of the Hessian at the snapshots of training runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from landscape.plot.names import list_results, split_of, unit_of
from landscape.plot.scale import Scale, extent, log_levels, require_finite
from landscape.plot.style import (
    LINE_STYLES,
    OPEN,
    Legend,
    color_of,
    draw_open_markers,
    draw_residuals,
    figure_of,
    key,
    marked,
    name_keys,
    set_log_ticks,
    styled,
)
from landscape.plot.wild_values import highest_tame, mark_beyond
from landscape.results.eigenvalue_history import CurvatureHistory

_HEIGHTS = (1.9, 1.1)  # inches, of the panels of the largest and of the smallest eigenvalue
_VISIBLE = 0.02  # share of the value or range below which an error bar is thinner than a marker
_MAX_MARKERS = 40  # snapshots of a run up to which each has a marker
_LOG_RATIO = 8.0  # largest over smallest value above which an axis is logarithmic
_FARTHEST = 10.0  # times the largest eigenvalue up to which a line above it is shown
_MARGIN = 1.25  # factor that a logarithmic axis goes beyond the values


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
    residuals, within which an eigenvalue lies, are error bars where they can be seen. A few values
    that would flatten the others are arrows on the edge of the axis. A figure of its own has the
    smallest eigenvalue, its sign changed, in a panel under it.

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
    top = highest_tame([rows[1] for rows in drawn])
    values = require_finite([limits, *(rows[1][rows[1] <= top] for rows in drawn)])
    is_log = values.min() > 0 and values.max() > _LOG_RATIO * values.min()
    span = float(np.ptp(np.append(values, 0.0)))
    lines = []
    for index, rows in enumerate(drawn):
        epochs, run, residuals, converged = rows
        lines += ax.plot(epochs, run, **marked(index, len(epochs), _MAX_MARKERS))
        draw_residuals(ax, rows[:3], residuals > _VISIBLE * (np.abs(run) if is_log else span))
        draw_open_markers(ax, epochs, run, converged == 0, index)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if is_log:
        set_log_ticks(ax, Scale("log", log_levels(values.min(), values.max())))
        ax.set_ylim(values.min() / _MARGIN, values.max() * _MARGIN)
    else:
        low, high = extent([values, np.zeros(1)])
        ax.set_ylim(low - 0.06 * span * (low < 0), high + 0.06 * span or 1.0)
        if low < 0:
            ax.axhline(0.0, color="black", linewidth=0.7)
    mark_beyond(ax, lines)


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
