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
from landscape.errors import InputError
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


def names(data):
    return [each["name"] for each in data["fields"]]


def test_the_page_needs_no_network():
    found = Attributes(plot.draw_page([make_surface()])).found
    assert not [value for name, value in found if name in ("src", "href")]
    assert any("default-src 'none'" in (value or "") for _, value in found)


def test_the_page_holds_the_script_that_draws_it():
    from plotly.offline import get_plotlyjs

    page = plot.draw_page([make_surface()])
    assert get_plotlyjs() in page
    assert "Plotly.react(plot" in page


def test_the_values_are_at_their_coordinates():
    data = draw(make_surface(nx=5, ny=3))
    panel, values = data["panels"][0], data["fields"][0]["panels"][0]["values"]
    np.testing.assert_allclose(values, bowl(*np.meshgrid(panel["x"], panel["y"])), rtol=1e-5)


def test_accuracy_is_in_percent_under_its_name():
    data = draw(make_surface(nx=5, ny=3))
    layer = data["fields"][names(data).index("train accuracy (%)")]
    losses = bowl(*np.meshgrid(np.linspace(-1, 1, 5), np.linspace(-1, 1, 3)))
    np.testing.assert_allclose(layer["panels"][0]["values"], 100 * np.exp(-losses), rtol=1e-5)


def test_every_shared_quantity_can_be_chosen():
    surface = replace(make_surface(), maps={"lambda_max": np.ones((7, 9))})
    assert names(draw(surface)) == [
        "train loss",
        "test loss",
        "train accuracy (%)",
        "test accuracy (%)",
        "λ<sub>max</sub> of the Hessian",
    ]
    other = replace(make_surface(splits=("test",)), accuracy={})
    assert names(draw(surface, other)) == ["test loss"]


@pytest.mark.parametrize(
    ("kwargs", "name"),
    [
        ({}, "train loss"),
        ({"split": "test"}, "test loss"),
        ({"quantity": "accuracy"}, "train accuracy (%)"),
    ],
)
def test_what_was_asked_for_is_shown_first(kwargs, name):
    data = draw(make_surface(), **kwargs)
    assert data["fields"][data["field"]]["name"] == name


@pytest.mark.parametrize(
    ("kind", "view"),
    [(None, "surface"), ("filled", "contour"), ("contour", "contour"), ("heatmap", "heatmap")],
)
def test_the_kind_is_the_view_that_is_shown_first(kind, view):
    assert draw(make_surface(), kind=kind)["view"] == view


def test_lines_are_curves():
    data = draw(make_surface(is_line=True), make_surface(is_line=True), labels=["SGD", "SAM"])
    assert data["view"] == "curve"
    assert [panel["name"] for panel in data["panels"]] == ["SGD", "SAM"]
    np.testing.assert_allclose(
        data["fields"][0]["panels"][0]["values"], bowl(np.linspace(-1, 1, 9), 0), rtol=1e-5
    )


def test_several_lines_are_their_median_and_quartiles():
    surface = make_surface(is_line=True)
    loss = np.arange(5.0)[:, None] + surface.x**2
    repeated = replace(surface, loss={"train": loss}, accuracy={}, done=np.ones(loss.shape, bool))
    (panel,) = draw(repeated)["fields"][0]["panels"]
    np.testing.assert_allclose(panel["values"], 2 + surface.x**2, rtol=1e-5)
    np.testing.assert_allclose(panel["band"], [1 + surface.x**2, 3 + surface.x**2], rtol=1e-5)


def test_a_wide_range_is_logarithmic_first_and_can_be_linear():
    scales = draw(make_surface(lambda x, y: 10 ** (2 * x + y)))["fields"][0]["scales"]
    assert [scale["kind"] for scale in scales] == ["log", "linear"]


def test_a_narrow_range_is_linear_and_can_be_logarithmic_where_it_is_positive():
    assert [scale["kind"] for scale in draw(make_surface())["fields"][0]["scales"]] == [
        "linear",
        "log",
    ]
    assert [
        scale["kind"] for scale in draw(make_surface(lambda x, y: x + y))["fields"][0]["scales"]
    ] == ["linear"]


