"""Paths and barriers: names next to marks, ticks, and panels with axes of their own."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from figures import legend_texts, make_surface, panels, with_gid

from landscape import plot
from landscape.results.surface import Mark


def path(count, seed=0, scale=0.9):
    """Snapshots on a path that ends at the centre."""
    angles = np.linspace(0, 2 + seed, count)
    radii = scale * np.linspace(1, 0, count)
    places = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
    return tuple(Mark(f"epoch {i}", "snapshot", tuple(at)) for i, at in enumerate(places.tolist()))


def planed(marks, names=("pca:a", "pca:a"), shares=(0.9, 0.05), stretch=1.0):
    surface = make_surface(nx=21, ny=21)
    return replace(
        surface,
        x=stretch * surface.x,
        y=stretch * surface.y,
        marks=marks,
        direction_names=names,
        explained_variance=np.array(shares),
    )


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 5, 30])
@pytest.mark.parametrize("seed", [0, 3])
def test_no_texts_on_a_plane_with_a_path_overlap(count, seed):
    figure = plot.draw([planed(path(count, seed))])
    (ax,) = panels(figure)
    boxes = [text.get_window_extent() for text in ax.texts if text.get_text()]
    assert len(with_gid(ax, "name")) >= min(count, 2)
    for one, other in combinations(boxes, 2):
        assert not one.overlaps(other)


def test_names_of_snapshots_do_not_cover_the_path():
    (ax,) = panels(plot.draw([planed(path(12))]))
    places = ax.transData.transform([mark.coordinates for mark in path(12)])
    for text in with_gid(ax, "name"):
        assert text.get_window_extent().count_contains(places) == 0


def test_the_first_and_the_last_epoch_are_named():
    (ax,) = panels(plot.draw([planed(path(12))]))
    names = {text.get_text() for text in with_gid(ax, "name")}
    assert {"0", "11"} <= names


def test_snapshots_outside_the_view_have_no_name():
    marks = (
        *path(3),
        Mark("epoch 9", "snapshot", (5.0, 5.0)),
        Mark("epoch 10", "snapshot", (0.3, 0.3)),
    )
    (ax,) = panels(plot.draw([planed(marks)]))
    assert "9" not in {text.get_text() for text in with_gid(ax, "name")}


@pytest.mark.parametrize("kind", ["filled", "surface"])
def test_planes_of_two_runs_have_their_own_axes(kind):
    first = planed(path(4), names=("pca:a", "pca:a"), shares=(0.9, 0.05))
    second = planed(path(4, scale=9), ("pca:b", "pca:b"), (0.7, 0.2), stretch=10.0)
    one, other = panels(plot.draw([first, second], kind=kind))
    assert one.get_xlabel() == "component 1 (90.0 %)"
    assert other.get_xlabel() == "component 1 (70.0 %)"
    assert other.get_ylabel() == "component 2 (20.0 %)"
    assert one.get_xlim()[1] < 2 < other.get_xlim()[1]


def test_marks_are_outside_by_the_view_of_their_own_panel():
    first = planed((Mark("far", "checkpoint", (5.0, 5.0)),), shares=(0.9, 0.05))
    second = planed((), shares=(0.7, 0.2), stretch=10.0)
    assert legend_texts(plot.draw([first, second])) == ["far (outside)"]


def test_planes_on_their_own_axes_share_levels():
    surfaces = [planed((), shares=shares) for shares in ((0.9, 0.05), (0.7, 0.2))]
    first, second = (ax.collections[0].levels for ax in panels(plot.draw(surfaces)))
    np.testing.assert_array_equal(first, second)


def line(function, far_loss):
    surface = make_surface(function, nx=41, is_line=True, splits=("train",))
    marks = (
        Mark("a", "checkpoint", (0.0,), plane_loss={"train": surface.center_loss["train"]}),
        Mark("b", "checkpoint", (1.0,), plane_loss={"train": far_loss}),
    )
    return replace(surface, accuracy={}, marks=marks, direction_names=("to:b.pt",))


def test_a_barrier_is_drawn_with_its_height():
    ax = plot.plot_profile(line(lambda x, y: 1 + x + 2 * np.sin(np.pi * x) ** 2, 2.0))
    x = np.linspace(-1, 1, 41)
    between = (x > 0) & (x < 1)
    height = (1 + x + 2 * np.sin(np.pi * x) ** 2)[between].max() - 2.0
    assert [text.get_text() for text in with_gid(ax, "barrier")] == [f"barrier {height:.3g}"]


def test_a_line_without_a_barrier_has_none():
    assert with_gid(plot.plot_profile(line(lambda x, y: 2 + x, 3.0)), "barrier") == []


def test_both_ends_of_the_way_to_a_checkpoint_have_a_tick():
    ax = plot.plot_profile(line(lambda x, y: 2 + x, 3.0))
    assert {0.0, 1.0} <= set(ax.get_xticks().tolist())


def test_marked_points_have_small_ticks():
    (ax,) = panels(plot.draw([planed(path(4))]))
    expected = sorted({mark.coordinates[0] for mark in path(4)})
    ticks = np.array([*ax.get_xticks(), *ax.get_xticks(minor=True)])
    assert np.abs(ticks[:, None] - expected).min(axis=0).max() < 1e-9
