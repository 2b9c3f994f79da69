import warnings
from dataclasses import replace

import numpy as np
import pytest
from figures import (
    bowl,
    contours,
    half_done,
    legend_texts,
    make_surface,
    panels,
    partly_done,
    with_gid,
    with_train_loss,
)

from landscape import plot
from landscape.plot.field import interpolate_line, interpolate_plane, select_field
from landscape.surface.grid import interpolated, refined_rounds, relative_errors

PLANE_KINDS = ("filled", "contour", "heatmap", "surface")


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def masked(values, done):
    return np.ma.masked_array(values, mask=~(done & np.isfinite(values)))


def tilted(x, y):
    return 3 + x - 0.5 * y


def notes(figure):
    return [legend.get_title().get_text().replace("\n", " ") for legend in figure.legends]


def refined(function, tolerance, size=33):
    """A surface of which only the points that a refinement asks for are there."""
    surface = make_surface(function, nx=size, ny=size, splits=("train",))
    values = {"train": np.full((size, size), np.nan)}
    done = np.zeros((size, size), dtype=bool)
    for indices in refined_rounds(values, surface.center_loss, tolerance):
        for index in indices:
            values["train"][index], done[index] = surface.loss["train"][index], True
    return replace(surface, done=done, tolerance=tolerance), surface.loss["train"]


@pytest.mark.parametrize("share", [0.05, 0.3, 0.7])
def test_a_linear_function_is_interpolated_exactly(share):
    surface = partly_done(make_surface(tilted, nx=51, ny=41), share)
    field = select_field(surface, "train", "loss")
    assert not field.is_unknown.any()
    np.testing.assert_allclose(field.drawn.filled(np.nan), surface.loss["train"], rtol=1e-12)


def test_interpolation_does_not_depend_on_the_units_of_the_axes():
    x, y = np.linspace(-1, 1, 11), np.linspace(-1, 1, 9)
    done = np.random.default_rng(0).random((9, 11)) < 0.4
    values = masked(np.random.default_rng(1).random((9, 11)), done)
    first, second = (
        interpolate_plane(x, y, values, done),
        interpolate_plane(1e4 * x, 1e-3 * y, values, done),
    )
    np.testing.assert_array_equal(first.mask, second.mask)
    np.testing.assert_allclose(first.compressed(), second.compressed())


def test_points_that_were_evaluated_keep_their_values():
    surface = partly_done(make_surface(nx=21, ny=21), 0.3)
    drawn = select_field(surface, "train", "loss").drawn
    np.testing.assert_array_equal(
        drawn[surface.done].filled(np.nan), surface.loss["train"][surface.done]
    )


def test_nothing_is_extrapolated():
    field = select_field(half_done(make_surface()), "train", "loss")
    np.testing.assert_array_equal(field.is_unknown, field.is_not_done)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nothing_is_interpolated_from_a_point_that_is_not_finite(value):
    done = np.zeros((5, 5), dtype=bool)
    done[::4, ::4] = done[2, 2] = True
    values = np.ones((5, 5))
    values[2, 2] = value
    x = np.linspace(-1, 1, 5)
    filled = interpolate_plane(x, x, masked(values, done), done)
    inside = np.ma.getmaskarray(filled)[1:4, 1:4]
    assert inside.all()


def test_a_plane_of_points_on_one_line_is_not_interpolated():
    done = np.eye(5, dtype=bool)
    x = np.linspace(0, 1, 5)
    filled = interpolate_plane(x, x, masked(np.ones((5, 5)), done), done)
    np.testing.assert_array_equal(np.ma.getmaskarray(filled), ~done)


def test_a_line_is_interpolated_between_its_neighbours_only():
    done = np.array([0, 1, 0, 0, 1, 0, 1, 0, 1], dtype=bool)
    values = np.array([9, 1, 9, 9, 4, 9, np.nan, 9, 3])
    filled = interpolate_line(np.arange(9.0), masked(values, done), done)
    nan = np.nan
    np.testing.assert_allclose(filled.filled(nan), [nan, 1, 2, 3, 4, nan, nan, nan, 3])


def test_what_a_refinement_left_out_is_drawn_to_its_tolerance():
    surface, true = refined(lambda x, y: bowl(x, y) + 0.3 * np.sin(5 * x) ** 2, 0.1)
    field = select_field(surface, "train", "loss")
    assert field.is_interpolated.sum() > 100
    assert (
        relative_errors(field.drawn.filled(np.nan), true, surface.center_loss["train"]).max() <= 0.1
    )


def test_what_a_refinement_left_out_is_drawn_as_it_supposed():
    surface, true = refined(lambda x, y: bowl(x, y) + 0.3 * np.sin(5 * x) ** 2, 0.1)
    drawn = select_field(surface, "train", "loss").drawn.filled(np.nan)
    np.testing.assert_array_equal(
        drawn, interpolated(true, surface.done, surface.center_loss["train"])
    )


def test_a_refinement_without_its_corners_is_interpolated_between_what_it_has():
    surface = replace(partly_done(make_surface(tilted, nx=21, ny=21), 0.05), tolerance=0.02)
    surface.done[np.ix_([0, -1], [0, -1])] = False
    field = select_field(surface, "train", "loss")
    assert field.is_interpolated.mean() > 0.4
    np.testing.assert_allclose(
        field.drawn[field.is_interpolated], surface.loss["train"][field.is_interpolated]
    )


