"""Curvature along training, and the layers that eigenvectors are in."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from figures import legend_texts, with_gid
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from landscape import plot
from landscape.errors import InputError
from landscape.plot.spectrum_figures import group_by_layer
from landscape.results.eigenvalue_history import CurvatureHistory
from landscape.results.provenance import Provenance
from landscape.results.spectrum import Spectrum


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def make_history(
    top=(10.0, 8.0, 9.0, 7.0),
    *,
    rate=0.2,
    residual=1e-6,
    bottom=(-2.0, -1.5, -1.0, -0.9),
    **changes,
):
    top, count = np.array(top)[:, None], len(top)
    bottom = np.array(bottom)[:, None] if bottom else np.empty((count, 0))
    history = CurvatureHistory(
        epoch=np.arange(count) * 1.0,
        eigenvalues=np.hstack([top, top / 2]),
        residuals=np.full((count, 2), residual),
        bottom_eigenvalues=bottom,
        bottom_residuals=np.full(bottom.shape, residual),
        num_matvecs=np.full(count, 30),
        converged=np.ones(count, bool),
        loss=np.ones(count),
        learning_rate=np.full(count, rate),
        overlaps=np.full(count, np.nan),
        done=np.ones(count, bool),
        split="train",
        provenance=Provenance(),
    )
    return replace(history, **changes)


def test_a_curve_is_the_largest_eigenvalue_against_the_epoch():
    ax = plot.plot_curvature_history(make_history(rate=np.nan))
    assert ax.lines[0].get_xydata().tolist() == [[0, 10], [1, 8], [2, 9], [3, 7]]


def test_the_smallest_eigenvalue_has_a_panel_of_its_own_with_its_sign_changed():
    _, lower = plot.draw([make_history()]).axes
    assert lower.get_ylabel().startswith("\N{MINUS SIGN}")
    assert lower.lines[0].get_ydata().tolist() == [2.0, 1.5, 1.0, 0.9]


def test_without_a_smallest_eigenvalue_there_is_one_panel():
    assert len(plot.draw([make_history(bottom=())]).axes) == 1


def test_the_edge_of_stability_is_two_over_the_learning_rate():
    ax = plot.plot_curvature_history(make_history(rate=0.2))
    (line,) = with_gid(ax, "edge-of-stability")
    assert set(line.get_ydata()) == {10.0}
    assert "2 / learning rate" in legend_texts(ax.figure)


def test_an_unknown_learning_rate_has_no_line():
    ax = plot.plot_curvature_history(make_history(rate=np.nan))
    assert with_gid(ax, "edge-of-stability") == []
    assert legend_texts(ax.figure) == []


def test_a_line_far_above_the_eigenvalues_is_in_the_legend_alone():
    ax = plot.plot_curvature_history(make_history(rate=0.001))
    assert with_gid(ax, "edge-of-stability") == []
    assert legend_texts(ax.figure) == ["2 / learning rate (above the axis, from 2000)"]
    assert ax.get_ylim()[1] < 20


def test_a_schedule_that_ends_at_zero_leaves_the_lowest_line_in_view():
    rates = np.array([0.2, 0.1, 0.01, 0.0])
    ax = plot.plot_curvature_history(make_history(learning_rate=rates))
    low, high = ax.get_ylim()
    assert low < 7
    assert 10 < high < 20


def test_runs_of_one_schedule_share_the_grey_of_its_line_and_others_have_their_own():
    def colors(*rates):
        ax = plot.plot_curvature_history(
            [make_history(rate=rate) for rate in rates], labels=["a", "b"]
        )
        return [line.get_color() for line in with_gid(ax, "edge-of-stability")], [
            line.get_color() for line in ax.lines
        ]

    same, _ = colors(0.2, 0.2)
    other, curves = colors(0.2, 0.1)
    assert same == ["0.45", "0.45"]
    assert "0.45" not in other
    assert set(other) <= set(curves)


def test_snapshots_that_did_not_converge_have_open_markers_and_are_named():
    history = make_history(converged=np.array([True, False, True, True]))
    ax = plot.plot_curvature_history(history)
    (line,) = with_gid(ax, "not-converged")
    assert line.get_xdata().tolist() == [1]
    assert line.get_markerfacecolor() == "white"
    assert "not converged" in legend_texts(ax.figure)


@pytest.mark.parametrize(("residual", "is_drawn"), [(1.0, True), (1e-4, False)])
def test_residuals_are_drawn_where_they_can_be_seen(residual, is_drawn):
    ax = plot.plot_curvature_history(make_history(residual=residual))
    assert any(isinstance(container, ErrorbarContainer) for container in ax.containers) == is_drawn


def test_snapshots_that_are_not_done_are_left_out():
    ax = plot.plot_curvature_history(
        make_history(done=np.array([True, True, False, False]), rate=np.nan)
    )
    assert ax.lines[0].get_xdata().tolist() == [0, 1]


def test_eigenvalues_over_decades_are_on_a_log_axis():
    assert (
        plot.plot_curvature_history(make_history((2000.0, 100.0, 20.0, 9.0))).get_yscale() == "log"
    )


def test_a_largest_eigenvalue_below_zero_is_drawn_below_a_line_at_zero():
    ax = plot.plot_curvature_history(make_history((10.0, 5.0, -1.0, -0.5)))
    assert ax.get_ylim()[0] < -1.0
    assert ax.get_yscale() == "linear"


def test_runs_are_named_by_colour():
    figure = plot.draw([make_history(), make_history()], labels=["SGD", "SAM"])
    assert legend_texts(figure)[:2] == ["SGD", "SAM"]


def test_curvature_is_drawn_on_the_axes_that_are_given():
    ax = Figure(layout="constrained").add_subplot()
    assert plot.plot_curvature_history(make_history(), ax=ax) is ax
    assert len(ax.figure.axes) == 1


def test_a_history_of_nothing_that_is_finite_is_an_error():
    with pytest.raises(InputError, match="at least one finite eigenvalue"):
        plot.draw([make_history(done=np.zeros(4, bool))])


def test_another_split_of_a_curvature_history_is_an_error():
    with pytest.raises(InputError, match=r"'test'.*Splits: train"):
        plot.draw([make_history()], split="test")


def make_spectrum(shares):
    return Spectrum(
        np.array([3.0, 2.0]),
        np.ones(2),
        np.array([-1.0]),
        np.ones(1),
        20,
        True,
        1e-4,
        1e-6,
        "lanczos",
        0.5,
        None,
        "train",
        Provenance(),
        layer_shares={name: np.array(share) for name, share in shares.items()},
    )


SHARES = {
    "a.weight": (0.75, 0.5, 0.0),
    "a.bias": (0.001, 0.25, 0.0),
    "b.weight": (0.249, 0.25, 1.0),
}


def test_a_table_of_layers_has_a_row_a_tensor_and_a_column_an_eigenvector():
    ax = plot.plot_layer_shares(make_spectrum(SHARES))
    np.testing.assert_allclose(ax.images[0].get_array(), 100 * np.array(list(SHARES.values())))
    assert [label.get_text() for label in ax.get_yticklabels()] == list(SHARES)
    names = [label.get_text() for label in ax.get_xticklabels()]
    assert names == [r"$\lambda_{1}$", r"$\lambda_{2}$", r"$\lambda_{P}$"]


def test_shares_of_more_than_almost_nothing_are_printed():
    texts = [text.get_text() for text in plot.plot_layer_shares(make_spectrum(SHARES)).texts]
    assert texts == ["75", "50", "25", "25", "25", "100"]


def test_many_tensors_are_added_up_by_layer_and_by_block():
    names = [
        f"block{i}.{j}.{part}" for i in range(3) for j in range(4) for part in ("weight", "bias")
    ]
    shares = {name: np.array([1 / 24, i / 276]) for i, name in enumerate(names)}
    by_layer, by_block = group_by_layer(shares, 12), group_by_layer(shares, 11)
    assert list(by_layer)[:2] == ["block0.0", "block0.1"]
    assert list(by_block) == ["block0", "block1", "block2"]
    for groups in (by_layer, by_block, group_by_layer(shares, 1)):
        np.testing.assert_allclose(sum(groups.values()), 1.0)
    assert group_by_layer(shares, 24) == shares


def test_a_spectrum_with_shares_can_be_drawn_as_layers_and_another_cannot():
    assert plot.kinds_of(make_spectrum(SHARES)) == ("eigenvalues", "layers")
    assert plot.kinds_of(make_spectrum({})) == ("eigenvalues",)
    with pytest.raises(InputError, match="got 'layers'"):
        plot.draw([make_spectrum({})], kind="layers")


def test_layers_are_drawn_of_one_spectrum():
    with pytest.raises(InputError, match="layers are drawn of one spectrum, got 2"):
        plot.draw([make_spectrum(SHARES)] * 2, kind="layers")


def test_layers_without_shares_are_an_error():
    with pytest.raises(InputError, match="the spectrum has none"):
        plot.plot_layer_shares(make_spectrum({}))


def test_the_axis_says_what_the_positions_count():
    ax = plot.plot_curvature_history(make_history(unit="step"))
    assert {each.get_xlabel() for each in ax.figure.axes} == {"", "step"}


def test_a_wild_eigenvalue_leaves_the_others_half_of_the_height():
    values = (1e6, 20.0, 9.0, 7.0)
    ax = plot.plot_curvature_history(make_history(values, rate=np.nan))
    heights = ax.transAxes.inverted().transform(ax.transData.transform([(0, 20), (0, 7)]))[:, 1]
    assert heights[0] - heights[1] >= 0.5
    assert [text.get_text() for text in ax.texts] == ["1e6"]
