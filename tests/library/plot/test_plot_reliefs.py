"""Surfaces in three dimensions: what is seen, how high it is, what is clipped, what touches."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from figures import bowl, color_bars, make_surface, panels, with_gid
from matplotlib.figure import Figure
from matplotlib.text import Text
from mpl_toolkits.mplot3d import proj3d

from landscape import plot
from landscape.errors import InputError
from landscape.plot.field import select_field
from landscape.plot.look import Look, parse_view
from landscape.plot.relief_view import choose_view
from landscape.plot.surface3d import scales_of
from landscape.results.surface import Mark


def cornered(x, y):
    """A bowl under two walls, of which the corners are a hundred times as high as the rest."""
    return 1.46 + x**2 + y**2 + 200 * (x * y) ** 8


def sloped(x, y):
    """Low where the usual view would look over the highest side."""
    return 0.1 + 4 * np.exp(3 * (x - y) - 2)


def relief_of(ax):
    """Corners of the cells before they are projected, (n, 4, 3)."""
    return np.asarray(with_gid(ax, "relief")[0]._faces)


def fields_of(*surfaces):
    return [select_field(surface, None, "loss") for surface in surfaces]


def is_lowest_point_visible(surface):
    """Whether the straight line from the lowest point to the eye is above the surface."""
    fields = fields_of(surface)
    _, heights = scales_of(fields, Look())
    elevation, azimuth = choose_view(fields, heights)
    low, high = heights.limits
    share = (np.clip(surface.loss["train"], heights.low, heights.high) - low) / (high - low)
    row, column = np.unravel_index(share.argmin(), share.shape)
    slope = np.tan(np.radians(elevation))
    for distance in np.linspace(0.05, 1.4, 200):
        at = [
            start + distance * turn(np.radians(azimuth))
            for start, turn in ((column / 40, np.cos), (row / 40, np.sin))
        ]
        if min(at) < 0 or max(at) > 1:
            return True
        height = 0.8 / 1.4 * (share[round(at[1] * 40), round(at[0] * 40)] - share.min())
        if height > distance * slope:
            return False
    return True


@pytest.mark.parametrize("function", [bowl, sloped, lambda x, y: sloped(-x, y), cornered])
def test_the_lowest_point_is_not_hidden_by_the_rim(function):
    assert is_lowest_point_visible(make_surface(function, nx=41, ny=41))


def test_a_flat_surface_is_seen_from_the_usual_side():
    surface = make_surface(lambda x, y: 2.3 + 0 * x)
    fields = fields_of(surface)
    assert choose_view(fields, scales_of(fields, Look())[1]) == (30.0, -58.0)


def test_a_surface_with_a_trajectory_is_seen_from_the_usual_side():
    marks = tuple(Mark(f"epoch {i}", "snapshot", (0.1 * i, 0.2)) for i in range(3))
    fields = fields_of(replace(make_surface(sloped), marks=marks))
    assert choose_view(fields, scales_of(fields, Look())[1]) == (30.0, -58.0)


def test_a_view_that_is_asked_for_is_that_of_every_panel():
    figure = plot.draw([make_surface()] * 2, kind="surface", look=Look(view=(20, 115)))
    assert {(ax.elev, ax.azim) for ax in panels(figure)} == {(20, 115)}


@pytest.mark.parametrize("view", [(9, 0), (71, 0), (30, 400), (float("nan"), 0)])
def test_a_view_that_is_none_is_an_error(view):
    with pytest.raises(InputError, match=r"`view` must be an elevation from 10 to 70"):
        Look(view=view)


@pytest.mark.parametrize("text", ["30", "high", "30:", "1:2:3", ":"])
def test_a_text_that_is_no_view_is_an_error(text):
    with pytest.raises(InputError, match="two numbers of degrees"):
        parse_view(text)


def test_a_view_is_read_with_a_colon_or_a_comma():
    assert parse_view("35:-60") == parse_view("35,-60") == (35.0, -60.0)
    assert parse_view(None) is None


@pytest.mark.parametrize("asked", [{"view": (30, 30)}, {"zscale": "log"}])
def test_a_view_of_a_flat_figure_is_an_error(asked):
    with pytest.raises(InputError, match="of the kind surface, got the kind contour"):
        plot.draw([make_surface()], kind="contour", look=Look(**asked))


def test_the_mesh_holds_the_points_of_the_grid():
    surface = make_surface(lambda x, y: 1 + x**2 + 0.3 * np.sin(9 * x * y) + 0.2 * y)
    corners = relief_of(plot.plot_surface3d(surface)).reshape(-1, 3)
    x, y = np.meshgrid(surface.x, surface.y)
    points = np.stack([x, y, surface.loss["train"]], axis=-1).reshape(-1, 1, 3)
    assert np.abs(corners - points).max(axis=2).min(axis=1).max() < 1e-9


def test_no_corner_of_the_mesh_is_above_or_below_the_losses():
    surface = make_surface(cornered, nx=21, ny=21)
    heights = relief_of(plot.plot_surface3d(surface, look=Look(scale="linear")))[..., 2]
    losses = surface.loss["train"]
    assert losses.min() - 1e-9 <= heights.min() <= heights.max() <= losses.max() + 1e-9


def test_what_few_high_corners_rule_is_clipped_at_the_median_of_the_border():
    surface = make_surface(cornered, nx=21, ny=21)
    losses = surface.loss["train"]
    border = np.concatenate([losses[0], losses[-1], losses[1:-1, 0], losses[1:-1, -1]])
    ax = plot.plot_surface3d(surface)
    top = relief_of(ax)[..., 2].max()
    assert top == pytest.approx(np.median(border), rel=0.05)  # in two digits
    assert ax.get_zlim()[1] == top
    assert ax.get_zlabel() == f"train loss (clipped at {top:.3g})"


def test_what_is_clipped_is_flat_and_hatched():
    surface = make_surface(cornered, nx=21, ny=21)
    ax = plot.plot_surface3d(surface)
    (rim,) = with_gid(ax, "rim")
    assert any(rim.hatches)
    parts = [part for path in rim.get_paths() for part in path.to_polygons()]
    corners = np.concatenate(parts)
    assert (cornered(*corners.T) > 0.9 * ax.get_zlim()[1]).all()
    assert len({tuple(np.sign(part.mean(axis=0))) for part in parts}) == 4


def test_a_bowl_without_high_corners_is_not_clipped():
    ax = plot.plot_surface3d(make_surface())
    assert with_gid(ax, "rim") == []
    assert ax.get_zlim()[1] == 4.5


def test_a_clip_that_is_asked_for_goes_before():
    ax = plot.plot_surface3d(make_surface(), look=Look(clip=2.0))
    assert relief_of(ax)[..., 2].max() == ax.get_zlim()[1] == 2.0
    assert len(with_gid(ax, "rim")) == 1


def test_panels_share_heights_colours_and_view():
    flat = make_surface(lambda x, y: 0.4 + 0.2 * (x**2 + y**2))
    figure = plot.draw([make_surface(cornered, nx=21, ny=21), flat], kind="surface")
    assert len({(ax.get_zlim(), ax.elev, ax.azim) for ax in panels(figure)}) == 1
    assert len(color_bars(figure)) == 1
    # A loss of both is at the same height.
    steep, low = (relief_of(ax)[..., 2] for ax in panels(figure))
    assert low.max() == pytest.approx(0.8)
    assert steep.min() == pytest.approx(1.46)


@pytest.mark.parametrize("zscale", ["log", "excess", "linear"])
def test_heights_have_a_scale_of_their_own(zscale):
    look = Look(scale="linear", zscale=zscale)
    surface = make_surface()
    ax = panels(plot.draw([surface], kind="surface", look=look))[0]
    _, heights = scales_of(fields_of(surface), look)
    assert heights.kind == zscale
    expected = heights.transform(np.array([0.5, 4.5]))
    found = relief_of(ax)[..., 2]
    np.testing.assert_allclose([found.min(), found.max()], expected, atol=1e-9)
    assert heights.note in ax.get_zlabel() or len(heights.note) > 20


def visible_texts(figure):
    renderer = figure.canvas.get_renderer()
    figure.canvas.draw()
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    boxes = {text.get_text() + str(i): text.get_window_extent() for i, text in enumerate(texts)}
    assert renderer is not None
    return {name: box for name, box in boxes.items() if box.width}


def overlap(one, other):
    """Points by which two boxes overlap in the direction in which they do less."""
    wide = min(one.x1, other.x1) - max(one.x0, other.x0)
    high = min(one.y1, other.y1) - max(one.y0, other.y0)
    return min(wide, high)


@pytest.mark.slow
@pytest.mark.parametrize("num_panels", [1, 2, 3])
@pytest.mark.parametrize("title", [None, "ResNet-20 on CIFAR-10"])
def test_texts_that_are_level_do_not_overlap_and_are_inside(num_panels, title):
    surfaces = [make_surface(cornered, nx=21, ny=21)] * num_panels
    figure = plot.draw(surfaces, kind="surface", title=title, labels=["SGD"] * num_panels)
    boxes = visible_texts(figure)
    for box in boxes.values():
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
    bar = color_bars(figure)[0]
    level = [*bar.get_xticklabels(), bar.xaxis.label, *(ax.title for ax in panels(figure))]
    level += [figure._suptitle] if title else []
    level = [text.get_window_extent() for text in level if text.get_text()]
    assert max(overlap(*pair) for pair in combinations(level, 2)) < 1.0


@pytest.mark.slow
@pytest.mark.parametrize("num_panels", [1, 3])
@pytest.mark.parametrize("view", [None, (10, -60), (30, 30), (50, 120), (70, -60)])
def test_ticks_of_one_axis_do_not_overlap(num_panels, view):
    surfaces = [make_surface(cornered, nx=21, ny=21)] * num_panels
    figure = plot.draw(surfaces, kind="surface", look=Look(view=view))
    figure.canvas.draw()
    for axis in panels(figure)[0]._axis_map.values():
        boxes = [text.get_window_extent() for text in axis.get_ticklabels() if text.get_text()]
        assert max((overlap(*pair) for pair in combinations(boxes, 2)), default=0) < 1.5


@pytest.mark.slow
@pytest.mark.parametrize("num_panels", [1, 2, 3])
@pytest.mark.parametrize("view", [None, (60, 20), (10, 100), (70, -90)])
def test_a_figure_has_no_blank_margins(num_panels, view):
    surfaces = [make_surface()] * num_panels
    figure = plot.draw(surfaces, kind="surface", look=Look(view=view))
    figure.canvas.draw()
    inks = np.asarray(figure.canvas.buffer_rgba())[..., :3].min(axis=2) < 254
    margins = []
    for direction in (inks.any(axis=0), inks.any(axis=1)):
        places = np.flatnonzero(direction)
        margins += [places[0], len(direction) - 1 - places[-1]]
    assert max(margins) / figure.dpi < 0.1


def test_axes_that_are_given_get_no_color_bar():
    figure = Figure()
    ax = figure.add_subplot(projection="3d")
    plot.plot_surface3d(make_surface(), ax=ax)
    assert figure.axes == [ax]


def test_a_point_is_where_its_coordinates_are_in_every_panel():
    figure = plot.draw([make_surface(), make_surface(sloped)], kind="surface")
    figure.canvas.draw()
    first, second = (
        np.array(proj3d.proj_transform(0.5, 0.5, 1.0, ax.get_proj())) for ax in panels(figure)
    )
    np.testing.assert_allclose(first, second)
