"""A surface on a plane as a shaded relief, with its contour lines on the floor under it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LightSource, Normalize
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Poly3DCollection, pathpatch_2d_to_3d

from landscape.errors import require
from landscape.plot.field import Field, on_same_axes, scale_of
from landscape.plot.look import DEFAULT_LOOK, Look
from landscape.plot.mark_symbols import draw_marks, hides_center, legend_of
from landscape.plot.plane_maps import (
    draw_dots,
    line_color_map,
    missing_patches,
    select_plane,
    set_view,
    view_of,
)
from landscape.plot.scale import Scale
from landscape.plot.style import (
    ONE_COLUMN,
    color_map,
    figure_of,
    format_level,
    new_figure,
    panel_title,
    styled,
    width_of,
)
from landscape.results.surface import Surface

_FLOOR_DROP = 0.45  # of the height of the surface, between its lowest level and the floor
_SHADOW = 0.6  # brightness of what no light reaches
_MAX_TICKS = 6
_LEFT = 0.03  # of that square, by which it is moved to make room for the label of the height
_FILLED = 0.87  # of the height of the square of a relief, below its title
_EMPTY = 0.06  # of that square, at its foot
_FOOT = 0.05  # inches, under the reliefs
_HEAD, _TITLE = 0.22, 0.22  # inches, for the panels' titles and that of the figure
_LONGEST_NAME = 33  # characters along the height


@styled
def plot_surface3d(
    surface: Surface,
    *,
    split: str | None = None,
    quantity: str = "loss",
    label: str = "",
    scale: Scale | None = None,
    look: Look = DEFAULT_LOOK,
    ax: Axes3D | None = None,
) -> Axes3D:
    """Draw a surface on a plane in three dimensions.

    On a log scale the heights are those of the logarithm, the ticks those of the value, and the
    axis says so; nothing is clipped. Where a corner of a cell is missing the surface has a hole.

    Args:
        surface: On a plane.
        split: Name of the data split; None for the first.
        quantity: `loss`, `accuracy`, which is drawn in percent, or the name of a map of the
            surface.
        label: Title of the panel; the value at the center follows it.
        scale: Shared with other panels; None for one of its own.
        look: Levels, scale, clipping and colours; a shared scale goes before them.
        ax: Three-dimensional axes; None for a new figure.

    Raises:
        InputError: If the surface is on a line, or has no such split, quantity or finite value, or
            the axes are not three-dimensional.
    """
    field = select_plane(surface, split or None, quantity)
    own_scale = scale or scale_of([field], look)
    legend = legend_of([field], [view_of([field], "surface")])
    if ax is None:
        ax = new_relief_figure(1, 1, 1, foot=legend.height(ONE_COLUMN))[0]
    require(
        isinstance(ax, Axes3D),
        f"a surface needs three-dimensional axes, got {type(ax).__name__}.",
        hint='Make them with figure.add_subplot(projection="3d").',
    )
    draw_relief(ax, field, own_scale, [field], label, look)
    if scale is None:
        legend.add_to(figure_of(ax))
    return ax


def new_relief_figure(
    num_panels: int, rows: int, columns: int, *, foot: float = 0.0, has_title: bool = False
) -> list[Axes3D]:
    """Make the axes of a figure of reliefs, with the room for labels that no layout engine leaves.

    There are `foot` inches under them. The square that each relief is drawn in is empty at its top:
    rows overlap there.
    """
    side = width_of(columns) / columns
    foot = max(foot - _EMPTY * side, _FOOT)
    height = foot + rows * (side * _FILLED + _HEAD) + _TITLE * has_title
    figure = new_figure(columns, height, layout=None)
    axes = []
    for index in range(num_panels):
        row, column = divmod(index, columns)
        bottom = foot + (rows - 1 - row) * (side * _FILLED + _HEAD)
        place = ((column - _LEFT) / columns, bottom / height, 1 / columns, side / height)
        axes.append(figure.add_axes(Axes3D(figure, place)))
        axes[-1].patch.set_visible(False)
    return axes


def draw_relief(
    ax: Axes3D,
    field: Field,
    scale: Scale,
    fields: Sequence[Field],
    label: str,
    look: Look = DEFAULT_LOOK,
) -> None:
    """Draw a field as a relief over its contour lines, with the same axes for the same scale.

    All fields of the figure, this one included, share the view and the signs of the marks.
    """
    low, high = scale.limits
    floor = float(low - _FLOOR_DROP * (high - low))
    _draw_floor(ax, field, scale, floor, fields, look)
    _draw_cells(ax, field, scale, look)
    _finish_axes(ax, field, scale, (floor, float(high)))
    set_view(ax, on_same_axes(field, fields), "surface")
    draw_marks(ax, field, fields, floor=floor)
    ax.set_title(panel_title(label, field), y=_FILLED, pad=0)
    ax.title.set_y(_FILLED)  # set_title of three-dimensional axes lowers what it is given


def _draw_cells(ax: Axes3D, field: Field, scale: Scale, look: Look) -> None:
    """Draw every cell whose four corners are there."""
    clipped = np.clip(field.drawn.filled(scale.low), scale.low, scale.high)
    heights = scale.transform(np.asarray(clipped))
    is_missing = np.ma.getmaskarray(field.drawn)
    points = np.stack([*np.meshgrid(field.x, field.y), heights, is_missing], axis=-1)
    corners = np.stack([points[:-1, :-1], points[:-1, 1:], points[1:, 1:], points[1:, :-1]], axis=2)
    quads = corners[~corners[..., 3].any(axis=2)][..., :3]
    if not len(quads):
        return
    colors = color_map(field.quantity, scale, look.colormap)
    colors = colors(Normalize(*scale.limits)(quads[..., 2].mean(axis=1)))
    colors[:, :3] *= _brightness(quads, *np.ptp(np.stack([*field.view, scale.limits]), axis=1))
    ax.add_collection3d(
        Poly3DCollection(
            quads,
            facecolors=colors,
            edgecolors=colors,
            linewidths=0.2,
            zorder=3,
            rasterized=True,
            gid="relief",
        )
    )


def _brightness(quads: np.ndarray, *spans: float) -> np.ndarray:
    """Return each cell's brightness, in [_SHADOW, 1], in a box as wide as it is high, (n, 1)."""
    scaled = quads / np.array(spans)
    normals = np.cross(scaled[:, 2] - scaled[:, 0], scaled[:, 3] - scaled[:, 1])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    light = LightSource(azdeg=315.0, altdeg=50.0).direction  # clockwise from the second direction
    return _SHADOW + (1 - _SHADOW) * np.clip(normals @ light, 0, 1)[:, None]


