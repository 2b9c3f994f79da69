"""Extreme Hessian eigenvalues against the epoch, with the edge of stability."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from landscape.errors import InputError
from landscape.plot.kinds import list_results, split_of
from landscape.plot.legend import Legend
from landscape.plot.scale import Scale, log_levels
from landscape.plot.style import (
    LINE_STYLES,
    ONE_COLUMN,
    OPEN,
    color_of,
    draw_open_markers,
    draw_residuals,
    figure_of,
    key,
    marker_of,
    name_keys,
    new_figure,
    set_log_ticks,
    styled,
)
from landscape.results.spectrum import CurvatureHistory

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
    if not any(np.isfinite(_values(history, "top")[1]).any() for history in histories):
        raise InputError(
            "a history of curvature needs at least one finite eigenvalue to be drawn, got none.",
            hint="Finish the computation, or look at the losses of the snapshots.",
        )
    legend = Legend(_handles(histories, names), "")
    if ax is not None:
        _draw_top(ax, histories)
        ax.set_xlabel("epoch")
    else:
        ax = _new_panels(histories, legend)
    legend.add_to(figure_of(ax))
    return ax


def _new_panels(histories: Sequence[CurvatureHistory], legend: Legend) -> Axes:
    """Draw a figure of one panel, or of two where there is a smallest eigenvalue."""
    has_bottom = any(np.isfinite(_values(history, "bottom")[1]).any() for history in histories)
    heights = _HEIGHTS if has_bottom else _HEIGHTS[:1]
    figure = new_figure(ONE_COLUMN, 0.5 + sum(heights) + legend.height(ONE_COLUMN))
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    ax = lowest = figure.add_subplot(grid[0])
    _draw_top(ax, histories)
    if has_bottom:
        lowest = figure.add_subplot(grid[1], sharex=ax)
        _draw_curves(lowest, histories, "bottom", np.empty(0))
        lowest.set_ylabel("\N{MINUS SIGN}" + r"$\lambda_{\min}$")
        ax.tick_params(labelbottom=False)
    lowest.set_xlabel("epoch")
    return ax


def _values(history: CurvatureHistory, end: str) -> np.ndarray:
    """Return the values of the snapshots done, (4, n), with the extreme eigenvalue upwards.

    The rows are epoch, extreme eigenvalue, residual, and 1 if converged and 0 otherwise.
    """
    values, residuals = history.eigenvalues, history.residuals
    if end == "bottom":
        values, residuals = -history.bottom_eigenvalues, history.bottom_residuals
    if not values.shape[1]:
        return np.empty((4, 0))
    rows = np.stack([history.epoch, values[:, 0], residuals[:, 0], history.converged])
    return rows[:, history.done.astype(bool)]


def _thresholds(history: CurvatureHistory) -> np.ndarray:
    """Return 2 / learning rate at each snapshot, (n,); NaN where it is not known or 0."""
    rates = np.where(history.learning_rate > 0, history.learning_rate, np.nan)
    return 2 / rates


def _draw_top(ax: Axes, histories: Sequence[CurvatureHistory]) -> None:
    lowest = _lowest_thresholds(histories)
    is_near = _are_near(lowest, histories)
    for index in np.flatnonzero(is_near).tolist():
        style = {"color": _threshold_color(histories, index), "linestyle": LINE_STYLES[1]}
        thresholds = _thresholds(histories[index])
        ax.plot(histories[index].epoch, thresholds, **style, gid="edge-of-stability")
    _draw_curves(ax, histories, "top", lowest[is_near])
    ax.set_ylabel(rf"$\lambda_{{\max}}$ ({split_of(histories)} loss)")


def _lowest_thresholds(histories: Sequence[CurvatureHistory]) -> np.ndarray:
    """Return the smallest 2 / learning rate of each run, (number of runs,); NaN if unknown."""
    rates = [np.fmax.reduce(history.learning_rate, initial=np.nan) for history in histories]
    return 2 / np.where(np.array(rates) > 0, rates, np.nan)


def _are_near(thresholds: np.ndarray, histories: Sequence[CurvatureHistory]) -> np.ndarray:
    """Return whether an axis that shows each threshold would also show the eigenvalues.

    There is one threshold for each run, (number of runs,).
    """
    return thresholds <= _FARTHEST * max(
        np.nanmax(_values(each, "top")[1], initial=-np.inf) for each in histories
    )


def _threshold_color(histories: Sequence[CurvatureHistory], index: int) -> str:
    known = [each for each in map(_thresholds, histories) if np.isfinite(each).any()]
    is_same = all(np.array_equal(each, known[0], equal_nan=True) for each in known)
    return "0.45" if is_same else color_of(index)


def _draw_curves(
    ax: Axes, histories: Sequence[CurvatureHistory], end: str, limits: np.ndarray
) -> None:
    """Draw one eigenvalue of all runs on a scale that also holds the limits."""
    drawn = [_values(history, end) for history in histories]
    values = np.concatenate([limits, *(rows[1] for rows in drawn)])
    values = values[np.isfinite(values)]
    is_log = values.min() > 0 and values.max() > _LOG_RATIO * values.min()
    span = float(np.ptp(np.append(values, 0.0)))
    for index, rows in enumerate(drawn):
        _draw_run(ax, rows, index, np.abs(rows[1]) if is_log else np.full(rows.shape[1], span))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if is_log:
        set_log_ticks(ax, Scale("log", log_levels(values.min(), values.max())))
        ax.set_ylim(values.min() / _MARGIN, values.max() * _MARGIN)
        return
    low, high = min(values.min(), 0.0), max(values.max(), 0.0)
    ax.set_ylim(low - 0.06 * span * (low < 0), high + 0.06 * span or 1.0)
    if low < 0:
        ax.axhline(0.0, color="black", linewidth=0.7)


def _draw_run(ax: Axes, rows: np.ndarray, index: int, sizes: np.ndarray) -> None:
    """Draw a run: its residuals where they are a visible share of `sizes` (n,)."""
    epochs, values, residuals, converged = rows
    marker = marker_of(index) if len(epochs) <= _MAX_MARKERS else None
    ax.plot(epochs, values, color=color_of(index), marker=marker)
    draw_residuals(ax, rows[:3], residuals > _VISIBLE * sizes)
    draw_open_markers(ax, epochs, values, converged == 0, index)


def _handles(histories: Sequence[CurvatureHistory], names: Sequence[str]) -> list[Line2D]:
    """Name the runs, the dashed line and the open markers, each only where there is one."""
    handles = name_keys(names)
    lowest = _lowest_thresholds(histories)
    if np.isfinite(lowest).any():
        is_shown = _are_near(lowest, histories).any()
        note = "" if is_shown else f" (above the axis, from {np.nanmin(lowest):.4g})"
        handles.append(key(f"2 / learning rate{note}", color="0.45", linestyle=LINE_STYLES[1]))
    if any((_values(history, "top")[3] == 0).any() for history in histories):
        handles.append(key("not converged", color="0.25", **OPEN))
    return handles
