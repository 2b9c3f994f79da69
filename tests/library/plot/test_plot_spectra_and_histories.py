import dataclasses
import warnings

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from landscape import plot
from landscape.errors import InputError
from landscape.results.history import History
from landscape.results.provenance import Provenance
from landscape.results.spectrum import Spectrum


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def make_spectrum(
    top=(120, 80, 60, 40, 33), bottom=(-6,), *, residual=0.01, converged=True, split="train"
):
    return Spectrum(
        eigenvalues=np.array(top, dtype=float),
        residuals=np.full(len(top), residual),
        bottom_eigenvalues=np.array(bottom, dtype=float),
        bottom_residuals=np.full(len(bottom), residual),
        num_matvecs=40,
        converged=converged,
        tolerance=1e-3,
        noise_floor=1e-6,
        engine="lanczos",
        loss=0.1,
        accuracy=0.9,
        split=split,
        provenance=Provenance(),
    )


def make_history(num_epochs=15, *, sharpness=np.nan):
    epoch = np.arange(1, num_epochs + 1)
    accuracy = 1 - 0.8 * np.exp(-epoch / 5)
    return History(
        epoch=epoch,
        learning_rate=np.full(num_epochs, 0.1),
        train_loss=1 / epoch,
        train_accuracy=accuracy,
        test_loss=1.2 / epoch,
        test_accuracy=accuracy - 0.05,
        test_top1_error=1.05 - accuracy,
        test_top5_error=(1.05 - accuracy) / 4,
        first_order_sharpness=np.full(num_epochs, sharpness),
        seconds=np.ones(num_epochs),
    )


def bars(ax):
    return [patch for patch in ax.patches if patch.get_width() > 0]


def panel(figure, label):
    return next(ax for ax in figure.axes if label in ax.get_ylabel())


def test_bars_are_the_eigenvalues_in_descending_order():
    heights = [
        bar.get_height() for bar in bars(plot.plot_eigenvalues(make_spectrum(bottom=(-6, -2))))
    ]
    assert heights == [120, 80, 60, 40, 33, -2, -6]


def test_the_smallest_eigenvalue_is_the_last_bar():
    ax = plot.plot_eigenvalues(make_spectrum(bottom=(-6, -2)))
    last = max(bars(ax), key=lambda bar: bar.get_x())
    assert last.get_height() == -6


def test_values_are_printed():
    texts = [text.get_text() for text in plot.plot_eigenvalues(make_spectrum()).texts]
    assert texts == ["120", "80", "60", "40", "33", "\N{MINUS SIGN}6"]


