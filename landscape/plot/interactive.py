"""Surfaces as an interactive page: one file, which opens in a browser without a network."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from landscape.errors import from_extra, require, require_in_limits
from landscape.plot.field import (
    Field,
    choose_splits,
    interpolation_note,
    missing_names,
    scale_of,
    select_field,
    shared_splits,
)
from landscape.plot.look import Look
from landscape.plot.mark_symbols import is_inside
from landscape.plot.names import QUANTITIES, choose_kind, drawable, name_results
from landscape.plot.page_traces import (
    DOT,
    FLOOR_DROP,
    SIZES,
    Choice,
    curve_traces,
    panel_place,
    plain,
    plane_traces,
)
from landscape.plot.plane_maps import has_equal_units, view_of
from landscape.plot.scale import Scale, extent, linear_levels, log_levels
from landscape.plot.style import grid_shape, panel_title
from landscape.results.surface import Surface
from landscape.runtime.seal import seal_figure
from landscape.surface.surface_headlines import result_headline

_VIEWS = {
    "surface": "surface",
    "contour": "contour",
    "filled": "contour",
    "trajectory": "contour",
    "heatmap": "heatmap",
    "curve": "curve",
}
_BUTTONS = {"surface": "3D", "contour": "contours", "heatmap": "heat map"}
_SCALES = {"linear": "linear", "log": "log", "symlog": "symmetric log", "excess": "log of excess"}
_LEAST_RATIO = 3.0  # largest over smallest value from which a logarithmic scale is offered
_KEYS = "Keys, with the picture in focus: arrows turn it, + and - bring it nearer and farther."
_GAP = 0.07  # of the page's width and height, between panels


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

    Several planes are side by side, on a narrow page one below the other, and have one camera;
    several lines are on the same axes. What all of the surfaces have (splits, accuracy, maps) can
    be chosen on the page, on a linear or a logarithmic scale where either fits.

    Args:
        results: Surfaces, all on planes or all on lines.
        labels: One per surface.
        kind: What a plane is first shown as: `surface` if None, `contour`, `filled` or `heatmap`.
        split: Data split that is shown first.
        quantity: `loss`, `accuracy` or a map that is shown first.
        title: Title of the page; None for the labels.

    Returns:
        HTML with all that it needs in it.

    Raises:
        InputError: If plotly is not installed, the results are no surfaces, the kind is no
            interactive one, or a surface lacks the split, the quantity or a finite value.
    """
    results = list(results)
    view = _view(results, kind)
    num_points = sum(result.done.size for result in results)
    require_in_limits(
        {"number of results in a figure": len(results), "number of points on a page": num_points}
    )
    names = [html.escape(drawable(name)) for name in name_results(results, labels)]
    chosen = choose_splits(results, None if split == "all" else split, quantity)[0]
    layers = _layers(results, quantity)
    choices = _choices(layers, names)
    first = next(
        index
        for index, choice in enumerate(choices)
        if (quantity, chosen) in {(row[0].quantity, row[0].split) for row in choice.rows}
    )
    heading = html.escape(drawable(title or "")) or ", ".join(filter(None, names))
    return _fill_in(
        _figure(choices, first, view),
        title=heading or "Loss surface",
        text=_text(results, names),
        note=html.escape(_note([field for layer in layers for field in layer])),
        keys="" if view == "curve" else _KEYS,
        num_panels=1 if view == "curve" else len(results),
    )


def _view(results: Sequence[Any], kind: str | None) -> str:
    """Return what is shown first, after checking that all results can be shown so."""
    default = choose_kind(results, None)
    require(
        default in ("filled", "curve"),
        f"an interactive page shows surfaces, got results that are drawn as {default}.",
        hint="Draw them as a figure: save it as .png, .svg or .pdf.",
    )
    require(
        kind is None or choose_kind(results, kind) in _VIEWS,
        f"an interactive page shows {', '.join(_VIEWS)}, got {kind!r}.",
        hint="Draw it as a figure: save it as .png, .svg or .pdf.",
    )
    return "curve" if default == "curve" else _VIEWS[kind or "surface"]


