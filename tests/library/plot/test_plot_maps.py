import warnings
from dataclasses import replace

import numpy as np
import pytest
from figures import (
    bowl,
    color_bars,
    contours,
    legend_texts,
    make_surface,
    panels,
    partly_done,
    with_train_loss,
)
from matplotlib.colors import Normalize, SymLogNorm

from landscape import plot
from landscape.errors import InputError

PLANE_KINDS = ("filled", "contour", "heatmap", "surface")


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def with_maps(**functions):
    surface = make_surface(nx=11, ny=11)
    x, y = np.meshgrid(surface.x, surface.y)
    return replace(surface, maps={name: function(x, y) for name, function in functions.items()})


def mesh_of(figure):
    return panels(figure)[0].collections[0]


def values_of(figure):
    return mesh_of(figure).get_array().reshape(11, 11).filled(np.nan)


def difference(first, second, **kwargs):
    return plot.draw([first, second], labels=["sgd", "sam"], kind="difference", **kwargs)


def levels_of(figure):
    return contours(panels(figure)[0], filled=True)[0].levels


def test_a_map_is_drawn_as_it_is_stored():
    surface = with_maps(lambda_max=lambda x, y: 5 + x + 2 * y)
    figure = plot.draw([surface], quantity="lambda_max", kind="heatmap")
    np.testing.assert_array_equal(values_of(figure), surface.maps["lambda_max"])


def test_a_map_belongs_to_no_split():
    surface = with_maps(lambda_error=lambda x, y: 5 + x)
    figure = plot.draw([surface], quantity="lambda_error", split="all")
    assert len(panels(figure)) == 1
    assert "train" not in color_bars(figure)[0].get_ylabel()


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("lambda_max", r"$\lambda_{\max}$ of the Hessian"),
        ("lambda_ratio", r"$|\lambda_{\min} / \lambda_{\max}|$"),
        ("curvature_xy", "mixed curvature"),
        ("my_$map$", r"my \$map\$"),
    ],
)
def test_the_color_bar_names_the_map(name, label):
    figure = plot.draw([with_maps(**{name: lambda x, y: 0.5 + 0.1 * x})], quantity=name)
    assert color_bars(figure)[0].get_ylabel() == label


@pytest.mark.parametrize("kind", PLANE_KINDS)
def test_every_kind_draws_a_map_of_both_signs_over_decades_and_says_so(kind):
    surface = with_maps(curvature_xy=lambda x, y: np.sinh(9 * x * y))
    figure = plot.draw([surface], quantity="curvature_xy", kind=kind)
    label = (
        panels(figure)[0].get_zlabel() if kind == "surface" else color_bars(figure)[0].get_ylabel()
    )
    assert "symlog" in label or "symmetric log scale" in label


def test_a_map_of_both_signs_has_colours_centred_at_zero():
    surface = with_maps(curvature_xx=lambda x, y: 3 * x + 1)
    mesh = mesh_of(plot.draw([surface], quantity="curvature_xx", kind="heatmap"))
    assert mesh.norm.vmin == -mesh.norm.vmax
    assert mesh.cmap.name == "RdBu_r"


def test_a_map_of_one_sign_has_the_colours_of_a_loss():
    mesh = mesh_of(
        plot.draw([with_maps(lambda_max=lambda x, y: 5 + x)], quantity="lambda_max", kind="heatmap")
    )
    assert mesh.cmap.name == "viridis"


def test_a_ratio_up_to_one_is_on_a_linear_scale_from_zero():
    surface = with_maps(lambda_ratio=lambda x, y: 0.4 * np.exp(-9 * (x**2 + y**2)))
    norm = mesh_of(plot.draw([surface], quantity="lambda_ratio", kind="heatmap")).norm
    assert type(norm) is Normalize
    assert norm.vmin == 0


def test_contour_lines_below_zero_are_dashed():
    surface = with_maps(curvature_xx=lambda x, y: 3 * x)
    lines = contours(panels(plot.draw([surface], quantity="curvature_xx"))[0], filled=False)[0]
    # A dash pattern of None is a solid line.
    is_dashed = [pattern is not None for _, pattern in lines.get_linestyles()]
    assert is_dashed == [level < 0 for level in lines.levels]


def test_an_unknown_quantity_is_an_error_that_lists_the_maps():
    with pytest.raises(InputError, match=r"got 'sharpness'.*accuracy \(train, test\); lambda_max"):
        plot.draw([with_maps(lambda_max=lambda x, y: x)], quantity="sharpness")


