import warnings
from dataclasses import replace

import numpy as np
import pytest
from figures import legend_texts, make_surface, with_gid

from landscape import plot

OFFSETS = np.array([0.0, 1.0, 2.0, 5.0, 10.0])


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def repeated(base=1.0):
    """Five lines: base + x^2 + each of the offsets."""
    surface = make_surface(nx=9, is_line=True, splits=("train",))
    loss = base + surface.x**2 + OFFSETS[:, None]
    return replace(
        surface,
        loss={"train": loss},
        accuracy={"train": np.exp(-loss)},
        done=np.ones(loss.shape, dtype=bool),
        direction_names=("random",) * len(loss),
    )


def band_edges(ax):
    """Lowest and highest of the band at each coordinate of its corners."""
    (band,) = with_gid(ax, "band")
    vertices = band.get_paths()[0].vertices
    columns = [vertices[np.isclose(vertices[:, 0], x), 1] for x in np.unique(vertices[:, 0])]
    return np.array([(column.min(), column.max()) for column in columns])


def with_errors(surface, errors):
    return replace(surface, standard_error={"train": errors})


def test_several_lines_are_drawn_as_their_median():
    surface = repeated()
    (curve,) = with_gid(plot.plot_profile(surface), "curve")
    np.testing.assert_allclose(curve.get_ydata(), 3 + surface.x**2)


def test_the_band_of_several_lines_is_between_their_quartiles():
    surface = repeated()
    expected = np.stack([2 + surface.x**2, 6 + surface.x**2], axis=1)
    np.testing.assert_allclose(band_edges(plot.plot_profile(surface)), expected)


def test_each_of_several_lines_is_drawn():
    singles = with_gid(plot.plot_profile(repeated()), "single")
    np.testing.assert_allclose([line.get_ydata()[4] for line in singles], 1 + OFFSETS)


def test_the_lines_of_several_surfaces_are_drawn_as_bands_only():
    ax = plot.plot_profile([repeated(), repeated(2.0)], labels=["SGD", "SAM"])
    assert len(with_gid(ax, "band")) == 2
    assert with_gid(ax, "single") == []


def test_the_band_is_explained():
    assert legend_texts(plot.draw([repeated()])) == ["median, quartiles of 5 lines"]


def test_the_accuracy_of_several_lines_has_a_median_and_a_band():
    surface = repeated()
    ax = plot.draw([surface]).axes[1]
    (curve,) = with_gid(ax, "curve")
    np.testing.assert_allclose(curve.get_ydata(), 100 * np.exp(-(3 + surface.x**2)))
    assert len(with_gid(ax, "band")) == 1


def test_several_random_directions_are_named_as_such():
    assert plot.plot_profile(repeated()).get_xlabel() == "random directions (filter norms)"


def test_the_median_is_left_out_where_one_line_is_not_finite():
    surface = repeated()
    loss = surface.loss["train"].copy()
    loss[2, 3] = np.nan
    figure = plot.draw([replace(surface, loss={"train": loss})], split="train")
    (curve,) = with_gid(figure.axes[0], "curve")
    np.testing.assert_array_equal(
        np.flatnonzero(np.ma.getmaskarray(curve.get_ydata(orig=True))), [3]
    )
    assert "NaN" in legend_texts(figure)


def test_each_of_several_lines_is_interpolated_along_itself():
    surface = repeated()
    done = surface.done.copy()
    done[:, 1::2] = False
    (curve,) = with_gid(plot.plot_profile(replace(surface, done=done)), "curve")
    known = 3 + surface.x**2
    expected = np.interp(surface.x, surface.x[::2], known[::2])
    np.testing.assert_allclose(curve.get_ydata(), expected)


def test_dots_are_where_every_line_was_evaluated():
    surface = repeated()
    done = surface.done.copy()
    done[:, 1::2] = False
    done[2, 4] = False
    (dots,) = with_gid(plot.plot_profile(replace(surface, done=done)), "dots")
    np.testing.assert_array_equal(dots.get_xdata(), surface.x[[0, 2, 6, 8]])


def test_the_standard_error_is_a_band():
    surface = make_surface(nx=9, is_line=True, splits=("train",))
    errors = 0.1 + 0.05 * surface.x**2
    ax = plot.plot_profile(with_errors(surface, errors))
    loss = surface.loss["train"]
    np.testing.assert_allclose(band_edges(ax), np.stack([loss - errors, loss + errors], axis=1))


def test_the_standard_error_is_explained():
    surface = make_surface(nx=9, is_line=True, splits=("train",))
    texts = legend_texts(plot.draw([with_errors(surface, 0.1 + 0 * surface.x)]))
    assert texts == ["\N{PLUS-MINUS SIGN} standard error"]


def test_the_accuracy_has_no_band_of_the_losses_error():
    surface = make_surface(nx=9, is_line=True, splits=("train",))
    ax = plot.plot_profile(with_errors(surface, 0.1 + 0 * surface.x), quantity="accuracy")
    assert with_gid(ax, "band") == []


def test_a_band_down_to_zero_leaves_a_log_axis_where_the_losses_are():
    surface = make_surface(
        lambda x, y: 0.01 * np.exp(6 * x**2), nx=9, is_line=True, splits=("train",)
    )
    ax = plot.plot_profile(with_errors(surface, 2 * surface.loss["train"]))
    assert ax.get_yscale() == "log"
    assert 0.005 < ax.get_ylim()[0] <= 0.01


def test_several_lines_are_no_plane():
    assert plot.kinds_of(repeated()) == ("curve",)
