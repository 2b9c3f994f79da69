"""Surfaces as an interactive page: one file, which opens in a browser without a network."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from landscape.errors import InputError, from_extra
from landscape.plot.field import (
    Field,
    choose_splits,
    dotted_points,
    interpolation_note,
    missing_name,
    scale_of,
    select_field,
)
from landscape.plot.kinds import QUANTITIES, choose_kind, name_results
from landscape.plot.names import quantity_label
from landscape.plot.scale import Scale, linear_levels, log_levels
from landscape.plot.style import format_level, panel_title
from landscape.results.surface import Mark, Surface

_VIEWS = {
    "surface": "surface",
    "contour": "contour",
    "filled": "contour",
    "trajectory": "contour",
    "heatmap": "heatmap",
    "curve": "curve",
}
_DIGITS = 6  # of a value in the page
_MAX_TICKS = 9
_LEAST_RATIO = 3.0  # largest over smallest value from which a logarithmic scale is offered
_EQUAL_RANGES = 2.0  # ratio of the ranges up to which both directions get the same unit length
_SIGNS = {r"\lambda": "λ", r"\rho": "ρ", r"_{\max}": "<sub>max</sub>", r"_{\min}": "<sub>min</sub>"}


def draw_page(
    results: Sequence[Any],
    *,
    labels: Sequence[str] | None = None,
    kind: str | None = None,
    split: str | None = None,
    quantity: str = "loss",
    title: str | None = None,
) -> str:
    """Write surfaces as an interactive page with values under the pointer.

    Planes are shown as relief, contours and heat map, and lines as curves.

    Several planes are side by side and turn together, several lines on the same axes. What all of
    the surfaces have (splits, accuracy, maps) can be chosen on the page, and a linear or a
    logarithmic scale where either fits.

    Args:
        results: Surfaces, all on planes or all on lines.
        labels: One a surface.
        kind: What a plane is first shown as: `surface` if None, `contour`, `filled` or `heatmap`.
        split: Data split that is shown first.
        quantity: `loss`, `accuracy` or a map, likewise.
        title: Of the page; None for the labels.

    Returns:
        HTML with all that it needs in it.

    Raises:
        InputError: If plotly is not installed, the results are no surfaces, the kind is no
            interactive one, or a surface lacks the split, the quantity or a finite value.
    """
    results = list(results)
    view = _view(results, kind)
    names = [html.escape(_printable(name)) for name in name_results(results, labels)]
    chosen = choose_splits(results, None if split == "all" else split, quantity)[0]
    layers = _layers(results, quantity)
    data = {
        "view": view,
        "field": next(
            i
            for i, each in enumerate(layers)
            if (each[0].quantity, each[0].split) == (quantity, chosen)
        ),
        "fields": [_describe(layer, layers, names) for layer in layers],
        "panels": [
            {"name": name, **_panel([layer[i] for layer in layers])} for i, name in enumerate(names)
        ],
        "isEqual": _has_equal_units([layers[0][i] for i in range(len(results))]),
    }
    heading = (
        html.escape(_printable(title))
        if title
        else ", ".join(filter(None, names)) or "Loss surface"
    )
    return _fill_in(heading, _note([field for layer in layers for field in layer]), data)


def _view(results: Sequence[Any], kind: str | None) -> str:
    """Return what is shown first, after checking that all results can be shown so."""
    default = choose_kind(results, None)
    if default not in ("filled", "curve"):
        raise InputError(
            f"an interactive page shows surfaces, got results that are drawn as {default}.",
            hint="Draw them as a figure: --out with .png, .svg or .pdf.",
        )
    if kind is not None and choose_kind(results, kind) not in _VIEWS:
        raise InputError(
            f"an interactive page shows {', '.join(_VIEWS)}, got {kind!r}.",
            hint="Draw it as a figure: --out with .png, .svg or .pdf.",
        )
    return "curve" if default == "curve" else _VIEWS[kind or "surface"]


def _layers(surfaces: Sequence[Surface], quantity: str) -> list[list[Field]]:
    """Return the fields of all surfaces, for each quantity and split that they share.

    What has no finite value is left out, unless it was asked for.
    """
    layers = [
        [select_field(surface, split, each) for surface in surfaces]
        for each in dict.fromkeys((*QUANTITIES, *surfaces[0].maps))
        for split in _shared_splits(surfaces, each)
    ]
    return [
        layer
        for layer in layers
        if layer[0].quantity == quantity or any(field.finite.size for field in layer)
    ]


def _shared_splits(surfaces: Sequence[Surface], quantity: str) -> tuple[str, ...]:
    """Return the splits of a quantity that all surfaces have, as `choose_splits`, or none."""
    try:
        return choose_splits(surfaces, None, quantity)
    except InputError:
        return ()


def _describe(
    layer: Sequence[Field], layers: Sequence[Sequence[Field]], names: Sequence[str]
) -> dict[str, Any]:
    """Return one quantity on one split of all panels; curves of one quantity share a scale."""
    first = layer[0]
    together = (
        [each for each in layers if each[0].quantity == first.quantity]
        if not first.y.size
        else [layer]
    )
    return {
        "name": _plain(first.name),
        "quantity": first.quantity,
        "quantityName": _plain(quantity_label(first.quantity)),
        "split": first.split,
        "scales": [
            _scale(scale, first.quantity)
            for scale in _scales([field for row in together for field in row])
        ],
        "panels": [
            {"title": panel_title(name, field), **_values(field)}
            for name, field in zip(names, layer, strict=True)
        ],
    }


def _scales(fields: Sequence[Field]) -> list[Scale]:
    """Return the scale that fits, and the other one of linear and log if it is useful too."""
    scale = scale_of(fields)
    values = np.concatenate([field.finite for field in fields])
    low, high = float(values.min()), float(values.max())
    if scale.is_diverging:
        low, high = -max(-low, high), max(-low, high)
    if scale.kind != "linear":
        return [scale, Scale("linear", linear_levels(low, high), is_diverging=scale.is_diverging)]
    if fields[0].quantity != "accuracy" and 0 < low * _LEAST_RATIO < high:
        return [scale, Scale("log", log_levels(low, high))]
    return [scale]


def _scale(scale: Scale, quantity: str) -> dict[str, Any]:
    levels = scale.levels[:: -(-len(scale.levels) // _MAX_TICKS)]
    return {
        "kind": scale.kind,
        "threshold": scale.threshold,
        "low": scale.low,
        "high": scale.high,
        "levels": levels.tolist(),
        "texts": [format_level(level) for level in levels],
        "note": scale.note,
        "colors": "RdBu"
        if scale.is_diverging
        else "Cividis"
        if quantity == "accuracy"
        else "Viridis",
    }


def _values(field: Field) -> dict[str, Any]:
    """Return the values, None if unknown; for several lines, the median and the quartiles."""
    if field.y.size or field.drawn.ndim == 1:
        return {"values": _rounded(field.drawn), "band": None}
    low, middle, high = np.quantile(field.drawn.filled(np.nan), (0.25, 0.5, 0.75), axis=0)
    return {"values": _rounded(middle), "band": [_rounded(low), _rounded(high)]}


def _panel(layers: Sequence[Field]) -> dict[str, Any]:
    """Return a panel's coordinates, marks, and dots at evaluated or interpolated points."""
    field = layers[0]
    marks = [mark for mark in field.marks if mark.kind == "snapshot" or _is_inside(mark, field)]
    if not any(np.allclose(mark.coordinates, 0.0, atol=1e-9) for mark in marks):
        dims = 2 if field.y.size else 1
        losses = {
            each.split: each.center
            for each in layers
            if each.quantity == "loss" and each.center is not None
        }
        marks.append(Mark("center", "center", (0.0,) * dims, loss=losses, plane_loss=losses))
    return {
        "axes": [_plain(label) for label in field.axis_labels],
        "x": _rounded(field.x),
        "y": _rounded(field.y),
        "marks": [_mark(mark, layers) for mark in marks],
        "dots": _dots(field),
    }


