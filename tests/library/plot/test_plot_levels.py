"""The lines of contours: how many, where, and what can be asked for."""

from itertools import pairwise

import numpy as np
import pytest
from figures import bowl, color_bars, contours, make_surface, panels, with_gid, with_train_loss

from landscape import plot
from landscape.errors import InputError
from landscape.plot.interpolation import smooth_plane
from landscape.plot.levels import choose_plane_scale, even_levels
from landscape.plot.look import Look, parse_clip, parse_levels
from landscape.plot.scale import Scale

MESH = np.meshgrid(np.linspace(-1, 1, 21), np.linspace(-1, 1, 21))
RADIUS = np.hypot(*MESH)
# Between 1.46 and 29, most of it low: even lines in the loss leave the middle without one.
CORNERED = 1.46 + 27.5 * (RADIUS**2 / 2) ** 4


def num_lines_near(levels, values, share):
    """The number of levels among the lowest share of the values."""
    return int((levels < np.quantile(values, share)).sum())


def test_lines_are_where_half_of_the_plane_is_whatever_the_corners_are():
    scale = choose_plane_scale([CORNERED])
    assert scale.kind == "excess"
    assert num_lines_near(scale.levels, CORNERED, 0.5) >= 4


def test_a_bowl_has_lines_even_in_the_loss():
    scale = choose_plane_scale([bowl(*MESH)])
    assert scale.kind == "linear"
    np.testing.assert_allclose(np.diff(scale.levels), np.diff(scale.levels)[0])


def test_losses_over_decades_have_lines_nearly_even_in_the_logarithm():
    scale = choose_plane_scale([0.01 * np.exp(9 * RADIUS)])
    assert scale.kind == "log"
    gaps = np.diff(np.log(scale.levels))
    assert gaps.max() < 2 * gaps.min()


def test_lines_on_a_log_scale_of_the_excess_are_nearly_even():
    scale = choose_plane_scale([CORNERED])
    gaps = np.diff(np.log(scale.levels - CORNERED.min() + scale.threshold))
    assert gaps.max() < 2.4 * gaps.min()


def test_half_of_the_plane_is_below_the_middle_of_a_log_scale_of_the_excess():
    values = 3.0 + RADIUS**12
    scale = choose_plane_scale([values])
    low, high = scale.limits
    middle = scale.transform(np.array(np.median(values)))
    assert scale.kind == "excess"
    assert 0 < (middle - low) / (high - low) < 0.6


def random_fields():
    """Fields of any range, growth and sign, with corners that are not finite."""
    for seed in range(300):
        generator = np.random.default_rng(seed)
        steepness = generator.uniform(0.2, 12)
        size, base = 10.0 ** generator.uniform(-12, 12, size=2)
        values = generator.choice([-1, 0, 1]) * base + size * RADIUS**steepness
        values *= 1 + 0.1 * generator.random(values.shape)
        if seed % 3 == 0:
            values[0, 0], values[-1, -1] = np.nan, np.inf
        yield seed, values


def test_levels_are_never_empty_and_increase_inside_the_range():
    for seed, values in random_fields():
        finite = values[np.isfinite(values)]
        if np.ptp(finite) <= 1e-11 * np.abs(finite).max():
            continue
        for kind in (None, "linear", "excess"):
            scale = choose_plane_scale([values], Look(scale=kind))
            inside = scale.levels_within(finite)
            assert len(inside) >= 4, (seed, kind, scale)
            assert len(inside) <= 25, (seed, kind, scale)
            assert (np.diff(scale.bands) > 0).all(), (seed, kind)


@pytest.mark.parametrize(
    "values",
    [
        np.full((3, 3), 2.3),
        np.zeros((3, 3)),
        np.array([[1e9, 1e9 + 1], [1e9, 1e9]]),
        np.array([[5e-324, 0.0], [0.0, 0.0]]),
        np.array([[1e-300, 1e300], [1.0, 2.0]]),
        np.array([[-1e300, 1e300], [1.0, 2.0]]),
        np.array([[1.0, np.nextafter(1.0, 2.0)], [1.0, 1.0]]),
        np.array([[np.nan, 1.0], [np.inf, 2.0]]),
    ],
)
def test_levels_of_strange_ranges_increase(values):
    for is_diverging in (False, True):
        scale = choose_plane_scale([values], is_diverging=is_diverging)
        assert scale.levels.size
        assert (np.diff(scale.levels) > 0).all()
        assert (np.diff(scale.bands) > 0).all()


