"""Sharpness against the radius, next to what the Taylor expansion of the loss predicts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.scale import SymmetricalLogScale
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from landscape.plot.kinds import split_of
from landscape.plot.legend import Legend
from landscape.plot.scale import Scale, choose_scale, log_levels
from landscape.plot.style import (
    ONE_COLUMN,
    OPEN,
    color_of,
    draw_band,
    draw_open_markers,
    format_level,
    grid_shape,
    key,
    marker_of,
    name_keys,
    new_figure,
    set_log_ticks,
    styled,
    width_of,
    with_note,
)
from landscape.plot.taylor_curves import Checkpoints, Curve, ball_of, find_curves, group_by_measure
from landscape.results.sharpness import Sharpness, SharpnessComparison
from landscape.results.sharpness_measures import MEASURES

_PANEL = 2.0  # inches
_ROW, _BORDER = 0.17, 0.75  # inches, of a measure and around all, in a figure of one radius
_GROUP = 0.62  # of the distance between two measures, which the dots of all checkpoints take
_MAX_DECADES = {"x": 2, "y": 4}  # that have names on each side of 0
_LOWEST_SHARE = 0.1  # quantile of the magnitudes below which an axis with both signs is linear
_INTERVAL = "95 % interval"
_MARGIN = 0.04  # share of a logarithmic axis that is left free at each end
_FARTHEST = 8.0  # factor beyond the values up to which a prediction is followed
_FINE = 200  # radii at which a prediction is computed
_MAX_MARKERS = 15  # radii of a curve up to which each has a marker
_PREDICTIONS: dict[str, dict[str, Any]] = {
    "first order": {"linestyle": (0, (5.0, 2.0)), "linewidth": 0.9},
    "second order": {"linestyle": (0, (1.0, 1.3)), "linewidth": 1.3},
}
_BAND = 0.18  # opacity
_LOWEST = 1e-9  # share of a value that stands for 0 on a logarithmic axis
_LOG_RATIO = 8.0  # largest over smallest value above which the axis of dots is logarithmic
_MAX_TICKS = 7


@styled
def plot_sharpness(results: Checkpoints, *, labels: Sequence[str] | None = None) -> Figure:
    """Draw sharpness against the radius, a panel per measure and a colour per checkpoint or group.

    Bands are 95 % intervals; the checkpoints of a group have none, their spread says more. Thin
    lines of the same colour are what the loss's Taylor expansion predicts, where it is known and of
    the same examples: dashed the first order, dotted the second. Where a curve leaves its dotted
    line, the expansion no longer tells how sharp the loss is. Of the maximum there are two dotted
    lines, between which it is to second order. With a single radius the measures are rows of dots.

    Args:
        results: One or several, of one ball.
        labels: One per result, for the legend; a comparison has names of its own.

    Raises:
        InputError: If nothing finite was measured, or in balls of different norms, scalings or
            batches.
    """
    curves, names = find_curves(results, labels)
    panels = group_by_measure(curves)
    shown = [curve for members in panels.values() for curve in members]
    has_dots = _have_one_radius(curves)
    legend = Legend(_handles(shown, names, has_dots=has_dots), _note(shown))
    if has_dots:
        height = _BORDER + _ROW * len(panels) * max(1.5, len(names)) + legend.height(ONE_COLUMN)
        figure = new_figure(ONE_COLUMN, height)
        _draw_rows(figure.add_subplot(), panels, len(names))
    else:
        rows, columns = grid_shape(len(panels))
        width = width_of(columns)
        figure = new_figure(width, 0.2 + rows * (_PANEL + 0.25) + legend.height(width))
        for index, (name, members) in enumerate(panels.items()):
            ax = figure.add_subplot(rows, columns, index + 1)
            ax.set_ylabel(_rise_of(curves) if index % columns == 0 else "")
            _draw_panel(ax, members)
            ax.set_title(measure_title(name, members[0].measures[0].steps))
            if index + columns >= len(panels):
                ax.set_xlabel(rf"radius $\rho$ ({ball_of(curves)})")
    legend.add_to(figure)
    return figure


@styled
def draw_sharpness_panel(ax: Axes, result: Sharpness | SharpnessComparison) -> None:
    """Draw the first panel of `plot_sharpness` on given axes; measures of one radius as dots."""
    curves, names = find_curves(result, None)
    panels = group_by_measure(curves)
    name, members = next(iter(panels.items()))
    has_dots = _have_one_radius(curves)
    if has_dots:
        _draw_rows(ax, panels, len(names))
        members = [curve for each in panels.values() for curve in each]
    else:
        ax.set_ylabel(_rise_of(curves))
        _draw_panel(ax, members)
        ax.set_title(measure_title(name, members[0].measures[0].steps))
        ax.set_xlabel(rf"radius $\rho$ ({ball_of(curves)})")
    ax.legend(handles=_handles(members, names, has_dots=has_dots))


def measure_title(name: str, steps: int = 0) -> str:
    """Name a measure in words."""
    if name not in MEASURES:
        return name.replace("_", " ")
    return MEASURES[name].title.format(steps=steps)


def rise_label(results: Iterable[Sharpness]) -> str:
    """Say what sharpness is the rise of."""
    return f"rise of the {split_of(results)} loss"


def _rise_of(curves: Sequence[Curve]) -> str:
    return rise_label(curve.result for curve in curves)


def _have_one_radius(curves: Sequence[Curve]) -> bool:
    return all(len(curve.measures) == 1 for curve in curves)


def _predicted(curves: Sequence[Curve], rho: np.ndarray | None = None) -> np.ndarray:
    """Return all that is predicted, at the given radii or at those of each curve, (n,)."""
    lines = [
        line for curve in curves for _, line in curve.predictions(curve.rho if rho is None else rho)
    ]
    return np.concatenate([np.empty(0), *lines])


def _finite_values(curves: Sequence[Curve]) -> np.ndarray:
    values = np.concatenate([curve.values for curve in curves])
    return values[np.isfinite(values)]


def _draw_panel(ax: Axes, curves: Sequence[Curve]) -> None:
    """Draw one measure of all checkpoints, the predictions under the curves."""
    rho = np.concatenate([curve.rho for curve in curves])
    fine = np.geomspace(rho.min(), rho.max(), _FINE)
    for curve in curves:
        _draw_predictions(ax, curve, fine)
        _draw_curve(ax, curve)
    _set_log_axis(ax, rho, np.empty(0), "x")
    values = _finite_values(curves)
    if values.size and values.min() > 0:
        _set_log_axis(ax, values, _predicted(curves, fine), "y")
    elif values.size:
        set_signed_axis(ax, values, ax.get_ylabel(), "y")
        ax.axhline(0.0, color="black", linewidth=0.7)


def _draw_curve(ax: Axes, curve: Curve) -> None:
    color, marker = color_of(curve.color), marker_of(curve.color)
    rho, values, errors = curve.rho, curve.values, curve.errors
    if np.isfinite(errors).any():
        low = values - errors
        is_hidden = (low <= 0) & (values > 0)
        low[is_hidden] = _LOWEST * values[is_hidden]  # below any logarithmic axis
        draw_band(ax, rho, low, values + errors, color, _BAND, "interval")
    has_markers = len(rho) <= _MAX_MARKERS
    ax.plot(rho, values, color=color, marker=marker if has_markers else None, gid="measured")
    draw_open_markers(ax, rho, values, ~curve.converged, curve.color)


def _draw_predictions(ax: Axes, curve: Curve, rho: np.ndarray) -> None:
    error = curve.second_order_error(rho)
    for name, line in curve.predictions(rho):
        style = {**_PREDICTIONS[name], "color": color_of(curve.color)}
        ax.plot(rho, line, **style, gid=name.replace(" ", "-"))
        if name == "second order" and error is not None:
            draw_band(ax, rho, line - error, line + error, "0.5", _BAND, "trace-error")


def _set_log_axis(
    ax: Axes, values: np.ndarray, others: np.ndarray, direction: Literal["x", "y"]
) -> None:
    """Show all values, and of the others those that are not far from them."""
    near = others[(others > values.min() / _FARTHEST) & (others < values.max() * _FARTHEST)]
    low, high = np.append(near, values).min(), np.append(near, values).max()
    set_log_ticks(ax, Scale("log", log_levels(low, high, _MAX_TICKS)), direction)
    margin = max((high / low) ** _MARGIN, 1 + _MARGIN)
    ax.set(**{f"{direction}lim": (low / margin, high * margin)})


def set_signed_axis(ax: Axes, values: np.ndarray, name: str, direction: Literal["x", "y"]) -> None:
    """Put values (n,) of both signs on a named axis, logarithmic in magnitude if needed."""
    axis = ax.xaxis if direction == "x" else ax.yaxis
    scale = choose_scale([values, -values])
    if scale.kind == "symlog":
        threshold, decades = _decades(values, _MAX_DECADES[direction])
        ax.set(**{f"{direction}scale": SymmetricalLogScale(None, linthresh=threshold)})
        axis.set_major_locator(FixedLocator([0.0, *decades, *(-each for each in decades)]))
        axis.set_minor_locator(NullLocator())
    elif direction == "x":
        axis.set_major_locator(MaxNLocator(4))
    axis.set_major_formatter(FuncFormatter(lambda value, _: format_level(value)))
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
        radius = "" if len(rhos) == 1 else rf" ($\rho$ = {one.rho:.3g})"
        titles.append(measure_title(name, one.steps) + radius)
    _set_dot_axis(ax, drawn)
    ax.set_yticks(range(len(panels)), titles)
    ax.set_ylim(len(panels) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=True, axis="x")
    place = rf"$\rho$ = {drawn[0].measures[0].rho:.3g}, " if len(rhos) == 1 else ""
    ax.set_xlabel(f"{_rise_of(drawn)}\n({place}{ball_of(drawn)})")


def _draw_dot(ax: Axes, curve: Curve, place: float, height: float) -> None:
    """Draw one measure and its interval at a height, with the predictions as upright strokes."""
    color, values, errors = color_of(curve.color), curve.values, curve.errors
    for name, line in curve.predictions(curve.rho):
        style = {**_PREDICTIONS[name], "color": color, "gid": name.replace(" ", "-")}
        ax.plot([line[0]] * 2, [place - height / 2, place + height / 2], **style)
    if np.isfinite(errors).all():
        style = {"fmt": "none", "ecolor": color, "elinewidth": 1.0, "capsize": 2.0}
        ax.errorbar(values, [place], xerr=errors, **style)
    style = {"color": color, "marker": marker_of(curve.color), "markersize": 5, "gid": "measured"}
    if not curve.converged.all():
        style["markerfacecolor"] = "white"
    ax.plot(values, [place], linestyle="none", **style)


def _set_dot_axis(ax: Axes, curves: Sequence[Curve]) -> None:
    """Choose the axis by the values; one that is not logarithmic holds 0."""
    values, predictions = _finite_values(curves), _predicted(curves)
    errors = np.concatenate([np.nan_to_num(curve.errors) for curve in curves])
    measured = np.concatenate([curve.values for curve in curves])
    ends = np.concatenate([measured - errors, measured + errors])
    if values.min() > 0 and values.max() > _LOG_RATIO * values.min():
        _set_log_axis(ax, values, np.append(predictions, ends), "x")
        return
    near = predictions[np.abs(predictions) < _FARTHEST * np.abs(values).max()]
    ends = np.concatenate([np.zeros(1), near, ends])
    set_signed_axis(ax, ends[np.isfinite(ends)], "", "x")
    ax.axvline(0.0, color="black", linewidth=0.7)


def _handles(curves: Sequence[Curve], names: Sequence[str], *, has_dots: bool) -> list[Artist]:
    """Name the colours, the bands and the predictions, each only where there is one."""
    handles: list[Artist] = [*name_keys(names)]
    color = color_of(0) if len(names) == 1 else "0.25"
    found = {name for curve in curves for name, _ in curve.predictions(curve.rho)}
    for name, style in _PREDICTIONS.items():
        if name in found:
            handles.append(key(name, color=color, **style))
    if any(np.isfinite(curve.errors).any() for curve in curves):
        bar = key(_INTERVAL, color=color, linewidth=1.0, marker="|")
        patch = Patch(color=color, alpha=_BAND, linewidth=0, label=_INTERVAL)
        handles.append(bar if has_dots else patch)
    if not all(curve.converged.all() for curve in curves):
        handles.append(key("not converged", color=color, **OPEN))
    return handles


def _note(curves: Sequence[Curve]) -> str:
    """Say what two dotted lines mean, where there are two."""
    for curve in curves:
        if [name for name, _ in curve.predictions(curve.rho)].count("second order") > 1:
            return "To second order, the maximum is between its two dotted lines."
    return ""