def _mark(mark: Mark, layers: Sequence[Field]) -> dict[str, Any]:
    """Return a mark with its height in each layer; off the grid it has no coordinates."""
    is_inside = _is_inside(mark, layers[0])
    return {
        "label": html.escape(_printable(mark.label)),
        "kind": mark.kind,
        "coordinates": [_number(value) if is_inside else None for value in mark.coordinates],
        "distance": None if mark.kind == "center" else _number(mark.distance),
        "loss": {split: _number(value) for split, value in mark.loss.items()},
        "heights": [_number(_height(mark, field)) if is_inside else None for field in layers],
    }


def _height(mark: Mark, field: Field) -> float:
    """Return the value at the plane's nearest point: the measured loss, or else interpolated."""
    known = mark.plane_loss.get(field.split) if field.quantity == "loss" else None
    if known is not None:
        return known
    values = field.drawn.filled(np.nan)
    if not field.y.size:
        middle = values if values.ndim == 1 else np.median(values, axis=0)
        return float(np.interp(mark.coordinates[0], field.x, middle))
    column = np.array([np.interp(mark.coordinates[0], field.x, row) for row in values])
    return float(np.interp(mark.coordinates[1], field.y, column))


def _is_inside(mark: Mark, field: Field) -> bool:
    """Return whether a mark is on the grid, its border included."""
    axes = [field.x, field.y][: len(mark.coordinates)]
    return all(
        axis.min() <= value <= axis.max()
        for value, axis in zip(mark.coordinates, axes, strict=True)
    )