def test_panels_share_their_scale():
    data = draw(make_surface(), make_surface(lambda x, y: 9 + bowl(x, y)))
    (scale, _) = data["fields"][0]["scales"]
    assert scale["low"] <= 0.5
    assert scale["high"] >= 13.5


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_empty_and_named(value):
    page = plot.draw_page([with_train_loss(make_surface(), at=(2, 3), value=value)])
    assert data_of(page)["fields"][0]["panels"][0]["values"][2][3] is None
    assert ("NaN" if np.isnan(value) else "inf") + " left empty" in page


def test_points_that_were_not_computed_are_interpolated_and_noted():
    surface = make_surface(lambda x, y: 3 + x + y, 9, 9)
    page = plot.draw_page([partly_done(surface, 0.3)])
    np.testing.assert_allclose(
        data_of(page)["fields"][0]["panels"][0]["values"],
        surface.loss["train"],
        rtol=1e-5,
        atol=1e-9,
    )
    assert "of 81 points evaluated" in page


def test_marks_have_their_loss_and_their_height_on_the_plane():
    marks = (
        Mark("sgd", "checkpoint", (0.5, 0.5), 0.25, {"train": 7.0}, {"train": 6.0}),
        Mark("epoch 1", "snapshot", (0.1, 0.2), 0.5),
    )
    data = draw(replace(make_surface(lambda x, y: 3 + x + y), marks=marks))
    sgd, epoch, center = data["panels"][0]["marks"]
    assert (sgd["loss"]["train"], sgd["heights"][0], sgd["distance"]) == (7.0, 6.0, 0.25)
    assert epoch["heights"][0] == pytest.approx(3.3)
    assert (center["label"], center["heights"][0]) == ("center", 3.0)


def test_a_marked_origin_is_not_marked_again():
    marks = (Mark("sgd", "checkpoint", (0.0, 0.0)),)
    data = draw(replace(make_surface(), marks=marks))
    assert [mark["label"] for mark in data["panels"][0]["marks"]] == ["sgd"]


def test_marks_off_the_grid_are_left_out_and_counted():
    marks = (Mark("far", "checkpoint", (5.0, 0.0)), Mark("epoch 1", "snapshot", (5.0, 0.0)))
    page = plot.draw_page([replace(make_surface(), marks=marks)])
    assert [mark["coordinates"] for mark in data_of(page)["panels"][0]["marks"]] == [
        [None, None],
        [0.0, 0.0],
    ]
    assert "2 marks outside" in page


def test_names_are_shown_as_they_are_and_never_run():
    label = "</script><b>$x$ & \udce9"
    surface = replace(make_surface(), marks=(Mark(label, "checkpoint", (0.5, 0.5)),))
    page = plot.draw_page([surface], labels=[label], title=label)
    assert page.count("</script><b>") == 0
    shown = "&lt;/script&gt;&lt;b&gt;$x$ &amp; ?"
    data = data_of(page)
    assert (data["panels"][0]["name"], data["panels"][0]["marks"][0]["label"]) == (shown, shown)
    assert f"<h1>{shown}</h1>" in page


def test_the_same_surfaces_give_the_same_page():
    assert plot.draw_page([make_surface()]) == plot.draw_page([make_surface()])


@pytest.mark.parametrize(
    "function", [lambda x, y: 0 * x, lambda x, y: 5 + 0 * x, lambda x, y: 100 * x**9]
)
def test_constants_and_losses_around_zero_are_drawn(function):
    surface = replace(make_surface(function), accuracy={})
    assert draw(surface)["fields"][0]["scales"]


def test_an_interrupted_surface_is_drawn():
    assert draw(half_done(make_surface()))["fields"][0]["panels"][0]["values"][-1] == [None] * 9


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
    with pytest.raises(InputError, match=r"pip install 'landscape-toolkit\[html\]'"):
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
    with pytest.raises(InputError, match="must go to a folder that can be written"):
        plot.save_page("", tmp_path / "file" / "page.html")
