"""Paired differences of sharpness with their intervals, and whether they can be told from 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from landscape.errors import InputError
from landscape.plot.legend import Legend
from landscape.plot.names import shortened
from landscape.plot.sharpness_curves import measure_title, rise_label, set_signed_axis
from landscape.plot.style import LINE_COLORS, key, new_figure, styled, width_of
from landscape.plot.taylor_curves import ORDER
from landscape.results.sharpness import VERDICTS, Difference, SharpnessComparison

_ROW, _BORDER = 0.2, 0.6  # inches, of a difference and around those of a measure
_SIGNS: dict[str, dict[str, Any]] = {
    VERDICTS[0]: {"color": LINE_COLORS[0], "marker": "<", "markersize": 5},
    VERDICTS[1]: {"color": LINE_COLORS[1], "marker": ">", "markersize": 5},
    VERDICTS[2]: {"color": "0.45", "marker": "o", "markersize": 5, "markerfacecolor": "white"},
}


@styled
def plot_differences(comparison: SharpnessComparison) -> Figure:
    """Draw each paired difference as a dot with its confidence interval, a panel per measure.

    An arrow to the left says that the first of the two is lower, one to the right that it is
    higher; a circle that the interval does not tell. What is the same in all rows stands under the
    figure.

    Raises:
        InputError: If there are no differences, or none is finite.
    """
    finite = [
        each
        for each in comparison.differences
        if np.isfinite([each.value, each.low, each.high]).all()
    ]
    if not finite:
        raise InputError(
            "a figure of differences needs at least one finite difference, got none.",
            hint="Measure the sharpness of two checkpoints in one call.",
        )
    panels = _by_measure(finite)
    columns = min(len(panels), 2)
    width = width_of(columns)
    rows = [list(panels)[start : start + columns] for start in range(0, len(panels), columns)]
    heights = [_BORDER + _ROW * max(len(panels[name]) for name in row) for row in rows]
    found = {each.verdict for each in finite}
    handles = [key(verdict, **sign) for verdict, sign in _SIGNS.items() if verdict in found]
    legend = Legend(handles, _note(comparison, finite))
    figure = new_figure(width, 0.15 + sum(heights) + legend.height(width))
    grid = figure.add_gridspec(len(rows), columns, height_ratios=heights)
    for index, (name, differences) in enumerate(panels.items()):
        ax = figure.add_subplot(grid[index // columns, index % columns])
        _draw_panel(ax, differences, "difference" if index + columns >= len(panels) else "")
        ax.set_title(measure_title(name, _steps(comparison, name)))
        if index % columns and _row_names(differences) == _row_names(
            panels[rows[index // columns][0]]
        ):
            ax.tick_params(labelleft=False)
    legend.add_to(figure)
    return figure


def _by_measure(differences: Sequence[Difference]) -> dict[str, list[Difference]]:
    measured = {each.name for each in differences}
    names = [name for name in ORDER if name in measured] + sorted(measured - set(ORDER))
    return {name: [each for each in differences if each.name == name] for name in names}


def _steps(comparison: SharpnessComparison, name: str) -> int:
    return max(
        (m.steps for each in comparison.checkpoints for m in each.measures if m.name == name),
        default=0,
    )


def _draw_panel(ax: Axes, differences: Sequence[Difference], name: str) -> None:
    """Draw the differences of one measure from top to bottom."""
    for row, each in enumerate(differences):
        sign = _SIGNS[each.verdict]
        line = {"color": sign["color"], "linewidth": 1.4, "solid_capstyle": "butt"}
        ax.plot([each.low, each.high], [row, row], **line, gid="interval")
        ax.plot([each.value], [row], linestyle="none", **sign, gid="difference")
    ax.axvline(0.0, color="black", linewidth=0.7)
    ends = np.array([[each.low, each.high] for each in differences]).ravel()
    set_signed_axis(ax, np.append(ends, 0.0), name, "x")
    ax.set_yticks(range(len(differences)), _row_names(differences))
    ax.set_ylim(len(differences) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=True, axis="x")


def _row_names(differences: Sequence[Difference]) -> list[str]:
    """Say what differs from row to row: of the two that are compared, and the radius."""
    parts = [
        _if_several([shortened(each.first) for each in differences]),
        _if_several([f"\N{MINUS SIGN} {shortened(each.second)}" for each in differences]),
    ]
    names = [" ".join(filter(None, pair)) for pair in zip(*parts, strict=True)]
    radii = _if_several([rf"$\rho$ = {each.rho:.3g}" for each in differences])
    return [", ".join(filter(None, pair)) for pair in zip(names, radii, strict=True)]


def _if_several(names: list[str]) -> list[str]:
    """Return the names, or nothing for each where all are the same."""
    return names if len(set(names)) > 1 else [""] * len(names)


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
    rise = f"{rise_label(comparison.checkpoints)}{radius}"
    return f"{pair}: {rise}. Intervals: {levels}, from {sources}."
