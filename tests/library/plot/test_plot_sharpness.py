"""Sharpness against the radius, and differences of it."""

import math
import warnings
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from figures import legend_texts, with_gid

from landscape import plot
from landscape.errors import InputError
from landscape.io.store import read_result, write_result
from landscape.results.provenance import Provenance
from landscape.results.sharpness import Difference, Measure, Sharpness, SharpnessComparison, Taylor

RHOS = (0.1, 0.2, 0.4)
TAYLOR = Taylor(
    0.5, ascent_curvature=3.0, lambda_max=4.0, trace=20.0, trace_error=1.0, num_parameters=10
)


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def make_measure(name="asc", rho=0.1, value=None, **changes):
    is_average = name == "avg"
    value = (rho**2 if is_average else 0.5 * rho + 2 * rho**2) if value is None else value
    steps = {"asc": 1, "nstep": 5, "max": 20}.get(name, 0)
    share = None if name == "first_order" else 1.0
    measure = Measure(
        name, rho, 1 + value, value, 0.1 * value if is_average else None, 2.0, False, steps, share
    )
    return replace(measure, **changes)


def make_sharpness(names=("asc", "avg"), rhos=RHOS, *, taylor=TAYLOR, factor=1.0, **changes):
    measures = [make_measure(name, rho, **changes) for name in names for rho in rhos]
    measures = tuple(replace(each, sharpness=factor * each.sharpness) for each in measures)
    return Sharpness(1.0, 0.9, 0.5, measures, "train", Provenance(), taylor=taylor)


def make_comparison(*verdicts, **changes):
    values = {"lower": -1.0, "higher": 1.0, "not distinguishable": 0.2}
    differences = tuple(
        Difference(
            "asc", 0.1, f"a{i}", "b", values[v], values[v] - 0.5, values[v] + 0.5, 0.95, v, "data"
        )
        for i, v in enumerate(verdicts)
    )
    checkpoints = (make_sharpness(), make_sharpness(factor=2.0))
    return replace(SharpnessComparison(("sgd", "sam"), checkpoints, differences), **changes)


def points(ax, gid="measured"):
    return [line.get_xydata().tolist() for line in with_gid(ax, gid)]


def note(figure):
    return figure.legends[0].get_title().get_text().replace("\n", " ")


def test_a_curve_is_the_measure_against_the_radius_in_a_panel_of_its_own():
    ascent, average = plot.plot_sharpness(make_sharpness()).axes
    assert points(ascent) == [[[rho, 0.5 * rho + 2 * rho**2] for rho in RHOS]]
    assert points(average) == [[[rho, rho**2] for rho in RHOS]]
    assert [ax.get_title() for ax in (ascent, average)] == ["one ascent step", "average"]
    assert ascent.get_xscale() == ascent.get_yscale() == "log"


def test_radii_are_in_order_whatever_the_order_of_the_call():
    (ax,) = plot.plot_sharpness(make_sharpness(("asc",), rhos=(0.4, 0.1, 0.2))).axes
    assert [x for x, _ in points(ax)[0]] == list(RHOS)


def test_a_band_is_95_percent_of_the_error_from_directions_and_data():
    result = make_sharpness(("avg",), data_error=0.003)
    (ax,) = plot.plot_sharpness(result).axes
    (band,) = with_gid(ax, "interval")
    measure = result.measures[-1]
    half = NormalDist().inv_cdf(0.975) * math.hypot(measure.standard_error, 0.003)
    heights = band.get_paths()[0].vertices
    assert heights[heights[:, 0] == 0.4, 1].max() == pytest.approx(measure.sharpness + half)


def test_a_measure_without_errors_has_no_band():
    figure = plot.plot_sharpness(make_sharpness(("asc",)))
    assert with_gid(figure.axes[0], "interval") == []
    assert "95 % interval" not in legend_texts(figure)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("asc", [lambda r: 0.5 * r + r**2 / 2 * 3.0]),
        ("max", [lambda r: r**2 / 2 * 4.0, lambda r: 0.5 * r + r**2 / 2 * 4.0]),
        ("avg", [lambda r: r**2 * 20.0 / (2 * 10)]),
        ("nstep", []),
    ],
)
def test_the_second_order_is_what_gradient_and_hessian_predict(name, expected):
    (ax,) = plot.plot_sharpness(make_sharpness((name,))).axes
    lines = with_gid(ax, "second-order")
    assert len(lines) == len(expected)
    for line, function in zip(lines, expected, strict=True):
        np.testing.assert_allclose(line.get_ydata(), function(line.get_xdata()), rtol=1e-12)


