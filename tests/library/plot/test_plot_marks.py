import warnings
from dataclasses import replace

import numpy as np
import pytest
from figures import bowl, color_bars, contours, legend_texts, make_surface, panels, with_gid
from matplotlib.figure import Figure

from landscape import plot
from landscape.errors import InputError
from landscape.plot.names import axis_labels
from landscape.plot.scale import choose_scale
from landscape.results.surface import Mark

PLANE_KINDS = ("filled", "contour", "heatmap", "surface")
CHECKPOINTS = (Mark("sgd", "checkpoint", (-0.5, 0.25)), Mark("sam", "checkpoint", (0.5, -0.25)))
ASCENT = Mark("ascent point", "ascent", (0.125, 0.5))
PATH = np.array([(-0.75, 0.75), (-0.5, 0.25), (-0.25, 0.0), (0.25, -0.25)])
DISTANCES = (0.0, 1.0, 1.5, 2.0)
SNAPSHOTS = tuple(
    Mark(
        f"epoch {i + 1}",
        "snapshot",
        tuple(at),
        distance,
        loss={"train": 2.0 - 0.3 * i},
        plane_loss={"train": 2.5 - 0.3 * i},
    )
    for i, (at, distance) in enumerate(zip(PATH.tolist(), DISTANCES, strict=True))
)


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def marked(*marks, **kwargs):
    return replace(make_surface(**kwargs), marks=marks)


def on_line(*positions):
    return tuple(Mark(f"checkpoint at {x}", "checkpoint", (x,)) for x in positions)


def data_of(line):
    """The coordinates of a line in the plane, (2, n)."""
    return np.array(line.get_data_3d()[:2] if hasattr(line, "get_data_3d") else line.get_data())


def positions(lines):
    return [tuple(data_of(line)[:, 0]) for line in lines]


def named(*names, **kwargs):
    return replace(make_surface(**kwargs), direction_names=names)


@pytest.mark.parametrize("kind", PLANE_KINDS)
def test_marks_are_at_their_coordinates(kind):
    ax = panels(plot.draw([marked(*CHECKPOINTS, ASCENT)], kind=kind))[0]
    assert positions(with_gid(ax, "mark")) == [(-0.5, 0.25), (0.5, -0.25), (0.125, 0.5)]


@pytest.mark.parametrize("kind", PLANE_KINDS)
def test_marks_are_named_under_the_figure(kind):
    assert legend_texts(plot.draw([marked(*CHECKPOINTS, ASCENT)], kind=kind)) == [
        "sgd",
        "sam",
        "ascent point",
    ]


def test_checkpoints_have_signs_of_their_own():
    marks = [Mark(f"seed {i}", "checkpoint", (0.1 * i - 0.8, 0.5)) for i in range(16)]
    lines = with_gid(plot.plot_contour(marked(*marks)), "mark")
    assert len({(line.get_marker(), line.get_markerfacecolor()) for line in lines}) == 16


def test_a_checkpoint_has_the_same_sign_in_every_panel():
    figure = plot.draw([marked(*CHECKPOINTS), marked(CHECKPOINTS[1])])
    (_, first), (second,) = (with_gid(ax, "mark") for ax in panels(figure))
    assert first.get_marker() == second.get_marker()
    assert legend_texts(figure) == ["sgd", "sam"]


@pytest.mark.parametrize("kind", PLANE_KINDS)
def test_a_mark_outside_the_view_changes_no_limits_and_is_mentioned(kind):
    plain, figure = (
        plot.draw([marked(*marks)], kind=kind)
        for marks in ((), (Mark("far", "checkpoint", (9.0, 0.0)),))
    )
    assert legend_texts(figure) == ["far (outside)"]
    (before,), (after,) = panels(plain), panels(figure)
    assert (after.get_xlim(), after.get_ylim()) == (before.get_xlim(), before.get_ylim())


def test_a_relief_shows_no_mark_outside_its_view():
    ax = plot.plot_surface3d(marked(Mark("far", "checkpoint", (9.0, 0.0))))
    (line,) = with_gid(ax, "mark")
    assert np.isnan(np.array(line.get_data_3d())[:2]).all()


def test_a_checkpoint_at_the_center_replaces_its_sign():
    ax = plot.plot_contour(marked(Mark("sgd", "checkpoint", (0.0, 0.0))))
    assert with_gid(ax, "center") == []
    assert positions(with_gid(ax, "mark")) == [(0.0, 0.0)]


