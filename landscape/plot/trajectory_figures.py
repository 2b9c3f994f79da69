"""A plane with the snapshots of a training run, and under it their losses and distances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from landscape.errors import require
from landscape.plot.field import choose_splits, scale_of
from landscape.plot.look import Look
from landscape.plot.mark_symbols import draw_snapshots, legend_of
from landscape.plot.plane_maps import (
    add_color_bar,
    draw_field,
    panel_height,
    select_plane,
    view_of,
)
from landscape.plot.presets import current_style
from landscape.plot.scale import choose_scale
from landscape.plot.style import (
    LINE_COLORS,
    LINE_STYLES,
    Legend,
    key,
    panel_title,
    set_log_ticks,
    with_note,
)
from landscape.results.surface import Mark, Surface

_OWN: dict[str, Any] = {"color": LINE_COLORS[0]}
_PROJECTED: dict[str, Any] = {"color": LINE_COLORS[1], "linestyle": LINE_STYLES[1]}
_HEIGHT = 1.25  # inches of a panel under the plane


def draw_trajectory(
    surface: Surface, name: str, *, split: str | None, quantity: str, look: Look
) -> Figure:
    """Draw a plane with snapshots, and under it their losses on and off it and their distances."""
    splits = choose_splits([surface], split, quantity)
    field = select_plane(surface, splits[0], quantity)
    snapshots = field.snapshots
    require(
        snapshots,
        "a trajectory needs a surface with snapshots, got none.",
        hint="Compute one with `landscape.surface(problem, x='pca:FOLDER', y='pca:FOLDER')`.",
    )
    scale = scale_of([field], look)
    legend = legend_of([field], [view_of([field], "filled")])
    has_losses = any(field.split in {**mark.loss, **mark.plane_loss} for mark in snapshots)
    if has_losses:
        legend = Legend(
            [
                *legend.handles,
                key("loss of a snapshot", **_OWN),
                key("loss of its projection", **_PROJECTED),
            ],
            legend.note,
        )
    heights = [panel_height(), *[current_style().height(_HEIGHT, 1)] * (1 + has_losses)]
    figure = legend.new_figure(1, sum(heights), layout="compressed", is_exact=True)
    plane, *below = figure.subplots(len(heights), height_ratios=heights)
    mappable = draw_field(plane, "filled", field, scale, [field], look)
    plane.set_title(panel_title(name, field, look))
    add_color_bar([plane], mappable, field.name, scale)
    figure.set_label(scale.summary)
    if has_losses:
        _draw_losses(below[0], snapshots, field.split)
    _draw_measured(below[-1], np.array([mark.distance for mark in snapshots]))
    below[-1].set(xlabel="snapshot", ylabel="distance\nout of plane", ylim=(0.0, None))
    for ax in below:
        ax.set_xlim(0.5, len(snapshots) + 0.5)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        ax.tick_params(labelbottom=ax is below[-1])
    return figure


def _draw_losses(ax: Axes, snapshots: Sequence[Mark], split: str) -> None:
    """Draw the loss at each snapshot and at its projection on the plane.

    The two differ by what the plane hides.
    """
    own = np.array([mark.loss.get(split, np.nan) for mark in snapshots])
    projected = np.array([mark.plane_loss.get(split, np.nan) for mark in snapshots])
    ax.plot(np.arange(1, len(snapshots) + 1), projected, **_PROJECTED)
    _draw_measured(ax, own)
    ax.set_ylabel(f"{split} loss")
    known = np.append(own, projected)
    if np.isfinite(known).any() and (scale := choose_scale([known])).kind == "log":
        set_log_ticks(ax, scale)
        ax.set_ylabel(with_note(f"{split} loss", scale, 0))


def _draw_measured(ax: Axes, values: np.ndarray) -> None:
    """Draw what was measured at the snapshots, in the colours that they have on the plane."""
    points = np.stack([np.arange(1, len(values) + 1), values])
    ax.plot(*points, **_OWN)
    draw_snapshots(ax, points, 12.0, 3)