@pytest.mark.parametrize("kind", PLANE_KINDS)
def test_the_number_of_points_that_were_evaluated_is_stated(kind):
    surface = partly_done(make_surface(nx=11, ny=11), 0.5)
    assert notes(plot.draw([surface], kind=kind)) == [
        "60 of 121 points evaluated (dots), the rest interpolated"
    ]


def test_the_tolerance_of_a_refinement_is_stated():
    surface, _ = refined(bowl, 0.05)
    (note,) = notes(plot.draw([surface]))
    assert note.endswith("the rest interpolated (dots) to within 5 % (estimate)")


def test_the_tolerance_of_the_loss_is_not_stated_for_the_accuracy():
    surface = replace(partly_done(make_surface(), 0.5), tolerance=0.05)
    (note,) = notes(plot.draw([surface], quantity="accuracy"))
    assert note.endswith("the rest interpolated")


def test_where_not_all_of_the_rest_is_interpolated_the_note_says_others():
    surface = partly_done(make_surface(nx=11, ny=11), 0.2)
    surface = with_train_loss(surface, at=(0, 0), value=np.nan)
    figure = plot.draw([surface])
    assert notes(figure) == ["24 of 121 points evaluated (dots), others interpolated"]
    assert legend_texts(figure) == ["NaN", "not computed"]


def test_panels_state_the_number_of_each():
    surfaces = [partly_done(make_surface(nx=11, ny=11), share) for share in (0.2, 0.5)]
    assert notes(plot.draw(surfaces)) == [
        "24 / 60 of 121 points evaluated (dots), the rest interpolated"
    ]


def test_a_complete_surface_has_no_note():
    assert plot.draw([make_surface()]).legends == []


@pytest.mark.parametrize("kind", PLANE_KINDS)
def test_dots_are_where_points_were_evaluated(kind):
    surface = partly_done(make_surface(nx=11, ny=11), 0.3)
    (dots,) = with_gid(panels(plot.draw([surface], kind=kind))[0], "dots")
    x, y = dots.get_data_3d()[:2] if kind == "surface" else dots.get_data()
    rows, columns = np.nonzero(surface.done)
    np.testing.assert_array_equal(np.stack([x, y]), [surface.x[columns], surface.y[rows]])


def test_where_most_points_were_evaluated_the_dots_are_at_the_others():
    surface = partly_done(make_surface(nx=11, ny=11), 0.8)
    figure = plot.draw([surface])
    (dots,) = with_gid(panels(figure)[0], "dots")
    rows, columns = np.nonzero(~surface.done)
    np.testing.assert_array_equal(np.stack(dots.get_data()), [surface.x[columns], surface.y[rows]])
    assert notes(figure) == ["96 of 121 points evaluated, the rest interpolated (dots)"]


def test_dots_that_would_run_together_are_left_out_and_not_mentioned():
    figure = plot.draw([partly_done(make_surface(nx=150, ny=150), 0.4)])
    assert with_gid(panels(figure)[0], "dots") == []
    assert notes(figure) == ["9000 of 22500 points evaluated, the rest interpolated"]


def test_a_complete_surface_has_no_dots():
    assert with_gid(panels(plot.draw([make_surface()]))[0], "dots") == []


def test_an_interpolated_heat_map_has_a_colour_in_every_cell():
    mesh = plot.plot_heatmap(partly_done(make_surface(tilted, nx=11, ny=11), 0.2)).collections[0]
    expected = make_surface(tilted, nx=11, ny=11).loss["train"]
    np.testing.assert_allclose(mesh.get_array().reshape(11, 11).filled(np.nan), expected)


def test_contour_lines_of_an_interrupted_linear_function_are_straight():
    surface = partly_done(make_surface(lambda x, y: 3 + y, nx=21, ny=21), 0.2)
    lines = contours(plot.plot_contour(surface), filled=False)[0]
    for level, path in zip(lines.levels, lines.get_paths(), strict=True):
        np.testing.assert_allclose(path.vertices[:, 1], level - 3, atol=1e-9)


def test_a_relief_of_an_interrupted_surface_has_no_hole():
    ax = plot.plot_surface3d(partly_done(make_surface(nx=11, ny=11), 0.2))
    ax.get_figure().canvas.draw()
    parts = 10 * 10  # of a cell
    assert len(with_gid(ax, "relief")[0].get_paths()) == 100 * parts


def test_an_interrupted_line_is_drawn_through_its_points_and_they_have_dots():
    surface = partly_done(make_surface(lambda x, y: 2 + x, nx=21, is_line=True), 0.3)
    ax = plot.plot_profile(surface, split="train")
    np.testing.assert_allclose(with_gid(ax, "curve")[0].get_ydata(), 2 + surface.x)
    np.testing.assert_array_equal(with_gid(ax, "dots")[0].get_xdata(), surface.x[surface.done])


def test_an_interrupted_line_says_how_many_points_it_has():
    surface = partly_done(make_surface(nx=21, is_line=True), 0.3)
    assert notes(plot.draw([surface])) == ["6 of 21 points evaluated (dots), the rest interpolated"]
