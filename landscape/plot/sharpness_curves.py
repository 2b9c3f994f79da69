"""Sharpness against the radius, beside what the Taylor expansion of the loss predicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.scale import SymmetricalLogScale
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from landscape.errors import InputError
from landscape.plot.kinds import name_results
from landscape.plot.legend import Legend
from landscape.plot.names import shortened
from landscape.plot.scale import Scale, choose_scale, log_levels
from landscape.plot.style import (
    LINE_COLORS,
    LINE_MARKERS,
    ONE_COLUMN,
    TWO_COLUMNS,
    figure_of,
    format_level,
    new_figure,
    set_log_ticks,
    styled,
    with_note,
)
from landscape.results.sharpness import Measure, Sharpness, SharpnessComparison
from landscape.results.sharpness_measures import MEASURES

CONFIDENCE = 1.96  # standard errors on each side of 95 %
ORDER = ("asc", "nstep", "max", "avg", "first_order")
_COLUMNS = {1: 1, 2: 2, 3: 3, 4: 2, 5: 3}  # by the number of panels
_PANEL = 2.0  # inches
_ROW, _BORDER = (
    0.17,
    0.75,
)  # inches, of a row of a measure and around all, in a figure of one radius
_GROUP = 0.62  # of the distance between two measures, which the dots of all checkpoints take
_MAX_DECADES = {"x": 2, "y": 4}  # that have names on each side of 0
_LOWEST_SHARE = 0.1  # quantile of the magnitudes below which an axis with both signs is linear
_INTERVAL = "95 % interval"
_MARGIN = 0.04  # share of a logarithmic axis that is left free at each end
_FARTHEST = 8.0  # factor beyond the values up to which a prediction is followed
_FINE = 200  # radii at which a prediction is computed
_MAX_MARKERS = 15  # radii of a curve up to which each has a marker
_FIRST, _SECOND = (0, (5.0, 2.0)), (0, (1.0, 1.3))  # line styles of the predictions
_THIN, _DOTTED = 0.9, 1.3  # points
_BAND = 0.18  # opacity
_LOWEST = 1e-9  # share of a value that stands for 0 on a logarithmic axis
_LOG_RATIO = 8.0  # largest over smallest value above which the axis of dots is logarithmic
_MAX_TICKS = 7

Checkpoints: TypeAlias = (
    "Sharpness | SharpnessComparison | Sequence[Sharpness | SharpnessComparison]"
)


@dataclass(frozen=True)
class Curve:
    """One measure of one checkpoint; arrays are (number of radii,), by radius.

    Attributes:
        result: Of the checkpoint.
        color: Number of its colour.
        measures: By radius.
        is_alone: Whether no other checkpoint has this colour, so that there is room for intervals.
    """

    result: Sharpness
    color: int
    measures: tuple[Measure, ...]
    is_alone: bool = True

    @property
    def rho(self) -> np.ndarray:
        """Radii."""
        return np.array([measure.rho for measure in self.measures])

    @property
    def values(self) -> np.ndarray:
        """Rise of the loss."""
        return np.array([measure.sharpness for measure in self.measures])

    @property
    def errors(self) -> np.ndarray:
        """Half of the 95 % interval of each; NaN where there is none, or it is not to be seen."""
        errors = [measure.error if self.is_alone else None for measure in self.measures]
        return CONFIDENCE * np.array([np.nan if error is None else error for error in errors])

    @property
    def converged(self) -> np.ndarray:
        """Whether each met its goal."""
        return np.array([measure.converged for measure in self.measures])

    def first_order(self, rho: np.ndarray) -> list[np.ndarray]:
        """Return what the gradient alone predicts at each radius; empty for the average.

        For the average, this prediction is always 0.
        """
        gain = self._gain()
        return (
            [] if gain is None or self.measures[0].name in ("avg", "first_order") else [rho * gain]
        )

    def second_order(self, rho: np.ndarray) -> list[np.ndarray]:
        """Return what gradient and Hessian predict, as far as they are known.

        For `max`, there are a lower and an upper value.
        """
        taylor, one = self.result.taylor, self.measures[0]
        gain = self._gain()
        if taylor is None or gain is None or one.m is not None:
            return []
        if one.name == "asc" and taylor.ascent_curvature is not None:
            return [rho * gain + rho**2 / 2 * taylor.ascent_curvature]
        if one.name == "max" and one.p == 2 and taylor.lambda_max is not None:
            bend = rho**2 / 2 * taylor.lambda_max
            return [bend, rho * gain + bend]
        if one.name == "avg" and one.p == 2 and taylor.trace is not None:
            return [self._square_length(rho) * taylor.trace / (2 * taylor.num_parameters)]
        return []

    def second_order_error(self, rho: np.ndarray) -> np.ndarray | None:
        """Return half of the 95 % interval of the prediction for `avg`; None for the others."""
        taylor = self.result.taylor
        if self.measures[0].name != "avg" or taylor is None or taylor.trace_error is None:
            return None
        return (
            CONFIDENCE * self._square_length(rho) * taylor.trace_error / (2 * taylor.num_parameters)
        )

    def _gain(self) -> float | None:
        """Return the linear model's rise per unit of radius, on the measure's batches."""
        for measure in self.result.measures:
            if measure.name == "first_order":
                return measure.sharpness / measure.rho
        taylor = self.result.taylor
        return None if taylor is None or self.measures[0].m is not None else taylor.gradient_gain

    def _square_length(self, rho: np.ndarray) -> np.ndarray:
        """Return the mean square of ||T^-1 e||, which is not rho^2 for Gaussian perturbations."""
        shares = [
            measure.radius_share for measure in self.measures if measure.radius_share is not None
        ]
        return (rho * np.mean(shares)) ** 2 if shares else rho**2


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
        labels: One a result, for the legend; a comparison has names of its own.

    Raises:
        InputError: If nothing finite was measured, or in balls of different norms, scalings or
            batches.
    """
    curves, names = _curves(results, labels)
    if all(len(curve.measures) == 1 for curve in curves):
        return _draw_dots(curves, names)
    panels = _panels(curves)
    columns = _COLUMNS[len(panels)]
    rows = -(-len(panels) // columns)
    width = ONE_COLUMN if columns == 1 else TWO_COLUMNS
    legend = Legend(_handles(curves, names, list(panels)), _note(curves, list(panels)))
    figure = new_figure(width, 0.2 + rows * (_PANEL + 0.25) + legend.height(width))
    for index, (name, members) in enumerate(panels.items()):
        ax = figure.add_subplot(rows, columns, index + 1)
        ax.set_ylabel(
            rise_label([curve.result for curve in curves]) if index % columns == 0 else ""
        )
        _draw_panel(ax, members)
        ax.set_title(measure_title(name, members[0].measures[0].steps))
        if index + columns >= len(panels):
            ax.set_xlabel(_radius_label(curves))
    legend.add_to(figure)
    return figure


@styled
def draw_sharpness_panel(ax: Axes, result: Sharpness | SharpnessComparison) -> None:
    """Draw the first panel of `plot_sharpness` on given axes; measures of one radius as dots."""
    curves, names = _curves(result, None)
    panels = _panels(curves)
    if all(len(curve.measures) == 1 for curve in curves):
        _draw_rows(ax, panels, len(names))
        drawn = list(panels)
    else:
        drawn = [next(iter(panels))]
        ax.set_ylabel(rise_label([curve.result for curve in curves]))
        _draw_panel(ax, panels[drawn[0]])
        ax.set(
            title=measure_title(drawn[0], panels[drawn[0]][0].measures[0].steps),
            xlabel=_radius_label(curves),
        )
    ax.legend(handles=_handles(curves, names, drawn))


def measure_title(name: str, steps: int = 0) -> str:
    """Name a measure in words."""
    if name not in MEASURES:
        return name.replace("_", " ")
    return MEASURES[name].title.format(steps=steps)


def rise_label(results: Sequence[Sharpness]) -> str:
    """Say what sharpness is the rise of."""
    return f"rise of the {' / '.join(dict.fromkeys(result.split for result in results))} loss"


def _curves(results: Checkpoints, labels: Sequence[str] | None) -> tuple[list[Curve], list[str]]:
    """Return the curves of all checkpoints, and what their colours mean."""
    given = [results] if isinstance(results, Sharpness | SharpnessComparison) else list(results)
    labels = name_results(given, labels)
    named: list[tuple[str, Sharpness]] = []
    for label, result in zip(labels, given, strict=True):
        if isinstance(result, Sharpness):
            named.append((label, result))
        else:
            prefix = f"{label}: " if label and len(given) > 1 else ""
            own = result.group_of or result.names
            named += [
                (prefix + shortened(name), each)
                for name, each in zip(own, result.checkpoints, strict=True)
            ]
    names = list(dict.fromkeys(name for name, _ in named))
    counts = Counter(name for name, _ in named)
    curves = [
        curve
        for name, result in named
        for curve in _curves_of(result, names.index(name), is_alone=counts[name] == 1)
    ]
    if not any(np.isfinite(curve.values).any() for curve in curves):
        raise InputError(
            "sharpness needs at least one finite measure to be drawn, got none.",
            hint="Look at the loss of the checkpoint for NaN and inf, or pass a smaller --rho.",
        )
    _require_one_ball(curves)
    return curves, names


def _curves_of(result: Sharpness, color: int, *, is_alone: bool) -> list[Curve]:
    by_name: dict[str, list[Measure]] = {}
    for measure in sorted(result.measures, key=lambda each: each.rho):
        by_name.setdefault(measure.name, []).append(measure)
    return [
        Curve(result, color, tuple(by_name[name]), is_alone) for name in ORDER if name in by_name
    ]


def _require_one_ball(curves: Sequence[Curve]) -> None:
    balls = {
        (measure.p, measure.adaptive, measure.m) for curve in curves for measure in curve.measures
    }
    if len(balls) > 1:
        found = "; ".join(_ball(*ball) for ball in sorted(balls, key=str))
        raise InputError(
            f"the measures in one figure must be of one ball and one size of batches, got {found}.",
            hint="Draw each in a figure of its own.",
        )


def _ball(p: float, adaptive: bool, m: int | None) -> str:
    norm = "\N{INFINITY}" if np.isinf(p) else f"{p:g}"
    return ", ".join(
        [f"p = {norm}", *["adaptive"] * adaptive, *([] if m is None else [f"m = {m}"])]
    )


def _radius_label(curves: Sequence[Curve]) -> str:
    one = curves[0].measures[0]
    return rf"radius $\rho$ ({_ball(one.p, one.adaptive, one.m)})"


def _panels(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    """Group curves by measure.

    The first order is a line in the panels of the other measures, if there are any.
    """
    panels = {
        name: members
        for name in ORDER
        if (members := [c for c in curves if c.measures[0].name == name])
    }
    if set(panels) & {"asc", "nstep", "max"}:
        panels.pop("first_order", None)
    return panels


def _draw_panel(ax: Axes, curves: Sequence[Curve]) -> None:
    """Draw one measure of all checkpoints, the predictions under the curves."""
    rho = np.concatenate([curve.rho for curve in curves])
    fine = np.geomspace(rho.min(), rho.max(), _FINE)
    values = np.concatenate([curve.values for curve in curves])
    values = values[np.isfinite(values)]
    for curve in curves:
        _draw_predictions(ax, curve, fine)
        _draw_curve(ax, curve)
    set_log_ticks(ax, Scale("log", log_levels(rho.min(), rho.max(), _MAX_TICKS)), "x")
    margin = max((rho.max() / rho.min()) ** _MARGIN, 1 + _MARGIN)
    ax.set_xlim(rho.min() / margin, rho.max() * margin)
    predictions = [
        line for curve in curves for line in curve.first_order(fine) + curve.second_order(fine)
    ]
    if values.size:
        _set_rise_axis(ax, values, np.concatenate([values[:0], *predictions]))


def _draw_curve(ax: Axes, curve: Curve) -> None:
    color, marker = (
        LINE_COLORS[curve.color % len(LINE_COLORS)],
        LINE_MARKERS[curve.color % len(LINE_MARKERS)],
    )
    rho, values, errors = curve.rho, curve.values, curve.errors
    if np.isfinite(errors).any():
        low = values - errors
        low = np.where(
            (low <= 0) & (values > 0), _LOWEST * values, low
        )  # below any logarithmic axis
        ax.fill_between(
            rho, low, values + errors, color=color, alpha=_BAND, linewidth=0, gid="interval"
        )
    has_markers = len(rho) <= _MAX_MARKERS
    ax.plot(rho, values, color=color, marker=marker if has_markers else None, gid="measured")
    is_open = ~curve.converged
    if is_open.any():
        (line,) = ax.plot(
            rho[is_open], values[is_open], color=color, marker=marker, linestyle="none"
        )
        line.set(markerfacecolor="white", gid="not-converged")


def _draw_predictions(ax: Axes, curve: Curve, rho: np.ndarray) -> None:
    color = LINE_COLORS[curve.color % len(LINE_COLORS)]
    for line in curve.first_order(rho):
        ax.plot(rho, line, color=color, linestyle=_FIRST, linewidth=_THIN, gid="first-order")
    for line in curve.second_order(rho):
        ax.plot(rho, line, color=color, linestyle=_SECOND, linewidth=_DOTTED, gid="second-order")
        error = curve.second_order_error(rho)
        if error is not None:
            ax.fill_between(
                rho,
                line - error,
                line + error,
                color="0.5",
                alpha=0.18,
                linewidth=0,
                gid="trace-error",
            )


def _set_rise_axis(ax: Axes, values: np.ndarray, predictions: np.ndarray) -> None:
    """Put the rise on a logarithmic axis, or on one for both signs if not all are positive."""
    if values.min() > 0:
        _set_log_axis(ax, values, predictions, "y")
        return
    set_signed_axis(ax, values, ax.get_ylabel(), "y")
    ax.axhline(0.0, color="black", linewidth=0.7)


def _set_log_axis(
    ax: Axes, values: np.ndarray, others: np.ndarray, direction: Literal["x", "y"]
) -> None:
    """Show all values, and of the others those that are not far from them."""
    near = others[(others > values.min() / _FARTHEST) & (others < values.max() * _FARTHEST)]
    low, high = (
        min(values.min(), near.min(initial=np.inf)),
        max(values.max(), near.max(initial=0.0)),
    )
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
    ax.set(
        **{
            f"{direction}lim": transform.inverted().transform(
                np.array([low - margin, high + margin])
            )
        }
    )
    ax.set(**{f"{direction}label": with_note(name, scale).strip()})


def _decades(values: np.ndarray, max_decades: int) -> tuple[float, list[float]]:
    """Return the power of ten below most magnitudes, and evenly spaced powers above it.

    The latter descend from the power of the largest magnitude.
    """
    magnitudes = np.abs(values[values != 0])
    first, last = (
        int(np.floor(np.log10(each)))
        for each in (np.quantile(magnitudes, _LOWEST_SHARE), magnitudes.max())
    )
    stride = -(-(last - first + 1) // max_decades)
    return float(f"1e{first}"), [float(f"1e{power}") for power in range(last, first - 1, -stride)]


def _draw_dots(curves: Sequence[Curve], names: Sequence[str]) -> Figure:
    """Draw measures of one radius as rows, the checkpoints one below the other in a row."""
    measured = _panels(curves)
    legend = Legend(
        _handles(curves, names, list(measured), has_dots=True), _note(curves, list(measured))
    )
    height = _BORDER + _ROW * len(measured) * max(1.5, len(names)) + legend.height(ONE_COLUMN)
    ax = new_figure(ONE_COLUMN, height).add_subplot()
    _draw_rows(ax, measured, len(names))
    legend.add_to(figure_of(ax))
    return figure_of(ax)


def _draw_rows(ax: Axes, measured: dict[str, list[Curve]], num_names: int) -> None:
    """Draw the dots and name the axes."""
    drawn = [curve for members in measured.values() for curve in members]
    for row, members in enumerate(measured.values()):
        for curve in members:
            _draw_dot(
                ax,
                curve,
                row + _GROUP * ((curve.color + 0.5) / num_names - 0.5),
                _GROUP / num_names,
            )
    _set_dot_axis(ax, drawn)
    rhos = {curve.measures[0].rho for curve in drawn}
    titles = [
        measure_title(name, members[0].measures[0].steps)
        + ("" if len(rhos) == 1 else rf" ($\rho$ = {members[0].measures[0].rho:.3g})")
        for name, members in measured.items()
    ]
    ax.set_yticks(range(len(measured)), titles)
    ax.set_ylim(len(measured) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=True, axis="x")
    one = drawn[0].measures[0]
    place = rf"$\rho$ = {one.rho:.3g}, " if len(rhos) == 1 else ""
    ax.set_xlabel(
        f"{rise_label([curve.result for curve in drawn])}\n({place}{_ball(one.p, one.adaptive, one.m)})"
    )


def _draw_dot(ax: Axes, curve: Curve, place: float, height: float) -> None:
    """Draw one measure and its interval at a height, with the predictions as upright strokes."""
    color, marker = (
        LINE_COLORS[curve.color % len(LINE_COLORS)],
        LINE_MARKERS[curve.color % len(LINE_MARKERS)],
    )
    values, errors, ends = curve.values, curve.errors, [place - height / 2, place + height / 2]
    for line in curve.first_order(curve.rho):
        ax.plot(
            [line[0]] * 2, ends, color=color, linestyle=_FIRST, linewidth=_THIN, gid="first-order"
        )
    for line in curve.second_order(curve.rho):
        ax.plot(
            [line[0]] * 2,
            ends,
            color=color,
            linestyle=_SECOND,
            linewidth=_DOTTED,
            gid="second-order",
        )
    if np.isfinite(errors).all():
        ax.errorbar(
            values, [place], xerr=errors, fmt="none", ecolor=color, elinewidth=1.0, capsize=2.0
        )
    (dot,) = ax.plot(
        values, [place], color=color, marker=marker, markersize=5, linestyle="none", gid="measured"
    )
    if not curve.converged.all():
        dot.set(markerfacecolor="white")


def _set_dot_axis(ax: Axes, curves: Sequence[Curve]) -> None:
    """Choose the axis by the values; one that is not logarithmic holds 0."""
    values = np.concatenate([curve.values for curve in curves])
    values = values[np.isfinite(values)]
    predictions = [
        line
        for curve in curves
        for line in curve.first_order(curve.rho) + curve.second_order(curve.rho)
    ]
    predictions = np.concatenate([values[:0], *predictions])
    ends = [
        curve.values + sign * np.nan_to_num(curve.errors) for curve in curves for sign in (-1, 1)
    ]
    if values.min() > 0 and values.max() > _LOG_RATIO * values.min():
        _set_log_axis(ax, values, np.concatenate([predictions, *ends]), "x")
        return
    near = predictions[np.abs(predictions) < _FARTHEST * np.abs(values).max()]
    ends = np.concatenate([np.zeros(1), near, *ends])
    set_signed_axis(ax, ends[np.isfinite(ends)], "", "x")
    ax.axvline(0.0, color="black", linewidth=0.7)


def _handles(
    curves: Sequence[Curve], names: Sequence[str], drawn: Sequence[str], *, has_dots: bool = False
) -> list[Artist]:
    """Name the colours, the bands and the predictions, each only where there is one."""
    shown = [curve for curve in curves if curve.measures[0].name in drawn]
    handles: list[Artist] = [
        Line2D(
            [],
            [],
            color=LINE_COLORS[i % len(LINE_COLORS)],
            marker=LINE_MARKERS[i % len(LINE_MARKERS)],
            label=name,
        )
        for i, name in enumerate(names)
        if name
    ]
    color = LINE_COLORS[0] if len(names) == 1 else "0.25"
    if any(curve.first_order(curve.rho) for curve in shown):
        handles.append(
            Line2D([], [], color=color, linestyle=_FIRST, linewidth=_THIN, label="first order")
        )
    if any(curve.second_order(curve.rho) for curve in shown):
        handles.append(
            Line2D([], [], color=color, linestyle=_SECOND, linewidth=_DOTTED, label="second order")
        )
    if any(np.isfinite(curve.errors).any() for curve in shown):
        bar = Line2D([], [], color=color, linewidth=1.0, marker="|", label=_INTERVAL)
        handles.append(
            bar if has_dots else Patch(color=color, alpha=_BAND, linewidth=0, label=_INTERVAL)
        )
    if not all(curve.converged.all() for curve in shown):
        handles.append(
            Line2D(
                [],
                [],
                color=color,
                marker="o",
                markerfacecolor="white",
                linestyle="none",
                label="not converged",
            )
        )
    return handles


def _note(curves: Sequence[Curve], drawn: Sequence[str]) -> str:
    """Say what two dotted lines mean, where there are two."""
    is_bounded = any(
        len(curve.second_order(curve.rho)) > 1
        for curve in curves
        if curve.measures[0].name in drawn
    )
    return "To second order, the maximum is between its two dotted lines." if is_bounded else ""
