"""A surface on a plane as a shaded relief, with its contour lines on the floor under it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LightSource, Normalize
from matplotlib.ticker import MaxNLocator, NullLocator
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Poly3DCollection, pathpatch_2d_to_3d

from landscape.errors import require
from landscape.plot.field import Field, on_same_axes, scale_of, shared_name
from landscape.plot.interpolation import smooth_plane
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
from landscape.plot.presets import current_style
from landscape.plot.relief import Relief, corners_of, relief_of
from landscape.plot.relief_view import BOX, FLOOR_DROP, choose_view, fill_panels
from landscape.plot.scale import Scale
from landscape.plot.style import (
    FittingLocator,
    color_map,
    color_norm,
    figure_of,
    format_level,
    new_figure,
    panel_title,
    styled,
    width_of,
)
from landscape.results.surface import Surface

_SHADOW = 0.65  # brightness of what no light reaches
_MAX_TICKS, _STEEP = 6, 1.5  # along the height; what the cosine of the elevation is multiplied by
_FOOT = 0.04  # inches, under everything
_TITLE = 0.22  # inches, for the title of a panel or of the figure
_BAR_LENGTH, _BAR_HEIGHT = 2.4, 0.09  # inches
_BAR_TEXT = 0.3  # inches, for its ticks and its label under it
_LABEL_PAD, _TICK_PAD = 21.0, 8.0  # points that matplotlib adds to those of labels and ticks
_LONGEST_NAME = 33  # characters along the height
_LIGHT = (193.0, 50.0)  # degrees, from the viewer's azimuth and above the plane


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

    It is seen from where its lowest point can be seen. Where most of it would be flat because of
    a few high corners, it ends at the median of the losses on its border; what is above is flat
    and hatched, and the axis says so. On a log scale the heights are those of the logarithm, the
    ticks those of the value. Between the points it is smooth (`smooth_plane`), and where a corner
    of a cell is missing it has a hole.

    Args:
        surface: On a plane.
        split: Name of the data split; None for the first.
        quantity: `loss`, `accuracy`, which is drawn in percent, or the name of a map of the
            surface.
        label: Title of the panel.
        scale: Shared with other panels, whose colour bar is then the caller's; None for one of its
            own.
        look: Levels, scales, clipping, colours and view; a shared scale goes before its scales.
        ax: Three-dimensional axes; None for a new figure.

    Raises:
        InputError: If the surface is on a line, or has no such split, quantity or finite value, or
            the axes are not three-dimensional.
    """
    field = select_plane(surface, split or None, quantity)
    scales = scales_of([field], look, scale)
    if ax is None:
        return draw_reliefs([field], [label], scales, look)[0]
    require(
        isinstance(ax, Axes3D),
        f"a surface needs three-dimensional axes, got {type(ax).__name__}.",
        hint='Make them with figure.add_subplot(projection="3d").',
    )
    draw_relief(ax, field, scales, [field], label, look)
    if scale is None:
        legend_of([field], [view_of([field], "surface")]).add_to(figure_of(ax))
    return ax


def scales_of(
    fields: Sequence[Field], look: Look, shared: Scale | None = None
) -> tuple[Scale, Scale]:
    """Return the scale of the colours and lines of reliefs, and that of their heights.

    Unless a scale or a clip is asked for, values that a linear scale does not spread are clipped at
    the median of those on the border where that makes a linear scale spread them.

    Raises:
        InputError: If no value is finite, or what was asked for does not fit the values.
    """
    asked = replace(look, view=None, zscale=None)
    scale = shared or scale_of(fields, asked)
    if not shared and scale.kind != "linear" and look.scale is None and look.clip is None:
        clipped = scale_of(fields, replace(asked, clip="auto"))
        scale = clipped if clipped.kind == "linear" else scale
    if look.zscale is None:
        return scale, scale
    clip = scale.high if scale.is_clipped else None
    return scale, scale_of(fields, replace(asked, levels=12, scale=look.zscale, clip=clip))


