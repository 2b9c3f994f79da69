"""What plotly draws on the interactive page: planes, curves and the marks on them."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from landscape.plot.field import Field, marked_points, shared_name
from landscape.plot.mark_symbols import height_of, is_inside
from landscape.plot.names import drawable
from landscape.plot.scale import Scale
from landscape.plot.style import LINE_COLORS, color_of, format_level
from landscape.results.surface import Mark

FLOOR_DROP = 0.35  # of the height of a relief, between it and its contour lines on the floor
DOT = 2.5  # pixels of a point that was evaluated
SIZES = {"surface": 5, "contour": 10, "heatmap": 10, "curve": 10}  # pixels of a mark in a view
_MAX_TICKS = 9
_SIGNS = {r"\lambda": "λ", r"\rho": "ρ", r"_{\max}": "<sub>max</sub>", r"_{\min}": "<sub>min</sub>"}
_FEW_POINTS = 60  # up to which each point of a curve has a marker
_DASHES = ("solid", "dash", "dashdot", "dot")
_SYMBOLS = ("square", "diamond", "circle")  # which both two and three dimensions have
_OUTLINE = {"width": 1.5, "color": "black"}
_TEXT = {"hovertemplate": "%{text}<extra></extra>"}


@dataclass(frozen=True)
class Choice:
    """What is shown together: fields with their panels' names, on one scale.

    Attributes:
        rows: Fields of all panels; one row for planes, one per split for curves.
        layers: Fields of every quantity and split, (number of layers, number of panels).
        names: Names of the panels.
        scale: Scale of the values.
        note: What the button says in addition to the name.
    """

    rows: Sequence[Sequence[Field]]
    layers: Sequence[Sequence[Field]]
    names: Sequence[str]
    scale: Scale
    note: str

    @property
    def name(self) -> str:
        """Quantity that is shown, with its split if it is one."""
        return plain(shared_name([row[0] for row in self.rows]))

    @property
    def axis(self) -> dict[str, Any]:
        """Title and ticks of an axis or colour bar of the values, which shows heights."""
        levels = self.scale.thinned(_MAX_TICKS)
        return {
            "title": {"text": self.name + self.scale.note},
            "tickvals": self.heights(levels),
            "ticktext": [format_level(level) for level in levels],
        }

    def heights(self, values: Any) -> Any:
        """Return values as heights on the scale, in lists; None if unknown."""
        known = np.ma.masked_invalid(np.ma.asarray(values, dtype=np.float64))
        return _rounded(np.ma.masked_array(self.scale.transform(known.filled(1.0)), known.mask))


def panel_place(number: int) -> dict[str, str]:
    """Say where a trace of a panel is drawn, in any view."""
    end = str(number + 1) if number else ""
    return {"xaxis": f"x{end}", "yaxis": f"y{end}", "scene": f"scene{end}"}


def plane_traces(choice: Choice, view: str) -> Iterator[dict[str, Any]]:
    """Yield the planes of a choice, the dots of their points, and the marks on them."""
    low, high = choice.scale.limits.tolist()
    bands = {"start": low, "end": high, "size": (high - low) / 14}
    relief = {"show": True, "usecolormap": True, "project": {"z": True}, "width": 1.5, **bands}
    named: set[str] = set()
    for number, field in enumerate(choice.rows[0]):
        yield {
            **panel_place(number),
            "type": view,
            "x": _rounded(field.x),
            "y": _rounded(field.y),
            "z": choice.heights(field.drawn),
            "coloraxis": "coloraxis",
            "contours": {"z": relief, **bands},
            "connectgaps": False,
            "line": {"width": 0.7, "color": "rgba(255,255,255,0.55)"},
            "lighting": {"ambient": 0.7, "diffuse": 0.55, "specular": 0.05, "roughness": 0.9},
            **_hover(field, [layer[number] for layer in choice.layers]),
        }
        rows, columns = marked_points(field, [field])
        if rows.size:
            yield {
                **panel_place(number),
                "type": "scatter3d" if view == "surface" else "scatter",
                "mode": "markers",
                "x": _rounded(field.x[columns]),
                "y": _rounded(field.y[rows]),
                "marker": {"size": DOT, "color": "rgba(0,0,0,0.55)"},
                "hoverinfo": "skip",
                "showlegend": False,
            }
        yield from _mark_traces(choice, number, view, named)


def _hover(field: Field, layers: Sequence[Field]) -> dict[str, Any]:
    """Return what is shown under the pointer: coordinates, and all quantities of the split."""
    shown = [each for each in layers if each.split in (field.split, "")]
    lines = [
        f"{plain(label)}: %{{{axis}:.4g}}"
        for axis, label in zip("xy", field.axis_labels, strict=True)
    ]
    lines += [f"{plain(each.name)}: %{{customdata[{i}]}}" for i, each in enumerate(shown)]
    texts = [[_number(value) for value in each.drawn.filled(np.nan).flat] for each in shown]
    cells = np.moveaxis(np.reshape(texts, (len(shown), *field.drawn.shape)), 0, -1)
    return {"customdata": cells.tolist(), "hovertemplate": "<br>".join(lines) + "<extra></extra>"}


def curve_traces(choice: Choice, view: str) -> Iterator[dict[str, Any]]:
    """Yield the curves of a choice with their bands, and the marks on them."""
    for dash, row in enumerate(choice.rows):
        for number, (name, field) in enumerate(zip(choice.names, row, strict=True)):
            parts = (name if len(row) > 1 or len(choice.rows) == 1 else "", field.split)
            label = ", ".join(filter(None, parts[: len(choice.rows)])) or plain(field.name)
            middle, band = field.summary
            curve = {"type": "scatter", "x": _rounded(field.x), "mode": "lines"}
            color = color_of(number)
            if band is not None:
                edge = {**curve, "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
                low, high = map(choice.heights, band)
                yield {**edge, "y": low}
                yield {**edge, "fill": "tonexty", "fillcolor": f"{color}33", "y": high}
            yield {
                **curve,
                **_TEXT,
                "mode": "lines+markers" if middle.size < _FEW_POINTS else "lines",
                "y": choice.heights(middle),
                "name": label,
                "text": [
                    f"{label}<br>{plain(field.axis_labels[0])}: {_number(x)}<br>"
                    f"{plain(field.name)}: {_number(value)}"
                    for x, value in zip(field.x, middle.filled(np.nan), strict=True)
                ],
                "line": {"color": color, "dash": _DASHES[dash % len(_DASHES)], "width": 2},
                "marker": {"size": 4, "color": color},
            }
    named: set[str] = set()
    for number in range(len(choice.names)):
        yield from _mark_traces(choice, number, view, named)


def _mark_traces(
    choice: Choice, number: int, view: str, named: set[str]
) -> Iterator[dict[str, Any]]:
    """Yield the marks of a panel; those whose names are new are named in the legend."""
    field = choice.rows[0][number]
    low, high = choice.scale.limits.tolist()
    for name, marks, style in _mark_groups([layer[number] for layer in choice.layers], view):
        seen = [mark if is_inside(mark, field.view) else None for mark in marks]
        points = [[None] * 2 if mark is None else list(mark.coordinates) for mark in seen]
        values = [np.nan if mark is None else height_of(mark, field) for mark in seen]
        trace = {
            **_TEXT,
            **style,
            "x": [point[0] for point in points],
            "text": ["" if mark is None else _mark_text(mark, field) for mark in seen],
            "name": name,
            "legendgroup": name,
            "showlegend": name not in named,
            "type": "scatter3d" if view == "surface" else "scatter",
            "cliponaxis": False,
        }
        named.add(name)
        heights = choice.heights(values)
        if view == "curve":
            yield {**trace, "y": heights}
            continue
        flat = {**trace, **panel_place(number), "y": [point[1] for point in points]}
        lift, floor = 0.012 * (high - low), low - FLOOR_DROP * (high - low)
        yield {**flat, "z": [None if z is None else z + lift for z in heights]}
        # On the floor as well, among the contour lines: in a deep basin the surface hides them.
        yield {**flat, "z": [None if z is None else floor for z in heights], "showlegend": False}


def _mark_groups(
    layers: Sequence[Field], view: str
) -> Iterator[tuple[str, Sequence[Mark], dict[str, Any]]]:
    """Yield name, marks and style of a trajectory and of each single mark on the grid."""
    field, snapshots = layers[0], layers[0].snapshots
    look = {"size": SIZES[view], "line": _OUTLINE}
    if snapshots:
        style = {
            "mode": "lines+markers",
            "line": {"color": "black", "width": 2},
            "marker": {**look, "color": list(range(len(snapshots))), "colorscale": "Reds"},
        }
        yield "trajectory", snapshots, style
    marks = [m for m in field.marks if m.kind != "snapshot" and is_inside(m, field.view)]
    if not any(np.allclose(mark.coordinates, 0.0, atol=1e-9) for mark in (*marks, *snapshots)):
        losses = {
            each.split: each.center
            for each in layers
            if each.quantity == "loss" and each.center is not None
        }
        origin = (0.0,) * len(field.view)
        marks.append(Mark("center", "center", origin, loss=losses, plane_loss=losses))
    for number, mark in enumerate(marks):
        own = {"ascent": ("x", LINE_COLORS[1]), "center": ("cross", "white")}
        symbol, color = own.get(mark.kind, (_SYMBOLS[number % len(_SYMBOLS)], "white"))
        style = {"mode": "markers", "marker": {"symbol": symbol, "color": color, **look}}
        yield html.escape(drawable(mark.label)), [mark], style


def _mark_text(mark: Mark, field: Field) -> str:
    """Say what is known of a mark: its place, its loss, and the value of the surface there."""
    known = dict(zip(map(plain, field.axis_labels), mark.coordinates, strict=False))
    if field.quantity == "loss":
        known["its loss"] = mark.loss.get(field.split, np.nan)
    known[f"{plain(field.name)} on the plane"] = height_of(mark, field)
    if mark.kind != "center":
        known["distance out of the plane"] = mark.distance
    lines = [f"{name}: {_number(value)}" for name, value in known.items() if np.isfinite(value)]
    return "<br>".join([f"<b>{html.escape(drawable(mark.label))}</b>", *lines])


def _rounded(values: np.ndarray) -> Any:
    """Return numbers as lists, rounded to useful digits; None if masked or not finite."""
    masked = np.ma.masked_invalid(values)
    digits = np.array([float(f"{value:.6g}") for value in masked.filled(0.0).ravel()])
    return np.ma.masked_array(digits.reshape(masked.shape), masked.mask).tolist()


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}") if np.isfinite(value) else "-"


def plain(text: str) -> str:
    """Return the HTML of a name that has simple formulas between dollar signs."""
    parts = re.split(r"(?<!\\)\$", text)
    parts[::2] = [html.escape(part.replace(r"\$", "$")) for part in parts[::2]]
    for sign, replacement in _SIGNS.items():
        parts[1::2] = [part.replace(sign, replacement) for part in parts[1::2]]
    return "".join(parts)
