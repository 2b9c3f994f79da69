"""Sizes of type, widths of figures and composed figures, measured on what is drawn."""

from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
from figures import contours, make_result, make_surface, panels
from matplotlib.text import Text

from landscape import plot
from landscape.errors import InputError


def drawn_kind(kind):
    return plot.draw([make_result(kind)] * (2 if kind == "difference" else 1), kind=kind)


def texts_of(figure):
    """Return what is written, with its box in pixels."""
    figure.draw_without_rendering()
    shown = {id(t): t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()}
    for ax in figure.axes:
        for axis in ax._axis_map.values():
            drawn = axis._update_ticks() if axis.get_visible() and ax.axison else []
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if tick not in drawn:
                    shown.pop(id(tick.label1), None)
                    shown.pop(id(tick.label2), None)
    boxes = [(text, text.get_window_extent()) for text in shown.values()]
    return [(text, box) for text, box in boxes if box.width > 1.0]  # else it is not drawn


@pytest.mark.parametrize("width", [3.3, 7.0])
def test_type_of_a_paper_has_eight_points_at_every_width(width):
    with plot.use_style("paper", width=width):
        for kind in ("filled", "curve"):
            figure = drawn_kind(kind)
            assert figure.get_figwidth() == width
            for ax in panels(figure):
                outside = [ax.xaxis.label, ax.yaxis.label, ax.title, *ax.get_xticklabels()]
                assert {text.get_fontsize() for text in outside} == {8.0}
                assert min(text.get_fontsize() for text, _ in texts_of(figure)) >= 7.0


def test_the_height_of_a_drawn_digit_is_that_of_its_points():
    heights = []
    for width in (3.3, 7.0):
        with plot.use_style("paper", width=width):
            figure = drawn_kind("curve")
            box = panels(figure)[0].xaxis.label.get_window_extent()
            heights.append(box.height * 72 / figure.dpi)
    assert heights[0] == pytest.approx(heights[1])
    assert 7.0 <= heights[0] <= 13.0  # a line of 8 points, with a formula's subscripts


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n != "paper")) for n in plot.STYLES]
)
def test_a_column_is_for_one_panel_and_the_text_for_several(name):
    style = plot.STYLES[name]
    with plot.use_style(name):
        assert plot.draw([make_surface()]).get_figwidth() == style.column
        assert plot.draw([make_surface()] * 2).get_figwidth() == style.text
    with plot.use_style(name, width="text"):
        assert plot.draw([make_surface()]).get_figwidth() == style.text


def test_panels_that_do_not_fit_side_by_side_are_one_below_the_other():
    with plot.use_style("paper", width="column"):
        first, second = panels(plot.draw([make_surface()] * 2))
    assert first.get_position().x0 == pytest.approx(second.get_position().x0)
    assert first.get_position().y0 > second.get_position().y1


@pytest.mark.parametrize("font", plot.FONTS)
def test_every_font_has_all_signs(font, recwarn):
    with plot.use_style("paper", font=font):
        plot.draw([replace(make_surface(), direction_names=("eigen:1", "to:a_b.pt"))])
    assert not [warning for warning in recwarn if "missing from font" in str(warning.message)]


def test_a_style_ends_with_its_context():
    with pytest.raises(ZeroDivisionError), plot.use_style("talk"):
        raise ZeroDivisionError
    assert plot.draw([make_surface()]).get_figwidth() == plot.STYLES["notebook"].column


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ({"style": "papr"}, "must be one of notebook, paper, talk"),
        ({"width": 0}, "from 2 to 40 inches, got 0"),
        ({"width": "nan"}, "from 2 to 40 inches"),
        ({"width": "wide"}, "column, text or a number"),
        ({"dpi": 10**9}, "from 50 to 1200"),
        ({"font": "comic"}, "must be one of sans, cm, stix"),
    ],
)
def test_sizes_that_are_none_are_refused(asked, match):
    with pytest.raises(InputError, match=match), plot.use_style(**asked):
        pass


def test_the_nearest_style_is_named():
    with pytest.raises(InputError) as error, plot.use_style("papr"):
        pass
    assert "paper" in error.value.hint


def test_dots_per_inch_decide_the_pixels_of_an_image(tmp_path):
    from PIL import Image

    with plot.use_style("paper", dpi=100):
        path = plot.save_figure(drawn_kind("curve"), tmp_path / "a.png")
    with Image.open(path) as image:
        assert image.width == 330


def test_an_image_too_large_for_memory_is_refused(tmp_path):
    with plot.use_style(width=40, dpi=1200):
        figure = drawn_kind("curve")
        with pytest.raises(InputError, match=r"at most 2e\+08 points"):
            plot.save_figure(figure, tmp_path / "a.png")


def test_panels_without_labels_have_letters():
    titles = [ax.get_title() for ax in panels(plot.draw([make_surface()] * 3))]
    assert titles == ["(a)", "(b)", "(c)"]


def test_most_lines_have_a_label_on_one_column():
    surface = make_surface(lambda x, y: 0.1 + 3 * x**2 + 2 * y**2 + x * y, nx=25, ny=25)
    with plot.use_style("paper", width="column"):
        ax = panels(plot.draw([surface], kind="contour"))[0]
    (lines,) = contours(ax, filled=False)
    assert len(lines.labelTexts) >= 0.7 * len(lines.levels)