def test_contour_labels_keep_clear_of_marks():
    surface = make_surface(nx=41, ny=41)
    scale = choose_scale([surface.loss["train"]])
    free = plot.plot_contour(surface, scale=scale, ax=Figure(figsize=(3, 3)).add_subplot())
    spots = [tuple(text.get_position()) for text in free.texts if text.get_text()]
    marks = [Mark(str(spot), "checkpoint", spot) for spot in spots]
    ax = plot.plot_contour(
        replace(surface, marks=marks), scale=scale, ax=Figure(figsize=(3, 3)).add_subplot()
    )
    labels = ax.transData.transform([text.get_position() for text in ax.texts if text.get_text()])
    gaps = labels[:, None] - ax.transData.transform(spots)
    assert len(spots) > 1
    assert np.hypot(gaps[..., 0], gaps[..., 1]).min() * 72 / ax.get_figure().dpi > 12


def test_a_name_with_dollar_signs_is_drawn_as_it_is():
    figure = plot.draw([marked(Mark("run_$1$", "checkpoint", (0.0, 0.5)))])
    assert legend_texts(figure) == [r"run_\$1\$"]


def test_a_long_name_is_shortened_in_its_middle():
    (text,) = legend_texts(
        plot.draw([marked(Mark("runs/" + 50 * "x" + "/last.pt", "checkpoint", (0.0, 0.5)))])
    )
    assert text.startswith("runs/x")
    assert text.endswith("x/last.pt")
    assert len(text) < 30


@pytest.mark.parametrize("kind", PLANE_KINDS)
def test_a_trajectory_goes_through_its_snapshots_in_order(kind):
    ax = panels(plot.draw([marked(*SNAPSHOTS)], kind=kind))[0]
    (line,) = with_gid(ax, "trajectory")
    np.testing.assert_array_equal(data_of(line).T, PATH)


def test_both_ends_of_a_trajectory_are_told_apart():
    figure = plot.draw([marked(*SNAPSHOTS)])
    first, last = with_gid(panels(figure)[0], "mark")
    assert positions([first, last]) == [tuple(PATH[0]), tuple(PATH[-1])]
    assert first.get_marker() != last.get_marker()
    assert legend_texts(figure) == ["first: epoch 1", "last: epoch 4"]


def test_the_sign_of_the_last_snapshot_is_over_that_of_its_checkpoint():
    checkpoint = Mark("last", "checkpoint", SNAPSHOTS[-1].coordinates)
    signs = with_gid(panels(plot.draw([marked(checkpoint, *SNAPSHOTS)]))[0], "mark")
    assert [sign.get_marker() for sign in signs] == ["s", "o", "*"]


def test_snapshots_get_darker_with_training():
    (dots,) = with_gid(plot.plot_contour(marked(*SNAPSHOTS)), "snapshots")
    assert (np.diff(dots.get_facecolors()[:, :3].sum(axis=1)) < 0).all()


def test_snapshots_outside_the_view_are_counted():
    far = [Mark(f"epoch {i}", "snapshot", (-3.0 + i, 0.0)) for i in range(4)]
    texts = legend_texts(plot.draw([marked(*far)]))
    assert texts == ["first: epoch 0 (outside)", "last: epoch 3", "1 more snapshot outside"]


@pytest.mark.parametrize("kind", [*PLANE_KINDS, "trajectory"])
def test_snapshots_of_a_run_that_diverged_are_outside(kind):
    lost = Mark(
        "epoch 5",
        "snapshot",
        (np.nan, np.nan),
        np.inf,
        loss={"train": np.nan},
        plane_loss={"train": np.inf},
    )
    texts = legend_texts(plot.draw([marked(*SNAPSHOTS, lost)], kind=kind))
    assert texts[:2] == ["first: epoch 1", "last: epoch 5 (outside)"]


def test_one_snapshot_is_a_trajectory():
    assert legend_texts(plot.draw([marked(SNAPSHOTS[0])], kind="trajectory"))[0] == "first: epoch 1"


def test_a_trajectory_has_the_losses_and_the_distances_of_its_snapshots_under_it():
    figure = plot.draw([marked(*SNAPSHOTS)], kind="trajectory")
    _, losses, distances = panels(figure)
    projected, own = (line.get_ydata() for line in losses.lines)
    np.testing.assert_allclose(own, [2.0, 1.7, 1.4, 1.1])
    np.testing.assert_allclose(projected, [2.5, 2.2, 1.9, 1.6])
    np.testing.assert_allclose(distances.lines[0].get_ydata(), DISTANCES)
    np.testing.assert_array_equal(distances.lines[0].get_xdata(), [1, 2, 3, 4])
    assert (losses.get_ylabel(), distances.get_xlabel()) == ("train loss", "snapshot")


def test_losses_of_a_trajectory_over_decades_are_on_a_log_axis_that_says_so():
    marks = [replace(mark, loss={"train": 10.0**-i}) for i, mark in enumerate(SNAPSHOTS)]
    losses = panels(plot.draw([marked(*marks)], kind="trajectory"))[1]
    assert losses.get_yscale() == "log"
    assert losses.get_ylabel() == "train loss\n(log scale)"