def test_an_unknown_split_of_a_map_is_an_error():
    with pytest.raises(InputError, match="got 'validation'"):
        plot.draw([with_maps(lambda_max=lambda x, y: x)], quantity="lambda_max", split="validation")


def test_a_map_that_only_one_of_two_surfaces_has_is_an_error():
    with pytest.raises(InputError, match="every surface has, got 'lambda_max'"):
        plot.draw([with_maps(lambda_max=lambda x, y: x), make_surface()], quantity="lambda_max")


def test_a_map_of_a_line_is_drawn_as_a_curve():
    surface = make_surface(is_line=True)
    surface = replace(surface, maps={"curvature_xx": np.cos(surface.x)})
    figure = plot.draw([surface], quantity="curvature_xx")
    (ax,) = figure.axes
    assert ax.get_ylabel() == "curvature along direction 1"
    assert any(np.array_equal(line.get_ydata(), np.cos(surface.x)) for line in ax.lines)


def test_a_difference_is_the_second_surface_minus_the_first():
    first, second = (
        make_surface(nx=11, ny=11),
        make_surface(lambda x, y: bowl(x, y) + x, nx=11, ny=11),
    )
    bands = contours(panels(difference(first, second))[0], filled=False)[0]
    for level, path in zip(bands.levels, bands.get_paths(), strict=True):
        np.testing.assert_allclose(path.vertices[:, 0], level, atol=1e-9)


def test_the_colours_of_a_difference_are_centred_at_zero():
    levels = levels_of(difference(make_surface(), make_surface(lambda x, y: bowl(x, y) + x - 0.7)))
    np.testing.assert_allclose(levels, -levels[::-1])


def test_the_title_of_a_difference_says_what_is_subtracted_from_what():
    figure = difference(make_surface(), make_surface(lambda x, y: bowl(x, y) + x + 0.25))
    assert panels(figure)[0].get_title() == "sam \N{MINUS SIGN} sgd"


def test_a_difference_over_decades_is_on_a_symmetric_log_scale_and_says_so():
    figure = difference(
        make_surface(nx=21, ny=21), make_surface(lambda x, y: bowl(x, y) + 300 * x**9, nx=21, ny=21)
    )
    assert isinstance(contours(panels(figure)[0], filled=True)[0].norm, SymLogNorm)
    assert color_bars(figure)[0].get_ylabel() == "difference of train loss\n(symmetric log scale)"


def test_a_difference_of_accuracies_is_in_percentage_points():
    figure = difference(
        make_surface(), make_surface(lambda x, y: bowl(x, y) + x), quantity="accuracy", split="all"
    )
    assert len(panels(figure)) == 2
    assert color_bars(figure)[0].get_ylabel() == "difference of accuracy (percentage points)"


def test_a_difference_of_interrupted_surfaces_is_interpolated_between_points_that_both_have():
    first = partly_done(make_surface(nx=21, ny=21), 0.2)
    second = make_surface(lambda x, y: bowl(x, y) + x, nx=21, ny=21)
    lines = contours(panels(difference(first, second))[0], filled=False)[0]
    for level, path in zip(lines.levels, lines.get_paths(), strict=True):
        np.testing.assert_allclose(path.vertices[:, 0], level, atol=1e-9)


def test_a_difference_is_missing_where_either_is_not_finite():
    first, second = (make_surface(lambda x, y, s=s: bowl(x, y) + s * x) for s in (0, 1))
    figure = difference(
        with_train_loss(first, at=(1, 1), value=np.nan),
        with_train_loss(second, at=(5, 5), value=np.inf),
    )
    assert legend_texts(figure) == ["NaN or inf"]


def test_surfaces_that_are_the_same_have_a_difference():
    difference(make_surface(), make_surface())


def test_a_difference_of_surfaces_at_other_coordinates_is_an_error_that_names_both():
    other = make_surface()
    other = replace(other, x=2 * other.x)
    with pytest.raises(InputError, match=r"-1:1 in 9 points and -2:2 in 9 points along the first"):
        difference(make_surface(), other)


def test_a_difference_of_surfaces_in_other_units_is_an_error():
    with pytest.raises(InputError, match=r"filter norms.*layer norms"):
        difference(make_surface(), make_surface(normalization="layer"))


@pytest.mark.parametrize("number", [1, 3])
def test_a_difference_of_another_number_of_surfaces_is_an_error(number):
    with pytest.raises(InputError, match=f"of two surfaces, got {number}"):
        plot.draw([make_surface()] * number, kind="difference")
