"""Where contour labels go: clear of the center, other marks, the frame and each other."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.contour import ContourSet
from matplotlib.lines import Line2D
from matplotlib.path import Path

from landscape.plot.style import format_level

# Lengths in points, which is what a reader sees; the labels are about 15 x 6.
_FONT_SIZE = 7.0
_LEAST_DISTANCES = {"center": 18.0, "marks": 13.0, "frame": 12.0, "lines": 4.5, "labels": 22.0}
_FAR_ENOUGH = 60.0  # beyond this, more distance from other labels is no better
_STEP = 4.0  # along a trajectory
_CORNERS = np.array([(-9.0, -5.0), (9.0, -5.0), (9.0, 5.0), (-9.0, 5.0), (0.0, 0.0)])
_MAX_CANDIDATES = 60
_MIN_TURNS = 2.5  # label widths that a line must have to keep its shape around a label


def label_contours(ax: Axes, contours: ContourSet) -> None:
    """Label each contour line once, where there is room; a line without room stays without.

    Call it once the layout is final: the distances are those on paper.
    """
    pieces = [_pieces(ax, path) for path in contours.get_paths()]
    spots: list[np.ndarray] = []
    for index, level in enumerate(contours.levels):
        others = [piece for i, line in enumerate(pieces) if i != index for piece in line]
        candidates, slopes = _candidates(
            pieces[index], 0.62 * _FONT_SIZE * len(format_level(level))
        )
        room = _room(ax, candidates, others, spots)
        if room.size and room.max() > 0:
            spots.append(candidates[np.argmax(room * (1 + slopes))])
    if spots:
        positions = ax.transData.inverted().transform(np.array(spots) / points_per_pixel(ax))
        contours.clabel(fmt=format_level, fontsize=_FONT_SIZE, manual=positions, inline_spacing=3)


def points_per_pixel(ax: Axes) -> float:
    """Return the length of a pixel of the axes' figure in points."""
    return 72.0 / ax.figure.dpi


def _on_paper(ax: Axes, coordinates: Any) -> np.ndarray:
    """Return where coordinates, (n, 2), are on paper, in points."""
    return ax.transData.transform(coordinates) * points_per_pixel(ax)


def _pieces(ax: Axes, path: Path) -> list[np.ndarray]:
    """Return the connected parts of a contour line, each (n, 2), in points on paper."""
    starts = np.flatnonzero(np.asarray(path.codes) == Path.MOVETO)
    return [piece for piece in np.split(_on_paper(ax, path.vertices), starts) if len(piece)]


def _candidates(pieces: list[np.ndarray], width: float) -> tuple[np.ndarray, np.ndarray]:
    """Return places on long enough parts, (n, 2), and how level the line is there, (n,)."""
    places, slopes = [np.empty((0, 2))], [np.empty(0)]
    for piece in pieces:
        steps = np.diff(piece, axis=0)
        lengths = np.hypot(*steps.T)
        if lengths.sum() >= _MIN_TURNS * width:
            chosen = np.unique(np.linspace(0, len(steps) - 1, _MAX_CANDIDATES).astype(int))
            chosen = chosen[lengths[chosen] > 0]
            places.append((piece[chosen] + piece[chosen + 1]) / 2)
            slopes.append(np.abs(steps[chosen, 0]) / lengths[chosen])
    return np.concatenate(places), np.concatenate(slopes)


def _room(
    ax: Axes, places: np.ndarray, others: list[np.ndarray], labels: list[np.ndarray]
) -> np.ndarray:
    """Rate places by their distance from what a label must not touch; 0 where it would, (n,)."""
    marks = [line for line in ax.lines if line.get_gid() in ("mark", "trajectory")]
    named = [text.get_window_extent() for text in ax.texts if text.get_gid() == "name"]
    names = np.array([box.corners() for box in named]).reshape(-1, 2) * points_per_pixel(ax)
    frame = np.array(ax.bbox.extents) * points_per_pixel(ax)
    distances = {
        "center": _distance(places, [_on_paper(ax, [[0.0, 0.0]])]),
        "marks": _distance(places, [*(places_on(ax, line) for line in marks), names]),
        "frame": np.minimum(places - frame[:2], frame[2:] - places).min(axis=1),
        "lines": _distance(places, others),
        "labels": _distance(places, [np.array(labels).reshape(-1, 2)]),
    }
    is_far = [distances[name] > least for name, least in _LEAST_DISTANCES.items()]
    is_clear = np.all([*is_far, ~_is_on_missing(ax, places)], axis=0)
    return np.where(is_clear, np.minimum(distances["labels"], _FAR_ENOUGH), 0.0)


def places_on(ax: Axes, line: Line2D) -> np.ndarray:
    """Return places on a line of marks, in points, (n, 2), at most a label's height apart."""
    corners = _on_paper(ax, line.get_xydata())
    corners = corners[np.isfinite(corners).all(axis=1)]
    counts = np.ceil(np.hypot(*np.diff(corners, axis=0).T) / _STEP).clip(1, 1000).astype(int)
    pieces = [
        np.linspace(start, stop, count, endpoint=False)
        for start, stop, count in zip(corners[:-1], corners[1:], counts, strict=True)
    ]
    return np.concatenate([*pieces, corners[-1:]])


def _is_on_missing(ax: Axes, places: np.ndarray) -> np.ndarray:
    """Return where a corner of a label would lie on the sign of a missing point, (n,)."""
    corners = [(places + corner) / points_per_pixel(ax) for corner in _CORNERS]
    is_on = [
        patch.get_path().transformed(ax.transData).contains_points(corner)
        for patch in ax.patches
        if patch.get_gid() == "missing"
        for corner in corners
    ]
    return np.any([np.zeros(len(places), dtype=bool), *is_on], axis=0)


def _distance(places: np.ndarray, obstacles: list[np.ndarray]) -> np.ndarray:
    """Return the distance of each place from the nearest obstacle, infinite without one, (n,)."""
    gaps = places[:, None, :] - np.concatenate([np.empty((0, 2)), *obstacles])
    return np.sqrt((gaps**2).sum(axis=2).min(axis=1, initial=np.inf))
