"""Surfaces on lines: loss or accuracy along the coordinate, for checkpoints on shared axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from landscape.errors import require
from landscape.plot.field import (
    Field,
    choose_splits,
    interpolation_note,
    missing_names,
    scale_of,
    select_field,
    shared_name,
)
from landscape.plot.mark_symbols import draw_marks, mark_handles
from landscape.plot.names import list_results
from landscape.plot.path_labels import draw_barriers, tick_marks
from landscape.plot.presets import sized
from landscape.plot.scale import Scale, extent
from landscape.plot.style import (
    LINE_COLORS,
    Legend,
    color_of,
    dashed,
    draw_band,
    figure_of,
    key,
    line_style_of,
    marked,
    marker_of,
    name_keys,
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
_MISSING = {"not_finite": "x", "not_done": "|"}  # markers at the foot of the axes


@styled
def plot_profile(
    surfaces: Surface | Sequence[Surface],
    *,
    labels: Sequence[str] | None = None,
    split: str | None = None,
    quantity: str = "loss",
    ax: Axes | None = None,
) -> Axes:
    """Draw surfaces on lines: a colour and a marker per checkpoint, dashes per split.

    Where there is a single split, dashes tell checkpoints apart. Several lines of one surface are
    drawn as their median with a band between the quartiles, and each of them faintly where nothing
    else is in the figure. Values with a standard error have a band of it. Points that are not
    finite interrupt the line and are marked at the foot of the axes; between points that were
    evaluated, which have dots where others were not, the line is interpolated.

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
    if ax is None:
        ax = _legend(fields).new_figure(1, _HEIGHT).add_subplot()
    else:
        _legend(fields).add_to(figure_of(ax))
    _draw(ax, fields, names)
    return ax


def plot_profiles(
    surfaces: Sequence[Surface], names: Sequence[str], split: str | None, quantity: str
) -> Figure:
    """Draw profiles of a quantity, and under the loss the accuracy if every surface has it."""
    panels = [_fields(surfaces, split, quantity)]
    has_accuracy = all(
        field.split in surface.accuracy for surface in surfaces for field in panels[0][0]
    )
    if quantity == "loss" and has_accuracy:
        panels.append(_fields(surfaces, split, "accuracy"))
    figure = _legend(panels[0]).new_figure(1, _HEIGHT if len(panels) == 1 else _TWO_PANELS)
    top, *others = figure.subplots(len(panels), squeeze=False, sharex=True).flat
    for ax, fields in zip((top, *others), panels, strict=True):
        _draw(ax, fields, names)
    for below in others:
        below.set_title("")
        if len(surfaces) > 1 and (shared := below.get_legend()):
            shared.remove()
    top.label_outer()
    return figure


def _legend(fields: list[list[Field]]) -> Legend:
    """Return the legend of curves: bands, marks, missing points and the evaluated share."""
    drawn = [field for row in fields for field in row]
    meanings = dict.fromkeys(filter(None, map(_meaning_of_band, drawn)))
    bands = [Patch(color="0.25", label=meaning, alpha=0.35) for meaning in meanings]
    missing = [
        key(name, color="0.25", marker=_MISSING[sign], linestyle="none")
        for sign, name in missing_names(drawn).items()
    ]
    return Legend(
        [
            *bands,
            *mark_handles(drawn, [(extent([field.x for field in drawn]),)] * len(drawn)),
            *missing,
        ],
        interpolation_note(drawn),
    )


def _draw(ax: Axes, fields: list[list[Field]], names: Sequence[str]) -> None:
    """Draw surfaces on lines as `plot_profile` does, without what stands under the figure."""
    drawn = [field for row in fields for field in row]
    scale = scale_of(drawn)
    ax.set(
        xlabel=" / ".join(dict.fromkeys(row[0].axis_labels[0] for row in fields)),
        ylabel=with_note(shared_name(fields[0]), scale),
    )
    ax.axvline(0.0, color="0.75", linewidth=0.7, zorder=0.5)
    ax.margins(x=0.02)
    set_scale(ax, scale)
    if len(drawn) == 1 and drawn[0].summary[1] is not None:
        ax.plot(
            drawn[0].x,
            drawn[0].drawn.T,
            color=color_of(0),
            alpha=0.35,
            linewidth=0.5,
            gid="single",
        )
    for index, row in enumerate(fields):
        for style, field in enumerate(row):
            _draw_line(ax, field, scale, index, _line_look(fields, index, style))
            draw_marks(ax, field, drawn)
    tick_marks(ax, drawn[0])
    if len(fields) == 1:
        draw_barriers(ax, drawn[0])
    num_rows = _add_legend(ax, fields, names)
    if len(fields) == 1 and names[0]:
        ax.set_title(names[0], pad=_TITLE_PAD + _LEGEND_ROW * num_rows)