def test_a_trajectory_without_losses_has_the_distances_alone():
    marks = [replace(mark, loss={}, plane_loss={}) for mark in SNAPSHOTS]
    labels = [ax.get_ylabel() for ax in panels(plot.draw([marked(*marks)], kind="trajectory"))]
    assert labels[1:] == ["distance\nout of plane"]


def test_a_trajectory_of_a_surface_without_snapshots_is_an_error():
    with pytest.raises(InputError, match="needs a surface with snapshots, got none"):
        plot.draw([marked(*CHECKPOINTS)], kind="trajectory")


def test_a_trajectory_of_two_surfaces_is_an_error():
    with pytest.raises(InputError, match="of one surface, got 2"):
        plot.draw([marked(*SNAPSHOTS)] * 2, kind="trajectory")


def test_marks_on_a_line_are_on_its_curve():
    surface = replace(make_surface(bowl, nx=41, is_line=True), marks=on_line(-0.5, 1.0))
    marks = with_gid(plot.plot_profile(surface, split="train"), "mark")
    np.testing.assert_allclose(positions(marks), [(-0.5, 1.25), (1.0, 3.5)])


def test_a_mark_on_a_line_is_at_the_loss_measured_there_where_there_is_one():
    mark = Mark("sam", "checkpoint", (0.3,), plane_loss={"train": 0.9})
    surface = replace(make_surface(nx=5, is_line=True), marks=(mark,))
    assert positions(with_gid(plot.plot_profile(surface, split="train"), "mark")) == [(0.3, 0.9)]


def test_a_mark_at_the_center_of_a_line_is_at_the_loss_of_the_center():
    surface = replace(make_surface(nx=6, is_line=True), marks=on_line(0.0))
    (mark,) = with_gid(plot.plot_profile(surface, split="train"), "mark")
    assert positions([mark]) == [(0.0, surface.center_loss["train"])]


def test_snapshots_on_a_line_are_not_joined():
    snapshots = tuple(replace(mark, coordinates=mark.coordinates[:1]) for mark in SNAPSHOTS)
    ax = plot.plot_profile(replace(make_surface(is_line=True), marks=snapshots), split="train")
    assert with_gid(ax, "snapshots")
    assert not with_gid(ax, "trajectory")


def test_marks_on_one_curve_leave_room_for_the_next():
    surface = replace(make_surface(is_line=True), marks=on_line(0.5))
    ax = plot.plot_profile(surface)
    assert ax.get_ylim()[1] > surface.loss["test"].max() > surface.loss["train"].max()


def test_a_mark_beyond_the_ends_of_a_line_is_mentioned():
    surface = replace(make_surface(is_line=True), marks=on_line(2.0))
    figure = plot.draw([surface])
    assert legend_texts(figure) == ["checkpoint at 2.0 (outside)"]
    assert figure.axes[0].get_xlim()[1] < 1.5


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("random", "direction 1 (filter norms)"),
        ("to:runs/a/sam.pt", "towards sam"),
        ("eigen:3", "eigenvector 3 (distance)"),
        ("eigen:2:runs/hessian.h5", "eigenvector 2 (distance)"),
        ("gradient", "gradient (distance)"),
        ("ascent", "towards the ascent point"),
        ("ascent:0.05", r"towards the ascent point ($\rho$ = 0.05)"),
        ("pca:runs/sam", "component 1"),
        ("my_$own$", r"my_\$own\$"),
    ],
)
def test_an_axis_is_named_after_its_direction(name, label):
    assert plot.plot_contour(named(name, "random")).get_xlabel() == label


def test_checkpoints_of_the_same_name_are_told_apart_by_their_folders():
    assert axis_labels(named("to:runs/a/last.pt", "to:runs/b/last.pt")) == (
        "towards a/last",
        "towards b/last",
    )


def test_components_are_numbered_and_state_their_share_of_the_variance():
    surface = replace(named("pca:runs", "pca:runs"), explained_variance=np.array([0.9312, 0.0423]))
    assert axis_labels(surface) == ("component 1 (93.1 %)", "component 2 (4.2 %)")


def test_a_surface_without_names_has_random_directions():
    assert axis_labels(make_surface()) == (
        "direction 1 (filter norms)",
        "direction 2 (filter norms)",
    )


def test_the_color_bar_of_a_trajectory_is_that_of_its_plane():
    figure = plot.draw([marked(*SNAPSHOTS)], kind="trajectory")
    assert len(contours(panels(figure)[0], filled=True)) == 1
    assert [bar.get_ylabel() for bar in color_bars(figure)] == ["train loss"]
