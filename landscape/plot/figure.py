"""The figure of a list of results: the kind by their type, panels on one scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from landscape.errors import InputError
from landscape.plot.basins import plot_merge_tree, plot_persistence
from landscape.plot.curvature_history import plot_curvature_history
from landscape.plot.density_curves import plot_density
from landscape.plot.eigenvalues import plot_eigenvalues
from landscape.plot.field import Field, choose_splits, scale_of, select_field, subtract_fields
from landscape.plot.kinds import QUANTITIES, choose_kind, name_results
from landscape.plot.layer_shares import plot_layer_shares
from landscape.plot.legend import Legend, legend_of
from landscape.plot.names import literal
from landscape.plot.plane_maps import (
    add_color_bar,
    draw_field,
    label_lines,
    plot_filled_contour,
    require_grid,
    view_of,
)
from landscape.plot.profile import PROFILE_HEIGHT, draw_profile, plot_profile, profile_legend
from landscape.plot.sharpness_curves import draw_sharpness_panel, plot_sharpness
from landscape.plot.sharpness_differences import plot_differences
from landscape.plot.style import ONE_COLUMN, TWO_COLUMNS, figure_of, new_figure, panel_title, styled
from landscape.plot.surface3d import draw_relief, new_relief_figure, set_relief_title
from landscape.plot.training_curves import draw_history_panel, plot_history
from landscape.plot.trajectory_path import draw_trajectory
from landscape.results.history import History
from landscape.results.sharpness import Sharpness, SharpnessComparison
from landscape.results.spectrum import CurvatureHistory, Spectrum
from landscape.results.surface import Surface

_MAX_COLUMNS = 3


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
        labels: One a result; None for none, or numbers if there are several.
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


def _draw_curves(surfaces: list[Surface], names: list[str], request: _Request) -> Figure:
    """Draw profiles on shared axes; the accuracy under the loss, where every surface has it."""
    quantities = [request.quantity]
    if request.quantity == "loss" and _share_accuracy(
        surfaces, choose_splits(surfaces, request.split, "loss")
    ):
        quantities.append("accuracy")
    legend = profile_legend(surfaces, request.split, request.quantity)
    height = (PROFILE_HEIGHT if len(quantities) == 1 else 4.0) + legend.height(ONE_COLUMN)
    figure = new_figure(ONE_COLUMN, height)
    above: Axes | None = None
    for index, each in enumerate(quantities):
        ax = figure.add_subplot(len(quantities), 1, index + 1, sharex=above)
        draw_profile(ax, surfaces, names, request.split, each)
        if above is not None:
            _join_under(above, ax, is_legend_repeated=len(surfaces) > 1)
        above = ax
    legend.add_to(figure)
    return figure


def _draw_planes(surfaces: list[Surface], names: list[str], request: _Request) -> Figure:
    """Draw planes as panels with one scale, one view and one colour bar."""
    fields, titles = _panel_fields(surfaces, names, request.split, request.quantity)
    return _lay_out_planes(fields, titles, request.kind, _grid(len(fields), len(surfaces)))


def _draw_difference(surfaces: list[Surface], names: list[str], request: _Request) -> Figure:
    """Draw the second of two surfaces minus the first, a panel a split."""
    if len(surfaces) != 2:
        raise InputError(
            f"a difference is drawn of two surfaces, got {len(surfaces)}.",
            hint="Pass the one to subtract first, the other second.",
        )
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
    figure = new_figure(*_size(rows, columns, legend), layout="compressed")
    axes = [figure.add_subplot(rows, columns, index + 1) for index in range(len(fields))]
    mappables = []
    for ax, field, title in zip(axes, fields, titles, strict=True):
        mappables.append(draw_field(ax, kind, field, scale, beside=fields))
        ax.set_title(panel_title(title, field))
    for index, ax in enumerate(axes):
        if index % columns:
            ax.set_ylabel("")
            ax.tick_params(labelleft=False)
        if index + columns < len(axes):
            ax.set_xlabel("")
            ax.tick_params(labelbottom=False)
    quantities = {field.name for field in fields}
    name = (
        quantities.pop()
        if len(quantities) == 1
        else fields[0].name.replace(f"{fields[0].split} ", "", 1)
    )
    add_color_bar(axes, mappables[0], name, scale)
    legend.add_to(figure)
    return figure


def _draw_reliefs(surfaces: list[Surface], names: list[str], request: _Request) -> Figure:
    """Draw planes as reliefs with the same heights, colours and view."""
    fields, titles = _panel_fields(surfaces, names, request.split, request.quantity)
    scale = scale_of(fields)
    rows, columns = _grid(len(fields), len(surfaces))
    legend = legend_of(fields, view_of(fields, request.kind))
    foot = legend.height(ONE_COLUMN if columns == 1 else TWO_COLUMNS)
    figure, axes = new_relief_figure(
        len(fields), rows, columns, foot=foot, has_title=request.has_title
    )
    for ax, field, title in zip(axes, fields, titles, strict=True):
        draw_relief(ax, field, scale, beside=fields)
        set_relief_title(ax, panel_title(title, field))
    legend.add_to(figure)
    return figure


def _draw_trajectories(surfaces: list[Surface], names: list[str], request: _Request) -> Figure:
    """Draw one surface with its snapshots, and what is known of these under it."""
    if len(surfaces) != 1:
        raise InputError(
            f"a trajectory is drawn of one surface, got {len(surfaces)}.",
            hint="Draw each in a figure of its own.",
        )
    split = choose_splits(surfaces, request.split, request.quantity)[0]
    return draw_trajectory(select_field(surfaces[0], split, request.quantity), names[0])


def _draw_spectra(spectra: list[Spectrum], names: list[str], request: _Request) -> Figure:
    """Draw eigenvalues or densities, after checking that the request fits the spectra."""
    _require_loss(request.quantity, "eigenvalues are those of the Hessian of the loss")
    _require_split(spectra, request.split)
    plot = plot_density if request.kind == "density" else plot_eigenvalues
    return figure_of(plot(spectra, labels=names))


def _draw_layers(spectra: list[Spectrum], names: list[str], request: _Request) -> Figure:
    """Draw the layers of one spectrum."""
    _require_loss(request.quantity, "eigenvectors are those of the Hessian of the loss")
    _require_split(spectra, request.split)
    if len(spectra) != 1:
        raise InputError(
            f"layers are drawn of one spectrum, got {len(spectra)}.",
            hint="Draw each in a figure of its own.",
        )
    ax = plot_layer_shares(spectra[0])
    ax.set_title(names[0])
    return figure_of(ax)


def _draw_curvature_histories(
    histories: list[CurvatureHistory], names: list[str], request: _Request
) -> Figure:
    """Draw eigenvalues against the epoch."""
    _require_loss(request.quantity, "eigenvalues are those of the Hessian of the loss")
    _require_split(histories, request.split)
    return figure_of(plot_curvature_history(histories, labels=names))


def _draw_histories(histories: list[History], names: list[str], request: _Request) -> Figure:
    """Draw training curves, which are of every quantity at once."""
    _require_loss(request.quantity, "a history is drawn with all its quantities")
    return plot_history(histories, labels=names, split=request.split)


def _draw_sharpness(
    results: list[Sharpness | SharpnessComparison], names: list[str], request: _Request
) -> Figure:
    """Draw measures or their differences, after checking that the request fits them."""
    _require_loss(request.quantity, "sharpness is the rise of the loss")
    _require_split(_checkpoints(results), request.split)
    if request.kind == "sharpness":
        return plot_sharpness(results, labels=names)
    if len(results) != 1:
        raise InputError(
            f"differences are drawn of one comparison, got {len(results)}.",
            hint="Draw each in a figure of its own.",
        )
    return plot_differences(cast(SharpnessComparison, results[0]))


def _checkpoints(results: Sequence[Sharpness | SharpnessComparison]) -> list[Sharpness]:
    parts = [
        (result,) if isinstance(result, Sharpness) else result.checkpoints for result in results
    ]
    return [each for part in parts for each in part]


def _draw_basins(surfaces: list[Surface], names: list[str], request: _Request) -> Figure:
    """Draw the topology of the loss."""
    _require_loss(request.quantity, "basins are those of the loss")
    plot = plot_persistence if request.kind == "persistence" else plot_merge_tree
    return plot(surfaces, labels=names, split=request.split)


_DRAWERS: dict[str, Callable[[list[Any], list[str], _Request], Figure]] = {
    "curve": _draw_curves,
    "filled": _draw_planes,
    "contour": _draw_planes,
    "heatmap": _draw_planes,
    "surface": _draw_reliefs,
    "trajectory": _draw_trajectories,
    "difference": _draw_difference,
    "persistence": _draw_basins,
    "merge-tree": _draw_basins,
    "eigenvalues": _draw_spectra,
    "layers": _draw_layers,
    "curvature-history": _draw_curvature_histories,
    "density": _draw_spectra,
    "history": _draw_histories,
    "sharpness": _draw_sharpness,
    "differences": _draw_sharpness,
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
    """Return rows and columns: a row a split if each fits, else as many as fit side by side."""
    columns = num_surfaces if 1 < num_surfaces <= _MAX_COLUMNS else min(num_panels, _MAX_COLUMNS)
    if num_panels == num_surfaces == 4:
        columns = 2
    return -(-num_panels // columns), columns


def _size(rows: int, columns: int, legend: Legend) -> tuple[float, float]:
    """Return width and height in inches of a figure of planes with a colour bar and legend."""
    width = ONE_COLUMN if columns == 1 else TWO_COLUMNS
    panel = (width - 1.4 - 0.15 * (columns - 1)) / columns
    return width, 0.45 + rows * (panel + 0.25) + legend.height(width)


def _share_accuracy(surfaces: Sequence[Surface], splits: Sequence[str]) -> bool:
    return all(each in surface.accuracy for surface in surfaces for each in splits)


def _join_under(above: Axes, ax: Axes, *, is_legend_repeated: bool) -> None:
    """Leave the coordinate to the lower axes, and title and shared legend to the upper ones."""
    above.set_xlabel("")
    above.tick_params(labelbottom=False)
    ax.set_title("")
    legend = ax.get_legend()
    if is_legend_repeated and legend is not None:
        legend.remove()


def _require_split(
    results: Sequence[Spectrum | CurvatureHistory | Sharpness], split: str | None
) -> None:
    """Refuse another split than that of the results, each of which has one."""
    splits = tuple(dict.fromkeys(result.split for result in results))
    if split not in (None, "all") and splits != (split,):
        raise InputError(
            f"the split must be the one that was measured, got {split!r}.",
            hint=f"Splits: {', '.join(splits)}.",
        )


def _require_loss(quantity: str, reason: str) -> None:
    """Refuse a quantity that would be ignored."""
    if quantity != "loss":
        raise InputError(
            f"{reason}, got the quantity {quantity!r}.", hint=f"Leave it at {QUANTITIES[0]}."
        )