@pytest.mark.parametrize(("name", "count"), [("asc", 1), ("nstep", 1), ("max", 1), ("avg", 0)])
def test_the_first_order_is_rho_times_the_gradient_norm_and_nothing_for_the_average(name, count):
    (ax,) = plot.plot_sharpness(make_sharpness((name,))).axes
    lines = with_gid(ax, "first-order")
    assert len(lines) == count
    for line in lines:
        np.testing.assert_allclose(line.get_ydata(), 0.5 * line.get_xdata(), rtol=1e-12)


def test_the_error_of_the_trace_is_a_band_around_the_prediction():
    (ax,) = plot.plot_sharpness(make_sharpness(("avg",))).axes
    (band,) = with_gid(ax, "trace-error")
    heights = band.get_paths()[0].vertices
    top = heights[np.isclose(heights[:, 0], 0.4), 1].max()
    assert top == pytest.approx(0.4**2 * (20 + NormalDist().inv_cdf(0.975)) / 20)


def test_gaussian_perturbations_are_predicted_at_their_own_length():
    (ax,) = plot.plot_sharpness(make_sharpness(("avg",), radius_share=3.0)).axes
    (line,) = with_gid(ax, "second-order")
    np.testing.assert_allclose(line.get_ydata(), 9 * line.get_xdata() ** 2, rtol=1e-12)


@pytest.mark.parametrize("changes", [{"taylor": None}, {"taylor": Taylor(0.5)}, {"m": 128}])
def test_what_is_not_known_of_the_same_examples_is_not_predicted(changes):
    figure = plot.plot_sharpness(make_sharpness(("asc", "max", "avg"), **changes))
    assert [with_gid(ax, "second-order") for ax in figure.axes] == [[], [], []]
    assert "second order" not in legend_texts(figure)


def test_the_largest_eigenvalue_bounds_the_maximum_in_the_euclidean_ball_alone():
    (ax,) = plot.plot_sharpness(make_sharpness(("max",), p=math.inf)).axes
    assert with_gid(ax, "second-order") == []


def test_the_first_order_of_batches_is_the_one_that_was_measured():
    (ax,) = plot.plot_sharpness(make_sharpness(("asc", "first_order"), m=16)).axes
    (line,) = with_gid(ax, "first-order")
    slope = make_measure("first_order", 0.1).sharpness / 0.1
    np.testing.assert_allclose(line.get_ydata(), slope * line.get_xdata(), rtol=1e-12)


def test_the_first_order_alone_has_a_panel():
    (ax,) = plot.plot_sharpness(make_sharpness(("first_order",))).axes
    assert ax.get_title() == "first order"


def test_checkpoints_have_colours_and_names():
    figure = plot.draw([make_sharpness(), make_sharpness(factor=3.0)], labels=["sgd", "sam"])
    for ax in figure.axes:
        assert len({line.get_color() for line in with_gid(ax, "measured")}) == 2
    assert {"sgd", "sam", "first order", "second order", "95 % interval"} <= set(
        legend_texts(figure)
    )


def test_a_group_has_one_colour_and_one_name():
    figure = plot.draw([make_comparison(group_of=("seeds", "seeds"))], kind="sharpness")
    assert len({line.get_color() for line in with_gid(figure.axes[0], "measured")}) == 1
    assert legend_texts(figure).count("seeds") == 1
    assert [with_gid(ax, "interval") for ax in figure.axes] == [[], []]


def test_what_differs_on_both_sides_is_in_the_rows():
    (lower,) = make_comparison("lower").differences
    figure = plot.plot_differences(
        make_comparison(differences=(lower, replace(lower, first="b", second="c")))
    )
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["a0 \N{MINUS SIGN} b", "b \N{MINUS SIGN} c"]
    assert note(figure).startswith("differences: rise")


