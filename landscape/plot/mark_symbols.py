"""Points of interest on a surface: checkpoints, training trajectories, an ascent point."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, product
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from landscape.plot.field import Field, interpolation_note, missing_names
from landscape.plot.names import shortened
from landscape.plot.path_labels import name_snapshots
from landscape.plot.presets import current_style, sized
from landscape.plot.style import MISSING, Legend, key
from landscape.results.surface import Mark

View = tuple[tuple[float, float], ...]  # lowest and highest coordinate along each direction

_MARKERS = ("s", "^", "D", "v", "P", "p", "<", ">")
_FACES = ("white", "0.55")
_CHECKPOINT: dict[str, Any] = {
    "linestyle": "none",
    "markeredgecolor": "black",
    "markeredgewidth": 0.9,
    "markersize": 5.5,
}
_ASCENT = {**_CHECKPOINT, "marker": "X", "markerfacecolor": "#BB5566", "markersize": 6.5}
_START = {**_CHECKPOINT, "marker": "o", "markerfacecolor": "white"}
_END = {**_CHECKPOINT, "marker": "*", "markerfacecolor": "#7F0000", "markersize": 9.0}


def draw_marks(
    ax: Axes, field: Field, fields: Sequence[Field], *, floor: float | None = None
) -> None:
    """Draw the marks of a field on its plane, or on the curve of its values.

    On a curve they are at the loss in the line's weights, and snapshots are not joined: between
    them the loss is that of the curve. On a plane, the trajectory is under the single marks and its
    ends are over them; the signs of the ends still show what they cover.

    Args:
        ax: Whose limits are set, so that marks do not change them.
        field: Whose marks are drawn.
        fields: All that are drawn in the figure, so that one sign means one thing.
        floor: Height at which to draw on three-dimensional axes; None for flat ones.
    """
    # Above contour lines and below the sign of the centre, or above the floor and below the relief.
    order = 4.0 if floor is None else 2.0
    signs = mark_signs(fields)
    is_plane = field.y.size > 0

    def place(mark: Mark) -> Sequence[float]:
        return mark.coordinates if is_plane else (mark.coordinates[0], height_of(mark, field))

    def draw_line(marks: Sequence[Mark], **style: Any) -> None:
        if marks:
            ax.plot(*_columns(ax, list(map(place, marks)), floor), zorder=order, **style)

    path, unit = field.snapshots, current_style().unit
    if is_plane:
        draw_line(
            path,
            color="white",
            linewidth=1.0 * unit,
            path_effects=[withStroke(linewidth=2.2 * unit, foreground="black")],
            gid="trajectory",
        )
    for mark in field.marks:
        if mark.kind != "snapshot":
            draw_line([mark], **sized(signs[mark.kind, mark.label]), gid="mark")
    if path:
        draw_snapshots(ax, _columns(ax, list(map(place, path)), floor), 14.0, order + 0.1)
        if is_plane and floor is None:
            name_snapshots(ax, path)
    draw_line(path[:1], **sized(_START), gid="mark")
    draw_line(path[1:][-1:], **sized(_END), gid="mark")


def mark_signs(fields: Sequence[Field]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the signs of checkpoints and ascent points by kind and label, for all panels."""
    singles = (mark for field in fields for mark in field.marks if mark.kind != "snapshot")
    signs = {(mark.kind, mark.label): _ASCENT for mark in singles}
    checkpoints = [each for each in signs if each[0] != "ascent"]
    for each, (face, marker) in zip(checkpoints, cycle(product(_FACES, _MARKERS)), strict=False):
        signs[each] = {**_CHECKPOINT, "marker": marker, "markerfacecolor": face}
    return signs


def height_of(mark: Mark, field: Field) -> float:
    """Return the loss at the nearest point of a line or plane as measured, else the value there."""
    known = mark.plane_loss.get(field.split) if field.quantity == "loss" else None
    if known is None and not any(mark.coordinates):
        known = field.center
    if known is not None and np.isfinite(known):
        return known
    values = np.atleast_2d(field.summary[0].filled(np.nan))
    outside = {"left": np.nan, "right": np.nan}
    along_x = [np.interp(mark.coordinates[0], field.x, row, **outside) for row in values]
    if field.y.size:
        along_x = [np.interp(mark.coordinates[1], field.y, along_x, **outside)]
    return float(along_x[0])


def mark_handles(fields: Sequence[Field], views: Sequence[View]) -> list[Line2D]:
    """Name the marks for a legend, and say which of them are outside the view of their field."""
    signs = mark_signs(fields)
    styles: dict[str, dict[str, Any]] = {}
    for field, view in zip(fields, views, strict=True):
        shown = [
            (mark, shortened(mark.label), signs[mark.kind, mark.label])
            for mark in field.marks
            if mark.kind != "snapshot"
        ]
        for prefix, marks, style in (
            ("first", field.snapshots[:1], _START),
            ("last", field.snapshots[1:][-1:], _END),
        ):
            shown += [(mark, f"{prefix}: {shortened(mark.label)}", style) for mark in marks]
        for mark, label, style in shown:
            styles[label if is_inside(mark, view) else f"{label} (outside)"] = style
        if num_outside := sum(not is_inside(mark, view) for mark in field.snapshots[1:-1]):
            styles[f"{num_outside} more snapshot{'s' * (num_outside > 1)} outside"] = {
                "color": "0.4",
                "linewidth": 1.0,
            }
    return [key(label, **sized(style)) for label, style in styles.items()]


def legend_of(fields: Sequence[Field], views: Sequence[View]) -> Legend:
    """Return what must be explained of fields, each of which is seen in a view."""
    return Legend(
        [
            *mark_handles(fields, views),
            *(Patch(**MISSING[sign], label=name) for sign, name in missing_names(fields).items()),
        ],
        interpolation_note(fields),
    )


def is_inside(mark: Mark, view: View) -> bool:
    """Return whether a mark is within a view, its border included."""
    return all(low <= at <= high for at, (low, high) in zip(mark.coordinates, view, strict=False))


def hides_center(field: Field) -> bool:
    """Return whether the sign of a mark is where that of the centre would be."""
    single = [mark for mark in field.marks if mark.kind != "snapshot"]
    reach = 0.01 * np.ptp(field.view, axis=1)  # one sign covers another
    return any(
        bool(np.all(np.abs(mark.coordinates) <= reach))
        for mark in (*single, *field.snapshots[:1], *field.snapshots[-1:])
    )


def draw_snapshots(ax: Axes, columns: np.ndarray, size: float, order: float) -> None:
    """Draw a run's snapshots, whose coordinates are (2 or 3, n), from light to dark in time."""
    ax.scatter(
        *columns,
        s=size * current_style().unit ** 2,
        c=colormaps["OrRd"](np.linspace(0.0, 1.0, columns.shape[1])),
        linewidths=0.5,
        edgecolors="black",
        zorder=order,
        gid="snapshots",
    )


def _columns(ax: Axes, places: Sequence[Sequence[float]], floor: float | None) -> np.ndarray:
    """Return the coordinates of points (n, 2), one row each, on the floor of 3D axes if given.

    What is outside the view is NaN there: such axes would draw it outside themselves.
    """
    points = np.array(places, dtype=float)
    if floor is None:
        return points.T
    view = np.array([ax.get_xlim(), ax.get_ylim()])
    is_seen = np.all((points >= view[:, 0]) & (points <= view[:, 1]), axis=1)
    return np.stack([*np.where(is_seen[:, None], points, np.nan).T, np.full(len(points), floor)])