@pytest.mark.parametrize("bottom", [(-0.0183,), (-0.0183, -0.0122), (-0.5162, -0.0111)])
@pytest.mark.parametrize("top", [(1.23, 0.8, 0.6), (1.23, 0.8, 0.6, 0.512, 0.00123)])
def test_printed_values_touch_neither_each_other_nor_the_frame(top, bottom):
    figure = plot.draw(
        [make_spectrum(top, bottom), make_spectrum(top, bottom)], labels=["SGD", "SAM"]
    )
    figure.canvas.draw()
    (ax,) = figure.axes
    boxes = [text.get_window_extent() for text in ax.texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(ax.bbox.y0 <= box.y0 and box.y1 <= ax.bbox.y1 for box in boxes)


def test_checkpoints_are_side_by_side():
    ax = plot.plot_eigenvalues(
        [make_spectrum(), make_spectrum((30, 20, 10, 5, 4))], labels=["SGD", "SAM"]
    )
    first, second = bars(ax)[0], bars(ax)[6]
    assert first.get_x() + first.get_width() <= second.get_x() < 0.5


def test_checkpoints_are_named():
    ax = plot.plot_eigenvalues([make_spectrum(), make_spectrum()], labels=["SGD", "SAM"])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["SGD", "SAM"]


def test_residuals_that_can_be_seen_are_error_bars():
    ax = plot.plot_eigenvalues(make_spectrum(residual=5.0))
    assert any(isinstance(container, ErrorbarContainer) for container in ax.containers)


def test_error_bars_and_the_values_beyond_them_are_inside_the_axes():
    ax = plot.draw([make_spectrum(residual=20.0)]).axes[0]
    low, high = ax.get_ylim()
    ends = [text.xy[1] for text in ax.texts]
    assert low < min(ends) < max(ends) < high
    assert max(ends) > max(bar.get_height() for bar in ax.patches)


def test_residuals_that_cannot_be_seen_are_left_out():
    ax = plot.plot_eigenvalues(make_spectrum(residual=1e-6))
    assert not any(isinstance(container, ErrorbarContainer) for container in ax.containers)


def test_a_run_that_did_not_converge_is_hatched_and_named():
    ax = plot.plot_eigenvalues(make_spectrum(converged=False), labels=["SGD"])
    assert all(bar.get_hatch() for bar in bars(ax))
    assert ax.get_legend().get_texts()[0].get_text() == "SGD (not converged)"


def test_spectra_with_different_numbers_of_eigenvalues_are_drawn_together():
    ax = plot.plot_eigenvalues([make_spectrum(), make_spectrum((30, 20), ())])
    assert len(bars(ax)) == 8


def test_an_eigenvalue_that_is_not_finite_is_left_out():
    assert len(bars(plot.plot_eigenvalues(make_spectrum((5, np.nan, 1))))) == 3


def test_a_spectrum_without_a_finite_eigenvalue_is_an_error():
    with pytest.raises(InputError, match="at least one finite eigenvalue"):
        plot.draw([make_spectrum((np.nan,), ())])


def test_the_axis_names_the_split_of_a_spectrum():
    assert (
        plot.plot_eigenvalues(make_spectrum(split="test")).get_ylabel()
        == "Hessian eigenvalue (test loss)"
    )


def test_another_split_of_a_spectrum_is_an_error():
    with pytest.raises(InputError, match=r"'test'.*Splits: train"):
        plot.draw([make_spectrum()], split="test")


@pytest.mark.parametrize("result", [make_spectrum(), make_history()])
def test_the_accuracy_of_a_spectrum_or_history_is_an_error(result):
    with pytest.raises(InputError, match="got the quantity 'accuracy'"):
        plot.draw([result], quantity="accuracy")


def test_eigenvalues_are_drawn_on_the_axes_that_are_given():
    ax = Figure().add_subplot()
    assert plot.plot_eigenvalues(make_spectrum(), ax=ax) is ax


def test_every_run_has_a_line_for_each_split():
    figure = plot.plot_history([make_history(), make_history()], labels=["SGD", "SAM"])
    assert [line.get_linestyle() for line in panel(figure, "loss").lines] == ["-", "-", "--", "--"]


def test_one_split_of_a_history_can_be_drawn_alone():
    figure = plot.plot_history(make_history(), split="test")
    np.testing.assert_allclose(
        panel(figure, "test loss").lines[0].get_ydata(), 1.2 / np.arange(1, 16)
    )


def test_errors_are_in_percent():
    history = make_history()
    _, test = panel(plot.plot_history(history), "error").lines
    np.testing.assert_allclose(test.get_ydata(), 100 * history.test_top1_error)


def test_a_quantity_that_was_not_measured_has_no_panel():
    assert len(plot.plot_history(make_history()).axes) == 3


def test_first_order_sharpness_has_a_panel_where_a_run_measured_it():
    figure = plot.plot_history([make_history(), make_history(sharpness=0.2)])
    assert panel(figure, "first-order sharpness")


def test_ascent_sharpness_has_a_panel_where_a_run_measured_it():
    measured = dataclasses.replace(make_history(), ascent_sharpness=np.linspace(0.1, 0.2, 15))
    figure = plot.plot_history([make_history(), measured])
    np.testing.assert_array_equal(
        panel(figure, "ascent sharpness").lines[1].get_ydata(), measured.ascent_sharpness
    )


def test_averaged_weights_have_lines_of_their_own_and_are_named():
    history = make_history()
    averaged = {
        "ema_test_loss": history.test_loss / 2,
        "ema_test_accuracy": history.test_accuracy + 0.01,
    }
    figure = plot.plot_history(dataclasses.replace(history, **averaged))
    np.testing.assert_array_equal(
        panel(figure, "loss").lines[2].get_ydata(), averaged["ema_test_loss"]
    )
    np.testing.assert_allclose(
        panel(figure, "error").lines[2].get_ydata(),
        100 * (1 - averaged["ema_test_accuracy"]),
        rtol=1e-14,
    )
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "train",
        "test",
        "test, averaged weights",
    ]


def test_averaged_weights_belong_to_the_test_split():
    history = make_history()
    history = dataclasses.replace(history, ema_test_loss=history.test_loss / 2)
    lines = {
        split: panel(plot.plot_history(history, split=split), "loss").lines
        for split in ("train", "test")
    }
    assert {split: len(found) for split, found in lines.items()} == {"train": 1, "test": 2}


def test_measurements_of_some_epochs_are_joined_and_marked():
    history = make_history(4)
    history.test_loss[[0, 2]] = np.nan
    _, line = panel(plot.plot_history(history), "loss").lines
    assert line.get_xdata().tolist() == [2, 4]
    assert line.get_marker() != "None"


def test_the_single_epoch_of_a_run_is_marked():
    figure = plot.plot_history(make_history(1))
    assert all(line.get_marker() != "None" for ax in figure.axes for line in ax.lines)


def test_a_run_and_its_legend_have_the_same_colour():
    figure = plot.plot_history([make_history(), make_history()], labels=["SGD", "SAM"])
    handles = figure.legends[0].legend_handles[:2]
    drawn = [line.get_color() for line in panel(figure, "learning rate").lines]
    assert [handle.get_color() for handle in handles] == drawn


def test_a_schedule_shows_on_both_sides_of_one_that_is_the_same():
    first, second = panel(
        plot.plot_history([make_history(), make_history()]), "learning rate"
    ).lines
    assert first.get_linewidth() > second.get_linewidth()


def test_a_loss_over_decades_is_on_a_log_axis():
    history = make_history()
    history.train_loss[:] = np.logspace(1, -3, 15)
    assert panel(plot.plot_history(history), "loss").get_yscale() == "log"


def test_a_history_without_an_epoch_is_an_error():
    with pytest.raises(InputError, match="at least one finite measurement"):
        plot.draw([make_history(0)])


def test_an_unknown_split_of_a_history_is_an_error():
    with pytest.raises(InputError, match=r"'validation'.*train, test"):
        plot.draw([make_history()], split="validation")
