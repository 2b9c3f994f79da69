"""The topology of surfaces: how deep each basin is, and where basins merge as the loss rises."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from landscape.errors import require
from landscape.plot.field import Field, choose_splits, select_field
from landscape.plot.mark_symbols import mark_signs
from landscape.plot.names import list_results, shortened
from landscape.plot.presets import current_style, sized
from landscape.plot.scale import choose_scale, require_finite
from landscape.plot.style import (
    CROSS,
    LINE_COLORS,
    Legend,
    color_of,
    format_value,
    grid_shape,
    key,
    set_scale,
    styled,
    with_note,
)
from landscape.results.surface import Surface
from landscape.surface.persistence import Topology, sublevel_topology
from landscape.surface.topology import (
    CENTER,
    TopologySummary,
    checkpoint_points,
    describe_topology,
    surface_values,
)

_MAX_BARS = 12  # per surface; the others are counted
_MAX_PALE = 3  # of which are too shallow to be counted
_MAX_NAMED = 8  # leaves of a tree whose height is printed
_BAR, _AXIS = 0.17, 0.75  # inches, of a bar and of the axis with its label
_GROUP_GAP = 0.6  # bars between groups
_MAX_BARRIERS = 3  # that are printed
_MARGIN = 0.08  # of the length of the axis, below the lowest birth
_ROOM = 0.13  # of the length of the axis, beyond the last death, for arrows and printed values
_ARROW = {"markersize": 6.0, "clip_on": False}
_PALE = 0.65  # share of white in the colour of a basin that is not counted


@dataclass(frozen=True)
class _Basins:
    """The topology of one split of one surface, its label, and the checkpoints on the grid.

    Each of these has its name, the row of its basin and its height.
    """

    field: Field
    topology: Topology
    summary: TopologySummary
    label: str
    marks: Sequence[tuple[str, int, float]]

    @property
    def count(self) -> int:
        """Number of basins that are deep enough, which come first."""
        return self.summary.num_basins

    def title(self, between: str = ": ") -> str:
        """Say how many basins there are."""
        number = f"{self.count} basin{'s' * (self.count != 1)}"
        return f"{self.label}{between}{number}" if self.label else number

    @property
    def num_shallow(self) -> int:
        """Number of basins that are not deep enough."""
        return len(self.topology.births) - self.count

    @property
    def num_shown(self) -> int:
        """Number of bars: of what is deep enough, and of a few that are not."""
        return min(self.count + _MAX_PALE, len(self.topology.births), _MAX_BARS)


@styled
def plot_persistence(
    surfaces: Surface | Sequence[Surface],
    *,
    labels: Sequence[str] | None = None,
    split: str | None = None,
) -> Figure:
    """Draw basins as bars from the minimum to the saddle, the most persistent on top.

    What persists for less than the threshold of `landscape.surface.topology.basin_threshold` is
    pale. Basins that never die, the deepest one and what holes set apart, end in an arrow.

    Args:
        surfaces: One or several, on planes or single lines.
        labels: One per surface.
        split: Name of the data split; None for the first that the surfaces share, `all` for all of
            these.

    Raises:
        InputError: If a surface has no such split, several lines, or points that were not computed,
            or no surface has more than one minimum: the basin of a single one never ends.
    """
    groups = _basins(surfaces, labels, split)
    require(
        any(group.num_shown > 1 for group in groups),
        "a figure of persistence needs two minima or more, got one: its basin reaches the border "
        "of the surface and never merges with another.",
        hint="Draw the surface itself, or compute a wider or finer one.",
    )
    counts = np.array([group.num_shown for group in groups])
    stops = np.cumsum(counts + _GROUP_GAP) - _GROUP_GAP
    figure = _bars_legend(groups).new_figure(1, max(1.5, _AXIS + _BAR * (stops[-1] + 1)))
    ax = figure.add_subplot()
    _set_axis(ax, "x", groups, _heights(groups, counts))
    for index, (group, stop) in enumerate(zip(groups, stops, strict=True)):
        _draw_bars(ax, group, stop - np.arange(group.num_shown, 0, -1), color_of(index))
    ax.set_ylim(stops[-1], -1.0)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    if len(groups) == 1:
        ax.set_title(groups[0].title())
        ax.set_yticks([])
    else:
        ax.set_yticks(stops - (counts + 1) / 2, [group.title("\n") for group in groups])
    return figure


@styled
def plot_merge_tree(
    surfaces: Surface | Sequence[Surface],
    *,
    labels: Sequence[str] | None = None,
    split: str | None = None,
) -> Figure:
    """Draw how basins merge as the loss rises, with one vertical line per basin.

    Each line joins that of a deeper basin at its saddle.

    From one checkpoint to another the way leads up its line and over the saddles: the highest is
    the barrier. Basins less persistent than the threshold of
    `landscape.surface.topology.basin_threshold` are left out.

    Args and errors as for `plot_persistence`.
    """
    groups = _basins(surfaces, labels, split)
    heights = [height for group in groups for _, _, height in group.marks]
    heights = np.append(_heights(groups, [group.count for group in groups]), heights)
    rows, columns = grid_shape(len(groups))
    signs = _signs(groups)
    figure = _tree_legend(groups, signs).new_figure(columns, 2.5 * rows)
    for index, group in enumerate(groups):
        ax = figure.add_subplot(rows, columns, index + 1, sharey=next(iter(figure.axes), None))
        _set_axis(ax, "y", groups, heights)
        _draw_tree(ax, group, signs, LINE_COLORS[0])
        ax.set_title(group.title())
        ax.label_outer()
    return figure


def _basins(
    surfaces: Surface | Sequence[Surface], labels: Sequence[str] | None, split: str | None
) -> list[_Basins]:
    """Find the basins of each split of each surface."""
    surfaces, names = list_results(surfaces, labels)
    splits = choose_splits(surfaces, split, "loss", is_one=True)
    found = []
    for each in splits:
        for surface, name in zip(surfaces, names, strict=True):
            values = surface_values(surface, each)
            topology, summary = sublevel_topology(values), describe_topology(surface, each)
            assert summary is not None  # or there are no values
            found.append(
                _Basins(
                    select_field(surface, each, "loss"),
                    topology,
                    summary,
                    ", ".join(filter(None, [name, each if len(splits) > 1 else ""])),
                    list(_marks(surface, values, topology, summary.threshold)),
                )
            )
    return found


def _marks(
    surface: Surface, values: np.ndarray, topology: Topology, threshold: float
) -> Iterator[tuple[str, int, float]]:
    """Yield the checkpoints on the grid, each with its basin and its height."""
    for label, point in checkpoint_points(surface, values).items():
        if np.isfinite(values[point]):
            region, height = int(topology.regions[point]), float(values[point])
            yield label, topology.branch_at(region, height, threshold=threshold), height


def _heights(groups: Sequence[_Basins], counts: Iterable[int]) -> np.ndarray:
    """Return the births and deaths that the axis must show, (n,), or all values if none dies."""
    pairs = list(zip(groups, counts, strict=True))
    deaths = np.concatenate([group.topology.deaths[:count] for group, count in pairs])
    births = [group.topology.births[:count] for group, count in pairs]
    others = [] if np.isfinite(deaths).any() else [group.field.finite for group in groups]
    return require_finite([*births, deaths, *others])


def _set_axis(
    ax: Axes, direction: Literal["x", "y"], groups: Sequence[_Basins], heights: np.ndarray
) -> None:
    """Put the loss on one axis, with room beyond the last death for what does not die."""
    scale = choose_scale([heights])
    set_scale(ax, scale, direction)
    transform = getattr(ax, f"{direction}axis").get_transform()
    low, high = transform.transform(np.array([heights.min(), heights.max()]))
    span = high - low or abs(high) or 1.0
    limits = transform.inverted().transform(np.array([low - _MARGIN * span, high + _ROOM * span]))
    names = {group.field.name for group in groups}
    ax.set(
        **{
            f"{direction}lim": limits,
            f"{direction}label": with_note(names.pop() if len(names) == 1 else "loss", scale),
        }
    )


def _text() -> dict[str, Any]:
    """Return how values next to bars and lines are printed."""
    return {"textcoords": "offset points", "fontsize": current_style().label_size}


def _draw_bars(ax: Axes, group: _Basins, rows: np.ndarray, color: str) -> None:
    """Draw a surface's basins from minimum to saddle, with the persistence after the end."""
    topology, (low, edge) = group.topology, ax.get_xlim()
    arrow = sized(_ARROW)
    for row, birth, death, persistence in zip(
        rows, topology.births, topology.deaths, topology.persistence, strict=False
    ):
        is_counted = persistence >= group.summary.threshold
        shade = color if is_counted else tuple(_PALE + (1 - _PALE) * np.array(to_rgb(color)))
        start = max(birth, low)
        ax.plot(
            [start, min(death, edge)],
            [row, row],
            color=shade,
            **sized({"linewidth": 3.6}),
            solid_capstyle="butt",
            gid="basin",
        )
        ax.plot([start], [row], "o", **sized({"markersize": 4.6}), color=shade, gid="minimum")
        if np.isfinite(persistence):
            ax.annotate(
                format_value(persistence),
                (death, row),
                (3, 0),
                va="center",
                color="0.25",
                **_text(),
            )
        else:
            ax.plot([edge], [row], ">", color=shade, **arrow, gid="immortal")


