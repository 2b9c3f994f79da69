import subprocess
import sys
import warnings
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from figures import (
    bowl,
    color_bars,
    contours,
    half_done,
    legend_texts,
    make_surface,
    panels,
    with_train_loss,
)
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D, proj3d

from landscape import plot
from landscape.errors import InputError
from landscape.plot.scale import choose_scale
from landscape.results.history import History

PLANE_KINDS = ("filled", "contour", "heatmap", "surface")


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def line_labels(ax):
    return [text for text in ax.texts if text.get_text()]


def run_python(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_importing_the_package_does_not_import_matplotlib():
    code = "import sys, landscape.plot as p; dir(p); p.FIGURES; print('matplotlib' in sys.modules)"
    assert run_python(code).strip() == "False"


def test_drawing_imports_neither_pyplot_nor_torch_nor_h5py():
    code = (
        "import sys, landscape.plot as p; [getattr(p, name) for name in p.__all__];"
        "print([m for m in ('matplotlib.pyplot', 'torch', 'h5py') if m in sys.modules])"
    )
    assert run_python(code).strip() == "[]"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = plot.nonsense


def test_drawing_leaves_the_global_settings_as_they_were():
    before = dict(mpl.rcParams)
    plot.draw([make_surface()])
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("is_line", [False, True])
def test_drawing_leaves_the_surface_as_it_was(is_line):
    surface = make_surface(is_line=is_line)
    before = surface.loss["train"].copy()
    plot.draw([surface])
    np.testing.assert_array_equal(surface.loss["train"], before)


def test_a_line_is_drawn_as_a_curve_by_default():
    assert plot.kinds_of(make_surface(is_line=True))[0] == "curve"


def test_a_plane_is_drawn_as_filled_contours_by_default():
    assert contours(panels(plot.draw([make_surface()]))[0], filled=True)


@pytest.mark.parametrize("kind", ["contour", "history", "nonsense"])
def test_a_kind_that_does_not_fit_a_line_is_an_error_that_names_those_that_do(kind):
    with pytest.raises(
        InputError, match=r"fit a line.*Kinds that fit: curve, persistence, merge-tree\."
    ):
        plot.draw([make_surface(is_line=True)], kind=kind)


def test_a_curve_of_a_plane_is_an_error():
    with pytest.raises(InputError, match="filled, contour, heatmap, surface"):
        plot.draw([make_surface()], kind="curve")


def test_results_of_different_types_are_an_error():
    with pytest.raises(InputError, match="a plane and a line"):
        plot.draw([make_surface(), make_surface(is_line=True)])


def test_no_results_are_an_error():
    with pytest.raises(InputError, match="at least one result"):
        plot.draw([])


def test_something_else_is_an_error():
    with pytest.raises(InputError, match="got dict"):
        plot.draw([{}])


def test_another_number_of_labels_is_an_error():
    with pytest.raises(InputError, match="got 1 for 2"):
        plot.draw([make_surface(), make_surface()], labels=["SGD"])


@pytest.mark.parametrize("is_line", [False, True])
def test_an_unknown_split_is_an_error_that_names_the_splits(is_line):
    with pytest.raises(InputError, match=r"'validation'.*train, test"):
        plot.draw([make_surface(is_line=is_line)], split="validation")


def test_an_unknown_quantity_is_an_error_that_names_the_quantities():
    with pytest.raises(
        InputError, match=r"got 'error'.*loss \(train, test\); accuracy \(train, test\)"
    ):
        plot.draw([make_surface()], quantity="error")


def test_an_accuracy_that_does_not_exist_is_an_error_that_names_what_does():
    surface = replace(make_surface(), accuracy={})
    with pytest.raises(InputError, match=r"loss \(train, test\)"):
        plot.draw([surface], quantity="accuracy")


@pytest.mark.parametrize("kind", PLANE_KINDS)
def test_a_surface_without_a_finite_value_is_an_error(kind):
    surface = replace(make_surface(), done=np.zeros((7, 9), dtype=bool))
    with pytest.raises(InputError, match="at least one finite value"):
        plot.draw([surface], kind=kind)


def test_a_plane_of_one_row_is_an_error():
    with pytest.raises(InputError, match=r"2 points or more.*\(1, 9\)"):
        plot.draw([make_surface(ny=1)])


def test_a_cell_of_a_heat_map_is_at_its_coordinates():
    surface = make_surface(lambda x, y: 1 + (x > 0.9) * (y < -0.9))
    mesh = plot.plot_heatmap(surface).collections[0]
    row, column = np.argwhere(mesh.get_array().reshape(7, 9) > 1.5)[0]
    corners = mesh.get_coordinates()[row : row + 2, column : column + 2].reshape(-1, 2)
    np.testing.assert_allclose(corners.mean(axis=0), [1, -1])


@pytest.mark.parametrize("draw", [plot.plot_contour, plot.plot_filled_contour])
def test_contour_lines_of_a_function_of_y_are_horizontal(draw):
    lines = contours(draw(make_surface(lambda x, y: 3 + y)), filled=False)[0]
    for level, path in zip(lines.levels, lines.get_paths(), strict=True):
        np.testing.assert_allclose(path.vertices[:, 1], level - 3, atol=1e-9)


def test_a_relief_is_highest_where_the_surface_is():
    surface = make_surface(lambda x, y: 3 + x - 0.5 * y)
    ax = plot.plot_surface3d(surface)
    ax.get_figure().canvas.draw()
    relief = next(c for c in ax.collections if c.get_gid() == "relief")
    vertices = np.concatenate([path.vertices for path in relief.get_paths()])
    expected = proj3d.proj_transform(1.0, -1.0, 4.5, ax.get_proj())[:2]
    assert np.abs(vertices - np.array(expected)).sum(axis=1).min() < 1e-9


@pytest.mark.parametrize("kind", ["filled", "heatmap"])
def test_panels_share_one_range_of_colours(kind):
    figure = plot.draw([make_surface(), make_surface(lambda x, y: 5 * bowl(x, y))], kind=kind)
    first, second = (ax.collections[0].norm for ax in panels(figure))
    assert (first.vmin, first.vmax) == (second.vmin, second.vmax)


def test_panels_share_their_levels():
    figure = plot.draw([make_surface(), make_surface(lambda x, y: 5 * bowl(x, y))])
    first, second = (contours(ax, filled=True)[0].levels for ax in panels(figure))
    np.testing.assert_array_equal(first, second)


def test_panels_share_one_color_bar():
    assert len(color_bars(plot.draw([make_surface()] * 3))) == 1


@pytest.mark.parametrize("kind", PLANE_KINDS)
def test_panels_of_different_extent_share_one_view(kind):
    wide = make_surface()
    wide = replace(wide, x=2 * wide.x, y=2 * wide.y)
    figure = plot.draw([make_surface(), wide], kind=kind)
    first, second = panels(figure)
    assert first.get_xlim() == second.get_xlim()
    assert first.get_ylim() == second.get_ylim()


def test_reliefs_share_their_heights():
    figure = plot.draw([make_surface(), make_surface(lambda x, y: 5 * bowl(x, y))], kind="surface")
    first, second = panels(figure)
    assert first.get_zlim() == second.get_zlim()


def test_all_splits_are_panels_when_asked_for():
    titles = [
        ax.get_title() for ax in panels(plot.draw([make_surface()], split="all", labels=["SGD"]))
    ]
    assert titles == ["SGD, train", "SGD, test"]


def test_a_plane_shows_the_first_split_by_default():
    assert color_bars(plot.draw([make_surface()]))[0].get_ylabel() == "train loss"


def test_a_wide_range_of_losses_is_on_a_log_norm():
    figure = plot.draw([make_surface(lambda x, y: 0.01 * np.exp(9 * x**2 + y**2))], kind="heatmap")
    assert isinstance(panels(figure)[0].collections[0].norm, LogNorm)


def test_a_log_scale_is_stated_on_the_color_bar():
    figure = plot.draw([make_surface(lambda x, y: 0.01 * np.exp(9 * x**2 + y**2))])
    assert color_bars(figure)[0].get_ylabel() == "train loss (log scale)"


def test_a_log_scale_is_stated_on_the_axis_of_a_relief():
    ax = plot.plot_surface3d(make_surface(lambda x, y: 0.01 * np.exp(9 * x**2 + y**2)))
    assert ax.get_zlabel() == "train loss (log scale)"


def test_accuracy_is_on_a_linear_norm_in_percent():
    figure = plot.draw(
        [make_surface(lambda x, y: 6 * bowl(x, y) - 3)], quantity="accuracy", kind="heatmap"
    )
    norm = panels(figure)[0].collections[0].norm
    assert type(norm) is Normalize
    assert norm.vmax == 100


@pytest.mark.parametrize(
    ("normalization", "unit"),
    [("filter", "filter norms"), ("layer", "layer norms"), ("none", "raw")],
)
def test_axes_name_the_unit_of_the_directions(normalization, unit):
    ax = plot.plot_contour(make_surface(normalization=normalization))
    assert (ax.get_xlabel(), ax.get_ylabel()) == (f"direction 1 ({unit})", f"direction 2 ({unit})")


@pytest.mark.parametrize("kind", PLANE_KINDS)
def test_the_center_is_marked(kind):
    ax = panels(plot.draw([make_surface()], kind=kind))[0]
    assert any(line.get_gid() == "center" for line in ax.lines)


def test_the_title_gives_the_loss_at_the_center_where_that_is_asked_for():
    look = plot.Look(show_center=True)
    titles = [
        plot.plot_heatmap(make_surface(), label="SGD", look=each).get_title()
        for each in (plot.Look(), look)
    ]
    assert titles == ["SGD", "SGD (center: 0.5)"]


def narrow(surface, width):
    """Leave only the points within a width of the vertical through the center, so that lines are
    short."""
    return replace(surface, done=surface.done & (np.abs(surface.x) <= width))


def test_a_line_that_is_only_at_the_center_has_no_label():
    surface = narrow(make_surface(lambda x, y: 3 + y, nx=41, ny=41), 0.2)
    ax = panels(plot.draw([surface]))[0]
    assert "3" in {f"{level:g}" for level in contours(ax, filled=False)[0].levels}
    assert "3" not in {text.get_text() for text in line_labels(ax)}


def test_contour_labels_are_at_least_twenty_points_apart():
    surface = make_surface(lambda x, y: 30 + 10 * y, nx=41, ny=41)
    figure = Figure(figsize=(1.6, 1.4))
    ax = plot.plot_contour(
        surface, scale=choose_scale([surface.loss["train"]]), ax=figure.add_subplot()
    )
    spots = (
        np.array([ax.transData.transform(t.get_position()) for t in line_labels(ax)])
        * 72
        / figure.dpi
    )
    assert len(spots) > 1
    assert min(np.hypot(*(a - b)) for i, a in enumerate(spots) for b in spots[:i]) > 20


def test_contour_labels_name_levels():
    ax = plot.plot_filled_contour(make_surface(nx=41, ny=41))
    levels = {f"{level:g}" for level in contours(ax, filled=False)[0].levels}
    assert {text.get_text() for text in line_labels(ax)} <= levels


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_cell_that_is_not_finite_is_masked(value):
    surface = with_train_loss(make_surface(), at=(2, 3), value=value)
    mask = np.ma.getmaskarray(plot.plot_heatmap(surface).collections[0].get_array()).reshape(7, 9)
    np.testing.assert_array_equal(np.argwhere(mask), [[2, 3]])


def test_cells_that_are_not_done_are_masked():
    surface = half_done(make_surface())
    mask = np.ma.getmaskarray(plot.plot_heatmap(surface).collections[0].get_array()).reshape(7, 9)
    np.testing.assert_array_equal(mask, ~surface.done)


def test_entries_that_are_not_done_do_not_change_the_levels():
    surface = half_done(make_surface())
    garbage = with_train_loss(surface, at=~surface.done, value=1e30)
    first, second = (plot.plot_filled_contour(s).collections[0].levels for s in (surface, garbage))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("kind", PLANE_KINDS)
def test_missing_points_are_hatched(kind):
    surface = with_train_loss(half_done(make_surface()), at=(1, 1), value=np.nan)
    ax = panels(plot.draw([surface], kind=kind))[0]
    hatches = {patch.get_hatch() for patch in ax.patches if patch.get_gid() == "missing"}
    assert len(hatches) == 2


@pytest.mark.parametrize("kind", PLANE_KINDS)
def test_missing_points_are_explained(kind):
    surface = with_train_loss(half_done(make_surface()), at=(1, 1), value=np.inf)
    assert legend_texts(plot.draw([surface], kind=kind)) == ["inf", "not computed"]


def test_a_complete_surface_has_no_legend():
    assert legend_texts(plot.draw([make_surface()])) == []


def test_a_hole_in_a_relief_leaves_out_the_cells_around_it():
    surface = with_train_loss(make_surface(), at=(3, 3), value=np.nan)
    ax = plot.plot_surface3d(surface)
    ax.get_figure().canvas.draw()
    relief = next(c for c in ax.collections if c.get_gid() == "relief")
    parts = 10 * 10  # of a cell
    assert len(relief.get_paths()) == (8 * 6 - 4) * parts


@pytest.mark.parametrize("kind", PLANE_KINDS)
def test_a_constant_surface_is_drawn(kind):
    plot.draw([make_surface(lambda x, y: 2.3 + 0 * x)], kind=kind)


@pytest.mark.parametrize("kind", PLANE_KINDS)
def test_a_surface_of_zeros_is_drawn(kind):
    plot.draw([make_surface(lambda x, y: 0 * x)], kind=kind)


@pytest.mark.parametrize("kind", PLANE_KINDS)
@pytest.mark.parametrize(("nx", "ny"), [(2, 5), (5, 2)])
def test_a_grid_of_two_points_a_direction_is_drawn(kind, nx, ny):
    plot.draw([make_surface(nx=nx, ny=ny)], kind=kind)


@pytest.mark.parametrize("kind", PLANE_KINDS)
def test_a_surface_with_negative_losses_over_decades_is_drawn(kind):
    plot.draw([make_surface(lambda x, y: 1e4 * (x**2 + y**2) ** 4 - 0.1)], kind=kind)


@pytest.mark.parametrize("kind", PLANE_KINDS)
def test_a_panel_without_a_finite_value_is_drawn_beside_one_that_has(kind):
    lost = with_train_loss(make_surface(), at=..., value=np.nan)
    assert len(panels(plot.draw([make_surface(), lost], kind=kind))) == 2


def test_ranges_that_are_alike_get_equal_units():
    assert plot.plot_heatmap(make_surface()).get_aspect() == 1


def test_ranges_that_differ_much_fill_the_panel():
    surface = make_surface()
    assert plot.plot_heatmap(replace(surface, x=10 * surface.x)).get_aspect() == "auto"


@pytest.mark.parametrize("draw", [plot.plot_contour, plot.plot_filled_contour, plot.plot_heatmap])
def test_a_plane_is_drawn_on_the_axes_that_are_given(draw):
    ax = Figure().add_subplot()
    assert draw(make_surface(), ax=ax) is ax


def test_a_relief_is_drawn_on_the_axes_that_are_given():
    ax = Figure().add_subplot(projection="3d")
    assert isinstance(ax, Axes3D)
    assert plot.plot_surface3d(make_surface(), ax=ax) is ax


def test_a_relief_on_flat_axes_is_an_error():
    with pytest.raises(InputError, match="three-dimensional axes"):
        plot.plot_surface3d(make_surface(), ax=Figure().add_subplot())


def test_the_title_stands_over_the_figure():
    assert plot.draw([make_surface()], title="ResNet-20").get_suptitle() == "ResNet-20"


def test_a_curve_has_a_line_a_split_solid_and_dashed():
    ax = plot.plot_profile(make_surface(is_line=True))
    lines = [line for line in ax.lines if len(line.get_xdata()) == 9]
    assert [line.get_linestyle() for line in lines] == ["-", "--"]


def test_a_curve_goes_through_the_losses():
    surface = make_surface(is_line=True)
    ax = plot.plot_profile(surface, split="test")
    line = next(line for line in ax.lines if len(line.get_xdata()) == 9)
    np.testing.assert_allclose(line.get_ydata(), surface.loss["test"])


def test_several_checkpoints_share_axes_and_a_legend():
    surfaces = [make_surface(is_line=True)] * 2
    ax = plot.plot_profile(surfaces, labels=["SGD", "SAM"])
    assert legend_texts(ax) == ["SGD", "SAM", "train", "test"]


def test_the_accuracy_is_under_the_loss_where_there_is_one():
    labels = [ax.get_ylabel() for ax in plot.draw([make_surface(is_line=True)]).axes]
    assert labels == ["loss", "accuracy (%)"]


def test_the_loss_is_alone_where_there_is_no_accuracy():
    assert len(plot.draw([replace(make_surface(is_line=True), accuracy={})]).axes) == 1


def test_missing_points_interrupt_a_curve():
    surface = with_train_loss(make_surface(is_line=True), at=4, value=np.inf)
    ax = plot.plot_profile(surface, split="train")
    line = next(line for line in ax.lines if len(line.get_xdata()) == 9)
    np.testing.assert_array_equal(
        np.flatnonzero(np.ma.getmaskarray(line.get_ydata(orig=True))), [4]
    )


def test_missing_points_of_a_curve_are_explained():
    surface = with_train_loss(half_done(make_surface(is_line=True)), at=0, value=np.nan)
    texts = legend_texts(plot.plot_profile(surface, split="train").get_figure())
    assert texts == ["NaN", "not computed"]


def test_a_curve_over_decades_is_on_a_log_axis():
    surface = make_surface(lambda x, y: 0.01 * np.exp(9 * x**2), is_line=True)
    assert plot.plot_profile(surface).get_yscale() == "log"


def test_a_constant_curve_is_drawn():
    plot.draw([make_surface(lambda x, y: 2.3 + 0 * x, is_line=True)])


def test_a_profile_of_a_plane_is_an_error():
    with pytest.raises(InputError, match="a surface on a line"):
        plot.plot_profile(make_surface())


def test_a_long_legend_of_a_curve_is_over_the_axes():
    names = ["SGD with a learning rate of 0.1", "SAM with a radius of 0.05"]
    ax = plot.plot_profile([make_surface(is_line=True)] * 2, labels=names)
    ax.get_figure().canvas.draw()
    assert ax.get_legend().get_window_extent().y0 >= ax.get_window_extent().y1


def test_large_levels_are_written_with_an_exponent():
    figure = plot.draw([make_surface(lambda x, y: 10 ** (4 + 3 * x))])
    ticks = [text.get_text() for text in color_bars(figure)[0].get_yticklabels()]
    assert any(tick.endswith("e6") for tick in ticks)


OTHERS = ("eigenvalues", "density", "layers", "curvature-history", "sharpness", "differences")


def test_kinds_are_what_the_results_can_be_drawn_as():
    empty = History(*(np.empty(0),) * 10)
    fitting = [*plot.kinds_of(make_surface(is_line=True)), *plot.kinds_of(make_surface())]
    assert set(plot.FIGURES) == {*fitting, *plot.kinds_of(empty), *OTHERS}