def _layers(surfaces: Sequence[Surface], quantity: str) -> list[list[Field]]:
    """Return the fields of all surfaces, for each quantity and split that they share.

    What has no finite value is left out, unless it was asked for.
    """
    layers = (
        [select_field(surface, split, each) for surface in surfaces]
        for each in dict.fromkeys((*QUANTITIES, *surfaces[0].maps))
        for split in shared_splits(surfaces, each)
    )
    return [
        layer
        for layer in layers
        if layer[0].quantity == quantity or any(field.finite.size for field in layer)
    ]


def _choices(layers: Sequence[Sequence[Field]], names: Sequence[str]) -> list[Choice]:
    """Return what can be chosen: a plane or all curves of one quantity, on each scale that fits."""
    if layers[0][0].y.size:
        shown = [[layer] for layer in layers]
    else:
        quantities = dict.fromkeys(layer[0].quantity for layer in layers)
        shown = [[row for row in layers if row[0].quantity == each] for each in quantities]
    choices = []
    for rows in shown:
        scales = _scales([field for row in rows for field in row])
        notes = [f", {_SCALES[scale.kind]}" * (len(scales) > 1) for scale in scales]
        choices += [Choice(rows, layers, names, *each) for each in zip(scales, notes, strict=True)]
    return choices


def _scales(fields: Sequence[Field]) -> list[Scale]:
    """Return the scale that fits, and the other one of linear and log if it is useful too."""
    scale = scale_of(fields)
    low, high = extent([field.finite for field in fields])
    if scale.is_diverging:
        low, high = -max(-low, high), max(-low, high)
    if scale.kind != "linear":
        return [scale, Scale("linear", linear_levels(low, high), is_diverging=scale.is_diverging)]
    if fields[0].quantity != "accuracy" and 0 < low * _LEAST_RATIO < high:
        return [scale, Scale("log", log_levels(low, high))]
    return [scale]


def _figure(choices: Sequence[Choice], first: int, view: str) -> dict[str, Any]:
    """Return the figure in plotly's terms: traces of all choices, of which menus show one.

    With it are the menus, each with its entries' changes, and what differs in the layout of a wide
    and of a narrow page.
    """
    draw = curve_traces if view == "curve" else plane_traces
    drawn = [list(draw(choice, view)) for choice in choices]
    owners = [number for number, traces in enumerate(drawn) for _ in traces]
    traces = [
        {**trace, "visible": number == first} for number, each in enumerate(drawn) for trace in each
    ]
    layout: dict[str, Any] = {
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#222"},
        "margin": {"l": 60, "r": 20, "t": 55, "b": 50},
        "legend": {"orientation": "h", "x": 0, "y": -0.12, "yanchor": "top"},
        "plot_bgcolor": "white" if view == "curve" else "#d4d4d4",
        "hoverlabel": {"align": "left"},
    }
    buttons = [
        {
            "label": choice.name + choice.note,
            "args": [{"visible": [owner == number for owner in owners]}, _values_layout(choice)],
        }
        for number, choice in enumerate(choices)
    ]
    menus = [{"name": "Values", "buttons": buttons, "active": first}] if len(buttons) > 1 else []
    if view == "curve":
        labels = dict.fromkeys(plain(field.axis_labels[0]) for field in choices[0].rows[0])
        layout["xaxis"] = {
            "title": {"text": " / ".join(labels)},
            "zeroline": True,
            "zerolinecolor": "#bbb",
        }
    else:
        layout |= _plane_axes(choices[0])
        views = [_view_button(each, traces, choices[0].rows[0]) for each in _BUTTONS]
        active = list(_BUTTONS).index(view)
        menus.append({"name": "View", "buttons": views, "active": active})
        _update(layout, views[active]["args"][1])
    _update(layout, _values_layout(choices[first]))
    num_panels = 0 if view == "curve" else len(choices[0].names)
    shapes = {"wide": _shape(num_panels), "narrow": _shape(num_panels, is_narrow=True)}
    return {"data": traces, "layout": layout, "menus": menus, "shapes": shapes}


