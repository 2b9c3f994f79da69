"""A surface on a line: loss or accuracy against the coordinate, several checkpoints on shared axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from landscape.errors import InputError
from landscape.plot.field import Field, choose_splits, quantity_label, select_field
from landscape.plot.kinds import name_results
from landscape.plot.scale import Scale, choose_scale
from landscape.plot.style import (
    LINE_COLORS,
    LINE_MARKERS,
    LINE_STYLES,
    ONE_COLUMN,
    format_value,
    new_figure,
    set_log_ticks,
    styled,
)
from landscape.results import Surface

_MAX_INSIDE = 50  # characters of a legend within the axes of one column
_TITLE_PAD, _LEGEND_ROW = 6.0, 14.0  # points
_RUG_HEIGHT = 0.03  # of the axes: where the signs of missing points stand


@styled
def plot_profile(
    surfaces: Surface | Sequence[Surface],
    *,
    labels: Sequence[str] | None = None,
    split: str | None = None,
    quantity: str = "loss",
    ax: Axes | None = None,
) -> Axes:
    """Draw surfaces on a line: a colour and a marker a checkpoint, a line style a split.

    Points that are missing interrupt the line and are marked at the foot of the axes.

    Args:
        surfaces: One or several, on lines.
        labels: One a surface, for the legend.
        split: Name of the data split; None for all that the surfaces share.
        quantity: `loss` or `accuracy`, which is drawn in percent.
        ax: Where to draw; None for a new figure.

    Raises:
        InputError: If a surface is on a plane, or has no such split, quantity or finite value.
    """
    surfaces = [surfaces] if isinstance(surfaces, Surface) else list(surfaces)
    if any(surface.y is not None for surface in surfaces):
        raise InputError("a curve needs a surface on a line, got one on a plane.", hint="Draw it as filled contours.")
    names = name_results(surfaces, labels)
    splits = choose_splits(surfaces, split, quantity)
    fields = [[select_field(surface, name, quantity) for name in splits] for surface in surfaces]
    scale = choose_scale([field.finite for row in fields for field in row], is_share=quantity == "accuracy")
    if ax is None:
        ax = new_figure(ONE_COLUMN, 2.4).add_subplot()
    _set_axes(ax, fields, splits, scale)
    for index, row in enumerate(fields):
        for style, field in enumerate(row):
            _draw_line(ax, field, index, style)
    handles = _legend_handles(fields, names, splits)
    num_rows = _add_legend(ax, handles)
    if len(fields) == 1 and names[0]:
        ax.set_title(names[0], pad=_TITLE_PAD + _LEGEND_ROW * num_rows)
    return ax


def _set_axes(ax: Axes, fields: list[list[Field]], splits: Sequence[str], scale: Scale) -> None:
    """Label the axes and set the scale of the values."""
    units = dict.fromkeys(row[0].axis_labels[0] for row in fields)
    quantity = quantity_label(fields[0][0].quantity)
    ax.set_xlabel(" / ".join(units))
    ax.set_ylabel((f"{splits[0]} {quantity}" if len(splits) == 1 else quantity) + scale.note)
    ax.axvline(0.0, color="0.75", linewidth=0.7, zorder=0.5)
    ax.margins(x=0.02)
    if scale.kind == "log":
        set_log_ticks(ax, scale)
    elif scale.kind == "symlog":
        ax.set_yscale("symlog", linthresh=scale.threshold)


def _draw_line(ax: Axes, field: Field, index: int, style: int) -> None:
    """Draw one split of one checkpoint, its value at the origin, and signs for its missing points."""
    color = LINE_COLORS[index % len(LINE_COLORS)]
    ax.plot(field.x, field.values, color=color, linestyle=LINE_STYLES[style % len(LINE_STYLES)])
    if (is_alone := _is_alone(field)).any():
        ax.plot(field.x[is_alone], field.values[is_alone], ".", color=color)
    if field.center is not None and np.isfinite(field.center):
        marker = LINE_MARKERS[index % len(LINE_MARKERS)]
        ax.plot([0.0], [field.center], marker=marker, color=color, markerfacecolor="white", gid="center")
    for mask, sign in ((field.is_not_finite, "x"), (field.is_not_done, "|")):
        if mask.any():
            heights = np.full(int(mask.sum()), _RUG_HEIGHT * (1 + index))
            transform = ax.get_xaxis_transform()
            ax.plot(field.x[mask], heights, sign, color=color, markersize=4, transform=transform, gid="missing")


def _is_alone(field: Field) -> np.ndarray:
    """Return which points are there without a neighbour, so that no line shows them, (nx,)."""
    is_there = np.pad(~np.ma.getmaskarray(field.values), 1)
    return is_there[1:-1] & ~is_there[:-2] & ~is_there[2:]


def _add_legend(ax: Axes, handles: list[Line2D]) -> int:
    """Put a short legend where the lines leave room, a long one over the axes; return its rows there."""
    if not handles:
        return 0
    num_characters = sum(len(str(handle.get_label())) for handle in handles)
    if len(handles) <= 4 and num_characters <= _MAX_INSIDE:
        ax.legend(handles=handles, ncols=1 if len(handles) <= 3 else 2)
        return 0
    columns = 3 if num_characters <= 2 * _MAX_INSIDE and len(handles) > 4 else 2
    ax.legend(handles=handles, ncols=columns, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return -(-len(handles) // columns)


def _legend_handles(fields: list[list[Field]], names: Sequence[str], splits: Sequence[str]) -> list[Line2D]:
    """Name colours, line styles and signs, each only where there is a choice or something missing."""
    handles = []
    if len(fields) > 1:
        handles += [
            Line2D([], [], color=LINE_COLORS[i % len(LINE_COLORS)], marker=LINE_MARKERS[i % len(LINE_MARKERS)],
                   markerfacecolor="white", label=name)
            for i, name in enumerate(names)
        ]  # fmt: skip
    if len(splits) > 1:
        color = "0.25" if len(fields) > 1 else LINE_COLORS[0]
        for i, name in enumerate(splits):
            style = LINE_STYLES[i % len(LINE_STYLES)]
            handles.append(Line2D([], [], color=color, linestyle=style, label=_with_center(name, fields, i)))
    drawn = [field for row in fields for field in row]
    if names_found := {field.not_finite_name for field in drawn if field.is_not_finite.any()}:
        name = names_found.pop() if len(names_found) == 1 else "NaN or inf"
        handles.append(Line2D([], [], color="0.25", marker="x", linestyle="none", label=name))
    if any(field.is_not_done.any() for field in drawn):
        handles.append(Line2D([], [], color="0.25", marker="|", linestyle="none", label="not computed"))
    return handles


def _with_center(split: str, fields: list[list[Field]], index: int) -> str:
    """Name a split, with its value at the origin where there is one checkpoint only."""
    center = fields[0][index].center
    if len(fields) > 1 or center is None:
        return split
    unit = "%" if fields[0][index].quantity == "accuracy" else ""
    return f"{split} (center: {format_value(center)}{unit})"
