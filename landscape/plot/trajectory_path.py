"""A plane with the snapshots of a training run, and what the plane does not show of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from landscape.errors import InputError
from landscape.plot.field import Field, scale_of
from landscape.plot.legend import Legend, legend_of
from landscape.plot.mark_symbols import progress_colors
from landscape.plot.plane_maps import PANEL_HEIGHT, add_color_bar, draw_field, require_grid, view_of
from landscape.plot.scale import choose_scale
from landscape.plot.style import (
    LINE_COLORS,
    LINE_STYLES,
    ONE_COLUMN,
    key,
    new_figure,
    panel_title,
    set_log_ticks,
    with_note,
)
from landscape.results.surface import Mark

_OWN: dict[str, Any] = {"color": LINE_COLORS[0]}
_PROJECTED: dict[str, Any] = {"color": LINE_COLORS[1], "linestyle": LINE_STYLES[1]}
_HEIGHT = 1.25  # inches of a panel under the plane


def draw_trajectory(field: Field, label: str) -> Figure:
    """Draw a plane with snapshots, and under it their losses on and off it and their distances.

    Args:
        field: On a plane.
        label: Title of the plane.

    Raises:
        InputError: If there are no snapshots.
    """
    require_grid(field)
    snapshots = field.snapshots
    if not snapshots:
        raise InputError(
            "a trajectory needs a surface with snapshots, got none.",
            hint="Compute one with `landscape.surface(problem, x='pca:FOLDER', y='pca:FOLDER')`.",
        )
    scale = scale_of([field])
    legend = legend_of([field], view_of([field], "filled"))
    panels = [_draw_distances]
    if any(field.split in mark.loss or field.split in mark.plane_loss for mark in snapshots):
        panels = [_draw_losses, _draw_distances]
        lines = [key("loss of a snapshot", **_OWN), key("loss of its projection", **_PROJECTED)]
        legend = Legend([*legend.handles, *lines], legend.note)
    heights = [PANEL_HEIGHT, *[_HEIGHT] * len(panels)]
    figure = new_figure(ONE_COLUMN, sum(heights) + legend.height(ONE_COLUMN), layout="compressed")
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    plane = figure.add_subplot(grid[0])
    mappable = draw_field(plane, "filled", field, scale)
    plane.set_title(panel_title(label, field))
    add_color_bar([plane], mappable, field.name, scale)
    numbers = np.arange(1, len(snapshots) + 1)
    below = [figure.add_subplot(grid[row]) for row in range(1, len(heights))]
    for ax, draw in zip(below, panels, strict=True):
        draw(ax, numbers, snapshots, field.split)
        ax.set_xlim(0.5, len(snapshots) + 0.5)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        ax.tick_params(labelbottom=ax is below[-1])
    below[-1].set_xlabel("snapshot")
    legend.add_to(figure)
    return figure


def _draw_losses(ax: Axes, numbers: np.ndarray, snapshots: Sequence[Mark], split: str) -> None:
    """Draw the loss at each snapshot and at its projection on the plane.

    The two differ by what the plane hides.
    """
    own = np.array([mark.loss.get(split, np.nan) for mark in snapshots])
    projected = np.array([mark.plane_loss.get(split, np.nan) for mark in snapshots])
    ax.plot(numbers, projected, **_PROJECTED)
    ax.plot(numbers, own, **_OWN)
    _draw_dots(ax, numbers, own)
    ax.set_ylabel(f"{split} loss")
    known = np.append(own, projected)
    if np.isfinite(known).any() and (scale := choose_scale([known])).kind == "log":
        set_log_ticks(ax, scale)
        ax.set_ylabel(with_note(f"{split} loss", scale, 0))


def _draw_distances(ax: Axes, numbers: np.ndarray, snapshots: Sequence[Mark], split: str) -> None:
    """Draw how far from the plane each snapshot is."""
    distances = np.array([mark.distance for mark in snapshots])
    ax.plot(numbers, distances, color=LINE_COLORS[0])
    _draw_dots(ax, numbers, distances)
    ax.set_ylabel("distance\nout of plane")
    ax.set_ylim(bottom=0.0)


def _draw_dots(ax: Axes, numbers: np.ndarray, values: np.ndarray) -> None:
    """Draw the points of the snapshots in the colours that they have on the plane."""
    colors = progress_colors(len(numbers))
    ax.scatter(numbers, values, s=12.0, c=colors, linewidths=0.5, edgecolors="black", zorder=3)
