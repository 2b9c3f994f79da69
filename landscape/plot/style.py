"""How figures look: sizes, type, colours, legends, and the signs for what is missing."""

from __future__ import annotations

import functools
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, ParamSpec, TypeVar

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, FuncNorm, LogNorm, Normalize, SymLogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.scale import SymmetricalLogScale
from matplotlib.ticker import FixedLocator, NullLocator

from landscape.plot.field import Field
from landscape.plot.look import Look
from landscape.plot.presets import current_style, sized
from landscape.plot.scale import Scale
from landscape.plot.ticks import room_between, space_ticks

P = ParamSpec("P")
R = TypeVar("R")


def styled(function: Callable[P, R]) -> Callable[P, R]:
    """Run a drawing function in the current style, and leave matplotlib's settings as they were."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **options: P.kwargs) -> R:
        settings: Any = current_style().settings
        with rc_context(settings):
            drawn = function(*args, **options)
        if isinstance(drawn, Figure | Axes):
            space_ticks(drawn if isinstance(drawn, Figure) else figure_of(drawn))
        return drawn

    return wrapper


# Tol's high-contrast colours first; the others are between them in grey.
LINE_COLORS = ("#004488", "#BB5566", "#DDAA33", "#000000", "#40B2A2", "#6F3F87")
LINE_MARKERS = ("o", "s", "^", "D", "v", "P")
LINE_STYLES = ("-", (0, (3.5, 1.8)), "-.", ":")

CROSS: dict[str, Any] = {
    "marker": "+",
    "markersize": 7,
    "markeredgewidth": 1.2,
    "linestyle": "none",
}
"""Sign of the centre of a surface."""

OPEN: dict[str, Any] = {"marker": "o", "markerfacecolor": "white", "linestyle": "none"}
"""Marker of what did not converge, or is known exactly."""

_ERROR_BAR = {"elinewidth": 0.9, "capsize": 2.0}
_MARKER_STEP = 0.22  # of the diagonal of the axes, between two markers of a line
HALO = [withStroke(linewidth=2.0, foreground="white")]
"""What sets type apart from the lines under it."""

_MAX_TICKS = 8
_TICK_HEIGHT = 8.5  # points, of the label of a tick with the space around it
MISSING: dict[str, dict[str, Any]] = {
    "not_finite": {"facecolor": "0.82", "edgecolor": "0.35", "hatch": "//////", "linewidth": 0.0},
    "not_done": {"facecolor": "1.0", "edgecolor": "0.65", "hatch": "\\\\\\\\", "linewidth": 0.0},
}
"""Hatching of what is missing."""

_CHARACTER, _HANDLE = 0.062, 0.53  # inches, of 8 point type and of a sign with the space around it
_ROW, _BORDER = 0.165, 0.1  # inches
_NOTE_SIZE = 7.5  # points, where type of 8 is the small one


def new_figure(
    columns: int,
    height: float,
    *,
    legend: float = 0.0,
    layout: Any = "constrained",
    is_exact: bool = False,
) -> Figure:
    """Make a figure as wide as so many panels, which no window and no pyplot knows of.

    Args:
        columns: Panels next to each other.
        height: Height of the panels in the usual style, in inches, scaled with width and type.
        legend: Height in inches of what comes under them.
        layout: Layout engine of matplotlib.
        is_exact: Whether the height is that in the current style.
    """
    style = current_style()
    height = height if is_exact else style.height(height, columns)
    figure = Figure(figsize=(style.width_of(columns), height + legend), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def width_of(columns: int) -> float:
    """Return the width in inches of a figure with so many panels next to each other."""
    return current_style().width_of(columns)


def grid_shape(num_panels: int, most: int = 3) -> tuple[int, int]:
    """Return the rows and columns of so many panels; four are a square if two fit side by side."""
    most = min(most, current_style().most_columns())
    columns = min(2 if num_panels == 4 else num_panels, most)
    return -(-num_panels // columns), columns


@dataclass(frozen=True)
class Legend:
    """Signs with their names, and one sentence under them.

    Attributes:
        handles: In reading order.
        note: Empty for none.
    """

    handles: Sequence[Artist]
    note: str = ""

    def height(self, width: float) -> float:
        """Return the height on a figure of a width, both in inches; 0 if it is empty."""
        rows = -(-len(self.handles) // self._columns(width)) + len(_lines(self.note, width))
        return (_BORDER + _ROW * rows) * current_style().unit if rows else 0.0

    def new_figure(self, columns: int, height: float, **options: Any) -> Figure:
        """Make a figure of so many columns, as `new_figure`, with the legend under a height."""
        figure = new_figure(columns, height, legend=self.height(width_of(columns)), **options)
        self.add_to(figure)
        return figure

    def add_to(self, figure: Figure) -> None:
        """Put the legend under everything else in a figure; nothing if there is nothing to say."""
        width = figure.get_figwidth()
        if self.handles or self.note:
            legend = figure.legend(
                handles=list(self.handles),
                ncols=self._columns(width),
                loc="outside lower center",
                title="\n".join(_lines(self.note, width)) or None,
                title_fontsize=_NOTE_SIZE * current_style().unit,
                borderaxespad=0.2,
                borderpad=0.2,
                labelspacing=0.3,
            )
            legend.get_title().set_multialignment("center")

    def _columns(self, width: float) -> int:
        """Return the most columns that fit and are about equally long.

        Each is as wide as its longest name.
        """
        widths = [_HANDLE + _CHARACTER * len(str(handle.get_label())) for handle in self.handles]
        room, count = width / current_style().unit, len(widths)
        balanced = dict.fromkeys(-(-count // -(-count // most)) for most in range(count, 1, -1))
        fitting = (
            columns
            for columns in balanced
            if sum(part.max() for part in np.array_split(widths, columns)) <= room
        )
        return next(fitting, 1)


def _lines(note: str, width: float) -> list[str]:
    room = width / current_style().unit
    return textwrap.wrap(note, int(room / _CHARACTER * 8 / _NOTE_SIZE))


def figure_of(ax: Axes) -> Figure:
    """Return the figure that the axes are in, the outermost one where they are nested."""
    figure = ax.figure.figure
    assert isinstance(figure, Figure)
    return figure


def color_of(index: int) -> str:
    """Return the colour of a checkpoint by its number from 0."""
    return LINE_COLORS[index % len(LINE_COLORS)]


def marker_of(index: int) -> str:
    """Return the marker of a checkpoint by its number from 0."""
    return LINE_MARKERS[index % len(LINE_MARKERS)]


def line_style_of(index: int) -> Any:
    """Return the line style of a split, or of a checkpoint, by its number from 0."""
    return LINE_STYLES[index % len(LINE_STYLES)]


def dashed(index: int) -> dict[str, Any]:
    """Return colour and dashes of a checkpoint's line, which tell it from others in grey too."""
    return {"color": color_of(index), "linestyle": line_style_of(index)}


