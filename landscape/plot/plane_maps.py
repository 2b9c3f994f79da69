"""A surface on a plane: contour lines, filled contours, heat map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.contour import ContourSet
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.patheffects import withStroke
from matplotlib.ticker import NullLocator

from landscape.errors import require
from landscape.plot.contour_labels import label_contours
from landscape.plot.field import Field, marked_points, on_same_axes, scale_of, select_field
from landscape.plot.interpolation import smooth_plane
from landscape.plot.look import DEFAULT_LOOK, Look
from landscape.plot.mark_symbols import View, draw_marks, hides_center, legend_of
from landscape.plot.path_labels import place_names, tick_marks
from landscape.plot.presets import current_style, sized
from landscape.plot.scale import Scale, extent
from landscape.plot.style import (
    CROSS,
    MISSING,
    FittingLocator,
    color_map,
    color_norm,
    contrasting,
    figure_of,
    format_level,
    new_figure,
    panel_title,
    styled,
    width_of,
    with_note,
)
from landscape.results.surface import Surface

_COARSE = 31  # points along a direction, up to which smooth lines show them
_THIN, _THICK = {"linewidths": 0.6}, {"linewidths": 1.1}  # lines between colours, and alone
_EQUAL_RANGES = 2.0  # ratio of the ranges up to which both directions get the same unit length


@styled
def plot_contour(
    surface: Surface,
    *,
    split: str | None = None,
    quantity: str = "loss",
    label: str = "",
    scale: Scale | None = None,
    look: Look = DEFAULT_LOOK,
    ax: Axes | None = None,
) -> Axes:
    """Draw the labelled contour lines of a surface on a plane.

    Args:
        surface: On a plane.
        split: Name of the data split; None for the first.
        quantity: `loss`, `accuracy`, which is drawn in percent, or the name of a map of the
            surface.
        label: Title of the panel.
        scale: Shared with other panels, whose colour bar is then the caller's; None for one of its
            own.
        look: Levels, scale, clipping, colours and labels; a shared scale goes before them.
        ax: Where to draw; None for a new figure.

    Raises:
        InputError: If the surface is on a line, or has no such split, quantity or finite value, or
            the look does not fit the values.
    """
    return _plot("contour", surface, split, quantity, label, scale, look, ax)


@styled
def plot_filled_contour(
    surface: Surface,
    *,
    split: str | None = None,
    quantity: str = "loss",
    label: str = "",
    scale: Scale | None = None,
    look: Look = DEFAULT_LOOK,
    ax: Axes | None = None,
) -> Axes:
    """Draw a surface on a plane as bands of colour with labelled contour lines between them.

    Args and errors as for `plot_contour`.
    """
    return _plot("filled", surface, split, quantity, label, scale, look, ax)


@styled
def plot_heatmap(
    surface: Surface,
    *,
    split: str | None = None,
    quantity: str = "loss",
    label: str = "",
    scale: Scale | None = None,
    look: Look = DEFAULT_LOOK,
    ax: Axes | None = None,
) -> Axes:
    """Draw each point of a surface on a plane as a coloured cell, interpolating only missing ones.

    Args and errors as for `plot_contour`.
    """
    return _plot("heatmap", surface, split, quantity, label, scale, look, ax)


def draw_field(
    ax: Axes,
    kind: str,
    field: Field,
    scale: Scale,
    fields: Sequence[Field],
    look: Look = DEFAULT_LOOK,
) -> ScalarMappable:
    """Draw a field as `contour`, `filled` or `heatmap` with axes, marks and center.

    Return the colours.

    Points that were not evaluated are drawn as interpolated, and dots show those that were. All
    fields of the figure, this one included, share the signs of the marks, and those on the same
    axes the view.

    The contour lines have no labels yet: these need the final size of the axes (`label_lines`).
    """
    for patch in missing_patches(field, reach=0.5 if kind == "heatmap" else 1.0):
        ax.add_patch(patch)
    mappable = _DRAWERS[kind](ax, field, scale, look)
    draw_dots(ax, field, fields)
    if kind != "heatmap" and is_coarse(field):
        _draw_grid(ax, field)
    ax.set(xlabel=field.axis_labels[0], ylabel=field.axis_labels[1])
    if not hides_center(field):
        is_on_white = kind == "contour" or field.center is None or not np.isfinite(field.center)
        under = np.ones((1, 4)) if is_on_white else mappable.to_rgba(np.array([field.center]))
        (color,) = contrasting(under)
        outline = withStroke(linewidth=2.6, foreground="black" if color == "white" else "white")
        ax.plot(
            [0], [0], **sized(CROSS), color=color, path_effects=[outline], zorder=5, gid="center"
        )
    set_view(ax, on_same_axes(field, fields), kind)
    tick_marks(ax, field)
    draw_marks(ax, field, fields)
    return mappable


def draw_dots(ax: Axes, field: Field, fields: Sequence[Field], *height: float) -> None:
    """Mark the evaluated points of an interpolated field, or the other points if those are fewer.

    All fields of the figure have the same ones marked; a height is for three-dimensional axes.
    """
    rows, columns = marked_points(field, fields)
    length = 42.0 if height else 60.0  # under a relief the plane is smaller
    if rows.size:
        ax.plot(
            field.x[columns],
            field.y[rows],
            *(np.full(len(rows), each) for each in height),
            linestyle="none",
            marker="o",
            markersize=np.clip(length / max(field.values.shape), 0.7, 2.0),
            markeredgewidth=0.0,
            color="0.6",
            zorder=1.5,
            gid="dots",
            rasterized=len(rows) > 500,
        )


def is_coarse(field: Field) -> bool:
    """Return whether the points of a plane are so far apart that lines between them are a guess."""
    return max(field.values.shape) <= _COARSE


def _draw_grid(ax: Axes, field: Field) -> None:
    """Show where values were computed between smooth lines."""
    rows, columns = np.nonzero(~field.is_not_done)
    ax.plot(
        field.x[columns],
        field.y[rows],
        linestyle="none",
        marker=".",
        markersize=1.2,
        markeredgewidth=0.0,
        color="0.5",
        zorder=1.5,
        gid="grid",
    )


def add_color_bar(
    axes: Sequence[Axes], mappable: ScalarMappable, name: str, scale: Scale
) -> Colorbar:
    """Add the colour bar that panels share, with the levels as ticks."""
    bar = figure_of(axes[0]).colorbar(mappable, ax=list(axes), aspect=22, pad=0.03)
    bar.ax.yaxis.set(
        major_locator=FittingLocator(scale.levels.tolist()),
        major_formatter=format_level,
        minor_locator=NullLocator(),
    )
    bar.set_label(with_note(name, scale))
    return bar


def panel_height() -> float:
    """Return the height in inches of one square panel and its labels on one column."""
    return width_of(1) - 0.5 * current_style().unit


def label_lines(ax: Axes) -> None:
    """Label the contour lines of flat axes, once the figure's layout is final."""
    place_names(ax)
    for contours in list(ax.collections) if ax.name == "rectilinear" else []:
        if isinstance(contours, ContourSet) and not contours.filled:
            label_contours(ax, contours)


