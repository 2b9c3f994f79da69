"""Paired differences of sharpness, with their confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from landscape.errors import require
from landscape.plot.names import shortened, split_of
from landscape.plot.presets import sized
from landscape.plot.sharpness_figures import measure_title, set_signed_axis
from landscape.plot.style import LINE_COLORS, Legend, grid_shape, key, styled
from landscape.plot.taylor_curves import ORDER
from landscape.results.sharpness import VERDICTS, Difference, SharpnessComparison

_ROW, _BORDER = 0.2, 0.6  # inches, of a difference and around all of a panel
_CAP = 9.0  # points, of the ends of an interval, which stand out from a sign that is wider than it
_SIGNS: dict[str, dict[str, Any]] = {
    VERDICTS[0]: {"color": LINE_COLORS[0], "marker": "<", "markersize": 5},
    VERDICTS[1]: {"color": LINE_COLORS[1], "marker": ">", "markersize": 5},
    VERDICTS[2]: {"color": "0.45", "marker": "o", "markersize": 5, "markerfacecolor": "white"},
}


@styled
def plot_differences(comparison: SharpnessComparison) -> Figure:
    """Draw each paired difference as a dot with its confidence interval, a panel per measure.

    An arrow to the left says that the first of the two is lower, one to the right that it is
    higher; a circle that the interval does not tell. Where the second has all values above 0, the
    differences are percents of them, so that radii and measures can be compared. What is the same
    in all rows stands under the figure.

    Raises:
        InputError: If there are no differences, or none is finite.
    """
    finite = [d for d in comparison.differences if np.isfinite([d.value, d.low, d.high]).all()]
    require(
        finite,
        "a figure of differences needs at least one finite difference, got none.",
        hint="Measure the sharpness of two checkpoints in one call.",
    )
    names = dict.fromkeys((*ORDER, *sorted(each.name for each in finite)))
    found = {name: [each for each in finite if each.name == name] for name in names}
    panels = {name: rows for name, rows in found.items() if rows}
    columns = grid_shape(len(panels), 2)[1]
    rows = [list(panels)[start : start + columns] for start in range(0, len(panels), columns)]
    heights = [_BORDER + _ROW * max(len(panels[name]) for name in row) for row in rows]
    verdicts = {each.verdict for each in finite}
    handles = [key(verdict, **sized(_SIGNS[verdict])) for verdict in _SIGNS if verdict in verdicts]
    figure = Legend(handles, _note(comparison, finite)).new_figure(columns, 0.15 + sum(heights))
    grid = figure.add_gridspec(len(rows), columns, height_ratios=heights)
    measures = [measure for each in comparison.checkpoints for measure in each.measures]
    for index, (name, differences) in enumerate(panels.items()):
        ax = figure.add_subplot(grid[index // columns, index % columns])
        _draw_differences(
            ax, *_in_percent(comparison, differences), has_name=index + columns >= len(panels)
        )
        steps = max((measure.steps for measure in measures if measure.name == name), default=0)
        ax.set_title(measure_title(name, steps))
        beside = panels[rows[index // columns][0]]  # in the first column
        if index % columns and _row_names(differences) == _row_names(beside):
            ax.tick_params(labelleft=False)
    return figure


def _in_percent(
    comparison: SharpnessComparison, differences: Sequence[Difference]
) -> tuple[Sequence[Difference], str]:
    """Return differences as percents of the second's values if all are above 0, and their name."""
    values = {
        (name, each.name, each.rho): each.sharpness
        for name, checkpoint in zip(comparison.names, comparison.checkpoints, strict=True)
        for each in checkpoint.measures
    }
    values |= {(each.group, each.name, each.rho): each.mean for each in comparison.groups}
    found = [values.get((each.second, each.name, each.rho), np.nan) for each in differences]
    if not np.all(np.array(found) > 0):
        return differences, "difference"
    shares = [
        replace(each, **{end: 100 * getattr(each, end) / base for end in ("value", "low", "high")})
        for each, base in zip(differences, found, strict=True)
    ]
    seconds = dict.fromkeys(shortened(each.second) for each in differences)
    whole = f"{next(iter(seconds))}'s" if len(seconds) == 1 else "the second's"
    return shares, f"difference (% of {whole})"


def _draw_differences(
    ax: Axes, differences: Sequence[Difference], name: str, *, has_name: bool
) -> None:
    """Draw the differences of one measure from top to bottom."""
    for row, each in enumerate(differences):
        sign = sized(_SIGNS[each.verdict])
        ax.plot(
            [each.low, each.high],
            [row, row],
            color=sign["color"],
            solid_capstyle="butt",
            marker="|",
            **sized({"linewidth": 1.4, "markersize": _CAP}),
            gid="interval",
        )
        ax.plot([each.value], [row], linestyle="none", **sign, gid="difference")
    ax.axvline(0.0, color="black", linewidth=0.7)
    ends = [end for each in differences for end in (each.low, each.high)]
    set_signed_axis(ax, np.array([*ends, 0.0]), name, "x")
    if not has_name and "%" in name:
        ax.set_xlabel("")
    count = len(differences)
    ax.set(yticks=range(count), yticklabels=_row_names(differences), ylim=(count - 0.4, -0.6))
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=True, axis="x")


def _row_names(differences: Sequence[Difference]) -> list[str]:
    """Say what differs from row to row: of the two that are compared, and the radius."""
    firsts = [shortened(each.first) for each in differences]
    seconds = [f"\N{MINUS SIGN} {shortened(each.second)}" for each in differences]
    radii = [rf"$\rho$ = {each.rho:.3g}" for each in differences]
    for names in (firsts, seconds, radii):
        if len(set(names)) == 1:
            names[:] = [""] * len(names)
    pairs = [" ".join(filter(None, pair)) for pair in zip(firsts, seconds, strict=True)]
    return [", ".join(filter(None, parts)) for parts in zip(pairs, radii, strict=True)]


def _note(comparison: SharpnessComparison, differences: Sequence[Difference]) -> str:
    """Say what is subtracted, and what the intervals are."""
    firsts, seconds = (
        {shortened(getattr(each, end)) for each in differences} for end in ("first", "second")
    )
    first = next(iter(firsts)) if len(firsts) == 1 else "each"
    pair = f"{first} \N{MINUS SIGN} {next(iter(seconds))}" if len(seconds) == 1 else "differences"
    rhos = {each.rho for each in differences if each.name in ORDER}
    radius = rf" at $\rho$ = {next(iter(rhos)):.3g}" if len(rhos) == 1 else ""
    levels = " and ".join(dict.fromkeys(f"{100 * each.confidence:g} %" for each in differences))
    sources = " / ".join(dict.fromkeys(each.source for each in differences))
    rise = f"rise of the {split_of(comparison.checkpoints)} loss{radius}"
    return f"{pair}: {rise}. Intervals: {levels}, from {sources}."
