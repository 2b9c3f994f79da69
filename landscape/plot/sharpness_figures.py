"""Sharpness against the radius.

Next to the curves is what the Taylor expansion of the loss predicts.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.scale import SymmetricalLogScale
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from landscape.plot.names import split_of
from landscape.plot.presets import sized
from landscape.plot.scale import Scale, choose_scale, extent, log_levels, require_finite
from landscape.plot.style import (
    OPEN,
    Legend,
    band_key,
    color_of,
    draw_band,
    draw_open_markers,
    figure_of,
    format_level,
    grid_shape,
    key,
    marked,
    marker_of,
    name_keys,
    set_log_ticks,
    styled,
    with_note,
)
from landscape.plot.taylor_curves import (
    Checkpoints,
    Curve,
    ball_of,
    find_curves,
    group_by_measure,
)
from landscape.results.sharpness_measures import MEASURES

_ROW, _BORDER = 0.17, 0.75  # inches, of a measure and around all, in a figure of one radius
_GROUP = 0.62  # of the distance between two measures, which the dots of all checkpoints take
_MAX_DECADES = {"x": 2, "y": 4}  # that have names on each side of 0
_LOWEST_SHARE = 0.1  # quantile of the magnitudes below which an axis with both signs is linear
_INTERVAL = "95 % interval"
_MARGIN = 0.04  # share of a logarithmic axis that is left free at each end
_FARTHEST = 8.0  # factor beyond the values up to which a prediction is followed
_MAX_MARKERS = 15  # radii of a curve up to which each has a marker
_PREDICTIONS: dict[str, dict[str, Any]] = {
    "first order": {"linestyle": (0, (5.0, 2.0)), "linewidth": 0.9, "gid": "first-order"},
    "second order": {"linestyle": (0, (1.0, 1.3)), "linewidth": 1.3, "gid": "second-order"},
}
_ENDS = {"elinewidth": 1.0, "capsize": 2.0}
_BAND = 0.18  # opacity
_LOG_RATIO = 8.0  # largest over smallest value above which the axis of dots is logarithmic


@styled
def plot_sharpness(
    results: Checkpoints, *, labels: Sequence[str] | None = None, ax: Axes | None = None
) -> Figure:
    """Draw sharpness against the radius, a panel per measure and a colour per checkpoint or group.

    Bands are 95 % intervals; the checkpoints of a group have none, their spread says more. Thin
    lines of the same colour are what the loss's Taylor expansion predicts, where it is known and of
    the same examples: dashed the first order, dotted the second. Where a curve leaves its dotted
    line, the expansion no longer tells how sharp the loss is. Of the maximum there are two dotted
    lines, between which it is to second order. With a single radius the measures are rows of dots.

    Args:
        results: One or several, of one ball.
        labels: One per result, for the legend; a comparison has names of its own.
        ax: Where to draw the first panel alone, or all rows of dots; None for a new figure.

    Raises:
        InputError: If nothing finite was measured, or in balls of different norms, scalings or
            batches.
    """
    curves, names = find_curves(results, labels)
    panels = group_by_measure(curves)
    has_dots = all(len(curve.measures) == 1 for curve in curves)
    if ax is not None and not has_dots:
        panels = dict(islice(panels.items(), 1))
    shown = [curve for members in panels.values() for curve in members]
    has_two = any(
        [name for name, _ in curve.predictions(curve.rho)].count("second order") > 1
        for curve in shown
    )
    legend = Legend(
        _handles(shown, names, has_dots=has_dots),
        "To second order, the maximum is between its two dotted lines." if has_two else "",
    )
    rows, columns = grid_shape(1 if has_dots else len(panels))
    height = _BORDER + _ROW * len(panels) * max(1.5, len(names)) if has_dots else 0.2 + rows * 2.25
    if ax is not None:
        figure = figure_of(ax)
        ax.legend(handles=legend.handles)
    else:
        figure = legend.new_figure(columns, height)
    if has_dots:
        _draw_rows(ax or figure.add_subplot(), panels, len(names))
        return figure
    for index, (name, members) in enumerate(panels.items()):
        panel = ax or figure.add_subplot(rows, columns, index + 1)
        _draw_panel(panel, name, members, "" if index % columns else _rise_of(curves))
        if index + columns < len(panels):
            panel.set_xlabel("")
    return figure


def measure_title(name: str, steps: int = 0) -> str:
    """Name a measure in words."""
    known = MEASURES.get(name)
    return known.title.format(steps=steps) if known else name.replace("_", " ")


def _rise_of(curves: Sequence[Curve]) -> str:
    """Say what sharpness is the rise of."""
    return f"rise of the {split_of(curve.result for curve in curves)} loss"


def _predicted(curves: Sequence[Curve], rho: np.ndarray | None = None) -> np.ndarray:
    """Return all that is predicted, at the given radii or at those of each curve, (n,)."""
    lines = (
        line for curve in curves for _, line in curve.predictions(curve.rho if rho is None else rho)
    )
    return np.concatenate([np.empty(0), *lines])


def _draw_panel(ax: Axes, name: str, curves: Sequence[Curve], ylabel: str) -> None:
    """Draw one measure of all checkpoints, the predictions under the curves."""
    ax.set_title(measure_title(name, curves[0].measures[0].steps))
    ax.set(xlabel=rf"radius $\rho$ ({ball_of(curves)})", ylabel=ylabel)
    rho = np.concatenate([curve.rho for curve in curves])
    fine = np.geomspace(rho.min(), rho.max(), 200)
    for curve in curves:
        _draw_predictions(ax, curve, fine)
        _draw_curve(ax, curve)
    _set_log_axis(ax, rho, np.empty(0), "x")
    values = np.concatenate([curve.values[np.isfinite(curve.values)] for curve in curves])
    if values.size and values.min() > 0:
        _set_log_axis(ax, values, _predicted(curves, fine), "y")
    elif values.size:
        set_signed_axis(ax, values, ylabel, "y")
        ax.axhline(0.0, color="black", linewidth=0.7)


def _draw_curve(ax: Axes, curve: Curve) -> None:
    color = color_of(curve.color)
    rho, values, errors = curve.rho, curve.values, curve.errors
    if np.isfinite(errors).any():
        # Below any logarithmic axis where the interval reaches 0.
        low = np.where((values <= errors) & (values > 0), 1e-9 * values, values - errors)
        draw_band(ax, rho, low, values + errors, color, _BAND, "interval")
    ax.plot(rho, values, **marked(curve.color, len(rho), _MAX_MARKERS), gid="measured")
    draw_open_markers(ax, rho, values, ~curve.converged, curve.color)


def _draw_predictions(ax: Axes, curve: Curve, rho: np.ndarray) -> None:
    error = curve.second_order_error(rho)
    for name, line in curve.predictions(rho):
        ax.plot(rho, line, color=color_of(curve.color), **sized(_PREDICTIONS[name]))
        if name == "second order" and error is not None:
            draw_band(ax, rho, line - error, line + error, "0.5", _BAND, "trace-error")


def _set_log_axis(
    ax: Axes, values: np.ndarray, others: np.ndarray, direction: Literal["x", "y"]
) -> None:
    """Show all values, and of the others those that are not far from them."""
    near = others[(others > values.min() / _FARTHEST) & (others < values.max() * _FARTHEST)]
    low, high = extent([near, values])
    set_log_ticks(ax, Scale("log", log_levels(low, high, 7)), direction)
    margin = max((high / low) ** _MARGIN, 1 + _MARGIN)
    ax.set(**{f"{direction}lim": (low / margin, high * margin)})


def set_signed_axis(ax: Axes, values: np.ndarray, name: str, direction: Literal["x", "y"]) -> None:
    """Put values (n,) of both signs on a named axis, logarithmic in magnitude if needed."""
    axis = getattr(ax, f"{direction}axis")
    scale = choose_scale([values, -values])
    if scale.kind == "symlog":
        threshold, decades = _decades(values, _MAX_DECADES[direction])
        ax.set(**{f"{direction}scale": SymmetricalLogScale(None, linthresh=threshold)})
        axis.set(
            major_locator=FixedLocator([0.0, *decades, *(-each for each in decades)]),
            minor_locator=NullLocator(),
        )
    elif direction == "x":
        axis.set_major_locator(MaxNLocator(4))
    axis.set_major_formatter(format_level)
    transform = axis.get_transform()
    low, high = transform.transform(np.array([values.min(), values.max()]))
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    limits = transform.inverted().transform(np.array([low - margin, high + margin]))
    ax.set(**{f"{direction}lim": limits, f"{direction}label": with_note(name, scale).strip()})


def _decades(values: np.ndarray, max_decades: int) -> tuple[float, list[float]]:
    """Return the power of ten below most magnitudes, and evenly spaced powers above it.

    The latter descend from the power of the largest magnitude.
    """
    magnitudes = np.abs(values[values != 0])
    ends = np.quantile(magnitudes, (_LOWEST_SHARE, 1.0))
    first, last = np.floor(np.log10(ends)).astype(int).tolist()
    stride = -(-(last - first + 1) // max_decades)
    return float(f"1e{first}"), [float(f"1e{power}") for power in range(last, first - 1, -stride)]


def _draw_rows(ax: Axes, panels: dict[str, list[Curve]], num_names: int) -> None:
    """Draw measures of one radius as rows, the checkpoints one below the other in a row."""
    drawn = [curve for members in panels.values() for curve in members]
    rhos = {curve.measures[0].rho for curve in drawn}
    titles = []
    for row, (name, members) in enumerate(panels.items()):
        for curve in members:
            place = row + _GROUP * ((curve.color + 0.5) / num_names - 0.5)
            _draw_dot(ax, curve, place, _GROUP / num_names)
        one = members[0].measures[0]
        radius = rf" ($\rho$ = {one.rho:.3g})" if len(rhos) > 1 else ""
        titles.append(measure_title(name, one.steps) + radius)
    _set_dot_axis(ax, drawn)
    ax.set(yticks=range(len(panels)), yticklabels=titles, ylim=(len(panels) - 0.5, -0.5))
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=True, axis="x")
    place = rf"$\rho$ = {drawn[0].measures[0].rho:.3g}, " if len(rhos) == 1 else ""
    ax.set_xlabel(f"{_rise_of(drawn)}\n({place}{ball_of(drawn)})")


def _draw_dot(ax: Axes, curve: Curve, place: float, height: float) -> None:
    """Draw one measure and its interval at a height, with the predictions as upright strokes."""
    color, values, errors = color_of(curve.color), curve.values, curve.errors
    for name, line in curve.predictions(curve.rho):
        ends = [place - height / 2, place + height / 2]
        ax.plot([line[0]] * 2, ends, color=color, **sized(_PREDICTIONS[name]))
    if np.isfinite(errors).all():
        ax.errorbar(values, [place], xerr=errors, fmt="none", ecolor=color, **sized(_ENDS))
    ax.plot(
        values,
        [place],
        linestyle="none",
        marker=marker_of(curve.color),
        **sized({"markersize": 5.0}),
        color=color,
        markerfacecolor=color if curve.converged.all() else "white",
        gid="measured",
    )


def _set_dot_axis(ax: Axes, curves: Sequence[Curve]) -> None:
    """Choose the axis by the values; one that is not logarithmic holds 0."""
    values = require_finite([curve.values for curve in curves])
    predictions = _predicted(curves)
    ends = np.concatenate(
        [curve.values + sign * np.nan_to_num(curve.errors) for sign in (-1, 1) for curve in curves]
    )
    if values.min() > 0 and values.max() > _LOG_RATIO * values.min():
        _set_log_axis(ax, values, np.append(predictions, ends), "x")
        return
    near = predictions[np.abs(predictions) < _FARTHEST * np.abs(values).max()]
    set_signed_axis(ax, require_finite([np.zeros(1), near, ends]), "", "x")
    ax.axvline(0.0, color="black", linewidth=0.7)


def _handles(curves: Sequence[Curve], names: Sequence[str], *, has_dots: bool) -> list[Artist]:
    """Name the colours, the bands and the predictions, each only where there is one."""
    color = color_of(0) if len(names) == 1 else "0.25"
    found = {name for curve in curves for name, _ in curve.predictions(curve.rho)}
    predictions = [key(name, color=color, **sized(_PREDICTIONS[name])) for name in sorted(found)]
    named = name_keys(names, linestyle="none" if has_dots else "-")
    handles: list[Artist] = [*named, *predictions]
    if any(np.isfinite(curve.errors).any() for curve in curves):
        bar = key(_INTERVAL, color=color, linewidth=1.0, marker="|")
        handles.append(bar if has_dots else band_key(_INTERVAL, color, _BAND))
    if not all(curve.converged.all() for curve in curves):
        handles.append(key("not converged", color=color, **OPEN))
    return handles