@pytest.mark.parametrize("number", [1, 5, 12, 40])
@pytest.mark.parametrize("kind", ["linear", "log", "excess"])
def test_there_are_about_as_many_lines_as_asked_for(number, kind):
    levels = choose_plane_scale([CORNERED], Look(levels=number, scale=kind)).levels
    assert abs(len(levels) - number) <= max(1, 0.35 * number)


def test_levels_are_as_asked_for():
    levels = choose_plane_scale([CORNERED], Look(levels=(1.5, 2.0, 20.0))).levels
    np.testing.assert_array_equal(levels, [1.5, 2.0, 20.0])


def test_lines_are_short_numbers():
    assert all(len(f"{level:g}") <= 5 for level in choose_plane_scale([CORNERED]).levels)


@pytest.mark.parametrize(
    "scale",
    [
        Scale("log", np.array([1.0]), ends=(0.1, 100.0)),
        Scale("excess", np.array([1.0]), 0.2, ends=(0.1, 100.0)),
        Scale("symlog", np.array([1.0]), 0.2, ends=(-100.0, 100.0)),
    ],
)
def test_heights_are_mapped_back_to_their_values(scale):
    values = np.array([0.1, 0.15, 3.0, 100.0])
    np.testing.assert_allclose(scale.inverse(scale.transform(values)), values)


def test_a_log_scale_of_the_excess_is_that_of_the_formula():
    scale = Scale("excess", np.array([1.0]), 0.2, ends=(1.5, 100.0))
    np.testing.assert_allclose(scale.transform(np.array([7.5])), np.log10(7.5 - 1.5 + 0.2))


def test_what_is_above_a_clip_is_not_told_apart():
    scale = choose_plane_scale([CORNERED], Look(clip=5.0))
    assert (scale.high, scale.is_clipped) == (5.0, True)
    assert (scale.levels < 5.0).all()
    assert "clipped at 5" in scale.note


def test_an_automatic_clip_is_the_median_of_the_border():
    border = np.concatenate([CORNERED[0], CORNERED[-1], CORNERED[1:-1, 0], CORNERED[1:-1, -1]])
    scale = choose_plane_scale([CORNERED], Look(clip="auto"))
    np.testing.assert_allclose(scale.high, np.median(border), rtol=0.05)


def test_an_automatic_clip_leaves_a_plane_without_steep_corners_alone():
    assert not choose_plane_scale([bowl(*MESH)], Look(clip="auto")).is_clipped


def test_lines_of_values_of_both_signs_are_symmetric_about_zero():
    scale = choose_plane_scale([MESH[0] * (1 + RADIUS)], is_diverging=True)
    np.testing.assert_array_equal(scale.levels, -scale.levels[::-1])
    assert 0.0 in scale.levels
    assert scale.low == -scale.high


@pytest.mark.parametrize(
    ("look", "message"),
    [
        ({"levels": 0}, "from 1 to 100, or increasing values, got 0"),
        ({"levels": (2.0, 1.0)}, "increasing values"),
        ({"levels": (float("nan"),)}, "increasing values"),
        ({"scale": "logg"}, "one of linear, log, excess, got 'logg'"),
        ({"clip": float("inf")}, "finite number or auto"),
        ({"colormap": "virids"}, "colour map of matplotlib, got 'virids'"),
    ],
)
def test_a_look_that_is_none_is_an_error(look, message):
    with pytest.raises(InputError, match=message):
        Look(**look)


def test_an_unknown_colour_map_is_an_error_that_names_the_nearest():
    with pytest.raises(InputError) as caught:
        Look(colormap="Virids")
    assert "viridis" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("look", "message"),
    [
        (Look(levels=(30.0, 40.0)), r"between the lowest and the highest value, 1.46 and 28.96"),
        (Look(clip=1.0), "above the lowest value, 1.46, got 1"),
    ],
)
def test_a_look_that_does_not_fit_the_values_is_an_error(look, message):
    with pytest.raises(InputError, match=message):
        choose_plane_scale([CORNERED], look)


def test_a_log_scale_of_values_below_zero_is_an_error_that_names_another():
    with pytest.raises(InputError, match=r"above 0, got -0\.5") as caught:
        choose_plane_scale([RADIUS - 0.5], Look(scale="log"))
    assert "excess" in (caught.value.hint or "")


