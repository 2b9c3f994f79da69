"""What stands next to marks: epochs along a path, ticks at marked points, barriers of a line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.ticker import FixedLocator, MultipleLocator
from matplotlib.transforms import Bbox

from landscape.plot.contour_labels import places_on, points_per_pixel
from landscape.plot.field import Field
from landscape.plot.presets import current_style, sized
from landscape.plot.style import HALO, format_value
from landscape.results.surface import Mark

_CORNERS = [(5, 4), (-5, 4), (5, -4), (-5, -4), (0, 7), (0, -7)]  # points from a mark to its name
_MOST_NAMES = 6
_APART = 16.0  # points between named snapshots
_MOST_UNITS = 5.0  # of the way to a checkpoint, up to which its half is a tick
_BASE, _ARROW = {"linewidth": 0.7}, {"linewidth": 0.8}
_LEAST_BARRIER = 0.01  # of the range of a line, below which there is nothing to draw


def name_snapshots(ax: Axes, snapshots: Sequence[Mark]) -> None:
    """Write the epoch or step next to each snapshot in view; `place_names` leaves out some."""
    for mark in snapshots:
        number = re.search(r"\d+(?=\D*$)", mark.label)
        low, high = np.sort([ax.get_xlim(), ax.get_ylim()], axis=1).T
        if number and np.all((low <= mark.coordinates) & (mark.coordinates <= high)):
            ax.annotate(
                str(int(number[0])),
                (mark.coordinates[0], mark.coordinates[1]),
                xytext=_CORNERS[0],
                textcoords="offset points",
                fontsize=current_style().label_size,
                path_effects=HALO,
                zorder=5,
                gid="name",
            )


def place_names(ax: Axes) -> None:
    """Keep the names of evenly spaced snapshots, where none covers another or the path.

    Call it once the layout is final: the distances are those on paper.
    """
    names = [text for text in ax.texts if isinstance(text, Annotation) and text.get_gid() == "name"]
    paths = [line for line in ax.lines if line.get_gid() in ("trajectory", "mark")]
    if not names:
        return
    obstacles = np.concatenate([places_on(ax, line) for line in paths]) / points_per_pixel(ax)
    kept: list[tuple[np.ndarray, Bbox]] = []
    for text in (names[0], names[-1], *names[1:-1]) if len(names) > 1 else names:
        place = ax.transData.transform(text.xy)
        apart = _APART / points_per_pixel(ax)
        is_near = any(np.hypot(*(place - other)) < apart for other, _ in kept)
        box = (
            None if is_near or len(kept) == _MOST_NAMES else _free_place(ax, text, obstacles, kept)
        )
        if box is None:
            text.remove()
        else:
            kept.append((place, box))


def _free_place(
    ax: Axes, text: Annotation, obstacles: np.ndarray, kept: Sequence[tuple[np.ndarray, Bbox]]
) -> Bbox | None:
    """Move a name to the first side of its mark where nothing else is, and return its box."""
    for x, y in _CORNERS:
        text.set_position((x, y))
        text.set(
            horizontalalignment={5: "left", -5: "right", 0: "center"}[x],
            verticalalignment="bottom" if y > 0 else "top",
        )
        box = text.get_window_extent()
        is_inside = ax.bbox.x0 < box.x0 and box.x1 < ax.bbox.x1
        is_inside &= ax.bbox.y0 < box.y0 and box.y1 < ax.bbox.y1
        is_free = not (box.count_contains(obstacles) or any(box.overlaps(own) for _, own in kept))
        if is_inside and is_free:
            return box
    return None


def tick_marks(ax: Axes, field: Field) -> None:
    """Put small ticks where marks are, and main ones at both ends of the way to a checkpoint."""
    axes = (ax.xaxis, ax.yaxis) if field.y.size else (ax.xaxis,)
    for number, (axis, label, view) in enumerate(
        zip(axes, field.axis_labels, field.view, strict=False)
    ):
        if label.startswith("towards") and view[1] - view[0] <= _MOST_UNITS:
            axis.set_major_locator(MultipleLocator(0.5))
        places = sorted({mark.coordinates[number] for mark in field.marks})
        inside = [place for place in places if view[0] <= place <= view[1]]
        if inside:
            axis.set_minor_locator(FixedLocator(inside))
            axis.set_tick_params(which="minor", direction="out", length=1.8, width=0.7)


def draw_barriers(ax: Axes, field: Field) -> None:
    """Draw how far a line rises above the higher of two checkpoints, between neighbours."""
    ends = sorted(
        (mark for mark in field.marks if mark.kind == "checkpoint" and field.quantity == "loss"),
        key=lambda mark: mark.coordinates[0],
    )
    values = field.summary[0].filled(-np.inf)
    for first, second in pairwise(ends):
        sides = [mark.plane_loss.get(field.split, np.nan) for mark in (first, second)]
        base, start, stop = max(sides), first.coordinates[0], second.coordinates[0]
        is_between = (field.x > start) & (field.x < stop)
        if not is_between.any() or not np.isfinite(sides).all():
            continue
        top = np.where(is_between, values, -np.inf).argmax()
        height, at = float(values[top] - base), float(field.x[top])
        if height <= _LEAST_BARRIER * np.ptp(field.finite):
            continue
        ax.hlines(base, start, stop, colors="0.45", linestyles="dotted", **sized(_BASE))
        arrow = {"arrowstyle": "<->", "color": "0.25", "shrinkA": 0, "shrinkB": 0, **sized(_ARROW)}
        ax.annotate("", (at, base), (at, float(values[top])), arrowprops=arrow)
        ax.annotate(
            f"barrier {format_value(height)}",
            (at, base),
            xytext=(0, -3),
            textcoords="offset points",
            fontsize=current_style().label_size,
            horizontalalignment="center",
            verticalalignment="top",
            path_effects=HALO,
            gid="barrier",
        )
