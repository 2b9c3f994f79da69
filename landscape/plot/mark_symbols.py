"""Points of interest on a surface: checkpoints, training trajectories, an ascent point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from landscape.plot.field import Field
from landscape.plot.names import shortened
from landscape.plot.style import key
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
_TRAJECTORY: dict[str, Any] = {"color": "white", "linewidth": 1.0}
_OUTLINE = withStroke(linewidth=2.2, foreground="black")
_PROGRESS = colormaps["OrRd"]
_SNAPSHOT: dict[str, Any] = {"s": 9.0, "linewidths": 0.5, "edgecolors": "black"}
_NEAR = 0.01  # of the ranges, within which one sign covers another
_ORDER = 4.0  # above contour lines, below the sign of the centre
_ORDER_3D = 2.0  # above the floor, below the relief


def draw_marks(
    ax: Axes, field: Field, fields: Sequence[Field], *, floor: float | None = None
) -> None:
    """Draw the marks of a field on its plane.

    Args:
        ax: Whose limits are set, so that marks do not change them.
        field: Whose marks are drawn.
        fields: All that are drawn in the figure, so that one sign means one thing.
        floor: Height at which to draw on three-dimensional axes; None for flat ones.
    """
    _draw(ax, field, fields, [mark.coordinates for mark in field.marks], floor=floor)


def draw_marks_on_curve(ax: Axes, field: Field, fields: Sequence[Field]) -> None:
    """Draw a field's marks on the curve of its values, at the loss in the line's weights.

    Snapshots are not joined: between them the loss is that of the curve.
    """
    points = [(mark.coordinates[0], height_of(mark, field)) for mark in field.marks]
    _draw(ax, field, fields, points, is_joined=False)


def mark_signs(fields: Sequence[Field]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the signs of checkpoints and ascent points by kind and label, for all panels."""
    marks = [mark for field in fields for mark in field.marks if mark.kind != "snapshot"]
    signs = {(mark.kind, mark.label): _ASCENT for mark in marks}
    checkpoints = [each for each in signs if each[0] != "ascent"]
    for number, each in enumerate(checkpoints):
        face = _FACES[number // len(_MARKERS) % len(_FACES)]
        marker = _MARKERS[number % len(_MARKERS)]
        signs[each] = {**_CHECKPOINT, "marker": marker, "markerfacecolor": face}
    return signs


def height_of(mark: Mark, field: Field) -> float:
    """Return the loss at the nearest point of a line or plane as measured, else the value there."""
    known = mark.plane_loss.get(field.split) if field.quantity == "loss" else None
    if known is None and not any(mark.coordinates):
        known = field.center
    if known is not None and np.isfinite(known):
        return known
    values = field.summary[0].filled(np.nan)
    if field.y.size:
        values = np.array([_interpolate(mark.coordinates[0], field.x, row) for row in values])
    axis = field.y if field.y.size else field.x
    return _interpolate(mark.coordinates[-1], axis, values)


def _interpolate(place: float, places: np.ndarray, values: np.ndarray) -> float:
    return float(np.interp(place, places, values, left=np.nan, right=np.nan))


def mark_handles(fields: Sequence[Field], view: View) -> list[Line2D]:
    """Name the marks for a legend, and say which of them are outside the view."""
    signs = mark_signs(fields)
    styles: dict[str, dict[str, Any]] = {}
    for field in fields:
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
            label = f"{num_outside} more snapshot{'s' * (num_outside > 1)} outside"
            styles[label] = {"color": "0.4", "linewidth": 1.0}
    return [key(label, **style) for label, style in styles.items()]


def extent(coordinates: Sequence[np.ndarray]) -> tuple[float, float]:
    """Return the lowest and highest of several sets of coordinates."""
    together = np.concatenate(coordinates)
    return float(together.min()), float(together.max())


def is_inside(mark: Mark, view: View) -> bool:
    """Return whether a mark is within a view, its border included."""
    return all(low <= at <= high for at, (low, high) in zip(mark.coordinates, view, strict=False))


def hides_center(field: Field) -> bool:
    """Return whether the sign of a mark is where that of the centre would be."""
    single = [mark for mark in field.marks if mark.kind != "snapshot"]
    reach = _NEAR * np.array([np.ptp(field.x), np.ptp(field.y)])
    return any(
        bool(np.all(np.abs(mark.coordinates) <= reach))
        for mark in (*single, *field.snapshots[:1], *field.snapshots[-1:])
    )


def progress_colors(count: int) -> np.ndarray:
    """Return the colours of a run's snapshots, from light to dark in time, (count, 4)."""
    return _PROGRESS(np.linspace(0.0, 1.0, count))


def _draw(
    ax: Axes,
    field: Field,
    fields: Sequence[Field],
    points: Sequence[Sequence[float]],
    *,
    floor: float | None = None,
    is_joined: bool = True,
) -> None:
    """Draw the trajectory under the single marks and its ends over them.

    The signs of the ends still show what they cover.
    """
    signs, order = mark_signs(fields), _ORDER if floor is None else _ORDER_3D

    def draw_line(places: Sequence[Sequence[float]], **style: Any) -> None:
        ax.plot(*_columns(ax, np.array(places, dtype=float), floor), zorder=order, **style)

    pairs = list(zip(field.marks, points, strict=True))
    path = [point for mark, point in pairs if mark.kind == "snapshot"]
    if path and is_joined:
        draw_line(path, **_TRAJECTORY, path_effects=[_OUTLINE], gid="trajectory")
    for mark, point in pairs:
        if mark.kind != "snapshot":
            draw_line([point], **signs[mark.kind, mark.label], gid="mark")
    if path:
        dots = _columns(ax, np.array(path, dtype=float), floor)
        style = {**_SNAPSHOT, "c": progress_colors(len(path)), "zorder": order + 0.1}
        ax.scatter(*dots, **style, gid="snapshots")
        draw_line(path[:1], **_START, gid="mark")
    if len(path) > 1:
        draw_line(path[-1:], **_END, gid="mark")


def _columns(ax: Axes, points: np.ndarray, floor: float | None) -> np.ndarray:
    """Return the coordinates of points (n, 2), one row each, on the floor of 3D axes if given.

    What is outside the view is NaN there: such axes would draw it outside themselves.
    """
    if floor is None:
        return points.T
    view = np.array([ax.get_xlim(), ax.get_ylim()])
    is_seen = np.all((points >= view[:, 0]) & (points <= view[:, 1]), axis=1)
    seen = np.where(is_seen[:, None], points, np.nan)
    return np.concatenate([seen.T, np.full((1, len(points)), floor)])
