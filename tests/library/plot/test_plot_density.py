"""Figures of spectral densities."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from figures import legend_texts, with_gid
from matplotlib.text import Text

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


def test_the_curve_is_the_smoothed_density_of_what_does_not_stand_out_on_a_logarithmic_axis():
    spectrum = make_spectrum((6.0, 4.0, 0.1))
    ax = plot.plot_density(spectrum)
    (curve,) = with_gid(ax, "density")
    rest = replace(spectrum.density, outliers=np.array([0.1]))
    width = kernel_width(spectrum.density)
    np.testing.assert_allclose(curve.get_ydata(), smoothed(rest, curve.get_xdata(), width))
    assert ax.get_yscale() == "log"
    mass = np.trapezoid(curve.get_ydata(), curve.get_xdata())
    assert mass == pytest.approx(1 - 2 / 1000, abs=1e-4)


@pytest.mark.parametrize(
    "known", [(6.0, 4.0), (9.0, 8.0, 7.9, 7.8, 7.7, -5.0), (500.0, 3.01, 3.0, -300.0)]
)
def test_each_eigenvalue_that_stands_out_has_its_value_next_to_it_and_none_overlap(known):
    figure = plot.draw([make_spectrum(known)], kind="density")
    figure.canvas.draw()
    (ax,) = figure.axes
    texts = [text.get_text().replace("\N{MINUS SIGN}", "-") for text in ax.texts]
    assert texts == [f"{value:.3g}" for value in sorted(known)]
    assert [text.xy[0] for text in ax.texts] == sorted(known)
    boxes = [Text.get_window_extent(text) for text in ax.texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(box.y1 <= figure.bbox.y1 and box.x1 <= figure.bbox.x1 for box in boxes)
    peak = ax.transData.transform((0.0, with_gid(ax, "density")[0].get_ydata().max()))[1]
    assert min(box.y0 for box in boxes) >= peak


def test_of_many_eigenvalues_the_outermost_have_their_values():
    known = np.linspace(5.0, 50.0, 60)
    ax = plot.plot_density(make_spectrum(known))
    values = [text.xy[0] for text in ax.texts]
    assert 5 <= len(values) < 60
    assert values == known[-len(values) :].tolist()


def test_each_known_eigenvalue_is_marked_on_the_curve_and_in_sight():
    spectrum = make_spectrum()
    ax = plot.plot_density(spectrum)
    (known,) = with_gid(ax, "known")
    np.testing.assert_array_equal(known.get_xdata(), spectrum.density.outliers)
    np.testing.assert_allclose(
        known.get_ydata(), smoothed(spectrum.density, spectrum.density.outliers)
    )
    low, high = ax.get_ylim()
    assert ((low < known.get_ydata()) & (known.get_ydata() < high)).all()
    left, right = ax.get_xlim()
    assert left < -1 < 6 < right


def test_the_kernel_width_is_stated_and_shared():
    wide, narrow = make_spectrum((), scale=3.0), make_spectrum(())
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
    assert legend_texts(figure) == ["known eigenvalue"]


def test_several_checkpoints_share_the_axes_and_differ_without_colour():
    figure = plot.draw(
        [make_spectrum(scale=s) for s in (1, 2, 3)], labels=["a", "b", "c"], kind="density"
    )
    (ax,) = figure.axes
    curves, known = with_gid(ax, "density"), with_gid(ax, "known")
    assert len({str(curve.get_linestyle()) for curve in curves}) == 3
    assert len({line.get_marker() for line in known}) == 3
    assert legend_texts(figure) == ["a", "b", "c", "known eigenvalue", "95 % over probes"]


def test_without_known_eigenvalues_none_are_marked():
    figure = plot.draw([make_spectrum(outliers=())], kind="density")
    assert not with_gid(figure.axes[0], "known")
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
    assert legend_texts(ax) == ["known eigenvalue", "95 % over probes"]


def test_known_eigenvalues_alone_can_be_drawn():
    spectrum = make_spectrum()
    whole = Density(
        np.array([2.0, 1.0, -1.0]), np.zeros(3), np.empty((0, 0)), np.empty((0, 0)), 0, 3
    )
    ax = plot.draw([replace(spectrum, density=whole)], kind="density").axes[0]
    assert len(with_gid(ax, "known")[0].get_xdata()) == 3


def test_a_spectrum_without_a_density_is_refused():
    with pytest.raises(InputError, match="got eigenvalues alone"):
        plot.plot_density(replace(make_spectrum(), density=None))


def test_a_density_that_is_not_finite_is_refused():
    spectrum = make_spectrum(outliers=(np.nan, 1.0))
    with pytest.raises(InputError, match="needs finite eigenvalues to be drawn"):
        plot.plot_density(spectrum)
