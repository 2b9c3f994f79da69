import numpy as np
import pytest
from figures import legend_texts, panels, with_gid

from landscape.errors import InputError
from landscape.plot.seed_bands import Band, plot_bands

X = np.arange(1.0, 6.0)


def band(label="SGD", mean=X, deviation=None):
    return Band(
        label, X, np.asarray(mean, float), np.full(5, 0.25) if deviation is None else deviation
    )


def draw(groups, **options):
    return plot_bands(groups, xlabel="epoch", ylabel="loss", **options)


def test_the_line_is_the_mean_and_the_band_one_deviation_to_both_sides():
    (ax,) = panels(draw({"": [band()]}))
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), np.stack([X, X], axis=1))
    (shade,) = with_gid(ax, "deviation")
    corners = shade.get_paths()[0].vertices
    for x in X:
        heights = corners[corners[:, 0] == x, 1]
        assert (heights.min(), heights.max()) == (x - 0.25, x + 0.25)


def test_a_curve_of_one_seed_has_no_band():
    (ax,) = panels(draw({"": [band(deviation=np.full(5, np.nan))]}))
    assert with_gid(ax, "deviation") == []


def test_a_name_has_one_colour_in_all_panels_and_one_entry_in_the_legend():
    figure = draw({"a": [band("SGD"), band("SAM")], "b": [band("SAM")]})
    left, right = (ax for ax in panels(figure) if ax.lines)
    assert right.lines[0].get_color() == left.lines[1].get_color() != left.lines[0].get_color()
    assert legend_texts(figure) == ["SGD", "SAM"]
    assert [ax.get_title() for ax in (left, right)] == ["a", "b"]


def test_panels_share_their_vertical_scale():
    figure = draw({"a": [band(mean=X)], "b": [band(mean=1000 * X)], "c": [band()]})
    used = [ax for ax in panels(figure) if ax.lines]
    assert len({ax.get_ylim() for ax in used}) == 1
    assert {ax.get_yscale() for ax in used} == {"log"}


def test_curves_without_a_finite_value_are_refused():
    with pytest.raises(InputError, match="at least one finite value"):
        draw({"": [band(mean=np.full(5, np.nan))]})
