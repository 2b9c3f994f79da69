"""From where a relief is seen, and how it fills its part of a figure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from matplotlib.transforms import Bbox
from mpl_toolkits.mplot3d import Axes3D, proj3d

from landscape.plot.field import Field
from landscape.plot.scale import Scale
from landscape.plot.style import figure_of

FLOOR_DROP = 0.4  # of the height of the surface, between its lowest level and the floor
BOX = (1.0, 1.0, 0.8)  # lengths of the sides
_USUAL = -58.0  # degrees; then the first direction goes to the right, the second away
_GAIN = 10.0  # degrees of elevation, less than which is no reason to leave the usual side
_CLEAR = 6.0  # degrees, by which the line of sight clears the rim
_LOWEST, _HIGHEST = 30.0, 48.0  # degrees, between which both heights and the plane can be read
_NARROW = 0.12  # of a side: half the width of the strip in front of the lowest point
_NEAR = 0.05  # of a side, from which points are in front of the lowest
_NUM_FITS = 5
_FIRST_ZOOM = 0.8
_MARGIN, _GAP = 0.03, 0.03  # inches beside a relief, and between it and its title


def choose_view(fields: Sequence[Field], heights: Scale) -> tuple[float, float]:
    """Choose elevation and azimuth in degrees, so that the lowest point of each field is seen.

    The usual side is left where another shows it from much lower. Trajectories are on the floor,
    which the usual side shows.
    """
    if any(field.snapshots for field in fields):
        return _LOWEST, _USUAL
    sides = {azimuth: _rim(fields, heights, azimuth) for azimuth in _USUAL + 90.0 * np.arange(4)}
    best = min(sides, key=lambda azimuth: sides[azimuth])
    azimuth = best if sides[best] < min(sides[_USUAL], _HIGHEST) - _GAIN else _USUAL
    elevation = float(np.clip(sides[azimuth] + _CLEAR, _LOWEST, _HIGHEST))
    return elevation, float((azimuth + 180) % 360 - 180)


def _rim(fields: Sequence[Field], heights: Scale, azimuth: float) -> float:
    """Return the largest elevation of what is in front of a lowest point, seen from it, degrees."""
    low, high = heights.limits
    toward = np.array([np.cos(np.radians(azimuth)), np.sin(np.radians(azimuth))])
    found = [0.0]
    for field in fields:
        known = ~np.ma.getmaskarray(field.drawn)
        if not known.any():
            continue
        inside = np.clip(field.drawn.filled(heights.low), heights.low, heights.high)
        share = (heights.transform(np.asarray(inside)) - low) / (high - low)
        above = BOX[2] / (1 + FLOOR_DROP) * (share - share[known].min())[known]
        plane = np.meshgrid(*[(axis - axis[0]) / np.ptp(axis) for axis in (field.x, field.y)])
        places = np.stack(plane)[:, known]
        away = places - places[:, [np.argmin(above)]]
        along = toward @ away
        across = np.array([-toward[1], toward[0]]) @ away
        is_before = (along > _NEAR) & (np.abs(across) < _NARROW)
        found += np.degrees(np.arctan2(above, along))[is_before].tolist()
    return max(found)


def fill_panels(
    axes: Sequence[Axes3D], columns: int, *, head: float, foot: float, top: float
) -> None:
    """Let reliefs of one view fill their panels, and the figure be as high as they need.

    Args:
        axes: Of one figure, in reading order, as wide as a panel and with the same ticks.
        columns: Panels next to each other.
        head: Inches above each relief, for its title.
        foot: Inches under all of them.
        top: Inches over all of them, for that of the figure.
    """
    figure = figure_of(axes[0])
    width, rows = figure.get_figwidth(), -(-len(axes) // columns)
    side, zoom = width / columns, _FIRST_ZOOM
    for _ in range(_NUM_FITS):
        zoom *= (side - 2 * _MARGIN) / _extent(axes).width
        for ax in axes:
            ax.set_box_aspect(BOX, zoom=zoom)  # pyright: ignore[reportArgumentType]
    extent = _extent(axes)
    height = foot + rows * (extent.height + head) + top
    for index, ax in enumerate(axes):
        row, column = divmod(index, columns)
        left = (column + 0.5) * side - (extent.x0 + extent.x1) / 2
        bottom = foot + (rows - 1 - row) * (extent.height + head) - extent.y0
        ax.set_position((left / width, bottom / height, side / width, side / height))
        ax.title.set_position(((extent.x0 + extent.x1) / 2 / side, (extent.y1 + _GAP) / side))
    figure.set_figheight(height)


def _extent(axes: Sequence[Axes3D]) -> Bbox:
    """Return what boxes, ticks and labels cover, in inches from the corner of their axes."""
    boxes = []
    for ax in axes:
        figure = figure_of(ax)
        ax.apply_aspect()
        ax.M = ax.get_proj()
        corners = np.array(list(product(ax.get_xlim(), ax.get_ylim(), ax.get_zlim())))
        x, y, _ = proj3d.proj_transform(corners[:, 0], corners[:, 1], corners[:, 2], ax.M)
        corners = ax.transData.transform(np.stack([x, y], axis=1))
        parts = [axis.get_tightbbox() for axis in (ax.xaxis, ax.yaxis, ax.zaxis)]
        parts += [Bbox([corners.min(axis=0), corners.max(axis=0)])]
        box = Bbox.union([part for part in parts if part is not None])
        boxes.append(Bbox((box.get_points() - ax.get_window_extent().p0) / figure.dpi))
    return Bbox.union(boxes)
