import re
from dataclasses import replace

import numpy as np
import pytest
from figures import half_done, legend_texts, make_surface, panels, with_gid, with_train_loss
from matplotlib.colors import to_rgb

from landscape import plot
from landscape.errors import InputError
from landscape.results.surface import Mark

KINDS = ("persistence", "merge-tree")


def double_well(x, y):
    """Minima of 0.3 at x = -0.5 and of 1.1 at x = 0.5, a saddle of 1.7 at 0."""
    return np.interp(x, [-1, -0.5, 0, 0.5, 1], [3, 0.3, 1.7, 1.1, 3]) + y**2


def two_wells(**kwargs):
    return make_surface(double_well, 41, 9, **kwargs)


def with_dip(surface):
    """A dip of 0.01 in a corner."""
    return with_train_loss(
        surface, at=(0, 0), value=surface.loss["train"][:2, :2].ravel()[1:].min() - 0.01
    )


def ends(lines, axis):
    return sorted(tuple(np.round(np.sort(line.get_data()[axis]), 9)) for line in lines)


@pytest.mark.parametrize("is_line", [False, True])
def test_a_bar_is_from_the_minimum_to_the_saddle(is_line):
    (ax,) = panels(plot.draw([two_wells(is_line=is_line)], kind="persistence"))
    assert (1.1, 1.7) in ends(with_gid(ax, "basin"), 0)
    assert [float(line.get_xdata()[0]) for line in with_gid(ax, "minimum")] == pytest.approx(
        [0.3, 1.1]
    )


def test_what_never_dies_ends_in_an_arrow_at_the_edge():
    (ax,) = panels(plot.draw([two_wells()], kind="persistence"))
    (arrow,) = with_gid(ax, "immortal")
    assert arrow.get_xdata()[0] == ax.get_xlim()[1]


def test_bars_give_their_persistence():
    (ax,) = panels(plot.draw([two_wells()], kind="persistence"))
    assert [text.get_text() for text in ax.texts] == ["0.6"]


def test_bars_of_several_surfaces_are_named_and_counted():
    (ax,) = panels(
        plot.draw([two_wells(), make_surface()], labels=["SGD", "SAM"], kind="persistence")
    )
    assert [label.get_text() for label in ax.get_yticklabels()] == ["SGD\n2 basins", "SAM\n1 basin"]


def test_a_dip_that_is_not_counted_is_pale_and_explained():
    (ax,) = panels(figure := plot.draw([with_dip(two_wells())], kind="persistence"))
    deep, shallow = with_gid(ax, "basin")[1:]
    assert np.mean(to_rgb(shallow.get_color())) > np.mean(to_rgb(deep.get_color()))
    assert "pale: not counted" in figure.legends[0].get_title().get_text()


def test_no_more_than_twelve_bars_a_surface_are_drawn_and_the_others_counted():
    surface = make_surface(lambda x, y: np.cos(20 * x) + np.cos(20 * y) + 3 + x, 61, 61)
    (ax,) = panels(figure := plot.draw([surface], kind="persistence"))
    assert len(with_gid(ax, "basin")) == 12
    assert re.search(
        r"\d+ less persistent ones not shown", figure.legends[0].get_title().get_text()
    )


@pytest.mark.parametrize("is_line", [False, True])
def test_a_tree_joins_the_higher_basin_to_the_deeper_at_the_saddle(is_line):
    (ax,) = panels(plot.draw([two_wells(is_line=is_line)], kind="merge-tree"))
    (joint,) = with_gid(ax, "saddle")
    assert joint.get_ydata() == pytest.approx([1.7, 1.7])
    assert (1.1, 1.7) in ends(with_gid(ax, "basin"), 1)


def test_no_line_of_a_tree_crosses_another():
    rng = np.random.default_rng(0)
    surface = make_surface(lambda x, y: rng.uniform(1, 2, size=np.shape(x)), 15, 15)
    (ax,) = panels(plot.draw([surface], kind="merge-tree"))
    upright = [(line.get_xdata()[0], sorted(line.get_ydata())) for line in with_gid(ax, "basin")]
    assert len(upright) > 10
    for joint in with_gid(ax, "saddle"):
        height, (left, right) = joint.get_ydata()[0], sorted(joint.get_xdata())
        assert not [x for x, (low, high) in upright if left < x < right and low < height < high]


