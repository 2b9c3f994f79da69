"""Where contour labels go: clear of the center, other marks, the frame and each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.contour import ContourSet
from matplotlib.lines import Line2D
from matplotlib.path import Path

from landscape.plot.presets import current_style
from landscape.plot.style import format_level

# Lengths in points, which is what a reader sees.
_CLEAR = {"lines": 0.8, "center": 10.0, "marks": 10.0, "names": 1.0, "labels": 4.0}
"""Kind of obstacle -> room between its points and the box of a label."""
_FRAME = 1.5  # between the corners of a label and the frame
_CHARACTER, _DIGIT = 0.62, 0.78  # width of a character and height of a digit, in type sizes
_APART, _FAR_ENOUGH = 20.0, 60.0  # between the middles of labels; more is no better
_MOST_SPOTS = 150  # of a line
_STEP = 3.0  # along a line
_MIN_TURNS = 2.0  # label widths that a line must have to keep its shape around a label
_STRAIGHT = 0.85  # least distance between the ends of a label's part of its line, over its length
_GRID = np.stack(np.meshgrid(np.linspace(-1, 1, 7), [-1.0, 0.0, 1.0]), axis=-1).reshape(-1, 2)
"""Places in a label, relative to half its size, (21, 2)."""


@dataclass(frozen=True)
class _Spots:
    """Places for a label along its line, in points.

    Attributes:
        centers: (n, 2).
        directions: Unit vectors along the line, (n, 2).
        half: Half the width and the height of the label, (2,).
    """

    centers: np.ndarray
    directions: np.ndarray
    half: np.ndarray

    def touch(self, points: np.ndarray, clear: float) -> np.ndarray:
        """Return which labels would have a point, (m, 2), in them or as near as that, (n,)."""
        reach = np.hypot(*self.half) + clear
        found = np.zeros(len(self.centers), dtype=bool)
        for index, (center, along) in enumerate(zip(self.centers, self.directions, strict=True)):
            gaps = points - center
            gaps = gaps[np.abs(gaps).max(axis=1) < reach]
            turned = gaps @ np.stack([along, [-along[1], along[0]]], axis=1)
            found[index] = np.any(np.all(np.abs(turned) < self.half + clear, axis=1))
        return found

    def cover(self) -> np.ndarray:
        """Return places all over each label, (n, 21, 2)."""
        across = np.stack([-self.directions[:, 1], self.directions[:, 0]], axis=1)
        basis = np.stack([self.directions, across], axis=1)  # (n, 2, 2)
        return self.centers[:, None, :] + (_GRID * self.half) @ basis


def label_contours(ax: Axes, contours: ContourSet) -> None:
    """Label each contour line once, where there is room; a line without room stays without.

    Short lines, which have few places, choose first. Call it once the layout is final: the
    distances are those on paper.
    """
    pieces = [_pieces(ax, path) for path in contours.get_paths()]
    lines = [_joined([_dense(piece) for piece in own]) for own in pieces]
    size = current_style().label_size
    obstacles, levels = _obstacles(ax), np.asarray(contours.levels)
    chosen: list[np.ndarray] = []
    for index in np.argsort([len(line) for line in lines]).tolist():
        width = _CHARACTER * size * len(format_level(float(levels[index])))
        spots = _spots(pieces[index], np.array([width, _DIGIT * size]) / 2)
        others = _joined([line for i, line in enumerate(lines) if i != index])
        rating = _rate(
            ax, spots, obstacles | {"lines": others}, np.array(chosen).reshape(-1, 21, 2)
        )
        if rating.size and rating.max() > 0:
            chosen.append(spots.cover()[np.argmax(rating)])
    if chosen:
        centers = np.array(chosen).mean(axis=1) / points_per_pixel(ax)
        positions = ax.transData.inverted().transform(centers)
        contours.clabel(fmt=format_level, fontsize=size, manual=positions, inline_spacing=2)


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


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.empty((0, 2)), *parts])


def _spots(pieces: list[np.ndarray], half: np.ndarray) -> _Spots:
    """Return the places for a label on long and straight enough parts of its line."""
    width = 2 * half[0]
    centers, directions = [], []
    for piece in pieces:
        lengths = np.append(0.0, np.hypot(*np.diff(piece, axis=0).T).cumsum())
        if lengths[-1] < _MIN_TURNS * width:
            continue
        at = np.arange(half[0], lengths[-1] - half[0], _STEP)
        start, middle, stop = (
            np.stack([np.interp(at + shift, lengths, column) for column in piece.T], axis=1)
            for shift in (-half[0], 0.0, half[0])
        )
        chord = np.hypot(*(stop - start).T)
        is_straight = chord > _STRAIGHT * width
        centers.append(middle[is_straight])
        directions.append((stop - start)[is_straight] / chord[is_straight, None])
    both = np.stack([_joined(centers), _joined(directions)])
    both = both[:, :: -(-both.shape[1] // _MOST_SPOTS) or 1]
    return _Spots(both[0], both[1], half)


def _obstacles(ax: Axes) -> dict[str, np.ndarray]:
    """Return what no label must touch besides lines and labels: kind -> points, (n, 2)."""
    marks = [line for line in ax.lines if line.get_gid() in ("mark", "trajectory")]
    named = [text.get_window_extent() for text in ax.texts if text.get_gid() == "name"]
    return {
        "center": _on_paper(ax, [[0.0, 0.0]]),
        "marks": _joined([places_on(ax, line) for line in marks]),
        "names": _joined([box.corners() for box in named]) * points_per_pixel(ax),
    }


def _rate(
    ax: Axes, spots: _Spots, obstacles: dict[str, np.ndarray], labels: np.ndarray
) -> np.ndarray:
    """Rate places by the distance from other labels and by how level they are; 0 if not clear."""
    taken = {**obstacles, "labels": labels.reshape(-1, 2)}
    touches = [spots.touch(points, _CLEAR[kind]) for kind, points in taken.items()]
    covered = spots.cover()
    frame = np.array(ax.bbox.extents) * points_per_pixel(ax)
    is_inside = np.all([covered > frame[:2] + _FRAME, covered < frame[2:] - _FRAME], axis=(0, 2, 3))
    gaps = spots.centers[:, None, :] - labels.mean(axis=1)
    apart = np.hypot(*np.moveaxis(gaps, 2, 0)).min(axis=1, initial=_FAR_ENOUGH)
    is_inside &= apart >= _APART
    is_clear = is_inside & ~np.any([*touches, _is_on_missing(ax, covered)], axis=0)
    return np.where(is_clear, apart * (1 + np.abs(spots.directions[:, 0])), 0.0)


def places_on(ax: Axes, line: Line2D) -> np.ndarray:
    """Return places on a line of marks, in points, (n, 2), at most a label's height apart."""
    corners = _on_paper(ax, line.get_xydata())
    return _dense(corners[np.isfinite(corners).all(axis=1)])


def _dense(corners: np.ndarray) -> np.ndarray:
    """Return places along a line, (n, 2), at most a step apart."""
    counts = np.ceil(np.hypot(*np.diff(corners, axis=0).T) / _STEP).clip(1, 1000).astype(int)
    pieces = [
        np.linspace(start, stop, count, endpoint=False)
        for start, stop, count in zip(corners[:-1], corners[1:], counts, strict=True)
    ]
    return np.concatenate([*pieces, corners[-1:]])


def _is_on_missing(ax: Axes, covered: np.ndarray) -> np.ndarray:
    """Return which labels, (n, 21, 2), would lie on the sign of a missing point, (n,)."""
    points = covered.reshape(-1, 2) / points_per_pixel(ax)
    is_on = [
        patch.get_path().transformed(ax.transData).contains_points(points)
        for patch in ax.patches
        if patch.get_gid() == "missing"
    ]
    return np.any([np.zeros(len(points), dtype=bool), *is_on], axis=0).reshape(-1, 21).any(axis=1)