def view_of(fields: Sequence[Field], kind: str) -> View:
    """Return the lowest and highest coordinates, by direction, of a view of all fields."""
    shown = _edges if kind == "heatmap" else np.asarray
    x, y = [shown(field.x) for field in fields], [shown(field.y) for field in fields]
    return extent(x), extent(y)


def set_view(ax: Axes, fields: Sequence[Field], kind: str) -> None:
    """Give the axes a view of every field, and flat ones equal units if ranges are similar."""
    view = view_of(fields, kind)
    ax.set(xlim=view[0], ylim=view[1])
    if ax.name == "rectilinear" and has_equal_units(view):
        ax.set_aspect("equal")


def has_equal_units(view: View) -> bool:
    """Return whether both directions' ranges are similar enough to share a unit length."""
    width, height = (high - low for low, high in view)
    return 1 / _EQUAL_RANGES <= width / height <= _EQUAL_RANGES


def missing_patches(field: Field, *, reach: float) -> list[PathPatch]:
    """Hatch the points that are missing.

    Args:
        field: On a plane.
        reach: How far from a point its sign extends, in grid spacings: 0.5 for a cell, 1 for
            everything that a contour cannot fill, which ends where the grid does.
    """
    return [
        PathPatch(_cells_path(field, mask, reach), **MISSING[name], zorder=0.5, gid="missing")
        for name, mask in (("not_done", field.is_unknown), ("not_finite", field.is_not_finite))
        if mask.any()
    ]


def select_plane(surface: Surface, split: str | None, quantity: str) -> Field:
    """Take one quantity of a surface on a plane as `select_field`; less than 2 x 2 has no area.

    Raises:
        InputError: If the surface does not have it, or is smaller.
    """
    field = select_field(surface, split, quantity)
    require(
        field.y.size and min(field.values.shape) >= 2,
        "a surface must be on a plane with 2 points or more along each direction, "
        f"got the shape {field.values.shape}.",
        hint="Draw a surface on a line as a curve.",
    )
    return field