def marked(index: int, num_points: int, most: int) -> dict[str, Any]:
    """Return colour and markers of a checkpoint's line, whose dashes mean something else.

    Args:
        index: Its number from 0.
        num_points: Points of the line.
        most: Points up to which each has a marker; of more, some along the line have.
    """
    shift = (0.06 * index) % _MARKER_STEP
    return {
        "color": color_of(index),
        "marker": marker_of(index),
        "markevery": None if num_points <= most else (shift, _MARKER_STEP),
    }


def key(label: str, **style: Any) -> Line2D:
    """Return a legend entry that is drawn as lines of that style are."""
    return Line2D([], [], label=label, **style)


def name_keys(names: Sequence[str], *, has_dashes: bool = False, **style: Any) -> list[Line2D]:
    """Return a legend entry for each checkpoint that has a name.

    Args:
        names: One per checkpoint.
        has_dashes: Whether its lines are dashed as `dashed` says, in addition to its marker.
        style: What is the same for all.
    """
    same = style if has_dashes else {"linestyle": "-", **style}
    return [
        key(name, **{**dashed(index), "marker": marker_of(index), **same})
        for index, name in enumerate(names)
        if name
    ]


def band_key(label: str, color: str, alpha: float) -> Patch:
    """Return a legend entry that is drawn as bands are."""
    return Patch(color=color, alpha=alpha, linewidth=0, label=label)


def draw_band(
    ax: Axes, x: np.ndarray, low: np.ndarray, high: np.ndarray, color: str, alpha: float, gid: str
) -> None:
    """Fill the room between two curves, (n,) each."""
    ax.fill_between(x, low, high, color=color, alpha=alpha, linewidth=0, gid=gid)


def draw_residuals(ax: Axes, bars: np.ndarray, is_visible: np.ndarray) -> None:
    """Draw error bars, (3, n) for place, value and half length, where they can be seen (n,)."""
    if is_visible.any():
        x, y, residuals = bars[:, is_visible]
        ax.errorbar(x, y, residuals, fmt="none", ecolor="0.35", **sized(_ERROR_BAR))


