"""Presets of figures: widths, type and lines for a paper, a talk or a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from landscape.errors import InputError, require, require_one_of

FONTS: dict[str, dict[str, Any]] = {
    "sans": {},
    "cm": {
        "font.family": ["cmr10", "STIXGeneral"],  # the second has what the first lacks
        "mathtext.fontset": "cm",
        "axes.formatter.use_mathtext": True,
    },
    "stix": {"font.family": "STIXGeneral", "mathtext.fontset": "stix"},
}
"""Name -> settings of matplotlib. All fonts come with it: `cm` is that of LaTeX, `stix` Times."""

_WIDTHS = 2.0, 40.0  # inches
_DOTS = 50, 1200  # per inch
_PAD = 3 / 72  # inches around axes, with type of 8 points
_LABEL_SHARE = 7 / 8  # of the size of ticks, which values printed inside the axes have


@dataclass(frozen=True)
class Style:
    """Sizes of a figure. Type has the same size in points at every width.

    Attributes:
        column: Width of a figure of one panel in inches.
        text: Width of a figure of several panels in inches.
        font_size: Points of axis labels and titles.
        small_size: Points of ticks and legends.
        line_width: Points.
        marker_size: Points.
        dpi: Dots per inch of PNG files.
        font: One of `FONTS`.
        width: Width of every figure in inches, or None for `column` and `text`.

    Raises:
        InputError: If the width, the dots or the font are none.
    """

    column: float = 3.4
    text: float = 7.0
    font_size: float = 9.0
    small_size: float = 8.0
    line_width: float = 1.4
    marker_size: float = 3.5
    dpi: int = 200
    font: str = "sans"
    width: float | None = None

    def __post_init__(self) -> None:
        low, high = _WIDTHS
        require(
            self.width is None or low <= self.width <= high,
            f"`width` must be from {low:g} to {high:g} inches, got {self.width}.",
            hint="Pass `width='column'` or `width='text'`.",
        )
        low, high = _DOTS
        require(
            low <= self.dpi <= high,
            f"`dpi` must be from {low} to {high} dots per inch, got {self.dpi}.",
            hint="Pass `dpi=300`.",
        )
        require_one_of("`font`", self.font, FONTS)

    @property
    def label_size(self) -> float:
        """Points of what is printed inside the axes."""
        return _LABEL_SHARE * self.small_size

    @property
    def unit(self) -> float:
        """Length of what grows with the type, relative to 8 points."""
        return self.small_size / 8

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of matplotlib."""
        line = self.line_width / 2
        return {
            "font.size": self.font_size,
            "axes.titlesize": self.font_size,
            "axes.labelsize": self.font_size,
            "figure.titlesize": self.font_size + 1.0 * (self.font_size > self.small_size),
            "xtick.labelsize": self.small_size,
            "ytick.labelsize": self.small_size,
            "legend.fontsize": self.small_size,
            "legend.frameon": False,
            "legend.handlelength": 2.2,
            "axes.linewidth": line,
            "xtick.major.width": line,
            "ytick.major.width": line,
            "xtick.major.size": 3.0 * self.unit,
            "ytick.major.size": 3.0 * self.unit,
            "lines.linewidth": self.line_width,
            "lines.markersize": self.marker_size,
            "figure.constrained_layout.w_pad": _PAD * self.unit,
            "figure.constrained_layout.h_pad": _PAD * self.unit,
            "hatch.linewidth": 0.5,
            "grid.color": "0.85",
            "grid.linewidth": 0.5,
            "axes.axisbelow": True,
            **FONTS[self.font],
        }

    def height(self, inches: float, columns: int) -> float:
        """Return how high to draw what is so many inches high in the usual style.

        Half of what makes a figure wider makes it higher, and type that needs it, all of it.
        """
        usual = Style()
        ratio = self.width_of(columns) / usual.width_of(columns)
        return inches * max(self.unit, (self.unit * ratio) ** 0.5)

    def width_of(self, columns: int) -> float:
        """Return the width in inches of a figure with so many panels next to each other."""
        return self.width or (self.column if columns == 1 else self.text)

    def most_columns(self) -> int:
        """Return how many panels fit next to each other in a figure of several."""
        return max(1, round(self.width_of(2) / (_PANEL * self.unit)))


_PANEL = 2.3  # inches, the least width of one of several panels with type of 8 points

STYLES = {
    "notebook": Style(),
    "paper": Style(column=3.3, font_size=8.0, line_width=1.2, marker_size=3.2, dpi=300),
    "talk": Style(
        column=6.0,
        text=12.0,
        font_size=15.0,
        small_size=13.0,
        line_width=2.4,
        marker_size=6.0,
    ),
}
"""Name -> style. Those of LaTeX's column and text are for `paper`, those of a slide for `talk`.

The smallest type of a paper has 7 points, which is what is printed inside the axes; ticks of narrow
axes in space have 6.
"""

_style: ContextVar[Style] = ContextVar("style", default=STYLES["notebook"])


_LENGTHS = {"markersize", "markeredgewidth", "linewidth", "linewidths", "elinewidth", "capsize"}


def sized(look: Mapping[str, Any]) -> dict[str, Any]:
    """Return how something is drawn, its lengths for type of 8 points grown with the style's."""
    unit = current_style().unit
    return {name: value * unit if name in _LENGTHS else value for name, value in look.items()}


def current_style() -> Style:
    """Return the style that figures are drawn in."""
    return _style.get()


@contextmanager
def use_style(
    style: str | Style = "notebook",
    *,
    width: float | str | None = None,
    dpi: int | None = None,
    font: str | None = None,
) -> Iterator[Style]:
    """Draw and save all figures inside the context in a style.

    Args:
        style: One of `STYLES`, or sizes of your own.
        width: `column`, `text` or inches; None for that of the style, which depends on the panels.
        dpi: Dots per inch of PNG files; None for those of the style.
        font: One of `FONTS`; None for that of the style.

    Raises:
        InputError: If one of them is none of these.
    """
    if isinstance(style, str):
        near = get_close_matches(style, STYLES, n=1, cutoff=0.0)[0]
        require(
            style in STYLES,
            f"`style` must be one of {', '.join(STYLES)}, got {style!r}.",
            hint=f"Nearest: {near}.",
        )
        style = STYLES[style]
    asked = {"width": _inches(width, style), "dpi": dpi, "font": font}
    token = _style.set(
        replace(style, **{name: value for name, value in asked.items() if value is not None})
    )
    try:
        yield current_style()
    finally:
        _style.reset(token)


def _inches(width: float | str | None, style: Style) -> float | None:
    """Return a width in inches, which may be the name of one."""
    if width in ("column", "text"):
        return getattr(style, str(width))
    try:
        return None if width is None else float(width)
    except ValueError as exc:
        raise InputError(
            f"`width` must be column, text or a number of inches, got {width!r}.",
            hint="Pass `width=3.3`.",
        ) from exc