def draw_reliefs(
    fields: Sequence[Field],
    titles: Sequence[str],
    scales: tuple[Scale, Scale],
    look: Look,
    *,
    columns: int = 1,
    has_title: bool = False,
) -> list[Axes3D]:
    """Draw fields as panels of a new figure that they fill, with one view, scale and colour bar."""
    views = [view_of(on_same_axes(field, fields), "surface") for field in fields]
    legend = legend_of(fields, views)
    width = width_of(columns)
    figure = new_figure(columns, width / columns, layout=None, is_exact=True)
    axes = [Axes3D(figure, (0, 0, 1 / columns, 1)) for _ in fields]
    for ax, field, title in zip(axes, fields, titles, strict=True):
        figure.add_axes(ax)
        ax.patch.set_visible(False)
        draw_relief(ax, field, scales, fields, title, look)
    foot, unit = legend.height(width) + _FOOT, current_style().unit
    bar_text = _BAR_TEXT * unit
    head = _TITLE * unit if any(ax.get_title() for ax in axes) else _FOOT
    top = _TITLE * unit * has_title
    fill_panels(axes, columns, head=head, foot=foot + _BAR_HEIGHT + bar_text, top=top)
    width, height = figure.get_size_inches()
    length = min(_BAR_LENGTH * unit, 0.8 * width)
    place = (width / 2 - length / 2, foot + bar_text, length, _BAR_HEIGHT)
    bar = figure.add_axes(
        tuple(np.array(place) / [width, height, width, height]), label="<colorbar>"
    )
    _draw_bar(bar, fields, scales[0], look)
    legend.add_to(figure)
    return axes


def draw_relief(
    ax: Axes3D,
    field: Field,
    scales: tuple[Scale, Scale],
    fields: Sequence[Field],
    label: str,
    look: Look = DEFAULT_LOOK,
) -> None:
    """Draw a field as a relief over its contour lines, with the same axes for the same scales.

    All fields of the figure, this one included, share the view and the signs of the marks.
    """
    scale, heights = scales
    low, high = heights.limits
    floor = float(low - FLOOR_DROP * (high - low))
    ax.computed_zorder = False
    relief = relief_of(field, scales)
    _draw_floor(ax, field, scale, floor, fields, look)
    elevation, azimuth = look.view or choose_view(fields, heights)
    ax.view_init(elev=elevation, azim=azimuth)
    _draw_cells(ax, field, relief, scales, look)
    _draw_rim(ax, relief, heights)
    _finish_axes(ax, field, heights, (floor, float(high)))
    set_view(ax, on_same_axes(field, fields), "surface")
    draw_marks(ax, field, fields, floor=floor)
    ax.set_title(panel_title(label, field, look), y=1.0, pad=0)


def _draw_cells(
    ax: Axes3D, field: Field, relief: Relief, scales: tuple[Scale, Scale], look: Look
) -> None:
    """Draw every cell of the relief whose four corners are there, lit."""
    points = np.stack([*np.meshgrid(relief.x, relief.y), relief.heights, relief.tints], axis=-1)
    quads = corners_of(points)[relief.is_whole]
    if not len(quads):
        return
    colors = color_map(field.quantity, scales[0], look.colormap)
    colors = colors(Normalize(*scales[0].limits)(quads[..., 3].mean(axis=1)))
    spans = np.ptp(np.stack([*field.view, scales[1].limits]), axis=1)
    colors[:, :3] *= _brightness(quads[..., :3] / spans, ax.azim)
    ax.add_collection3d(
        Poly3DCollection(
            quads[..., :3],
            facecolors=colors,
            edgecolors=colors,
            linewidths=0.5,  # so that nothing shines through between cells
            zorder=3,
            rasterized=True,
            gid="relief",
        )
    )


def _brightness(quads: np.ndarray, azimuth: float) -> np.ndarray:
    """Return each cell's brightness, in [_SHADOW, 1], in a box as wide as it is high, (n, 1).

    The light comes from the left behind the box, as it is seen from the azimuth in degrees.
    """
    normals = np.cross(quads[:, 2] - quads[:, 0], quads[:, 3] - quads[:, 1])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    # The class counts clockwise from the second direction.
    light = LightSource(azdeg=90.0 - (azimuth + _LIGHT[0]), altdeg=_LIGHT[1]).direction
    return _SHADOW + (1 - _SHADOW) * np.clip(normals @ light, 0, 1)[:, None]


