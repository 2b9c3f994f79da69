"""How figures look: sizes, type, colours, and the signs for what is missing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, LogNorm, Normalize, SymLogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from landscape.plot.field import Field, missing_name
from landscape.plot.scale import Scale

ONE_COLUMN, TWO_COLUMNS = 3.4, 7.0  # inches

styled = rc_context(
    {
        "font.size": 9.0,
        "axes.titlesize": 9.0,
        "axes.labelsize": 9.0,
        "figure.titlesize": 10.0,
        "xtick.labelsize": 8.0,
        "ytick.labelsize": 8.0,
        "legend.fontsize": 8.0,
        "legend.frameon": False,
        "axes.linewidth": 0.7,
        "xtick.major.width": 0.7,
        "ytick.major.width": 0.7,
        "xtick.major.size": 3.0,
        "ytick.major.size": 3.0,
        "lines.linewidth": 1.4,
        "lines.markersize": 3.5,
        "hatch.linewidth": 0.5,
        "grid.color": "0.85",
        "grid.linewidth": 0.5,
        "axes.axisbelow": True,
    }
)
"""Decorator: run a drawing function under the style and leave the global settings as they were."""

# Tol's high-contrast colours first: they differ in grey as well.
LINE_COLORS = ("#004488", "#BB5566", "#DDAA33", "#000000", "#009988", "#999999")
LINE_MARKERS = ("o", "s", "^", "D", "v", "P")
LINE_STYLES = ("-", (0, (3.5, 1.8)), "-.", ":")

_MAX_TICKS = 8
_LONGEST_NAME = 33  # characters along a colour bar in one column
_NOT_FINITE = {"facecolor": "0.82", "edgecolor": "0.35", "hatch": "//////", "linewidth": 0.0}
_NOT_DONE = {"facecolor": "1.0", "edgecolor": "0.65", "hatch": "\\\\\\\\", "linewidth": 0.0}
MISSING = {"not_finite": _NOT_FINITE, "not_done": _NOT_DONE}


def new_figure(width: float, height: float, *, layout: str | None = "constrained") -> Figure:
    """Make a figure that no window and no pyplot knows of; width and height in inches."""
    figure = Figure(figsize=(width, height), layout=layout)  # pyright: ignore[reportArgumentType]
    FigureCanvasAgg(figure)
    return figure


def figure_of(ax: Axes) -> Figure:
    """Return the figure that the axes are in, the outermost one where they are nested."""
    figure = ax.figure.figure
    assert isinstance(figure, Figure)
    return figure


def color_map(quantity: str, scale: Scale | None = None) -> Colormap:
    """Return the colour map of a quantity: perceptually uniform and dark for low values.

    On a diverging scale, it goes from blue to red.
    """
    if scale is not None and scale.is_diverging:
        return colormaps["RdBu_r"]
    return colormaps["cividis" if quantity == "accuracy" else "viridis"]


def color_norm(scale: Scale) -> Normalize:
    """Return the matplotlib norm of a scale, from its lowest to its highest level."""
    if scale.kind == "log":
        return LogNorm(scale.low, scale.high)
    if scale.kind == "symlog":
        return SymLogNorm(scale.threshold, vmin=scale.low, vmax=scale.high, base=10)
    return Normalize(scale.low, scale.high)


def contrasting(colors: np.ndarray) -> list[str]:
    """Choose white or black for each colour, (n, 4), so that a line or text on it can be seen."""
    luminance = colors[:, :3] @ np.array([0.299, 0.587, 0.114])
    return ["white" if value < 0.55 else "black" for value in luminance]


def mark_center(ax: Axes, color: str) -> None:
    """Mark the origin in white or black, outlined in the other."""
    outline = withStroke(linewidth=2.6, foreground="black" if color == "white" else "white")
    ax.plot(
        [0.0],
        [0.0],
        marker="+",
        markersize=7,
        markeredgewidth=1.2,
        color=color,
        linestyle="none",
        path_effects=[outline],
        zorder=5,
        gid="center",
    )


def set_log_ticks(ax: Axes, scale: Scale, direction: Literal["x", "y"] = "y") -> None:
    """Put the vertical axis, or the other one, on a log scale whose ticks are the levels."""
    ax.set(**{f"{direction}scale": "log"})
    axis = ax.xaxis if direction == "x" else ax.yaxis
    stride = -(-len(scale.levels) // _MAX_TICKS)
    axis.set_major_locator(FixedLocator(list(scale.levels[::stride])))
    axis.set_major_formatter(FuncFormatter(lambda value, _: format_level(value)))
    axis.set_minor_locator(NullLocator())


def format_value(value: float) -> str:
    """Write a value with three significant digits."""
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")


def format_level(value: float) -> str:
    """Write a level, which is a rounded number, with all its digits."""
    mantissa, _, exponent = f"{value:g}".partition("e")
    text = f"{mantissa}e{int(exponent)}" if exponent else mantissa
    return text.replace("-", "\N{MINUS SIGN}")


def with_note(name: str, scale: Scale, longest: int = _LONGEST_NAME) -> str:
    """Return the name of an axis or colour bar with its scale's note, on a new line if long."""
    is_long = len(re.sub(r"[\\${}_]", "", name + scale.note)) > longest
    return name + (scale.note.replace(" (", "\n(", 1) if is_long else scale.note)


def panel_title(label: str, field: Field) -> str:
    """Title of a panel: its label and the value at the centre, where that was recorded."""
    if field.center is None:
        return label
    unit = "%" if field.quantity == "accuracy" else ""
    center = f"{format_value(field.center)}{unit}"
    return (
        f"{label} (center: {center})"
        if label
        else f"{field.split} {field.quantity} at center: {center}"
    )


def missing_handles(fields: Sequence[Field]) -> list[Patch]:
    """Return the legend entries for what is missing in any of the fields; none if nothing is."""
    handles = []
    if name := missing_name(fields):
        handles.append(Patch(**_NOT_FINITE, label=name))
    if any(field.is_unknown.any() for field in fields):
        handles.append(Patch(**_NOT_DONE, label="not computed"))
    return handles
