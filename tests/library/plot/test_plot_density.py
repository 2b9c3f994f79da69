"""Figures of spectral densities."""

import itertools
import warnings
from dataclasses import replace

import numpy as np
import pytest
from figures import legend_texts, with_gid

from landscape import plot
from landscape.errors import InputError
from landscape.results.provenance import Provenance
from landscape.results.spectral_density import kernel_width, smoothed
from landscape.results.spectrum import Density, Spectrum


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def make_spectrum(
    outliers=(6.0, 4.0, -1.0), *, num_probes=5, scale=1.0, split="train", curvature="hessian"
):
    generator = np.random.default_rng(0)
    nodes = scale * np.sort(generator.normal(0, 0.5, (num_probes, 10)), axis=1)
    weights = generator.dirichlet(np.ones(10), num_probes) * (1 - len(outliers) / 1000)
    known = scale * np.array(outliers, dtype=float)
    density = Density(known, np.zeros(len(known)), nodes, weights, 10 * num_probes, 1000)
    top, bottom = known[known > 0], known[known < 0]
    return Spectrum(
        *(top, 0 * top, bottom, 0 * bottom),
        num_matvecs=40,
        converged=True,
        tolerance=1e-3,
        noise_floor=1e-6,
        engine="lanczos",
        loss=0.1,
        accuracy=None,
        split=split,
        provenance=Provenance(),
        density=density,
        curvature=curvature,
    )


def test_the_curve_is_the_smoothed_density_on_a_logarithmic_axis():
    spectrum = make_spectrum()
    ax = plot.plot_density(spectrum)
    (curve,) = with_gid(ax, "density")
    known = spectrum.density.outliers
    bulk = replace(spectrum.density, outliers=known[2:], outlier_residuals=np.zeros(1))  # -1
    np.testing.assert_allclose(curve.get_ydata(), smoothed(bulk, curve.get_xdata()))
    assert ax.get_yscale() == "log"
    mass = np.trapezoid(curve.get_ydata(), curve.get_xdata())
    assert mass == pytest.approx(1.0 - 2 / 1000, abs=1e-4)


def test_eigenvalues_far_from_the_others_are_in_a_row_with_their_values():
    spectrum = make_spectrum(outliers=(6.0, 5.99, 4.0, 0.1, -3.0))
    figure = plot.draw([spectrum], kind="density")
    (ax,) = figure.axes
    (row,) = with_gid(ax, "outliers")
    np.testing.assert_array_equal(row.get_xdata(), [6.0, 5.99, 4.0, -3.0])
    assert len(set(row.get_ydata())) == 1
    figure.canvas.draw()
    printed = [text for text in ax.texts if text.get_gid() == "outlier"]
    assert {text.get_text() for text in printed} == {"6", "4", "\N{MINUS SIGN}3"}
    boxes = [text.get_window_extent() for text in printed]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    left, right = ax.get_xlim()
    assert left < -3 < 6 < right


def test_rows_of_outliers_do_not_touch():
    figure = plot.draw(
        [make_spectrum(), make_spectrum(scale=1.1)], labels=["a", "b"], kind="density"
    )
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) >= 4
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_the_kernel_width_is_stated_and_shared():
    wide, narrow = make_spectrum(scale=3.0), make_spectrum()
    ax = plot.plot_density([narrow, wide])
    width = kernel_width(wide.density)
    assert f"kernel width {width:.3g}" in ax.get_ylabel()
    curve = with_gid(ax, "density")[0]
    np.testing.assert_allclose(
        curve.get_ydata(), smoothed(narrow.density, curve.get_xdata(), width)
    )


def test_a_single_probe_has_no_band():
    assert with_gid(plot.plot_density(make_spectrum()), "band")
    figure = plot.draw([make_spectrum(num_probes=1)], kind="density")
    assert not with_gid(figure.axes[0], "band")
    assert legend_texts(figure) == ["outlier eigenvalue"]


def test_several_checkpoints_share_the_axes_and_differ_without_colour():
    figure = plot.draw(
        [make_spectrum(scale=s) for s in (1, 2, 3)], labels=["a", "b", "c"], kind="density"
    )
    (ax,) = figure.axes
    curves, known = with_gid(ax, "density"), with_gid(ax, "outliers")
    assert len({str(curve.get_linestyle()) for curve in curves}) == 3
    assert len({line.get_marker() for line in known}) == 3
    assert legend_texts(figure) == ["a", "b", "c", "outlier eigenvalue", "95 % over probes"]


def test_without_known_eigenvalues_none_are_marked():
    figure = plot.draw([make_spectrum(outliers=())], kind="density")
    assert not with_gid(figure.axes[0], "outlier")
    assert legend_texts(figure) == ["95 % over probes"]


def test_an_eigenvalue_far_out_makes_the_axis_logarithmic_outside_the_nodes():
    far = plot.plot_density(make_spectrum(outliers=(500.0, -3.0)))
    assert far.get_xscale() == "symlog"
    assert "logarithmic beyond" in far.get_xlabel()
    near = plot.plot_density(make_spectrum())
    assert near.get_xscale() == "linear"
    assert near.get_xlabel() == "Hessian eigenvalue (train loss)"


def test_the_matrix_is_named():
    assert (
        "Gauss–Newton eigenvalue (test loss)"
        in plot.plot_density(make_spectrum(split="test", curvature="ggn")).get_xlabel()
    )


def test_it_draws_on_the_axes_it_is_given():
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    assert plot.plot_density(make_spectrum(), ax=ax) is ax
    assert legend_texts(ax) == ["outlier eigenvalue", "95 % over probes"]


def test_known_eigenvalues_alone_can_be_drawn():
    spectrum = make_spectrum()
    whole = Density(
        np.array([2.0, 1.0, -1.0]), np.zeros(3), np.empty((0, 0)), np.empty((0, 0)), 0, 3
    )
    ax = plot.draw([replace(spectrum, density=whole)], kind="density").axes[0]
    (curve,) = with_gid(ax, "density")
    np.testing.assert_allclose(curve.get_ydata(), smoothed(whole, curve.get_xdata()))


def test_a_spectrum_without_a_density_is_refused():
    with pytest.raises(InputError, match="got eigenvalues alone"):
        plot.plot_density(replace(make_spectrum(), density=None))


def test_a_density_that_is_not_finite_is_refused():
    spectrum = make_spectrum(outliers=(np.nan, 1.0))
    with pytest.raises(InputError, match="needs finite eigenvalues to be drawn"):
        plot.plot_density(spectrum)
