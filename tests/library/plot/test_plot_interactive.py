import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from figures import bowl, half_done, make_surface, partly_done, with_train_loss

from landscape import plot
from landscape.errors import InputError, StoreError
from landscape.results.history import History
from landscape.results.surface import Mark


class Attributes(HTMLParser):
    """Every attribute of every element of a page."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found += attrs


def data_of(page):
    (found,) = re.findall(r'id="page-data">(.*?)</script>', page)
    return json.loads(found)


def draw(*surfaces, **kwargs):
    return data_of(plot.draw_page(surfaces, **kwargs))


def choices(figure):
    """Return name -> button of what can be shown."""
    entries = [entry for menu in figure["menus"] for entry in menu["buttons"]]
    return {each["label"]: each for each in entries if "visible" in each["args"][0]}


def views(figure):
    entries = [entry for menu in figure["menus"] for entry in menu["buttons"]]
    return {each["label"]: each for each in entries if "type" in each["args"][0]}


def shown(figure, choice=None):
    """Return the traces that are seen first, or after a choice."""
    visible = [trace["visible"] for trace in figure["data"]]
    if choice is not None:
        visible = choices(figure)[choice]["args"][0]["visible"]
    return [trace for trace, is_seen in zip(figure["data"], visible, strict=True) if is_seen]


def planes(figure, choice=None):
    return [trace for trace in shown(figure, choice) if trace.get("coloraxis")]


def curves(figure, choice=None):
    return [trace for trace in shown(figure, choice) if trace.get("name") and "text" in trace]


def marks(figure, choice=None):
    return [trace for trace in shown(figure, choice) if "legendgroup" in trace]


def name_of_values(figure):
    layout = figure["layout"]
    axis = layout["coloraxis"]["colorbar"] if "coloraxis" in layout else layout["yaxis"]
    return axis["title"]["text"]


def test_the_page_needs_no_network():
    found = Attributes(plot.draw_page([make_surface()])).found
    assert not [value for name, value in found if name in ("src", "href")]
    assert any("default-src 'none'" in (value or "") for _, value in found)


def test_the_page_holds_the_script_that_draws_it():
    from plotly.offline import get_plotlyjs

    page = plot.draw_page([make_surface()])
    assert get_plotlyjs() in page
    assert "Plotly.newPlot(plot" in page


def test_the_values_are_at_their_coordinates():
    (plane,) = planes(draw(make_surface(nx=5, ny=3)))
    np.testing.assert_allclose(plane["z"], bowl(*np.meshgrid(plane["x"], plane["y"])), rtol=1e-5)


def test_accuracy_is_in_percent_under_its_name():
    (plane,) = planes(draw(make_surface(nx=5, ny=3)), "train accuracy (%)")
    losses = bowl(*np.meshgrid(np.linspace(-1, 1, 5), np.linspace(-1, 1, 3)))
    np.testing.assert_allclose(plane["z"], 100 * np.exp(-losses), rtol=1e-5)


def test_the_values_under_the_pointer_are_those_of_every_quantity_of_the_split():
    (plane,) = planes(draw(make_surface(nx=5, ny=3)))
    loss = bowl(plane["x"][1], plane["y"][2])
    assert plane["customdata"][2][1] == [f"{loss:.4g}", f"{100 * np.exp(-loss):.4g}"]
    assert "train loss: %{customdata[0]}" in plane["hovertemplate"]
    assert "train accuracy (%): %{customdata[1]}" in plane["hovertemplate"]


def test_every_shared_quantity_can_be_chosen():
    surface = replace(make_surface(), maps={"lambda_max": np.ones((7, 9))})
    assert list(choices(draw(surface))) == [
        "train loss, linear",
        "train loss, log",
        "test loss, linear",
        "test loss, log",
        "train accuracy (%)",
        "test accuracy (%)",
        "λ<sub>max</sub> of the Hessian",
    ]
    other = replace(make_surface(splits=("test",)), accuracy={})
    assert list(choices(draw(surface, other))) == ["test loss, linear", "test loss, log"]


def test_a_choice_changes_the_values_and_their_names_together():
    figure = draw(make_surface())
    changes = choices(figure)["test accuracy (%)"]["args"][1]
    assert changes["coloraxis"]["colorbar"]["title"]["text"] == "test accuracy (%)"
    assert changes["scene.zaxis"]["title"]["text"] == "test accuracy"
    assert (changes["coloraxis"]["cmin"], changes["coloraxis"]["cmax"]) == (0, 70)


@pytest.mark.parametrize(
    ("kwargs", "name"),
    [
        ({}, "train loss"),
        ({"split": "test"}, "test loss"),
        ({"quantity": "accuracy"}, "train accuracy (%)"),
    ],
)
def test_what_was_asked_for_is_shown_first(kwargs, name):
    assert name_of_values(draw(make_surface(), **kwargs)) == name


@pytest.mark.parametrize(
    ("kind", "view"),
    [(None, "surface"), ("filled", "contour"), ("contour", "contour"), ("heatmap", "heatmap")],
)
def test_the_kind_is_the_view_that_is_shown_first(kind, view):
    (plane,) = planes(draw(make_surface(), kind=kind))
    assert plane["type"] == view


def test_a_view_changes_the_types_of_all_traces_and_nothing_else():
    figure = draw(make_surface())
    types = {label: button["args"][0]["type"] for label, button in views(figure).items()}
    assert list(types) == ["3D", "contours", "heat map"]
    assert types["3D"] == [trace["type"] for trace in figure["data"]]
    assert set(types["heat map"]) == {"heatmap", "scatter"}


def test_lines_are_curves():
    line = make_surface(is_line=True)
    figure = draw(line, line, labels=["SGD", "SAM"])
    drawn = {trace["name"]: trace for trace in curves(figure)}
    assert list(drawn)[:4] == ["SGD, train", "SAM, train", "SGD, test", "SAM, test"]
    np.testing.assert_allclose(drawn["SGD, train"]["y"], bowl(np.linspace(-1, 1, 9), 0), rtol=1e-5)
    assert not views(figure)


def test_several_lines_are_their_median_and_quartiles():
    surface = make_surface(is_line=True)
    loss = np.arange(5.0)[:, None] + surface.x**2
    repeated = replace(surface, loss={"train": loss}, accuracy={}, done=np.ones(loss.shape, bool))
    low, high, curve = shown(draw(repeated))[:3]
    np.testing.assert_allclose(curve["y"], 2 + surface.x**2, rtol=1e-5)
    np.testing.assert_allclose(low["y"], 1 + surface.x**2, rtol=1e-5)
    np.testing.assert_allclose(high["y"], 3 + surface.x**2, rtol=1e-5)
    assert high["fill"] == "tonexty"


def scales(surface, name="train loss"):
    return [label.removeprefix(f"{name}, ") for label in choices(draw(surface)) if name in label]


def test_a_wide_range_is_logarithmic_first_and_can_be_linear():
    surface = make_surface(lambda x, y: 10 ** (2 * x + y))
    assert scales(surface) == ["log", "linear"]
    (plane,) = planes(draw(surface))
    x, y = np.meshgrid(plane["x"], plane["y"])
    np.testing.assert_allclose(plane["z"], 2 * x + y, atol=1e-5)


def test_a_narrow_range_is_linear_and_can_be_logarithmic_where_it_is_positive():
    assert scales(make_surface()) == ["linear", "log"]
    assert scales(make_surface(lambda x, y: x + y)) == ["train loss"]


def test_panels_share_their_scale():
    figure = draw(make_surface(), make_surface(lambda x, y: 9 + bowl(x, y)))
    axis = figure["layout"]["coloraxis"]
    assert axis["cmin"] <= 0.5
    assert axis["cmax"] >= 13.5
    assert [plane["coloraxis"] for plane in planes(figure)] == ["coloraxis"] * 2
    assert figure["layout"]["scene"]["zaxis"] == figure["layout"]["scene2"]["zaxis"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_empty_and_named(value):
    page = plot.draw_page([with_train_loss(make_surface(), at=(2, 3), value=value)])
    assert planes(data_of(page))[0]["z"][2][3] is None
    assert ("NaN" if np.isnan(value) else "inf") + " left empty" in page


def test_points_that_were_not_computed_are_interpolated_and_noted():
    surface = make_surface(lambda x, y: 3 + x + y, 9, 9)
    page = plot.draw_page([partly_done(surface, 0.3)])
    np.testing.assert_allclose(
        planes(data_of(page))[0]["z"], surface.loss["train"], rtol=1e-5, atol=1e-9
    )
    assert "of 81 points evaluated" in page


def test_marks_have_their_loss_and_their_height_on_the_plane():
    found = (
        Mark("sgd", "checkpoint", (0.5, 0.5), 0.25, {"train": 7.0}, {"train": 6.0}),
        Mark("epoch 1", "snapshot", (0.1, 0.2), 0.5),
    )
    figure = draw(replace(make_surface(lambda x, y: 3 + x + y), marks=found))
    named = {trace["name"]: trace for trace in marks(figure) if trace["showlegend"]}
    (text,) = named["sgd"]["text"]
    assert "its loss: 7<br>train loss on the plane: 6<br>distance out of the plane: 0.25" in text
    (text,) = named["trajectory"]["text"]
    assert text.startswith("<b>epoch 1</b>")
    assert "train loss on the plane: 3.3" in text
    (text,) = named["center"]["text"]
    assert "train loss on the plane: 3" in text
    low, high = np.array(figure["layout"]["scene"]["zaxis"]["range"])
    assert named["sgd"]["z"][0] == pytest.approx(6.0, abs=0.02 * (high - low))


def test_a_marked_origin_is_not_marked_again():
    found = (Mark("sgd", "checkpoint", (0.0, 0.0)),)
    figure = draw(replace(make_surface(), marks=found))
    assert {trace["name"] for trace in marks(figure)} == {"sgd"}


def test_marks_off_the_grid_are_left_out_and_counted():
    found = (Mark("far", "checkpoint", (5.0, 0.0)), Mark("epoch 1", "snapshot", (5.0, 0.0)))
    page = plot.draw_page([replace(make_surface(), marks=found)])
    places = {t["name"]: (t["x"], t["y"]) for t in marks(data_of(page))}
    assert places == {"trajectory": ([None], [None]), "center": ([0.0], [0.0])}
    assert "2 marks outside" in page


def test_names_are_shown_as_they_are_and_never_run():
    label = "</script><b>$x$ & \udce9"
    surface = replace(make_surface(), marks=(Mark(label, "checkpoint", (0.5, 0.5)),))
    page = plot.draw_page([surface], labels=[label], title=label)
    assert page.count("</script><b>") == 0
    escaped = "&lt;/script&gt;&lt;b&gt;$x$ &amp; ?"
    figure = data_of(page)
    assert figure["layout"]["annotations"][0]["text"].startswith(escaped)
    assert escaped in {trace["name"] for trace in marks(figure)}
    assert f"<h1>{escaped}</h1>" in page


def test_the_same_surfaces_give_the_same_page():
    assert plot.draw_page([make_surface()]) == plot.draw_page([make_surface()])


@pytest.mark.parametrize(
    "function", [lambda x, y: 0 * x, lambda x, y: 5 + 0 * x, lambda x, y: 100 * x**9]
)
def test_constants_and_losses_around_zero_are_drawn(function):
    surface = replace(make_surface(function), accuracy={})
    assert planes(draw(surface))


def test_an_interrupted_surface_is_drawn():
    assert planes(draw(half_done(make_surface())))[0]["z"][-1] == [None] * 9


@pytest.mark.parametrize("kind", ["persistence", "merge-tree", "difference"])
def test_a_kind_that_is_not_interactive_is_an_error_that_names_those_that_are(kind):
    with pytest.raises(InputError, match="an interactive page shows surface, contour"):
        plot.draw_page([make_surface()], kind=kind)


def test_a_result_that_is_no_surface_is_an_error():
    with pytest.raises(InputError, match="an interactive page shows surfaces"):
        plot.draw_page([History(*(np.ones(1),) * 10)])


def test_a_surface_without_a_finite_value_is_an_error():
    surface = make_surface(lambda x, y: np.full(np.shape(x), np.nan))
    with pytest.raises(InputError, match="at least one finite value"):
        plot.draw_page([surface])


def test_without_plotly_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(InputError, match=r"Run pip install plotly\."):
        plot.draw_page([make_surface()])


def test_figures_do_not_need_plotly():
    code = (
        "import sys, landscape.plot as p; [getattr(p, name) for name in p.__all__];"
        "print([m for m in ('plotly', 'torch', 'h5py') if m in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "[]\n"
    )


def test_a_page_goes_to_a_file_in_a_folder_that_is_made(tmp_path):
    path = plot.save_page("<p>é</p>", tmp_path / "new" / "page.html")
    assert path.read_text(encoding="utf-8") == "<p>é</p>"


def test_a_folder_of_a_page_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="part of its path is a file"):
        plot.save_page("", tmp_path / "file" / "page.html")
