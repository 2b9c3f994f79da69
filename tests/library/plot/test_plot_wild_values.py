"""Values that would flatten all others in the figures of training."""

import numpy as np
import pytest
from figures import with_gid
from matplotlib.figure import Figure

from landscape import plot
from landscape.plot.seed_bands import Band, plot_bands
from landscape.plot.wild_values import highest_tame
from landscape.results.history import History

EPOCHS = 12
TAME = np.geomspace(2.0, 0.1, EPOCHS - 1)
WILD = np.append(1e6, TAME)


def share_of_height(ax, values):
    heights = ax.transAxes.inverted().transform(ax.transData.transform([(1, v) for v in values]))
    return np.ptp(heights[:, 1])


def wild_history(values=WILD):
    epoch, nothing = np.arange(1, len(values) + 1), np.full(len(values), np.nan)
    return History(epoch, nothing, np.asarray(values, float), *[nothing] * 6, seconds=nothing)


@pytest.mark.parametrize("rest", [TAME, np.geomspace(2.0, 1e-3, 11), np.linspace(2, 0.1, 30)])
def test_a_wild_first_epoch_leaves_the_others_half_of_the_height(rest):
    ax = plot.plot_history(wild_history(np.append(1e6, rest)), split="train").axes[0]
    assert share_of_height(ax, rest) >= 0.5


def test_wild_values_are_arrows_on_the_edge_and_the_highest_is_printed():
    ax = plot.plot_history(wild_history(), split="train").axes[0]
    (arrow,) = with_gid(ax, "beyond")
    assert arrow.get_xdata() == [1]
    assert [text.get_text() for text in ax.texts] == ["1e6"]


def test_the_curve_keeps_its_wild_value():
    ax = plot.plot_history(wild_history(), split="train").axes[0]
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), WILD)


@pytest.mark.parametrize(
    "values",
    [
        np.geomspace(10.0, 1e-3, 15),  # falls evenly
        np.geomspace(1.0, 1e6, 15),  # diverges evenly
        [2.3, 0.4, 0.3, 0.25],  # a usual first epoch
        [1e6, 2.0],  # nothing to flatten
        np.append(30.0, np.geomspace(2.0, 1e-3, 11)),  # visible on a logarithmic axis
        [0.0, 0.0, 0.0, 5.0],
    ],
)
def test_an_axis_holds_all_values_where_none_flattens_the_rest(values):
    assert highest_tame([np.asarray(values, float)]) == np.max(values)


def test_a_curve_on_a_level_of_its_own_is_not_wild():
    assert highest_tame([TAME, 1e6 * TAME]) == 2e6


def test_the_arrow_of_a_wild_epoch_touches_no_other_text():
    figure = plot.plot_history([wild_history(), wild_history(2 * WILD)], labels=["SGD", "SAM"])
    figure.canvas.draw()
    ax = figure.axes[0]
    (text,) = ax.texts
    box = text.get_window_extent()
    others = [each.get_window_extent() for each in (*ax.get_yticklabels(), ax.yaxis.label)]
    assert not any(box.overlaps(other) for other in others if other.width)
    assert figure.bbox.y1 >= box.y1


def test_means_of_a_study_with_a_wild_epoch_fill_half_of_the_height():
    band = Band("SGD", np.arange(1.0, EPOCHS + 1), WILD, np.full(EPOCHS, np.nan))
    figure = plot_bands({"": [band]}, xlabel="epoch", ylabel="test loss")
    assert isinstance(figure, Figure)
    assert share_of_height(figure.axes[0], TAME) >= 0.5
    assert with_gid(figure.axes[0], "beyond")