def _draw_tree(ax: Axes, group: _Basins, signs: Mapping[str, Any], color: str) -> None:
    """Draw the basins that are deep enough, each joined to its elder, and the marks on them."""
    topology, count = group.topology, group.count
    places = _places(topology, count)
    line: dict[str, Any] = {"color": color, "solid_capstyle": "projecting"}
    arrow = sized(_ARROW)
    low, edge = ax.get_ylim()
    for row in range(count):
        birth, death = max(topology.births[row], low), min(topology.deaths[row], edge)
        ax.plot([places[row]] * 2, [birth, death], **line, gid="basin")
        ax.plot([places[row]], [birth], "o", color=color, gid="minimum")
        if topology.elders[row] >= 0:
            ax.plot(places[[row, topology.elders[row]]], [death, death], **line, gid="saddle")
        if not np.isfinite(topology.persistence[row]):
            ax.plot(places[row], edge, "^", color=color, **arrow, gid="immortal")
        if count <= _MAX_NAMED:
            ax.annotate(
                format_value(topology.births[row]),
                (places[row], birth),
                (0, -4),
                ha="center",
                va="top",
                **_text(),
            )
    for label, row, height in group.marks:
        ax.plot([places[row]], [height], **sized(signs[label]), zorder=4, gid="mark")
    ax.set(xlim=(-0.75, count - 0.25), xticks=[])
    ax.spines[["top", "right", "bottom"]].set_visible(False)