def test_shallow_dips_are_no_leaves_and_are_counted():
    (ax,) = panels(figure := plot.draw([with_dip(two_wells())], kind="merge-tree"))
    assert len(with_gid(ax, "minimum")) == 2
    assert "1 shallower than" in figure.legends[0].get_title().get_text()


def test_checkpoints_are_on_the_branch_of_their_basin():
    marks = (Mark("sgd", "checkpoint", (-0.5, 0.0)), Mark("sam", "checkpoint", (0.5, 0.25)))
    (ax,) = panels(plot.draw([replace(two_wells(), marks=marks)], kind="merge-tree"))
    leaves = {
        round(line.get_ydata()[0], 9): line.get_xdata()[0] for line in with_gid(ax, "minimum")
    }
    places = [(line.get_xdata()[0], round(line.get_ydata()[0], 9)) for line in with_gid(ax, "mark")]
    assert {(leaves[0.3], 0.3), (leaves[1.1], 1.1625)} <= set(places)


def test_the_barrier_between_two_checkpoints_is_given():
    marks = (Mark("sgd", "checkpoint", (-0.5, 0.0)), Mark("sam", "checkpoint", (0.5, 0.0)))
    surface = two_wells(is_line=True)
    marked = replace(
        surface, marks=tuple(replace(mark, coordinates=mark.coordinates[:1]) for mark in marks)
    )
    figure = plot.draw([marked], kind="merge-tree")
    title = figure.legends[0].get_title().get_text().replace("\n", " ")
    assert "barrier between sgd and sam: 0.6" in title
    assert legend_texts(figure) == ["center", "sgd", "sam"]


def test_trees_side_by_side_share_one_axis_of_the_loss():
    first, second = panels(plot.draw([two_wells(), make_surface()], kind="merge-tree"))
    assert first.get_ylim() == second.get_ylim()


@pytest.mark.parametrize("kind", KINDS)
def test_a_wide_range_of_minima_is_on_a_log_scale_that_is_stated(kind):
    surface = make_surface(
        lambda x, y: 0.01 * np.exp(6 * x**2) * (1.2 + np.cos(9 * x)) + y**2, 61, 5
    )
    (ax,) = panels(plot.draw([surface], kind=kind))
    assert "log" in (ax.get_xscale(), ax.get_yscale())
    assert "(log scale)" in ax.get_xlabel() + ax.get_ylabel()


def test_a_split_is_a_group_of_bars_or_a_tree_when_asked_for():
    (ax,) = panels(plot.draw([two_wells()], kind="persistence", split="all"))
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "train\n2 basins",
        "test\n2 basins",
    ]
    trees = panels(plot.draw([two_wells()], kind="merge-tree", split="all"))
    assert [tree.get_title() for tree in trees] == ["train: 2 basins", "test: 2 basins"]


def test_trees_of_a_bowl_a_constant_and_losses_around_zero_are_drawn():
    for function in (
        lambda x, y: x**2 + y**2,
        lambda x, y: 0 * x,
        lambda x, y: 100 * x**3 * y,
        lambda x, y: 3 + 0 * x,
    ):
        plot.draw([make_surface(function)], kind="merge-tree")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_drawn_around(kind, value):
    surface = two_wells()
    loss = surface.loss["train"].copy()
    loss[:, 20] = value
    (ax,) = panels(plot.draw([replace(surface, loss={"train": loss})], kind=kind))
    assert len(with_gid(ax, "immortal")) >= 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_topology_of_an_interrupted_surface_is_an_error(kind):
    with pytest.raises(InputError, match="of a whole grid"):
        plot.draw([half_done(two_wells())], kind=kind)


@pytest.mark.parametrize("kind", KINDS)
def test_the_topology_is_that_of_the_loss(kind):
    with pytest.raises(InputError, match="basins are those of the loss"):
        plot.draw([two_wells()], kind=kind, quantity="accuracy")


@pytest.mark.parametrize(
    "surfaces", [[make_surface()], [make_surface()] * 2, [make_surface(lambda x, y: 3 + 0 * x)]]
)
def test_a_single_basin_has_no_persistence_to_draw(surfaces):
    with pytest.raises(InputError, match="needs two minima or more, got one"):
        plot.draw(surfaces, kind="persistence")
