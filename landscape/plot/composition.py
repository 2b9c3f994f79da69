"""Figures of different kinds as the panels of one, each with its letter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from landscape.errors import require, require_in_limits
from landscape.plot.figure import PLANE_KINDS, draw
from landscape.plot.look import DEFAULT_LOOK, Look
from landscape.plot.names import choose_kind, letter, literal
from landscape.plot.presets import Style, current_style, use_style
from landscape.plot.style import styled
from landscape.results.surface import Surface

_USUAL_WIDTH = 3.3  # inches of a panel, by which their number in a row is chosen
_LEAST_WIDTH = 2.0  # inches
_STRIP = 1.5  # heights of the letters' type, which the strip above a panel is high
_GAP = 0.08  # inches between rows


@dataclass(frozen=True)
class Panel:
    """What one panel of a composed figure shows.

    Attributes:
        results: As `draw` takes them.
        kind: Kind of figure; None for that of the results' type.
        label: Title next to the letter.
        labels: One per result, or None.
    """

    results: Sequence[Any]
    kind: str | None = None
    label: str = ""
    labels: Sequence[str] | None = None


class Sheet(Figure):
    """A figure that other figures are drawn in, each with a layout of its own that is final.

    Attributes:
        parts: The figures, whose places are their `bbox_inches`.
    """

    def __init__(self, parts: Sequence[Figure], size: tuple[float, float]) -> None:
        self.parts = list(parts)
        super().__init__(figsize=size)
        FigureCanvasAgg(self)
        for part in parts:
            part.dpi = self.dpi

    def _set_dpi(self, dpi: float, forward: bool = True) -> None:
        super()._set_dpi(dpi, forward)  # pyright: ignore[reportAttributeAccessIssue]
        for part in self.parts:
            part.dpi = dpi

    dpi = property(lambda self: self._dpi, _set_dpi)  # pyright: ignore

    def draw(self, renderer: Any) -> None:
        """Draw the letters, then every part."""
        super().draw(renderer)
        for part in self.parts:
            part.draw(renderer)


@styled
def draw_panels(
    panels: Sequence[Panel],
    *,
    rows: int | None = None,
    split: str | None = None,
    quantity: str = "loss",
    title: str | None = None,
    look: Look = DEFAULT_LOOK,
) -> Figure:
    """Draw figures of different kinds as the panels of one, with the letters (a), (b), ...

    Each panel is drawn as a figure of its width, so that type has the same size in all of them.

    Args:
        panels: The panels, row by row.
        rows: Number of rows; None for as many as panels of about 3.3 inches need.
        split: Data split of all panels, as for `draw`.
        quantity: Quantity of all panels of surfaces, as for `draw`.
        title: Over the whole figure.
        look: How all panels of planes are drawn, as for `draw`.

    Raises:
        InputError: If there are more rows than panels, panels would be too narrow, or a panel
            cannot be drawn.
    """
    require(panels, "a composed figure needs at least one panel, got none.")
    require_in_limits({"number of results in a figure": len(panels)})
    require(
        rows is None or 1 <= rows <= len(panels),
        f"`rows` must be from 1 to the number of panels, {len(panels)}, got {rows}.",
        hint=f"Pass `rows={min(2, len(panels))}`.",
    )
    style = current_style()
    total = style.width_of(min(2, len(panels)))
    usual = max(1, round(total / (_USUAL_WIDTH * style.unit)))
    columns = -(-len(panels) // rows) if rows else min(len(panels), usual)
    require(
        columns == 1 or total / columns >= _LEAST_WIDTH * style.unit,
        f"panels next to each other must be {_LEAST_WIDTH * style.unit:g} inches wide or more, got "
        f"{columns} in {total:g} inches.",
        hint="Pass more `rows`, or a larger `width`.",
    )
    kinds = [choose_kind(panel.results, panel.kind) for panel in panels]
    has_planes = any(kind in PLANE_KINDS for kind in kinds)
    with use_style(replace(style, width=total / columns)):
        parts = [
            draw(
                panel.results,
                labels=panel.labels,
                kind=kind,
                split=split,
                quantity=quantity if isinstance(panel.results[0], Surface) else "loss",
                look=look if kind in PLANE_KINDS or not has_planes else DEFAULT_LOOK,
            )
            for panel, kind in zip(panels, kinds, strict=True)
        ]
    names = [f"{letter(i)} {literal(panel.label)}".strip() for i, panel in enumerate(panels)]
    return _arrange(parts, names, columns, title, style)


def _arrange(
    parts: list[Figure], names: list[str], columns: int, title: str | None, style: Style
) -> Sheet:
    """Put figures of one width in rows, those in a row at one height where they can be."""
    starts = range(0, len(parts), columns)
    heights = [max(part.get_figheight() for part in parts[i : i + columns]) for i in starts]
    strip = _STRIP * style.font_size / 72
    top = strip * bool(title)
    width = parts[0].get_figwidth()
    total = sum(heights) + (strip + _GAP) * len(heights) + top
    for index, part in enumerate(parts):
        if _is_elastic(part):
            part.set_figheight(heights[index // columns])
        part.draw_without_rendering()
        part.set_layout_engine("none")
    sheet = Sheet(parts, (columns * width, total))
    for index, (part, name) in enumerate(zip(parts, names, strict=True)):
        row, column = divmod(index, columns)
        edge = total - top - sum(heights[:row]) - (strip + _GAP) * row  # inches
        left, height = column * width, part.get_figheight()
        part.bbox_inches.bounds = (left, edge - strip - height, width, height)
        x, y = (left + 0.04) / (columns * width), edge / total
        sheet.text(x, y, name, va="top", fontsize=style.font_size, gid="letter")
    if title:
        sheet.suptitle(literal(title), y=1 - 0.1 * strip / total, va="top")
    said = dict.fromkeys(str(part.get_label()) for part in parts if part.get_label())
    sheet.set_label("; ".join(said))
    return sheet


def _is_elastic(figure: Figure) -> bool:
    """Return whether a figure fills any height: it has flat axes without equal units alone."""
    return all(ax.name == "rectilinear" and ax.get_aspect() == "auto" for ax in figure.axes)


def parse_panel(text: str, exists: Callable[[str], bool]) -> tuple[list[str], str | None]:
    """Parse `FILE`, `FILE:KIND` or `FILE+FILE:KIND` into files and kind.

    Args:
        text: What was typed.
        exists: Whether there is a file of a name, which goes before what else it could mean.
    """
    if exists(text):
        return [text], None
    files, colon, kind = text.rpartition(":")
    files, kind = (files, kind) if colon and "/" not in kind else (text, "")
    return [files] if exists(files) else files.split("+"), kind or None