def _places(topology: Topology, count: int) -> np.ndarray:
    """Place basins so that no lines cross: around each those that join it, the first nearest."""
    around: list[list[int]] = [[row] for row in range(count)]
    num_joined = [0] * count
    dying = np.flatnonzero(topology.elders[:count] >= 0)
    for row in dying[np.lexsort((-dying, topology.deaths[dying]))].tolist():
        elder = int(topology.elders[row])
        is_left = num_joined[elder] % 2
        around[elder] = around[row] + around[elder] if is_left else around[elder] + around[row]
        num_joined[elder] += 1
    roots = np.flatnonzero(topology.elders[:count] < 0).tolist()
    return np.argsort([row for root in roots for row in around[root]])


def _signs(groups: Sequence[_Basins]) -> dict[str, dict[str, Any]]:
    """Return the sign of each checkpoint, as on the planes themselves, and of the center."""
    signs = mark_signs([group.field for group in groups]).items()
    return {
        CENTER: {**CROSS, "color": "black"},
        **{label: sign for (kind, label), sign in signs if kind == "checkpoint"},
    }


def _tree_legend(groups: Sequence[_Basins], signs: Mapping[str, Any]) -> Legend:
    """Name the marks, and give the barriers between them and what was left out."""
    labels = dict.fromkeys(label for group in groups for label, _, _ in group.marks)
    barriers = groups[0].summary.barriers if len(groups) == 1 else ()
    notes = [
        f"barrier between {shortened(each.first)} and {shortened(each.second)}: "
        f"{format_value(each.height)}"
        for each in barriers
        if len(barriers) <= _MAX_BARRIERS and each.height is not None
    ]
    if left_out := sum(group.num_shallow for group in groups):
        notes.append(f"{left_out} shallower than {_thresholds(groups)} left out")
    return Legend(
        [key(shortened(label), **sized(signs[label])) for label in labels], "; ".join(notes)
    )


def _bars_legend(groups: Sequence[_Basins]) -> Legend:
    """Say which basins are pale, and how many have no bar."""
    hidden = sum(max(0, group.count - group.num_shown) for group in groups)
    total = sum(group.num_shallow for group in groups)
    pale = f"pale: not counted, less persistent than {_thresholds(groups)} ({total} in all)"
    notes = [
        f"{hidden} less persistent ones not shown" if hidden else "",
        pale if any(group.count < group.num_shown for group in groups) else "",
    ]
    return Legend([], "; ".join(filter(None, notes)))


def _thresholds(groups: Sequence[_Basins]) -> str:
    return " / ".join(dict.fromkeys(format_value(group.summary.threshold) for group in groups))