def _update(layout: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Make the changes of a button, whose names may be `axis.attribute`."""
    for name, value in changes.items():
        axis, _, attribute = name.rpartition(".")
        (layout[axis] if axis else layout)[attribute] = value


def _view_button(view: str, traces: Sequence[dict[str, Any]], fields: Sequence[Field]) -> Any:
    """Return the button that shows planes in another way: other types of the same traces."""
    points = "scatter3d" if view == "surface" else "scatter"
    types = [points if trace["type"].startswith("scatter") else view for trace in traces]
    sizes = [SIZES[view] if "legendgroup" in trace else DOT for trace in traces]
    x_limits, y_limits = view_of(fields, view)
    return {
        "label": _BUTTONS[view],
        "args": [
            {"type": types, "marker.size": sizes},
            {"xaxis.range": x_limits, "yaxis.range": y_limits},
        ],
    }


def _values_layout(choice: Choice) -> dict[str, Any]:
    """Return what a choice changes in the layout: the names and ticks of its values."""
    field, scale = choice.rows[0][0], choice.scale
    if not field.y.size:
        return {"yaxis": {"zeroline": False, **choice.axis}}
    low, high = scale.limits.tolist()
    title = {**choice.axis["title"], "side": "right"}
    bar = {"thickness": 14, "outlinewidth": 0, **choice.axis, "title": title}
    colors = "Cividis" if field.quantity == "accuracy" else "Viridis"
    return {
        "coloraxis": {
            "colorscale": "RdBu" if scale.is_diverging else colors,
            "cmin": low,
            "cmax": high,
            "colorbar": bar,
        },
        "annotations": [
            {
                "text": panel_title(name, panel, Look(show_center=True)),
                "xref": "paper",
                "yref": "paper",
                "yanchor": "bottom",
                "showarrow": False,
            }
            for name, panel in zip(choice.names, choice.rows[0], strict=True)
        ],
        **{
            f"{panel_place(number)['scene']}.zaxis": {
                "zeroline": False,
                "range": [low - FLOOR_DROP * (high - low), high],
                **choice.axis,
                "title": {"text": choice.axis["title"]["text"].partition(" (")[0]},
            }
            for number in range(len(choice.names))
        },
    }


def _shape(num_panels: int, *, is_narrow: bool = False) -> dict[str, Any]:
    """Return where panels, their titles and the colour bar are, by plotly's names."""
    if not num_panels:
        return {"margin.l": 55 if is_narrow else 70, "legend.y": -0.3 if is_narrow else -0.12}
    bar = {"orientation": "v", "x": 1.02, "xanchor": "left", "y": 0.5, "yanchor": "middle"}
    if is_narrow:
        bar = {"orientation": "h", "x": 0.5, "xanchor": "center", "y": -0.22 / num_panels}
        bar |= {"yanchor": "top"}
    shape: dict[str, Any] = {f"coloraxis.colorbar.{key}": value for key, value in bar.items()}
    shape |= (
        {"margin.l": 45, "legend.y": -0.52 / num_panels}
        if is_narrow
        else {"margin.l": 60, "legend.y": -0.12}
    )
    length, size = (0.64 * _distance(num_panels), 10) if is_narrow else (1.1, 12)
    shape["coloraxis.colorbar.title.side"] = "top" if is_narrow else "right"
    for number, (x, y) in enumerate(_domains(num_panels, is_narrow=is_narrow)):
        scene = panel_place(number)["scene"]
        end = scene.removeprefix("scene")
        shape |= {f"{scene}.domain.x": x, f"{scene}.domain.y": y}
        for axis, share in (("x", 1.0), ("y", 1.0), ("z", 0.75)):
            shape[f"{scene}.aspectratio.{axis}"] = length * share
            shape[f"{scene}.{axis}axis.title.font.size"] = size
            shape[f"{scene}.{axis}axis.tickfont.size"] = size - 1
        shape |= {f"xaxis{end}.domain": x, f"yaxis{end}.domain": y}
        title = f"annotations[{number}]"
        shape |= {f"{title}.x": sum(x) / 2, f"{title}.y": y[1]}
    return shape


def _domains(num_panels: int, *, is_narrow: bool) -> list[tuple[list[float], list[float]]]:
    """Return where the panels are on the page, as shares of its width and height."""
    rows, columns = (num_panels, 1) if is_narrow else grid_shape(num_panels)
    below = 0.32 / rows if is_narrow else 2 * _GAP  # which the axes of a panel take
    width, height = (1 - _GAP * (columns - 1)) / columns, (1 - below * (rows - 1)) / rows
    corners = [
        (column * (width + _GAP), 1 - row * (height + below))
        for row, column in (divmod(number, columns) for number in range(num_panels))
    ]
    return [([left, left + width], [max(0.0, top - height), top]) for left, top in corners]


def _plane_axes(choice: Choice) -> dict[str, Any]:
    """Return the axes and the scene of each panel; flat panels move together."""
    fields = choice.rows[0]
    flat = {"constrain": "domain", "showgrid": False, "ticks": "outside"}
    layout: dict[str, Any] = {}
    distance = _distance(len(fields))
    for number, field in enumerate(fields):
        end = panel_place(number)["scene"].removeprefix("scene")
        first, second = (
            {"title": {"text": plain(label)}, "zeroline": False} for label in field.axis_labels
        )
        layout[f"xaxis{end}"] = {**first, **flat, "anchor": f"y{end}"}
        layout[f"yaxis{end}"] = {**second, **flat, "anchor": f"x{end}"}
        if number:
            layout[f"xaxis{end}"]["matches"], layout[f"yaxis{end}"]["matches"] = "x", "y"
        elif has_equal_units(view_of(fields, "contour")):
            layout["yaxis"]["scaleanchor"] = "x"
        layout[f"scene{end}"] = {
            "xaxis": first,
            "yaxis": second,
            "aspectmode": "manual",
            "camera": {
                "eye": {"x": distance, "y": -1.25 * distance, "z": 0.8 * distance},
                "center": {"x": 0, "y": 0, "z": -0.16},
            },
        }
    return layout


def _distance(num_panels: int) -> float:
    """Return how far the camera is from a relief: farther where panels are narrow."""
    return 1.25 + 0.8 * (1 - 1 / grid_shape(num_panels)[1])


def _note(fields: Sequence[Field]) -> str:
    """Say what was not computed or is not finite, and how many marks are off the grid."""
    surfaces = {id(field.marks): field for field in fields}.values()
    outside = sum(not is_inside(mark, field.view) for field in surfaces for mark in field.marks)
    notes = [
        interpolation_note([field for field in fields if field.quantity == fields[0].quantity]),
        f"{lost} left empty" if (lost := missing_names(fields).get("not_finite")) else "",
        f"{outside} marks outside" if outside else "",
    ]
    return "; ".join(filter(None, notes))


def _text(surfaces: Sequence[Surface], names: Sequence[str]) -> str:
    """Return in words what the figure shows, for those who do not see it, as HTML."""
    found = (html.escape(drawable(result_headline(surface))) for surface in surfaces)
    return " ".join(
        f"{name}: {each}" if name else each for name, each in zip(names, found, strict=True)
    )


def _menu(number: int, menu: Mapping[str, Any]) -> str:
    """Return a menu as HTML, which a keyboard and a screen reader can use."""
    entries = "".join(
        f"<option value={place}{' selected' * (place == menu['active'])}>"
        f"{html.escape(entry['label'])}</option>"
        for place, entry in enumerate(menu["buttons"])
    )
    return f'<label>{menu["name"]} <select id="menu-{number}">{entries}</select></label>'


def _fill_in(figure: dict[str, Any], **texts: Any) -> str:
    """Put the figure, the library that draws it and texts as HTML into the page."""
    with from_extra(None, "plotly"):
        from plotly.offline import get_plotlyjs
    page = Template(Path(__file__).with_suffix(".html").read_text(encoding="utf-8")).substitute(
        texts,
        menus="".join(_menu(*each) for each in enumerate(figure["menus"])),
        figure=json.dumps(figure, allow_nan=False).replace("<", "\\u003c"),
        plotly=get_plotlyjs(),
    )
    return seal_figure(page.encode(), "html").decode()
