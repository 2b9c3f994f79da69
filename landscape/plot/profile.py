"""Surfaces on lines: loss or accuracy along the coordinate, for checkpoints on shared axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from landscape.errors import InputError
from landscape.plot.field import (
    Field,
    choose_splits,
    interpolation_note,
    missing_name,
    scale_of,
    select_field,
)
from landscape.plot.kinds import list_results
from landscape.plot.legend import Legend
from landscape.plot.mark_symbols import draw_marks_on_curve, extent, mark_handles
from landscape.plot.names import quantity_label
from landscape.plot.scale import Scale
from landscape.plot.style import (
    LINE_COLORS,
    ONE_COLUMN,
    color_of,
    draw_band,
    figure_of,
    format_value,
    key,
    line_style_of,
    marker_of,
    name_keys,
    new_figure,
    set_scale,
    styled,
    with_note,
)
from landscape.results.surface import Surface

_HEIGHT, _TWO_PANELS = 2.4, 4.0  # inches
_MAX_INSIDE = 50  # characters of a legend within the axes of one column
_TITLE_PAD, _LEGEND_ROW = 6.0, 14.0  # points
_RUG_HEIGHT = 0.03  # of the axes: where the signs of missing points stand
_BAND = 0.22  # opacity
_BAND_KEY = 0.35  # opacity of a band in the legend, where no line is in it
_LOWEST = 1e-3  # share of the lowest level of a logarithmic scale, which is below the axis
_BELOW = 0.8  # of that level, where the axis ends for a band that comes down to 0
_SINGLE: dict[str, Any] = {"alpha": 0.35, "linewidth": 0.5}


@dataclass(frozen=True)
class _Curve:
    """What is drawn of a field: a line, and a band around it where there is one.

    Attributes:
        middle: The values, or the median of several lines, (nx,); masked where missing.
        band: Lower and upper edge, (2, nx); None without a band.
        singles: Each of several lines, (num_lines, nx); none where there is one only.
        meaning: What the band is; empty without one.
    """

    middle: np.ma.MaskedArray
    band: np.ma.MaskedArray | None
    singles: np.ma.MaskedArray
    meaning: str


def _curve(field: Field) -> _Curve:
    """Summarise a field by the values, or by median and quartiles for several lines."""
    middle, band = field.summary
    singles = np.ma.empty((0, middle.size))
    if band is not None:
        meaning = f"median, quartiles of {len(field.drawn)} lines"
        return _Curve(middle, band, field.drawn, meaning)
    if field.standard_error is None:
        return _Curve(middle, None, singles, "")
    errors = np.ma.masked_where(field.is_not_done, field.standard_error).reshape(-1)
    band = np.ma.stack([middle - errors, middle + errors])
    return _Curve(middle, band, singles, "\N{PLUS-MINUS SIGN} standard error")


@styled
def plot_profile(
    surfaces: Surface | Sequence[Surface],
    *,
    labels: Sequence[str] | None = None,
    split: str | None = None,
    quantity: str = "loss",
    ax: Axes | None = None,
) -> Axes:
    """Draw surfaces on lines: a colour and a marker per checkpoint, a line style per split.

    Several lines of one surface are drawn as their median with a band between the quartiles, and
    each of them faintly where nothing else is in the figure. Values with a standard error have a
    band of it. Points that are not finite interrupt the line and are marked at the foot of the
    axes; between points that were evaluated, which have dots where others were not, the line is
    interpolated.

    Args:
        surfaces: One or several, on lines.
        labels: One per surface, for the legend.
        split: Name of the data split; None for all that the surfaces share.
        quantity: `loss`, `accuracy`, which is drawn in percent, or the name of a map of the
            surfaces.
        ax: Where to draw; None for a new figure.

    Raises:
        InputError: If a surface is on a plane, or has no such split, quantity or finite value.
    """
    surfaces, names = list_results(surfaces, labels)
    fields = _fields(surfaces, split, quantity)
    legend = _legend(fields)
    if ax is None:
        ax = new_figure(ONE_COLUMN, _HEIGHT + legend.height(ONE_COLUMN)).add_subplot()
    _draw(ax, fields, names)
    legend.add_to(figure_of(ax))
    return ax


def plot_profiles(
    surfaces: Sequence[Surface], names: Sequence[str], split: str | None, quantity: str
) -> Figure:
    """Draw profiles of a quantity, and under the loss the accuracy if every surface has it."""
    panels = [_fields(surfaces, split, quantity)]
    splits = [field.split for field in panels[0][0]]
    has_accuracy = all(each in surface.accuracy for surface in surfaces for each in splits)
    if quantity == "loss" and has_accuracy:
        panels.append(_fields(surfaces, split, "accuracy"))
    legend = _legend(panels[0])
    height = _HEIGHT if len(panels) == 1 else _TWO_PANELS
    figure = new_figure(ONE_COLUMN, height + legend.height(ONE_COLUMN))
    ax = figure.add_subplot(len(panels), 1, 1)
    _draw(ax, panels[0], names)
    for fields in panels[1:]:
        below = figure.add_subplot(len(panels), 1, 2, sharex=ax)
        _draw(below, fields, names)
        below.set_title("")
        if len(surfaces) > 1 and (shared := below.get_legend()):
            shared.remove()
        ax.set_xlabel("")
        ax.tick_params(labelbottom=False)
    legend.add_to(figure)
    return figure


def _legend(fields: list[list[Field]]) -> Legend:
    """Return the legend of curves: bands, marks, missing points and the evaluated share."""
    drawn = [field for row in fields for field in row]
    meanings = dict.fromkeys(filter(None, (_curve(field).meaning for field in drawn)))
    handles: list[Artist] = [
        Patch(color="0.25", label=meaning, alpha=_BAND_KEY) for meaning in meanings
    ]
    handles += mark_handles(drawn, (extent([field.x for field in drawn]),))
    lost = {
        missing_name(drawn): "x",
        "not computed": "|" if any(field.is_unknown.any() for field in drawn) else None,
    }
    handles += [
        key(name, color="0.25", marker=sign, linestyle="none")
        for name, sign in lost.items()
        if name and sign
    ]
    return Legend(handles, interpolation_note(drawn) or "")


def _draw(ax: Axes, fields: list[list[Field]], names: Sequence[str]) -> None:
    """Draw surfaces on lines as `plot_profile` does, without what stands under the figure."""
    drawn = [field for row in fields for field in row]
    scale = scale_of(drawn)
    _set_axes(ax, fields, scale)
    for index, row in enumerate(fields):
        for style, field in enumerate(row):
            curve = _curve(field)
            _draw_line(ax, field, curve, scale, (index, style), has_singles=len(drawn) == 1)
            draw_marks_on_curve(ax, field, drawn)
    num_rows = _add_legend(ax, _legend_handles(fields, names))
    if len(fields) == 1 and names[0]:
        ax.set_title(names[0], pad=_TITLE_PAD + _LEGEND_ROW * num_rows)


def _fields(surfaces: Sequence[Surface], split: str | None, quantity: str) -> list[list[Field]]:
    """Return the fields to draw, a row per surface and a column per split."""
    if any(surface.y is not None for surface in surfaces):
        raise InputError(
            "a curve needs a surface on a line, got one on a plane.",
            hint="Draw it as filled contours.",
        )
    splits = choose_splits(surfaces, split, quantity)
    return [[select_field(surface, name, quantity) for name in splits] for surface in surfaces]


def _set_axes(ax: Axes, fields: list[list[Field]], scale: Scale) -> None:
    """Label the axes and set the scale of the values."""
    units = dict.fromkeys(row[0].axis_labels[0] for row in fields)
    ax.set_xlabel(" / ".join(units))
    first = fields[0]
    name = first[0].name if len(first) == 1 else quantity_label(first[0].quantity)
    ax.set_ylabel(with_note(name, scale))
    ax.axvline(0.0, color="0.75", linewidth=0.7, zorder=0.5)
    ax.margins(x=0.02)
    set_scale(ax, scale)


def _draw_line(
    ax: Axes,
    field: Field,
    curve: _Curve,
    scale: Scale,
    place: tuple[int, int],
    *,
    has_singles: bool,
) -> None:
    """Draw one split of one checkpoint, its value at the origin, and its missing points."""
    index, style = place
    color = color_of(index)
    if has_singles:
        for single in curve.singles:
            ax.plot(field.x, single, color=color, gid="single", **_SINGLE)
    if curve.band is not None:
        lowest = _LOWEST * scale.low if scale.kind == "log" else -np.inf
        low, high = np.ma.maximum(curve.band, lowest)
        draw_band(ax, field.x, low, high, color, _BAND, "band")
        if scale.kind == "log" and curve.band.min() < scale.low:
            ax.set_ylim(bottom=_BELOW * scale.low)
    ax.plot(field.x, curve.middle, color=color, linestyle=line_style_of(style), gid="curve")
    was_evaluated = np.all(~np.atleast_2d(field.is_not_done), axis=0)
    has_dot = _is_alone(curve.middle) | (was_evaluated & field.is_interpolated.any())
    if has_dot.any():
        dots = field.x[has_dot], curve.middle[has_dot]
        ax.plot(*dots, ".", color=color, markersize=3.5, gid="dots")
    if field.center is not None and np.isfinite(field.center):
        white: dict[str, Any] = {"markerfacecolor": "white", "marker": marker_of(index)}
        ax.plot([0.0], [field.center], color=color, **white, gid="center")
    for mask, sign in ((field.is_not_finite, "x"), (field.is_unknown, "|")):
        places = field.x[np.atleast_2d(mask).any(axis=0)]
        if places.size:
            heights = np.full(places.size, _RUG_HEIGHT * (1 + index))
            rug = {"markersize": 4, "transform": ax.get_xaxis_transform(), "gid": "missing"}
            ax.plot(places, heights, sign, color=color, **rug)


def _is_alone(values: np.ma.MaskedArray) -> np.ndarray:
    """Return which points are there without a neighbour, so that no line shows them, (nx,)."""
    is_there = np.pad(~np.ma.getmaskarray(values), 1)
    return is_there[1:-1] & ~is_there[:-2] & ~is_there[2:]


def _add_legend(ax: Axes, handles: list[Artist]) -> int:
    """Put a short legend where the lines leave room, or a long one above the axes.

    Return the number of rows above the axes.
    """
    if not handles:
        return 0
    num_characters = sum(len(str(handle.get_label())) for handle in handles)
    if len(handles) <= 4 and num_characters <= _MAX_INSIDE:
        ax.legend(handles=handles, ncols=1 if len(handles) <= 3 else 2)
        return 0
    columns = 3 if num_characters <= 2 * _MAX_INSIDE and len(handles) > 4 else 2
    ax.legend(handles=handles, ncols=columns, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return -(-len(handles) // columns)


def _legend_handles(fields: list[list[Field]], names: Sequence[str]) -> list[Artist]:
    """Name colours, line styles and bands, the first two only where there is a choice."""
    handles: list[Artist] = []
    if len(fields) > 1:
        handles += name_keys(names, markerfacecolor="white")
    splits = [field.split for field in fields[0]]
    if len(splits) > 1:
        color = "0.25" if len(fields) > 1 else LINE_COLORS[0]
        handles += [
            key(_with_center(name, fields, index), color=color, linestyle=line_style_of(index))
            for index, name in enumerate(splits)
        ]
    return handles


def _with_center(split: str, fields: list[list[Field]], index: int) -> str:
    """Name a split, with its value at the origin where there is one checkpoint only."""
    center = fields[0][index].center
    if len(fields) > 1 or center is None:
        return split
    unit = "%" if fields[0][index].quantity == "accuracy" else ""
    return f"{split} (center: {format_value(center)}{unit})"