def _plot(
    kind: str,
    surface: Surface,
    split: str | None,
    quantity: str,
    label: str,
    scale: Scale | None,
    look: Look,
    ax: Axes | None,
) -> Axes:
    """Draw one panel, with a colour bar and a legend unless the caller shares a scale."""
    field = select_plane(surface, split or None, quantity)
    own_scale = scale or scale_of([field], look)
    legend = legend_of([field], [view_of([field], kind)])
    if ax is None:
        under = legend.height(width_of(1)) if scale is None else 0.0
        figure = new_figure(1, panel_height(), legend=under, layout="compressed", is_exact=True)
        ax = figure.add_subplot()
    mappable = draw_field(ax, kind, field, own_scale, [field], look)
    ax.set_title(panel_title(label, field, look))
    if scale is None:
        add_color_bar([ax], mappable, field.name, own_scale)
        legend.add_to(figure_of(ax))
    figure_of(ax).draw_without_rendering()
    if not look.no_labels:
        label_lines(ax)
    return ax


def _draw_cells(ax: Axes, field: Field, scale: Scale, look: Look) -> ScalarMappable:
    return ax.pcolormesh(
        _edges(field.x),
        _edges(field.y),
        field.drawn,
        cmap=color_map(field.quantity, scale, look.colormap),
        norm=color_norm(scale),
        rasterized=True,
    )


def _draw_bands(ax: Axes, field: Field, scale: Scale, look: Look) -> ScalarMappable:
    colors, norm = color_map(field.quantity, scale, look.colormap), color_norm(scale)
    x, y, values = smooth_plane(field.x, field.y, field.drawn, scale)
    clipped = np.clip(values, scale.low, scale.high)
    bands = ax.contourf(
        x, y, clipped, levels=scale.bands, cmap=colors, norm=norm, corner_mask=x is field.x
    )
    under = colors(norm(scale.levels_within(field.finite)))
    _draw_lines(ax, field, scale, colors=contrasting(under), **sized(_THIN))
    return bands


def _draw_colored_lines(ax: Axes, field: Field, scale: Scale, look: Look) -> ScalarMappable:
    colors, norm = line_color_map(field.quantity, scale, look.colormap), color_norm(scale)
    _draw_lines(ax, field, scale, cmap=colors, norm=norm, **sized(_THICK))
    return ScalarMappable(norm, colors)


def _draw_lines(ax: Axes, field: Field, scale: Scale, **style: Any) -> None:
    """Draw contour lines, dashed below 0 if colour, which is lost in grey, tells the sign."""
    levels = scale.levels_within(field.finite)
    if levels.size:
        x, y, values = smooth_plane(field.x, field.y, field.drawn, scale)
        ax.contour(
            x,
            y,
            values,
            levels=levels,
            linestyles=[
                "dashed" if scale.is_diverging and level < 0 else "solid" for level in levels
            ],
            corner_mask=x is field.x,
            **style,
        )


_DRAWERS = {"contour": _draw_colored_lines, "filled": _draw_bands, "heatmap": _draw_cells}


def line_color_map(quantity: str, scale: Scale, name: str | None = None) -> Colormap:
    """Return the colour map of a quantity for lines: without a bright end, or a bright middle."""
    full = color_map(quantity, scale, name)
    shares = np.linspace(0, 0.82, 256)  # what is brighter cannot be seen on white
    if scale.is_diverging:
        shares = np.concatenate([np.linspace(0, 0.3, 128), np.linspace(0.7, 1, 128)])
    return ListedColormap(full(shares), name=f"{full.name}_lines")


def _edges(points: np.ndarray) -> np.ndarray:
    """Return the borders between neighbouring points, the outermost as far out as they are in."""
    middles = (points[1:] + points[:-1]) / 2
    first, last = points[0] - (middles[0] - points[0]), points[-1] + (points[-1] - middles[-1])
    return np.concatenate([[first], middles, [last]])


def _cells_path(field: Field, mask: np.ndarray, reach: float) -> Path:
    """Join the rectangles around the points of a mask, one for each run along a row."""
    left, right = _sides(field.x, reach)
    bottom, top = _sides(field.y, reach)
    rectangles = []
    for row, row_mask in enumerate(mask):
        changes = np.flatnonzero(np.diff(np.pad(row_mask.astype(int), 1)))
        for start, stop in changes.reshape(-1, 2):
            x0, x1, y0, y1 = left[start], right[stop - 1], bottom[row], top[row]
            rectangles.append(Path([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)], closed=True))
    return Path.make_compound_path(*rectangles)


def _sides(points: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Return where the sign of each point begins and ends."""
    steps = np.diff(points)
    before, after = np.append(steps[:1], steps), np.append(steps, steps[-1:])
    limits = (points[0], points[-1]) if reach == 1 else (-np.inf, np.inf)
    return np.clip(points - reach * before, *limits), np.clip(points + reach * after, *limits)