def test_labels_of_lines_do_not_touch_each_other_or_another_line():
    with plot.use_style("paper", width="column"):
        ax = panels(plot.draw([make_surface(nx=25, ny=25)], kind="contour"))[0]
    (lines,) = contours(ax, filled=False)
    boxes = [text.get_window_extent() for text in lines.labelTexts]
    assert len(boxes) > 4
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    paths = [ax.transData.transform(path.vertices) for path in lines.get_paths()]
    for text, box in zip(lines.labelTexts, boxes, strict=True):
        middle = np.mean(box.get_points(), axis=0)
        own = np.argmin([np.abs(lines.levels - float(text.get_text()))])
        others = np.concatenate([path for i, path in enumerate(paths) if i != own])
        assert np.hypot(*(others - middle).T).min() * 72 / ax.figure.dpi > 3


@pytest.fixture(scope="module")
def composed():
    asked = [plot.Panel([make_result(kind)], kind) for kind in ("filled", "eigenvalues", "curve")]
    asked[1] = replace(asked[1], label="SGD")
    with plot.use_style("paper"):
        return plot.draw_panels(asked, rows=2, title="All")


def test_composed_panels_have_letters_and_labels(composed):
    letters = [text.get_text() for text in composed.texts if text.get_gid() == "letter"]
    assert letters == ["(a)", "(b) SGD", "(c)"]


def test_composed_panels_fill_the_width_and_do_not_overlap(composed):
    boxes = [part.bbox_inches for part in composed.parts]
    assert composed.get_figwidth() == 7.0
    assert [box.x0 for box in boxes] == [0.0, 3.5, 0.0]
    assert all(box.y0 >= -1e-9 and box.y1 <= composed.get_figheight() for box in boxes)
    for one, other in combinations(boxes, 2):
        assert one.x1 <= other.x0 + 1e-9 or other.x1 <= one.x0 + 1e-9 or one.y0 >= other.y1


@pytest.mark.parametrize("suffix", plot.FORMATS)
def test_a_composed_figure_is_saved_in_every_format(composed, suffix, tmp_path):
    path = plot.save_figure(composed, tmp_path / f"a.{suffix}")
    assert path.stat().st_size > 10_000


def test_what_cannot_be_composed_is_refused():
    panel = plot.Panel([make_surface()])
    with pytest.raises(InputError, match="from 1 to the number of panels, 2, got 3"):
        plot.draw_panels([panel] * 2, rows=3)
    with pytest.raises(InputError, match="inches wide or more"):
        plot.draw_panels([panel] * 9, rows=1)
    with pytest.raises(InputError, match="must fit a plane"):
        plot.draw_panels([plot.Panel([make_surface()], "density")])


def test_a_panel_is_a_file_and_perhaps_its_kind():
    known = {"a.h5", "b:1.h5", "c+d.h5"}.__contains__
    assert plot.parse_panel("a.h5", known) == (["a.h5"], None)
    assert plot.parse_panel("a.h5:density", known) == (["a.h5"], "density")
    assert plot.parse_panel("b:1.h5", known) == (["b:1.h5"], None)
    assert plot.parse_panel("c+d.h5:curve", known) == (["c+d.h5"], "curve")
    assert plot.parse_panel("x.h5+y.h5:curve", known) == (["x.h5", "y.h5"], "curve")


SEVERAL = ("history", "curvature-history", "sharpness", "density", "eigenvalues", "curve", "filled")
LAID_OUT = [("paper", 3.3), ("paper", 7.0), ("talk", None)]


def assert_readable(figure, *, is_flat=True):
    """Check that all texts are inside the figure, and none is on another one."""
    found = texts_of(figure)
    assert found
    whole = figure.bbox.padded(1.0)
    for text, box in found:
        assert whole.x0 < box.x0 < box.x1 < whole.x1, text.get_text()
        assert whole.y0 < box.y0 < box.y1 < whole.y1, text.get_text()
    upright = [each for each in found if each[0].get_rotation() % 90 == 0]
    for (one, first), (other, second) in combinations(upright if is_flat else [], 2):
        is_apart = not first.padded(-1.0).overlaps(second.padded(-1.0))
        assert is_apart, (one.get_text(), other.get_text())


@pytest.mark.slow
@pytest.mark.parametrize(("style", "width"), LAID_OUT)
@pytest.mark.parametrize("kind", plot.FIGURES)
def test_no_text_is_cut_or_on_another(kind, style, width):
    with plot.use_style(style, width=width):
        figure = drawn_kind(kind)
    assert_readable(figure, is_flat=kind != "surface")  # whose tick labels are in space
    smallest = 6.0 if kind == "surface" else 7.0
    sizes = [text.get_fontsize() for text, _ in texts_of(figure)]
    assert min(sizes) >= smallest * plot.STYLES[style].unit - 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(("style", "width"), LAID_OUT)
@pytest.mark.parametrize("kind", SEVERAL)
def test_no_text_is_cut_or_on_another_in_figures_of_several(kind, style, width):
    with plot.use_style(style, width=width):
        figure = plot.draw([make_result(kind)] * 3, kind=kind, labels=["SGD", "SAM", "Adam"])
    assert_readable(figure)


def test_values_of_eigenvalues_are_drawn():
    written = {text.get_text() for text, _ in texts_of(drawn_kind("eigenvalues"))}
    assert {"5", "\N{MINUS SIGN}1"} <= written


@pytest.mark.parametrize("style", ["paper", "talk"])
def test_ticks_have_the_room_of_their_type_even_outside_the_context(style):
    with plot.use_style(style):
        figure = plot.draw([make_surface()] * 2)
    ax = panels(figure)[0]
    figure.draw_without_rendering()
    boxes = [t.label1.get_window_extent() for t in ax.xaxis._update_ticks()]
    gap = 3 * figure.dpi / 72
    assert len(boxes) >= 3
    assert all(one.x1 + gap < other.x0 for one, other in pairwise(boxes))
