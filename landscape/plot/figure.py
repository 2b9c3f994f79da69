"""The figure of a list of results: the kind by their type, panels on one scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from landscape.errors import InputError
from landscape.plot.basins import plot_merge_tree, plot_persistence
from landscape.plot.curvature_history import plot_curvature_history
from landscape.plot.density_curves import plot_density
from landscape.plot.eigenvalues import plot_eigenvalues, plot_layer_shares
from landscape.plot.field import Field, choose_splits, scale_of, select_field, subtract_fields
from landscape.plot.kinds import choose_kind, name_results, refuse_other_split, require_loss
from landscape.plot.legend import legend_of
from landscape.plot.names import literal
from landscape.plot.plane_maps import (
    add_color_bar,
    draw_field,
    label_lines,
    plot_filled_contour,
    require_grid,
    view_of,
)
from landscape.plot.profile import plot_profile, plot_profiles
from landscape.plot.sharpness_curves import draw_sharpness_panel, plot_sharpness
from landscape.plot.sharpness_differences import plot_differences
from landscape.plot.style import figure_of, grid_shape, new_figure, panel_title, styled, width_of
from landscape.plot.surface3d import draw_relief, new_relief_figure, set_relief_title
from landscape.plot.training_curves import draw_history_panel, plot_history
from landscape.plot.trajectory_path import draw_trajectory
from landscape.results.surface import Surface

_MAX_COLUMNS = 3
_NUM_RESULTS = {
    "difference": (2, "surfaces", "Pass the one to subtract first, the other second."),
    "trajectory": (1, "surface", "Draw each in a figure of its own."),
    "layers": (1, "spectrum", "Draw each in a figure of its own."),
    "differences": (1, "comparison", "Draw each in a figure of its own."),
}
"""Kind of figure -> how many results it is of, their name, and what to do otherwise."""

_VERBS = {"differences": "differences are", "layers": "layers are"}


@dataclass(frozen=True)
class _Request:
    """What was asked for, as `draw` takes it."""

    kind: str
    split: str | None
    quantity: str
    has_title: bool


@styled
def draw(
    results: Sequence[Any],
    *,
    labels: Sequence[str] | None = None,
    kind: str | None = None,
    split: str | None = None,
    quantity: str = "loss",
    title: str | None = None,
) -> Figure:
    """Draw results of one type in one figure: planes side by side on one scale, others together.

    Results of other types share their axes.

    The kind `difference` draws the second surface minus the first instead, `trajectory` a surface
    with the losses and the distances of its snapshots under it, `differences` what is in a
    comparison of sharpness.

    Args:
        results: Surfaces, all on lines or all on planes, spectra, histories, histories of
            curvature, sharpness or comparisons of it.
        labels: One per result; None for none, or numbers if there are several.
        kind: One of `FIGURES`; None for `curve` (a line), `filled` (a plane), `eigenvalues`,
            `history`, `curvature-history` or `sharpness`.
        split: Name of the data split. None: of planes the first that they share, of everything else
            all. `all`: every split that they share, as panels for planes.
        quantity: `loss`, `accuracy` or the name of a map that every surface has. A curve of the
            loss has the accuracy, where there is one, under it.
        title: Over the whole figure.

    Returns:
        The figure, of one or two columns of a paper.

    Raises:
        InputError: If the kind does not fit the results, they are of different types, the split or
            quantity is not there, or nothing is finite.
    """
    results = list(results)
    kind = choose_kind(results, kind)
    names = name_results(results, None if labels is None else [literal(label) for label in labels])
    _require_number(results, kind)
    figure = _DRAWERS[kind](results, names, _Request(kind, split, quantity, bool(title)))
    if title:
        figure.suptitle(literal(title))
    figure.draw_without_rendering()
    for ax in figure.axes:
        label_lines(ax)
    return figure


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
    kind = choose_kind([result], None)
    if kind in _ON_AXES:
        return _ON_AXES[kind](result, ax=ax)
    if ax is None:
        return np.array(_PANELLED[kind](result).axes)
    _FIRST_PANEL[kind](ax, result)
    return ax


_ON_AXES: dict[str, Callable[..., Axes]] = {
    "curve": plot_profile,
    "filled": plot_filled_contour,
    "eigenvalues": plot_eigenvalues,
    "curvature-history": plot_curvature_history,
}
_PANELLED: dict[str, Callable[[Any], Figure]] = {
    "history": plot_history,
    "sharpness": plot_sharpness,
}
_FIRST_PANEL: dict[str, Callable[[Axes, Any], None]] = {
    "history": draw_history_panel,
    "sharpness": draw_sharpness_panel,
}


def _draw_planes(surfaces: list[Surface], names: list[str], request: _Request) -> Figure:
    """Draw planes as panels with one scale, one view and one colour bar."""
    fields, titles = _panel_fields(surfaces, names, request.split, request.quantity)
    return _lay_out_planes(fields, titles, request.kind, _grid(len(fields), len(surfaces)))


def _draw_difference(surfaces: list[Surface], names: list[str], request: _Request) -> Figure:
    """Draw the second of two surfaces minus the first, a panel per split."""
    fields, titles = _panel_fields(surfaces, names, request.split, request.quantity)
    differences = [
        subtract_fields(second, first)
        for first, second in zip(fields[::2], fields[1::2], strict=True)
    ]
    label = f"{names[1]} \N{MINUS SIGN} {names[0]}"
    titles = [
        label if len(differences) == 1 else f"{label}, {field.split}" for field in differences
    ]
    return _lay_out_planes(differences, titles, "filled", _grid(len(differences), 1))


def _lay_out_planes(
    fields: list[Field], titles: list[str], kind: str, grid: tuple[int, int]
) -> Figure:
    """Draw fields as panels in rows and columns."""
    scale = scale_of(fields)
    legend = legend_of(fields, view_of(fields, kind))
    rows, columns = grid
    width = width_of(columns)
    panel = (width - 1.4 - 0.15 * (columns - 1)) / columns  # inches
    height = 0.45 + rows * (panel + 0.25) + legend.height(width)
    figure = new_figure(width, height, layout="compressed")
    axes = [figure.add_subplot(rows, columns, index + 1) for index in range(len(fields))]
    mappables = []
    for index, (ax, field, title) in enumerate(zip(axes, fields, titles, strict=True)):
        mappables.append(draw_field(ax, kind, field, scale, beside=fields))
        ax.set_title(panel_title(title, field))
        if index % columns:
            ax.set_ylabel("")
            ax.tick_params(labelleft=False)
        if index + columns < len(axes):
            ax.set_xlabel("")
            ax.tick_params(labelbottom=False)
    name = fields[0].name
    if any(field.name != name for field in fields):
        name = name.replace(f"{fields[0].split} ", "", 1)
    add_color_bar(axes, mappables[0], name, scale)
    legend.add_to(figure)
    return figure


def _draw_reliefs(surfaces: list[Surface], names: list[str], request: _Request) -> Figure:
    """Draw planes as reliefs with the same heights, colours and view."""
    fields, titles = _panel_fields(surfaces, names, request.split, request.quantity)
    scale = scale_of(fields)
    rows, columns = _grid(len(fields), len(surfaces))
    legend = legend_of(fields, view_of(fields, request.kind))
    foot = legend.height(width_of(columns))
    figure, axes = new_relief_figure(
        len(fields), rows, columns, foot=foot, has_title=request.has_title
    )
    for ax, field, title in zip(axes, fields, titles, strict=True):
        draw_relief(ax, field, scale, beside=fields)
        set_relief_title(ax, panel_title(title, field))
    legend.add_to(figure)
    return figure


def _draw_trajectory(surfaces: list[Surface], names: list[str], request: _Request) -> Figure:
    """Draw a surface with its snapshots, and what is known of these under it."""
    split = choose_splits(surfaces, request.split, request.quantity)[0]
    return draw_trajectory(select_field(surfaces[0], split, request.quantity), names[0])


def _draw_curves(surfaces: list[Surface], names: list[str], request: _Request) -> Figure:
    """Draw profiles on shared axes; the accuracy under the loss, where every surface has it."""
    return plot_profiles(surfaces, names, request.split, request.quantity)


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
        require_loss(request.quantity, reason)
        if not has_splits:
            refuse_other_split(results, request.split)
        choice = {"split": request.split} if has_splits else {}
        drawn = plot(results, labels=names, **choice)
        return drawn if isinstance(drawn, Figure) else figure_of(drawn)

    return draw_results


def _plot_layers(spectra: list[Any], *, labels: list[str]) -> Axes:
    """Draw the layers of one spectrum under its name."""
    ax = plot_layer_shares(spectra[0])
    ax.set_title(labels[0])
    return ax


def _plot_differences(comparisons: list[Any], *, labels: list[str]) -> Figure:
    """Draw the differences in one comparison, which has names of its own."""
    return plot_differences(comparisons[0])


_Drawer = Callable[[list[Any], list[str], _Request], Figure]
_CURVATURE = "eigenvalues are those of the Hessian of the loss"
_SHARPNESS = "sharpness is the rise of the loss"
_BASINS = "basins are those of the loss"

_DRAWERS: dict[str, _Drawer] = {
    "curve": _draw_curves,
    "filled": _draw_planes,
    "contour": _draw_planes,
    "heatmap": _draw_planes,
    "surface": _draw_reliefs,
    "trajectory": _draw_trajectory,
    "difference": _draw_difference,
    "persistence": _draw_loss(plot_persistence, _BASINS, has_splits=True),
    "merge-tree": _draw_loss(plot_merge_tree, _BASINS, has_splits=True),
    "eigenvalues": _draw_loss(plot_eigenvalues, _CURVATURE),
    "layers": _draw_loss(_plot_layers, "eigenvectors are those of the Hessian of the loss"),
    "curvature-history": _draw_loss(plot_curvature_history, _CURVATURE),
    "density": _draw_loss(plot_density, _CURVATURE),
    "history": _draw_loss(
        plot_history, "a history is drawn with all its quantities", has_splits=True
    ),
    "sharpness": _draw_loss(plot_sharpness, _SHARPNESS),
    "differences": _draw_loss(_plot_differences, _SHARPNESS),
}


def _panel_fields(
    surfaces: Sequence[Surface], names: Sequence[str], split: str | None, quantity: str
) -> tuple[list[Field], list[str]]:
    """Return the panels in reading order, splits down and surfaces across, with their titles."""
    splits = choose_splits(surfaces, split, quantity)
    if split is None:
        splits = splits[:1]
    fields = [select_field(surface, each, quantity) for each in splits for surface in surfaces]
    for field in fields:
        require_grid(field)
    titles = [", ".join(filter(None, [name, each])) for each in splits for name in names]
    return fields, titles if len(splits) > 1 else list(names)


def _grid(num_panels: int, num_surfaces: int) -> tuple[int, int]:
    """Return rows and columns: a row per split if each fits, else as many as fit side by side."""
    if num_panels == num_surfaces:
        return grid_shape(num_panels)
    columns = num_surfaces if 1 < num_surfaces <= _MAX_COLUMNS else min(num_panels, _MAX_COLUMNS)
    return -(-num_panels // columns), columns


def _require_number(results: list[Any], kind: str) -> None:
    """Check the number of results of kinds that draw a fixed number."""
    number, name, hint = _NUM_RESULTS.get(kind, (len(results), "", ""))
    if len(results) != number:
        verb = _VERBS.get(kind, f"a {kind} is")
        wanted = {1: "one", 2: "two"}[number]
        raise InputError(f"{verb} drawn of {wanted} {name}, got {len(results)}.", hint=hint)