def _draw_floor(
    ax: Axes3D, field: Field, scale: Scale, floor: float, fields: Sequence[Field], look: Look
) -> None:
    """Project contour lines, missing points and the center onto the floor."""
    ax.computed_zorder = False
    for patch in missing_patches(field, reach=1.0):
        ax.add_patch(patch)
        pathpatch_2d_to_3d(patch, z=floor)  # pyright: ignore[reportArgumentType]
    draw_dots(ax, field, fields, floor)
    levels = scale.levels_within(field.finite)
    if levels.size:
        ax.contour(
            field.x,
            field.y,
            scale.transform(field.drawn),
            levels=scale.transform(levels),
            zdir="z",
            offset=floor,
            cmap=line_color_map(field.quantity, scale, look.colormap),
            norm=Normalize(*scale.limits),
            linewidths=0.8,
            zorder=1,
        )
    if not hides_center(field):
        ax.plot([0], [0], [floor], "+", color="black", markersize=6, zorder=2, gid="center")


def _finish_axes(ax: Axes3D, field: Field, scale: Scale, limits: tuple[float, float]) -> None:
    """Set view, limits, ticks and labels; the ticks of the height are values, on any scale."""
    ax.view_init(elev=30.0, azim=-58.0)
    ax.set_box_aspect((1, 1, 0.8), zoom=0.8)  # pyright: ignore[reportArgumentType]
    ticks = scale.thinned(_MAX_TICKS)
    tick_labels = [format_level(tick) for tick in ticks]
    is_small = ax.get_window_extent().width / figure_of(ax).dpi < 2.5  # inches
    font_size = 6.5 if is_small else 8.0
    for set_label, label in zip((ax.set_xlabel, ax.set_ylabel), field.axis_labels, strict=True):
        set_label(label, fontsize=font_size, labelpad=-7 if is_small else -3)
    name = field.name + scale.note
    if len(name) > _LONGEST_NAME:
        name = name.replace("symmetric log scale", "symlog")
    # Points by which the label keeps clear of its ticks' labels, more for a formula's subscripts.
    pad = 3.0 * max(0, max(map(len, tick_labels)) - 3) + 2.5 * ("$" in name)
    pad -= 6.0 if is_small else 3.0
    ax.set_zlabel(name, fontsize=font_size * min(1.0, _LONGEST_NAME / len(name)), labelpad=pad)
    ax.set(zlim=limits, zticks=scale.transform(ticks), zticklabels=tick_labels)
    ax.xaxis.set_major_locator(MaxNLocator(4, prune="both"))
    ax.yaxis.set_major_locator(MaxNLocator(4, prune="both"))
    ax.tick_params(pad=-3 if is_small else -2, labelsize=font_size - 0.5)
    ax.zaxis.set_tick_params(pad=0 if is_small else 1)
