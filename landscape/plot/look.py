"""What a user may ask of a figure of a field: lines, scale, clipping, colours, labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from matplotlib import colormaps

from landscape.errors import InputError, require, require_one_of

SCALES = ("linear", "log", "excess")
"""What lines can be even in: the value, its logarithm, that of its excess over the lowest value."""

_MOST_LINES = 100


@dataclass(frozen=True)
class Look:
    """How a field on a plane is drawn, as far as its values do not decide.

    Attributes:
        levels: Number of contour lines, or the values that have a line, increasing.
        scale: One of `SCALES`; None for the first that spreads the values.
        clip: Largest value that is told apart; `auto` for the median of the values on the border of
            the plane where corners are far above it; None for the largest value.
        colormap: Name of a matplotlib colour map; None for that of the quantity.
        no_labels: Whether contour lines stay without their values.
        view: Elevation (10 to 70) and azimuth in degrees from which the kind `surface` is seen;
            None for those that show its lowest point.
        zscale: Scale of its heights, one of `SCALES`; None for that of its colours.
        show_center: Whether the title of a panel gives the value at its center.

    Raises:
        InputError: If one of them is none of these.
    """

    levels: int | Sequence[float] = 12
    scale: str | None = None
    clip: float | str | None = None
    colormap: str | None = None
    no_labels: bool = False
    view: tuple[float, float] | None = None
    zscale: str | None = None
    show_center: bool = False

    def __post_init__(self) -> None:
        for scale in ("scale", "zscale"):
            if (asked := getattr(self, scale)) is not None:
                require_one_of(f"`{scale}`", asked, SCALES)
        elevation, azimuth = self.view or (35.0, -60.0)
        require(
            10 <= elevation <= 70 and -360 <= azimuth <= 360,  # ticks run together beyond
            "`view` must be an elevation from 10 to 70 and an azimuth from -360 to 360 degrees, "
            f"got {elevation:g}:{azimuth:g}.",
            hint="Pass `view=(35, -60)`.",
        )
        name = self.colormap or "viridis"
        require(
            name in colormaps,
            f"`colormap` must be a colour map of matplotlib, got {name!r}.",
            hint=f"Nearest: {', '.join(_nearest(name))}.",
        )
        require(
            self.clip in (None, "auto")
            or (isinstance(self.clip, int | float) and math.isfinite(self.clip)),
            f"`clip` must be a finite number or auto, got {self.clip!r}.",
            hint="Pass `clip='auto'`.",
        )
        if isinstance(self.levels, int):
            is_right = 1 <= self.levels <= _MOST_LINES
        else:
            pairs = zip(self.levels, self.levels[1:], strict=False)
            is_right = (
                0 < len(self.levels) <= _MOST_LINES
                and all(map(math.isfinite, self.levels))
                and all(one < other for one, other in pairs)
            )
        require(
            is_right,
            f"`levels` must be a number of lines from 1 to {_MOST_LINES}, or increasing values, "
            f"got {self.levels!r}.",
            hint="Pass `levels=12`.",
        )


def parse_levels(text: str) -> int | tuple[float, ...]:
    """Parse `12` or `0.1,0.5,1`; one value alone ends in a comma.

    Raises:
        InputError: If it is neither.
    """
    try:
        if "," not in text:
            return int(text)
        return tuple(float(part) for part in text.rstrip(",").split(","))
    except ValueError as exc:
        raise InputError(
            f"`levels` must be a number of lines or values with commas between them, got {text!r}.",
            hint="Pass `levels=12`.",
        ) from exc


def parse_clip(text: str | None) -> float | str | None:
    """Parse a number, `auto` or nothing.

    Raises:
        InputError: If it is none of these.
    """
    try:
        return text if text in (None, "auto") else float(text)
    except ValueError as exc:
        raise InputError(
            f"`clip` must be a number or auto, got {text!r}.", hint="Pass `clip='auto'`."
        ) from exc


def parse_view(text: str | None) -> tuple[float, float] | None:
    """Parse `ELEV:AZIM`, two numbers of degrees with a colon or comma between, or nothing.

    Raises:
        InputError: If it is neither.
    """
    try:
        if text is None:
            return None
        elevation, azimuth = map(float, text.replace(",", ":").split(":"))
    except ValueError as exc:
        raise InputError(
            f"`view` must be two numbers of degrees with a colon between them, got {text!r}.",
            hint="Pass `view=(35, -60)`.",
        ) from exc
    return elevation, azimuth


def _nearest(name: str) -> list[str]:
    """Return the colour maps whose names are like a name, or usual ones if none is."""
    known = {each.lower(): each for each in colormaps}
    close = get_close_matches(name.lower(), known, n=4)
    return [known[each] for each in close] or ["viridis", "cividis", "magma", "RdBu_r"]


DEFAULT_LOOK = Look()
