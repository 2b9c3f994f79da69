import numpy as np
import pytest
from figures import legend_texts, panels, with_gid

from landscape.results.history import make_history
from landscape.study.presentation import draw_curves
from landscape.study.summary import Setting, Summary


def history(accuracy, *, radius=0.05, num_gradients=7, **columns):
    rows = [
        {"epoch": epoch, "test_accuracy": value, "num_gradients": num_gradients, **columns}
        for epoch, value in enumerate(accuracy, 1)
    ]
    return make_history(rows, {"sharpness_rho": radius})


def draw(*settings):
    chosen = tuple(
        Setting(
            variant, factors, tuple(range(len(histories))), len(histories), {}, tuple(histories)
        )
        for variant, factors, histories in settings
    )
    return draw_curves(Summary(chosen, chosen, (), (), len(chosen), len(chosen)))


RUNS = [history([0.5, 0.6, 0.9, 1.0]), history([0.7, 0.6, 0.8, 1.0])]


def test_a_curve_is_the_mean_over_seeds_in_percent_with_the_sample_deviation():
    (ax,) = panels(draw(("SGD", {}, RUNS))["accuracy"])
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[1, 60], [2, 60], [3, 85], [4, 100]])
    corners = with_gid(ax, "deviation")[0].get_paths()[0].vertices
    deviation = np.std([50, 70], ddof=1)
    np.testing.assert_allclose(np.ptp(corners[corners[:, 0] == 1, 1]), 2 * deviation)


def test_gradient_evaluations_add_up_over_the_epochs():
    (ax,) = panels(draw(("SGD", {}, RUNS))["accuracy-gradients"])
    assert ax.lines[0].get_xdata().tolist() == [7, 14, 21, 28]


def test_variants_are_curves_and_values_of_the_grid_are_panels():
    settings = [
        (variant, {"batch_size": size, **({"rho": 0.1} if variant == "SAM" else {})}, RUNS)
        for variant in ("SGD", "SAM")
        for size in (32, 64)
    ]
    figure = draw(*settings)["accuracy"]
    assert [ax.get_title() for ax in panels(figure)] == ["batch size 32", "batch size 64"]
    assert legend_texts(figure) == ["SGD", "SAM, rho 0.1"]


@pytest.mark.parametrize(
    ("radii", "label", "names"),
    [
        ((0.05, 0.05), "first-order sharpness\nradius 0.05", ["SGD", "SAM"]),
        ((0.05, 0.2), "first-order sharpness", ["SGD (radius 0.05)", "SAM (radius 0.2)"]),
    ],
)
def test_the_radius_of_a_sharpness_is_said_once_or_for_each_curve(radii, label, names):
    runs = [[history([0.5] * 4, radius=radius, first_order_sharpness=0.1)] for radius in radii]
    figure = draw(("SGD", {}, runs[0]), ("SAM", {}, runs[1]))["first-order-sharpness"]
    assert panels(figure)[0].get_ylabel() == label
    assert legend_texts(figure) == names


def test_what_was_not_measured_has_no_figure_and_a_loss_takes_the_place_of_an_accuracy():
    assert draw(("SGD", {}, [history([np.nan] * 4, test_loss=0.5)])).keys() == {
        "loss",
        "loss-gradients",
    }
