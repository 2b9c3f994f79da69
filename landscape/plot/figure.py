"""The figure of a list of results: the kind by their type, panels on one scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from landscape.errors import require, require_in_limits
from landscape.plot.basins import plot_merge_tree, plot_persistence
from landscape.plot.curvature_curves import plot_curvature_history
from landscape.plot.density_figures import plot_density
from landscape.plot.field import Field, choose_splits, on_same_axes, scale_of, subtract_fields
from landscape.plot.look import DEFAULT_LOOK, Look
from landscape.plot.mark_symbols import legend_of
from landscape.plot.names import choose_kind, letter, literal, name_results, refuse_other_split
from landscape.plot.paired_differences import plot_differences
from landscape.plot.plane_maps import (
    add_color_bar,
    draw_field,
    is_coarse,
    label_lines,
    plot_filled_contour,
    select_plane,
    view_of,
)
from landscape.plot.presets import current_style
from landscape.plot.profile import plot_profile, plot_profiles
from landscape.plot.sharpness_figures import plot_sharpness
from landscape.plot.spectrum_figures import plot_eigenvalues, plot_layer_shares
from landscape.plot.style import (
    figure_of,
    grid_shape,
    panel_title,
    styled,
    width_of,
)
from landscape.plot.surface3d import draw_reliefs, scales_of
from landscape.plot.ticks import space_ticks
from landscape.plot.training_curves import plot_history
from landscape.plot.trajectory_figures import draw_trajectory
from landscape.results.surface import Surface

_MAX_COLUMNS = 3
PLANE_KINDS = ("filled", "contour", "heatmap", "surface", "trajectory", "difference")
LETTERED_KINDS = ("filled", "contour", "heatmap", "surface", "merge-tree")
"""Kinds with a panel per result, which a letter tells apart where there are no labels."""
_ALONE = "Draw each in a figure of its own."
_NUM_RESULTS = {
    "difference": (
        2,
        "a difference is drawn of two surfaces",
        "Pass the one to subtract first, the other second.",
    ),
    "trajectory": (1, "a trajectory is drawn of one surface", _ALONE),
    "layers": (1, "layers are drawn of one spectrum", _ALONE),
    "differences": (1, "differences are drawn of one comparison", _ALONE),
}
"""Kind of figure -> how many results it is of, the rule that says so, and what to do otherwise."""


@dataclass(frozen=True)
class _Request:
    """What was asked for, as `draw` takes it."""

    kind: str
    split: str | None
    quantity: str
    has_title: bool
    look: Look
    among: Sequence[Surface] = ()

    def fields_with(self, fields: Sequence[Field]) -> list[Field]:
        """Return the fields that share a scale with those that are drawn, these included."""
        others = [
            select_plane(surface, split, self.quantity)
            for surface in self.among
            for split in dict.fromkeys(field.split for field in fields)
        ]
        return [*fields, *others]


@styled
def draw(
    results: Sequence[Any],
    *,
    labels: Sequence[str] | None = None,
    kind: str | None = None,
    split: str | None = None,
    quantity: str = "loss",
    title: str | None = None,
    look: Look = DEFAULT_LOOK,
    among: Sequence[Surface] = (),
) -> Figure:
    """Draw results of one type in one figure: planes side by side on one scale, others together.

    Results of other types share their axes.

    The kind `difference` draws the second surface minus the first instead, `trajectory` a surface
    with the losses and the distances of its snapshots under it, `differences` what is in a
    comparison of sharpness.

    Args:
        results: Surfaces, all on lines or all on planes, spectra, histories, histories of
            curvature, sharpness or comparisons of it.
        labels: One per result; None for none, or, if there are several, letters for panels and
            numbers for curves.
        kind: One of `FIGURES`; None for `curve` (a line), `filled` (a plane), `eigenvalues`,
            `history`, `curvature-history` or `sharpness`.
        split: Name of the data split. None: of planes the first that they share, of everything else
            all. `all`: every split that they share, as panels for planes.
        quantity: `loss`, `accuracy` or the name of a map that every surface has. A curve of the
            loss has the accuracy, where there is one, under it.
        title: Over the whole figure.
        look: Levels, scale, clipping, colours and labels of planes.
        among: Surfaces that are not drawn, with which planes share scale and limits, as the frames
            of a film do.

    Returns:
        The figure, of one or two columns of a paper. Its label says what scale a plane is on and
        where its lines are.

    Raises:
        InputError: If the kind does not fit the results, they are of different types, the split or
            quantity is not there, nothing is finite, or the look does not fit.
    """
    results = list(results)
    left_out = [
        each.done.size for each in results if isinstance(each, Surface) and not each.done.all()
    ]
    require_in_limits(
        {
            "number of results in a figure": len(results),
            "number of points to interpolate": sum(left_out),
        }
    )
    kind = choose_kind(results, kind)
    names = _names(results, labels, kind)
    number, rule, hint = _NUM_RESULTS.get(kind, (len(results), "", ""))
    require(len(results) == number, f"{rule}, got {len(results)}.", hint=hint)
    require(
        look == DEFAULT_LOOK or kind in PLANE_KINDS,
        f"levels, scale, clip and colours are chosen for figures of planes, got the kind {kind}.",
        hint=f"Kinds that have them: {', '.join(PLANE_KINDS)}.",
    )
    require(
        kind == "surface" or (look.view is None and look.zscale is None),
        f"`view` and `zscale` are of the kind surface, got the kind {kind}.",
        hint="Pass `kind='surface'`.",
    )
    figure = _DRAWERS[kind](
        results, names, _Request(kind, split, quantity, bool(title), look, among)
    )
    if title:
        figure.suptitle(literal(title))
    space_ticks(figure)
    figure.draw_without_rendering()
    for ax in () if look.no_labels else figure.axes:
        label_lines(ax)
    return figure


def _names(results: Sequence[Any], labels: Sequence[str] | None, kind: str) -> list[str]:
    """Return what results are called; panels without labels have letters."""
    if labels is not None:
        return name_results(results, [literal(label) for label in labels])
    if kind == "difference":
        return ["", ""]
    if len(results) > 1 and kind in LETTERED_KINDS:
        return [letter(index) for index in range(len(results))]
    return name_results(results, None)


def draw_result(result: Any, ax: Axes | None = None) -> Axes | np.ndarray:
    """Draw a result as the kind of figure that is the default for its type.

    Args:
        result: A surface, spectrum, history, history of curvature, sharpness or comparison of it.
        ax: Where to draw; None for a new figure. A history and sharpness at several radii, which
            have a panel per quantity or measure, draw the first of their panels there.

    Returns:
        The axes; for a history or sharpness without `ax`, the array of the axes of all panels.
        Their figure is `axes.figure`.

    Raises:
        InputError: If the result cannot be drawn, or nothing in it is finite.
    """
    drawn = _DEFAULTS[choose_kind([result], None)](result, ax=ax)
    if not isinstance(drawn, Figure):
        return drawn
    return np.array(drawn.axes) if ax is None else ax


_DEFAULTS: dict[str, Callable[..., Figure | Axes]] = {
    "curve": plot_profile,
    "filled": plot_filled_contour,
    "eigenvalues": plot_eigenvalues,
    "curvature-history": plot_curvature_history,
    "history": plot_history,
    "sharpness": plot_sharpness,
}


def _draw_planes(surfaces: list[Surface], names: list[str], request: _Request) -> Figure:
    """Draw planes as panels with one scale, one view and one colour bar, or their difference."""
    fields, titles = _panel_fields(surfaces, names, request)
    rows, columns = _grid(len(fields), len(surfaces))
    kind = request.kind
    if kind == "difference":
        fields = [subtract_fields(*pair) for pair in zip(fields[1::2], fields[::2], strict=True)]
        label = f"{names[1]} \N{MINUS SIGN} {names[0]}" if names[0] else ""
        splits = [field.split if len(fields) > 1 else "" for field in fields]
        titles = [", ".join(filter(None, [label, split])) for split in splits]
        rows, columns = _grid(len(fields), 1)
        kind = "filled"
    every = request.fields_with(fields)
    scale = scale_of(every, request.look)
    unit = current_style().unit
    panel = (width_of(columns) - 1.4 * unit - 0.15 * (columns - 1)) / columns  # inches
    views = [view_of(on_same_axes(field, every), kind) for field in fields]
    has_own_axes = len(on_same_axes(fields[0], fields)) < len(fields)
    figure = legend_of(fields, views).new_figure(
        columns, 0.45 * unit + rows * (panel + 0.25 * unit), layout="compressed", is_exact=True
    )
    axes = [figure.add_subplot(rows, columns, index + 1) for index in range(len(fields))]
    mappables = [
        draw_field(ax, kind, field, scale, every, request.look)
        for ax, field in zip(axes, fields, strict=True)
    ]
    for index, (ax, field, title) in enumerate(zip(axes, fields, titles, strict=True)):
        ax.set_title(panel_title(title, field, request.look))
        is_first = has_own_axes or index % columns == 0
        is_last = has_own_axes or index + columns >= len(axes)
        ax.tick_params(labelleft=is_first, labelbottom=is_last)
        ax.set(xlabel=ax.get_xlabel() * is_last, ylabel=ax.get_ylabel() * is_first)
    name = fields[0].name
    if any(field.name != name for field in fields):
        name = name.replace(f"{literal(fields[0].split)} ", "", 1)
    add_color_bar(axes, mappables[0], name, scale)
    is_guess = kind != "heatmap" and any(map(is_coarse, fields))
    figure.set_label(scale.summary + "; curves between computed points (dots)" * is_guess)
    return figure


def _draw_reliefs(surfaces: list[Surface], names: list[str], request: _Request) -> Figure:
    """Draw planes as reliefs with the same heights, colours and view."""
    fields, titles = _panel_fields(surfaces, names, request)
    scales = scales_of(request.fields_with(fields), request.look)
    _, columns = _grid(len(fields), len(surfaces))
    axes = draw_reliefs(
        fields, titles, scales, request.look, columns=columns, has_title=request.has_title
    )
    figure = figure_of(axes[0])
    figure.set_label(scales[0].summary)
    return figure


def _draw_loss(
    plot: Callable[..., Figure | Axes], reason: str, *, has_splits: bool = False
) -> _Drawer:
    """Return a function that draws results of the loss alone, with a plot that takes labels.

    Args:
        plot: A function of this package.
        reason: Why no other quantity can be drawn.
        has_splits: Whether the plot chooses a split; otherwise each result has one.
    """

    def draw_results(results: list[Any], names: list[str], request: _Request) -> Figure:
        require(
            request.quantity == "loss",
            f"{reason}, got the quantity {request.quantity!r}.",
            hint="Leave it at loss.",
        )
        choice = {"split": request.split} if has_splits else {}
        if not has_splits:
            refuse_other_split(results, request.split)
        drawn = plot(results, labels=names, **choice)
        return drawn if isinstance(drawn, Figure) else figure_of(drawn)

    return draw_results


_Drawer = Callable[[list[Any], list[str], _Request], Figure]
_CURVATURE = "eigenvalues are those of the Hessian of the loss"
_SHARPNESS = "sharpness is the rise of the loss"
_BASINS = "basins are those of the loss"

_DRAWERS: dict[str, _Drawer] = {
    "curve": lambda surfaces, names, request: plot_profiles(
        surfaces, names, request.split, request.quantity
    ),
    "filled": _draw_planes,
    "contour": _draw_planes,
    "heatmap": _draw_planes,
    "surface": _draw_reliefs,
    "trajectory": lambda surfaces, names, request: draw_trajectory(
        surfaces[0],
        names[0],
        split=request.split,
        quantity=request.quantity,
        look=request.look,
    ),
    "difference": _draw_planes,
    "persistence": _draw_loss(plot_persistence, _BASINS, has_splits=True),
    "merge-tree": _draw_loss(plot_merge_tree, _BASINS, has_splits=True),
    "eigenvalues": _draw_loss(plot_eigenvalues, _CURVATURE),
    "layers": _draw_loss(
        lambda one, labels: plot_layer_shares(one[0], label=labels[0]),
        "eigenvectors are those of the Hessian of the loss",
    ),
    "curvature-history": _draw_loss(plot_curvature_history, _CURVATURE),
    "density": _draw_loss(plot_density, _CURVATURE),
    "history": _draw_loss(
        plot_history, "a history is drawn with all its quantities", has_splits=True
    ),
    "sharpness": _draw_loss(plot_sharpness, _SHARPNESS),
    "differences": _draw_loss(lambda one, labels: plot_differences(one[0]), _SHARPNESS),
}


def _panel_fields(
    surfaces: Sequence[Surface], names: Sequence[str], request: _Request
) -> tuple[list[Field], list[str]]:
    """Return the panels in reading order, splits down and surfaces across, with their titles."""
    splits = choose_splits(surfaces, request.split, request.quantity, is_one=True)
    fields = [
        select_plane(surface, each, request.quantity) for each in splits for surface in surfaces
    ]
    titles = [", ".join(filter(None, [name, each])) for each in splits for name in names]
    return fields, titles if len(splits) > 1 else list(names)


def _grid(num_panels: int, num_surfaces: int) -> tuple[int, int]:
    """Return rows and columns: a row per split if each fits, else as many as fit side by side."""
    if num_panels == num_surfaces:
        return grid_shape(num_panels)
    most = min(_MAX_COLUMNS, current_style().most_columns())
    columns = num_surfaces if 1 < num_surfaces <= most else min(num_panels, most)
    return -(-num_panels // columns), columns