def _dots(field: Field) -> list[Any] | None:
    """Return coordinates of the evaluated or interpolated points, whichever are fewer.

    For a whole grid, return None.
    """
    which = dotted_points([field]) if field.y.size else None
    if which is None:
        return None
    rows, columns = np.nonzero(
        field.is_interpolated if which == "interpolated" else ~field.is_not_done
    )
    return [_rounded(field.x[columns]), _rounded(field.y[rows])]


def _has_equal_units(fields: Sequence[Field]) -> bool:
    """Return whether both directions' ranges are similar enough to share a unit length."""
    if not fields[0].y.size:
        return False
    ranges = [
        max(np.ptp(axis) for axis in axes)
        for axes in ([f.x for f in fields], [f.y for f in fields])
    ]
    return bool(1 / _EQUAL_RANGES <= ranges[0] / ranges[1] <= _EQUAL_RANGES)


def _note(fields: Sequence[Field]) -> str:
    """Say what was not computed or is not finite, and how many marks are off the grid."""
    surfaces = {id(field.marks): field for field in fields}.values()
    outside = sum(not _is_inside(mark, field) for field in surfaces for mark in field.marks)
    notes = [
        interpolation_note([field for field in fields if field.quantity == fields[0].quantity])
        or "",
        f"{missing_name(fields)} left empty" if missing_name(fields) else "",
        f"{outside} marks outside" if outside else "",
    ]
    return "; ".join(filter(None, notes))


def _rounded(values: np.ndarray) -> Any:
    """Return numbers as lists, rounded to useful digits; None if masked or not finite."""
    masked = np.ma.masked_invalid(values)
    digits = np.array([float(f"{value:.{_DIGITS}g}") for value in masked.filled(0.0).ravel()])
    return np.ma.masked_array(digits.reshape(masked.shape), masked.mask).tolist()


def _number(value: float) -> float | None:
    return float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _plain(text: str) -> str:
    """Return the HTML of a name that has simple formulas between dollar signs."""
    parts = re.split(r"(?<!\\)\$", text)
    for index, part in enumerate(parts):
        if index % 2:
            for sign, replacement in _SIGNS.items():
                part = part.replace(sign, replacement)
            parts[index] = part
        else:
            parts[index] = html.escape(part.replace(r"\$", "$"))
    return "".join(parts)


def _fill_in(title: str, note: str, data: dict[str, Any]) -> str:
    """Put the data and the scripts into the page."""
    with from_extra("html", "plotly"):
        from plotly.offline import get_plotlyjs
    beside = Path(__file__)
    return Template(beside.with_suffix(".html").read_text(encoding="utf-8")).substitute(
        title=title,
        note=html.escape(note),
        data=json.dumps(data, allow_nan=False).replace("<", "\\u003c"),
        plotly=get_plotlyjs(),
        script=beside.with_suffix(".js").read_text(encoding="utf-8"),
    )