def _fields(surfaces: Sequence[Surface], split: str | None, quantity: str) -> list[list[Field]]:
    """Return the fields to draw, a row per surface and a column per split."""
    require(
        all(surface.y is None for surface in surfaces),
        "a curve needs a surface on a line, got one on a plane.",
        hint="Draw it as filled contours.",
    )
    splits = choose_splits(surfaces, split, quantity)
    return [[select_field(surface, name, quantity) for name in splits] for surface in surfaces]


def _band(field: Field) -> np.ma.MaskedArray | None:
    """Return the quartiles of several lines, or the ends of the standard errors, (2, nx)."""
    middle, quartiles = field.summary
    if field.standard_error is None or quartiles is not None:
        return quartiles
    errors = np.ma.masked_where(field.is_not_done, field.standard_error).reshape(-1)
    return np.ma.stack([middle - errors, middle + errors])


def _meaning_of_band(field: Field) -> str:
    """Say what the band is; empty without one."""
    if field.summary[1] is not None:
        return f"median, quartiles of {len(field.drawn)} lines"
    return "" if field.standard_error is None else "\N{PLUS-MINUS SIGN} standard error"


def _line_look(fields: list[list[Field]], index: int, number: int) -> dict[str, Any]:
    """Return how the line of a checkpoint and of one of its splits is drawn, both from 0."""
    if len(fields[0]) == 1:
        return dashed(index)
    dashes = {"color": color_of(index), "linestyle": line_style_of(number)}
    signs = {**marked(index, fields[index][number].x.size, 0), "markerfacecolor": "white"}
    return {**signs, **dashes} if len(fields) > 1 else dashes


def _draw_line(ax: Axes, field: Field, scale: Scale, index: int, look: Mapping[str, Any]) -> None:
    """Draw one split of one checkpoint, its value at the origin, and its missing points."""
    color = color_of(index)
    middle, band = field.summary[0], _band(field)
    if band is not None:
        lowest = 1e-3 * scale.low if scale.kind == "log" else -np.inf  # below the axis
        low, high = np.ma.maximum(band, lowest)
        draw_band(ax, field.x, low, high, color, _BAND, "band")
        if scale.kind == "log" and band.min() < scale.low:
            ax.set_ylim(bottom=0.8 * scale.low)
    ax.plot(field.x, middle, **look, gid="curve")
    was_evaluated = np.all(~np.atleast_2d(field.is_not_done), axis=0)
    has_dot = _is_alone(middle) | (was_evaluated & field.is_interpolated.any())
    if has_dot.any():
        ax.plot(
            field.x[has_dot],
            middle[has_dot],
            ".",
            color=color,
            **sized({"markersize": 3.5}),
            gid="dots",
        )
    if field.center is not None and np.isfinite(field.center):
        ax.plot(
            [0.0],
            [field.center],
            color=color,
            marker=marker_of(index),
            markerfacecolor="white",
            gid="center",
        )
    rug: dict[str, Any] = sized({"markersize": 4.0})
    rug |= {"transform": ax.get_xaxis_transform(), "gid": "missing"}
    for mask, sign in zip((field.is_not_finite, field.is_unknown), _MISSING.values(), strict=True):
        places = field.x[np.atleast_2d(mask).any(axis=0)]
        if places.size:
            ax.plot(places, 0 * places + _RUG_HEIGHT * (1 + index), sign, color=color, **rug)


def _is_alone(values: np.ma.MaskedArray) -> np.ndarray:
    """Return which points are there without a neighbour, so that no line shows them, (nx,)."""
    is_there = np.pad(~np.ma.getmaskarray(values), 1)
    return is_there[1:-1] & ~is_there[:-2] & ~is_there[2:]


def _add_legend(ax: Axes, fields: list[list[Field]], names: Sequence[str]) -> int:
    """Name colours and line styles, each only where there is a choice.

    A split has its value at the origin where there is one checkpoint only.

    A short legend is where the lines leave room, a long one above the axes. Return the number of
    rows above the axes.
    """
    has_dashes = len(fields[0]) == 1
    handles = name_keys(names if len(fields) > 1 else [], has_dashes=has_dashes, mfc="white")
    if len(fields[0]) > 1:
        color = "0.25" if len(fields) > 1 else LINE_COLORS[0]
        handles += [
            key(field.split, color=color, linestyle=line_style_of(index))
            for index, field in enumerate(fields[0])
        ]
    if not handles:
        return 0
    num_characters = sum(len(str(handle.get_label())) for handle in handles)
    if len(handles) <= 4 and num_characters <= _MAX_INSIDE:
        ax.legend(handles=handles, ncols=1 if len(handles) <= 3 else 2)
        return 0
    columns = 3 if num_characters <= 2 * _MAX_INSIDE and len(handles) > 4 else 2
    ax.legend(handles=handles, ncols=columns, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return -(-len(handles) // columns)