def test_levels_and_clips_are_read_from_texts():
    assert (parse_levels("7"), parse_levels("0.1,0.5,1"), parse_levels("3,")) == (
        7,
        (0.1, 0.5, 1.0),
        (3.0,),
    )
    assert (parse_clip(None), parse_clip("auto"), parse_clip("2.5")) == (None, "auto", 2.5)


@pytest.mark.parametrize("read", [parse_levels, parse_clip])
def test_a_text_that_is_no_number_is_an_error(read):
    with pytest.raises(InputError, match="got 'many'"):
        read("many")


def test_smooth_values_go_through_the_points():
    scale = choose_plane_scale([CORNERED])
    x = np.linspace(-1, 1, 21)
    _, _, fine = smooth_plane(x, x, np.ma.masked_array(CORNERED), scale)
    np.testing.assert_allclose(fine[::10, ::10], CORNERED, rtol=1e-9)


def test_smooth_values_are_nearer_to_a_bowl_than_straight_ones():
    x = np.linspace(-1, 1, 9)
    values = np.ma.masked_array(bowl(*np.meshgrid(x, x)))
    columns, rows, fine = smooth_plane(x, x, values, choose_plane_scale([values]))
    error = np.abs(fine - bowl(*np.meshgrid(columns, rows))).max()
    assert error < 0.25 * (3 + 1) * (x[1] - x[0]) ** 2 / 4  # a quarter of what straight lines miss


def test_smooth_values_stay_in_the_range_of_the_points():
    values = np.ma.masked_array(np.where(RADIUS > 1.0, 500.0, 0.01 + RADIUS))
    x = np.linspace(-1, 1, 21)
    _, _, fine = smooth_plane(x, x, values, choose_plane_scale([values]))
    assert fine.min() >= values.min() * (1 - 1e-12)
    assert fine.max() <= values.max() * (1 + 1e-12)


def test_cells_next_to_a_missing_point_are_empty_and_others_are_not():
    values = np.ma.masked_array(bowl(*MESH), mask=np.zeros((21, 21), dtype=bool))
    values[10, 10] = np.ma.masked
    x = np.linspace(-1, 1, 21)
    _, _, fine = smooth_plane(x, x, values, choose_plane_scale([values]))
    is_hidden = np.ma.getmaskarray(fine)
    assert is_hidden[91:110, 91:110].all()
    assert is_hidden.sum() == 19 * 19


def test_every_tick_of_a_colour_bar_has_room():
    for number in (12, 60):
        figure = plot.draw([make_surface(lambda x, y: 1 + (x**2 + y**2) ** 4)], look=Look(number))
        (bar,) = color_bars(figure)
        boxes = [
            text.get_window_extent()
            for text in bar.get_yticklabels()
            if text.get_text() and bar.bbox.y0 <= text.get_window_extent().y0 + 20
        ]
        places = sorted((box.y0, box.y1) for box in boxes)
        assert len(places) >= 3
        assert all(one[1] <= other[0] for one, other in pairwise(places))


def test_a_colour_map_is_the_one_that_is_asked_for():
    ax = plot.plot_heatmap(make_surface(), look=Look(colormap="magma"))
    assert ax.collections[0].get_cmap().name == "magma"


def test_lines_have_no_values_where_none_are_wanted():
    figure = plot.draw([make_surface(nx=21, ny=21)], kind="contour", look=Look(no_labels=True))
    assert [text for text in panels(figure)[0].texts if text.get_text()] == []


def test_a_clipped_plane_has_a_colour_everywhere():
    surface = with_train_loss(make_surface(nx=21, ny=21), at=..., value=CORNERED)
    bands = contours(plot.plot_filled_contour(surface, look=Look(clip=3.0)), filled=True)[0]
    assert bands.levels[-1] == 3.0
    area = sum(
        abs(np.trapezoid(polygon[:, 1], polygon[:, 0]))
        for polygon in bands.get_paths()[-1].to_polygons()
    )
    assert area > 0


def test_even_levels_of_a_linear_scale_are_multiples_of_a_short_step():
    levels = even_levels(Scale("linear", np.empty(0), ends=(0.223, 9.06)), 12)
    np.testing.assert_array_equal(levels, np.arange(1.0, 10.0))


@pytest.mark.parametrize(("size", "is_coarse"), [(21, True), (51, False)])
def test_smooth_lines_between_distant_points_show_them_and_say_so(size, is_coarse):
    figure = plot.draw([make_surface(nx=size, ny=size)])
    assert bool(with_gid(panels(figure)[0], "grid")) == is_coarse
    assert str(figure.get_label()).endswith("computed points (dots)") == is_coarse