def draw_open_markers(
    ax: Axes, x: np.ndarray, y: np.ndarray, is_open: np.ndarray, index: int
) -> None:
    """Mark the points of a checkpoint that did not converge (n,)."""
    if is_open.any():
        style = {**OPEN, "color": color_of(index), "marker": marker_of(index)}
        ax.plot(x[is_open], y[is_open], **style, gid="not-converged")


def color_map(quantity: str, scale: Scale | None = None, name: str | None = None) -> Colormap:
    """Return the colour map of a quantity: perceptually uniform and dark for low values.

    On a diverging scale, it goes from blue to red; one that has a name is that one.
    """
    if name is not None:
        return colormaps[name]
    if scale is not None and scale.is_diverging:
        return colormaps["RdBu_r"]
    return colormaps["cividis" if quantity == "accuracy" else "viridis"]


def color_norm(scale: Scale) -> Normalize:
    """Return the matplotlib norm of a scale, from its lowest to its highest level."""
    if scale.kind == "log":
        return LogNorm(scale.low, scale.high)
    if scale.kind == "symlog":
        return SymLogNorm(scale.threshold, vmin=scale.low, vmax=scale.high, base=10)
    if scale.kind == "excess":
        return FuncNorm((scale.transform, scale.inverse), scale.low, scale.high)
    return Normalize(scale.low, scale.high)


def contrasting(colors: np.ndarray) -> list[str]:
    """Choose white or black for each colour, (n, 4), so that a line or text on it can be seen."""
    luminance = colors[:, :3] @ np.array([0.299, 0.587, 0.114])
    return ["white" if value < 0.55 else "black" for value in luminance]


class FittingLocator(FixedLocator):
    """Ticks of an axis at those levels whose labels do not touch, from the lowest up."""

    def __call__(self) -> Any:
        """Return the levels that have a tick on the axis as long as it is by now."""
        assert isinstance(self.axis, XAxis | YAxis)
        levels = np.array(self.tick_values(0.0, 0.0))
        places = self.axis.axes.transData.transform(np.stack([levels, levels], axis=1))
        places = places[:, int(isinstance(self.axis, YAxis))]
        room = room_between(self.axis, levels, _TICK_HEIGHT)
        kept: list[int] = []
        for index, place in enumerate(places):
            if not kept or place - places[kept[-1]] >= room:
                kept.append(index)
        return levels[kept]


def set_log_ticks(ax: Axes, scale: Scale, direction: Literal["x", "y"] = "y") -> None:
    """Put the vertical axis, or the other one, on a log scale whose ticks are the levels."""
    ax.set(**{f"{direction}scale": "log"})
    getattr(ax, f"{direction}axis").set(
        major_locator=FixedLocator(list(scale.thinned(_MAX_TICKS))),
        major_formatter=format_level,
        minor_locator=NullLocator(),
    )


def set_scale(ax: Axes, scale: Scale, direction: Literal["x", "y"] = "y") -> None:
    """Put the vertical axis, or the other one, on a scale; a linear one stays as it is."""
    if scale.kind == "log":
        set_log_ticks(ax, scale, direction)
    elif scale.kind == "symlog":
        ax.set(**{f"{direction}scale": SymmetricalLogScale(None, linthresh=scale.threshold)})


def format_value(value: float) -> str:
    """Write a value with three significant digits."""
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")


def format_level(value: float, _position: object = None) -> str:
    """Write a level, which is a rounded number, with all its digits; also a formatter of ticks."""
    mantissa, _, exponent = f"{value:g}".partition("e")
    text = f"{mantissa}e{int(exponent)}" if exponent else mantissa
    return text.replace("-", "\N{MINUS SIGN}")


def with_note(name: str, scale: Scale, longest: int = 33) -> str:
    """Return the name of an axis or colour bar with its scale's note, on a new line if long.

    Along a colour bar in one column there are some 33 characters.
    """
    is_long = len(re.sub(r"[\\${}_]", "", name + scale.note)) > longest
    return name + (scale.note.replace(" (", "\n(", 1) if is_long else scale.note)


def panel_title(label: str, field: Field, look: Look) -> str:
    """Title of a panel: its label and, if that is asked for, the value at the center."""
    if field.center is None or not look.show_center:
        return label
    center = format_value(field.center) + "%" * (field.quantity == "accuracy")
    if label:
        return f"{label} (center: {center})"
    return f"{field.split} {field.quantity} at center: {center}"
