"""Points of interest on a surface: checkpoints, training trajectories, an ascent point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from mpl_toolkits.mplot3d import Axes3D

from landscape.plot.field import Field
from landscape.plot.names import shortened
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
_ASCENT: dict[str, Any] = {
    **_CHECKPOINT,
    "marker": "X",
    "markerfacecolor": "#BB5566",
    "markersize": 6.5,
}
_START: dict[str, Any] = {**_CHECKPOINT, "marker": "o", "markerfacecolor": "white"}
_END: dict[str, Any] = {
    **_CHECKPOINT,
    "marker": "*",
    "markerfacecolor": "#7F0000",
    "markersize": 9.0,
}
_TRAJECTORY: dict[str, Any] = {"color": "white", "linewidth": 1.0}
_OUTLINE = withStroke(linewidth=2.2, foreground="black")
_PROGRESS = colormaps["OrRd"]
_SNAPSHOT_AREA = 9.0  # squared points
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
    points = {id(mark): mark.coordinates for mark in field.marks}
    _draw(ax, field, mark_signs(fields), points, floor)


def draw_marks_on_curve(
    ax: Axes, field: Field, fields: Sequence[Field], curve: np.ma.MaskedArray
) -> None:
    """Draw a field's marks on the curve of its values, (nx,), at the loss in the line's weights.

    Snapshots are not joined: between them the loss is that of the curve.
    """
    heights = curve.filled(np.nan)
    points = {
        id(mark): (mark.coordinates[0], _height(mark, field, heights)) for mark in field.marks
    }
    _draw(ax, field, mark_signs(fields), points, None, is_joined=False)


def mark_signs(fields: Sequence[Field]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the signs of checkpoints and ascent points by kind and label, for all panels."""
    marks = dict.fromkeys(
        (mark.kind, mark.label)
        for field in fields
        for mark in field.marks
        if mark.kind != "snapshot"
    )
    signs = {}
    checkpoints = 0
    for kind, label in marks:
        if kind == "ascent":
            signs[kind, label] = _ASCENT
            continue
        face = _FACES[checkpoints // len(_MARKERS) % len(_FACES)]
        signs[kind, label] = {
            **_CHECKPOINT,
            "marker": _MARKERS[checkpoints % len(_MARKERS)],
            "markerfacecolor": face,
        }
        checkpoints += 1
    return signs


def mark_handles(fields: Sequence[Field], view: View) -> list[Line2D]:
    """Name the marks for a legend, and say which of them are outside the view."""
    signs = mark_signs(fields)
    handles: dict[str, Line2D] = {}
    for field in fields:
        for mark in field.marks:
            if mark.kind != "snapshot":
                _add(handles, mark, signs[mark.kind, mark.label], shortened(mark.label), view)
        if field.snapshots:
            first, last = field.snapshots[0], field.snapshots[-1]
            _add(handles, first, _START, f"first: {shortened(first.label)}", view)
            if len(field.snapshots) > 1:
                _add(handles, last, _END, f"last: {shortened(last.label)}", view)
            between = [mark for mark in field.snapshots[1:-1] if not is_inside(mark, view)]
            if between:
                label = (
                    f"{len(between)} more snapshots outside"
                    if len(between) > 1
                    else "1 more snapshot outside"
                )
                handles[label] = Line2D([], [], color="0.4", linewidth=1.0, label=label)
    return list(handles.values())


def is_inside(mark: Mark, view: View) -> bool:
    """Return whether a mark is within a view, its border included."""
    return all(low <= at <= high for at, (low, high) in zip(mark.coordinates, view, strict=False))


def hides_center(field: Field) -> bool:
    """Return whether the sign of a mark is where that of the centre would be."""
    ends = {id(mark) for mark in (*field.snapshots[:1], *field.snapshots[-1:])}
    reach = _NEAR * np.array([np.ptp(field.x), np.ptp(field.y)])
    return any(
        bool(np.all(np.abs(mark.coordinates) <= reach))
        for mark in field.marks
        if mark.kind != "snapshot" or id(mark) in ends
    )


def progress_colors(count: int) -> np.ndarray:
    """Return the colours of a run's snapshots, from light to dark in time, (count, 4)."""
    return _PROGRESS(np.linspace(0.0, 1.0, count))


def _add(handles: dict[str, Line2D], mark: Mark, sign: Mapping, label: str, view: View) -> None:
    """Add one mark to the legend; one of the same name once only."""
    label = label if is_inside(mark, view) else f"{label} (outside)"
    handles[label] = Line2D([], [], **sign, label=label)


def _height(mark: Mark, field: Field, heights: np.ndarray) -> float:
    """Return the loss at a line's nearest point as measured, or else the curve's value there."""
    known = mark.plane_loss.get(field.split) if field.quantity == "loss" else None
    if known is None and not any(mark.coordinates):
        known = field.center
    if known is not None and np.isfinite(known):
        return known
    return float(np.interp(mark.coordinates[0], field.x, heights, left=np.nan, right=np.nan))


def _draw(
    ax: Axes,
    field: Field,
    signs: Mapping,
    points: Mapping[int, Sequence[float]],
    floor: float | None,
    *,
    is_joined: bool = True,
) -> None:
    """Draw the trajectory under the single marks and its ends over them.

    The signs of the ends still show what they cover.
    """
    place = _Place(ax, floor)
    path = np.array([points[id(mark)] for mark in field.snapshots], dtype=float)
    if len(path) and is_joined:
        place.line(path, **_TRAJECTORY, path_effects=[_OUTLINE], gid="trajectory")
    for mark in field.marks:
        if mark.kind != "snapshot":
            sign = signs[mark.kind, mark.label]
            place.line(np.array([points[id(mark)]], dtype=float), **sign, gid="mark")
    if len(path):
        place.dots(path, progress_colors(len(path)))
        place.line(path[:1], **_START, gid="mark")
    if len(path) > 1:
        place.line(path[-1:], **_END, gid="mark")


class _Place:
    """Where marks are drawn: flat axes, or the floor of three-dimensional ones."""

    def __init__(self, ax: Axes, floor: float | None) -> None:
        self.ax, self.floor = ax, floor
        self.order = _ORDER if floor is None else _ORDER_3D

    def line(self, points: np.ndarray, **style: Any) -> None:
        """Draw points, (n, 2), or the line through them."""
        self.ax.plot(*self._columns(points), zorder=self.order, **style)

    def dots(self, points: np.ndarray, colors: np.ndarray) -> None:
        """Draw points, (n, 2), each in its colour."""
        style = {
            "s": _SNAPSHOT_AREA,
            "linewidths": 0.5,
            "edgecolors": "black",
            "zorder": self.order + 0.1,
        }
        dots = self.ax.scatter(*self._columns(points), c=colors, **style)
        assert isinstance(dots, PathCollection)
        dots.set_gid("snapshots")

    def _columns(self, points: np.ndarray) -> np.ndarray:
        """Return the coordinates, one row each, with NaN outside three-dimensional axes.

        Three-dimensional axes would draw such points outside themselves.
        """
        if self.floor is None or not isinstance(self.ax, Axes3D):
            return points.T
        view = np.array([self.ax.get_xlim(), self.ax.get_ylim()])
        is_seen = np.all((points >= view[:, 0]) & (points <= view[:, 1]), axis=1)
        seen = np.where(is_seen[:, None], points, np.nan)
        return np.concatenate([seen.T, np.full((1, len(points)), self.floor)])