def _draw_rim(ax: Axes3D, relief: Relief, heights: Scale) -> None:
    """Hatch what is above the highest value that is told apart; it hides what is under it."""
    values = relief.values
    if heights.is_clipped and values.max() > heights.high:
        rim = ax.contourf(
            relief.x,
            relief.y,
            values,
            levels=[heights.high, float(values.max())],
            zdir="z",
            offset=heights.limits[1],
            zorder=4,
            colors=["0.88"],
            hatches=["////"],
        )
        rim.set(edgecolor="0.45", linewidth=0.4, gid="rim")


def _draw_floor(
    ax: Axes3D, field: Field, scale: Scale, floor: float, fields: Sequence[Field], look: Look
) -> None:
    """Project contour lines, missing points and the center onto the floor."""
    for patch in missing_patches(field, reach=1.0):
        ax.add_patch(patch)
        pathpatch_2d_to_3d(patch, z=floor)  # pyright: ignore[reportArgumentType]
    draw_dots(ax, field, fields, floor)
    levels = scale.levels_within(field.finite)
    if levels.size:
        x, y, values = smooth_plane(field.x, field.y, field.drawn, scale)
        ax.contour(
            x,
            y,
            scale.transform(values),
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
    """Set limits, ticks and labels; the ticks of the height are values, on any scale."""
    ax.set_box_aspect(BOX, zoom=0.8)  # pyright: ignore[reportArgumentType]
    share = min(1.0, _STEEP * np.cos(np.radians(ax.elev)))  # of the ticks: from above it is short
    ticks = scale.thinned(round(_MAX_TICKS * share))
    tick_labels = [format_level(tick) for tick in ticks]
    size = current_style().small_size
    is_small = ax.get_window_extent().width / figure_of(ax).dpi < 2.5 * size / 8  # inches
    font_size = size - 1.5 * is_small
    for set_label, label in zip((ax.set_xlabel, ax.set_ylabel), field.axis_labels, strict=True):
        set_label(label, fontsize=font_size, labelpad=_spaced(-7 if is_small else -3, _LABEL_PAD))
    name = field.name + scale.note
    if len(name) > _LONGEST_NAME:
        name = name.replace("symmetric log scale", "symlog")
    # Points by which the label keeps clear of its ticks' labels, more for a formula's subscripts.
    pad = 3.0 * max(0, max(map(len, tick_labels)) - 3) + 2.5 * ("$" in name)
    pad = _spaced(pad - (6.0 if is_small else 3.0), _LABEL_PAD)
    ax.set_zlabel(name, fontsize=font_size * min(1.0, _LONGEST_NAME / len(name)), labelpad=pad)
    ax.set(zlim=limits, zticks=scale.transform(ticks), zticklabels=tick_labels)
    ax.xaxis.set_major_locator(MaxNLocator(4, prune="both"))
    ax.yaxis.set_major_locator(MaxNLocator(4, prune="both"))
    ax.tick_params(pad=_spaced(-3 if is_small else -2, _TICK_PAD), labelsize=font_size - 0.5)
    ax.zaxis.set_tick_params(pad=_spaced(0 if is_small else 1, _TICK_PAD))


def _spaced(pad: float, own: float) -> float:
    """Return a pad that, with matplotlib's own, grows with the style from that of 8 points."""
    return (pad + own) * current_style().unit - own


def _draw_bar(ax: Axes, fields: Sequence[Field], scale: Scale, look: Look) -> None:
    """Draw the colour bar that reliefs share, with the levels as ticks."""
    colors = color_map(fields[0].quantity, scale, look.colormap)
    bar = figure_of(ax).colorbar(
        ScalarMappable(color_norm(scale), colors), cax=ax, orientation="horizontal"
    )
    bar.ax.xaxis.set(
        major_locator=FittingLocator(scale.levels.tolist()),
        major_formatter=format_level,
        minor_locator=NullLocator(),
    )
    bar.ax.tick_params(labelsize=current_style().label_size, pad=1.5)
    names = {field.name for field in fields}
    name = names.pop() if len(names) == 1 else shared_name(fields)
    bar.set_label(name + scale.note, fontsize=current_style().small_size, labelpad=1.0)