def test_measures_that_did_not_converge_are_open():
    figure = plot.plot_sharpness(make_sharpness(("max",), converged=False))
    assert len(points(figure.axes[0], "not-converged")[0]) == len(RHOS)
    assert "not converged" in legend_texts(figure)


def test_two_dotted_lines_are_explained():
    figure = plot.plot_sharpness(make_sharpness(("max",)))
    assert "the maximum is between its two dotted lines" in note(figure)


def test_rises_of_both_signs_are_on_an_axis_that_has_them_and_says_so():
    measures = tuple(
        make_measure("asc", rho, value) for rho, value in zip(RHOS, (1e-5, 1e-3, -2.0), strict=True)
    )
    (ax,) = plot.plot_sharpness(replace(make_sharpness(), measures=measures)).axes
    assert ax.get_yscale() == "symlog"
    assert "symmetric log scale" in ax.get_ylabel()
    assert ax.get_ylim()[0] < -2.0


def test_an_interval_that_contains_0_goes_to_the_foot_of_a_logarithmic_axis():
    (ax,) = plot.plot_sharpness(make_sharpness(("avg",), standard_error=1.0)).axes
    (band,) = with_gid(ax, "interval")
    assert band.get_paths()[0].vertices[:, 1].min() > 0
    assert band.get_paths()[0].vertices[:, 1].min() < ax.get_ylim()[0]


def test_measures_of_one_radius_are_dots_with_their_errors():
    (ax,) = plot.draw([make_sharpness(("asc", "max", "avg"), rhos=(0.1,))]).axes
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "one ascent step",
        "maximum (from below)",
        "average",
    ]
    assert [xy[0][0] for xy in points(ax)] == pytest.approx([0.07, 0.07, 0.01])
    assert len(ax.containers) == 1
    assert r"$\rho$ = 0.1" in ax.get_xlabel()


def test_radii_that_differ_by_measure_are_beside_its_name():
    measures = (make_measure("max", 0.001), make_measure("avg", 0.05))
    (ax,) = plot.draw([replace(make_sharpness(), measures=measures)]).axes
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == [r"maximum (from below) ($\rho$ = 0.001)", r"average ($\rho$ = 0.05)"]


def test_dots_of_both_signs_have_0_on_the_axis():
    measures = (make_measure("asc", 0.1, 0.5), make_measure("avg", 0.1, -0.4))
    (ax,) = plot.draw([replace(make_sharpness(), measures=measures, taylor=None)]).axes
    low, high = ax.get_xlim()
    assert low < -0.4
    assert high > 0.5


def test_the_axis_says_of_which_ball_the_radius_is():
    (ax,) = plot.draw([make_sharpness(("asc",), p=math.inf, adaptive=True, m=128)]).axes
    assert ax.get_xlabel().endswith("(p = \N{INFINITY}, adaptive, m = 128)")


def test_measures_of_different_balls_are_not_drawn_together():
    with pytest.raises(InputError, match=r"one ball and one size of batches, got p = 1; p = 2\."):
        plot.draw([make_sharpness(("asc",), p=1.0), make_sharpness(("asc",))])


def test_sharpness_that_is_nowhere_finite_is_refused():
    with pytest.raises(InputError, match="at least one finite measure"):
        plot.draw([make_sharpness(("asc",), value=math.nan)])


def test_sharpness_is_of_the_loss_and_of_its_split():
    with pytest.raises(
        InputError, match="sharpness is the rise of the loss, got the quantity 'accuracy'"
    ):
        plot.draw([make_sharpness()], quantity="accuracy")
    with pytest.raises(InputError, match="the split must be the one that was measured, got 'test'"):
        plot.draw([make_sharpness()], split="test")


def test_a_difference_has_its_interval_and_the_sign_of_its_verdict():
    figure = plot.draw(
        [make_comparison("lower", "higher", "not distinguishable")], kind="differences"
    )
    (ax,) = figure.axes
    assert points(ax, "interval") == [
        [[-1.5, 0], [-0.5, 0]],
        [[0.5, 1], [1.5, 1]],
        [[-0.3, 2], [0.7, 2]],
    ]
    assert points(ax, "difference") == [[[-1.0, 0]], [[1.0, 1]], [[0.2, 2]]]
    assert [dot.get_marker() for dot in with_gid(ax, "difference")] == ["<", ">", "o"]
    assert legend_texts(figure) == ["lower", "higher", "not distinguishable"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a0", "a1", "a2"]
    assert note(figure).startswith(r"each − b: rise of the train loss at $\rho$ = 0.1. ")


def test_the_ends_of_an_interval_stand_out_from_the_sign_of_its_difference():
    (ax,) = plot.plot_differences(make_comparison("lower", "higher")).axes
    signs = with_gid(ax, "difference")
    for interval, sign in zip(with_gid(ax, "interval"), signs, strict=True):
        assert interval.get_marker() == "|"
        assert interval.get_markersize() >= sign.get_markersize() + 3  # points


def test_only_verdicts_that_there_are_stand_in_the_legend():
    figure = plot.plot_differences(make_comparison("lower"))
    assert legend_texts(figure) == ["lower"]
    assert "Intervals: 95 %, from data." in note(figure)


def test_each_measure_has_a_panel_of_differences():
    comparison = make_comparison("lower", "higher")
    both = (*comparison.differences, replace(comparison.differences[0], name="avg"))
    titles = [
        ax.get_title() for ax in plot.plot_differences(replace(comparison, differences=both)).axes
    ]
    assert titles == ["one ascent step", "average"]


def test_what_is_no_measure_of_sharpness_comes_last():
    (lower,) = make_comparison("lower").differences
    gap = replace(lower, name="generalization_gap", rho=math.nan)
    ascent, other = plot.plot_differences(make_comparison(differences=(gap, lower))).axes
    assert [ascent.get_title(), other.get_title()] == ["one ascent step", "generalization gap"]


def test_radii_stand_in_the_rows_where_there_are_several():
    (lower,) = make_comparison("lower").differences
    figure = plot.plot_differences(make_comparison(differences=(lower, replace(lower, rho=0.2))))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        r"$\rho$ = 0.1",
        r"$\rho$ = 0.2",
    ]
    assert note(figure).startswith("a0 \N{MINUS SIGN} b: rise of the train loss. ")


def test_a_comparison_without_differences_has_no_such_figure():
    assert plot.kinds_of(make_comparison()) == ("sharpness",)
    assert plot.kinds_of(make_comparison("lower")) == ("sharpness", "differences")
    with pytest.raises(InputError, match="at least one finite difference"):
        plot.plot_differences(make_comparison())


def test_differences_of_two_comparisons_are_refused():
    with pytest.raises(InputError, match="differences are drawn of one comparison, got 2"):
        plot.draw([make_comparison("lower")] * 2, kind="differences")


@pytest.mark.parametrize("kind", ["sharpness", "differences"])
def test_a_stored_comparison_is_drawn(tmp_path, kind):
    write_result(tmp_path / "a.h5", make_comparison("lower"))
    figure = plot.draw([read_result(tmp_path / "a.h5")], kind=kind)
    plot.save_figure(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_differences_are_percents_of_the_second_with_caps_on_their_intervals():
    difference = Difference("asc", 0.1, "sam", "sgd", -0.02, -0.03, -0.01, 0.95, "lower", "data")
    comparison = make_comparison(differences=(difference,))
    (ax,) = plot.plot_differences(comparison).axes
    base = 0.5 * 0.1 + 2 * 0.1**2  # of asc in `make_measure`
    (dot,), (interval,) = with_gid(ax, "difference"), with_gid(ax, "interval")
    np.testing.assert_allclose(dot.get_xdata(), [-2 / base])
    np.testing.assert_allclose(interval.get_xdata(), [-3 / base, -1 / base])
    assert ax.get_xlabel() == "difference (% of sgd's)"
    assert interval.get_marker() == "|"
    assert interval.get_markersize() >= 5  # points
