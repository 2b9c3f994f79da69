"""The density of a Hessian's eigenvalues: a smoothed curve, and a row of outliers below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from landscape.errors import InputError, require
from landscape.plot.names import list_results, split_of
from landscape.plot.presets import current_style
from landscape.plot.scale import Scale, linear_levels, log_levels
from landscape.plot.style import (
    HALO,
    OPEN,
    Legend,
    band_key,
    color_of,
    dashed,
    draw_band,
    figure_of,
    format_level,
    format_value,
    key,
    marker_of,
    set_log_ticks,
    styled,
)
from landscape.results.interval import CONFIDENCE
from landscape.results.spectral_density import band, kernel_width, smoothed
from landscape.results.spectrum import Density, Spectrum

_FAR = 12.0  # known eigenvalue over outermost node, from which a linear axis shows one line
_LOG_MARGIN = 1.5  # beyond the outermost eigenvalue of a logarithmic axis
_LOG_HEADROOM = 2.0  # factor above the highest peak
_LOWEST = 0.1  # of the height of a single eigenvalue, at the foot of the axis
_REACH = 5.0  # kernel widths, beyond which a Gaussian is below a 1e-5th of its height
_BAND_OPACITY = 0.25  # opacity
_FIRST_ROW, _ROW_STEP = 0.06, 0.12  # of the height: of the outliers' first row, to the next
_CURVATURES = {"hessian": "Hessian", "ggn": "Gauss\N{EN DASH}Newton", "fisher": "empirical Fisher"}
_CHARACTER = 0.75  # of the size of type
_ROOM = 4.0  # points between two of them


@styled
def plot_density(
    spectra: Spectrum | Sequence[Spectrum],
    *,
    labels: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw smoothed spectral densities with bands, and below them a row of outliers for each.

    Outliers are eigenvalues known exactly beyond what the probes saw. They have no height: their
    values are printed, the outermost first, as far as there is room. All densities have the same
    kernel, the widest of their defaults, for its width decides the height of a peak. The axis of
    the eigenvalues is logarithmic outside the range of the nodes where outliers are far out.

    Args:
        spectra: One or several, each with a density.
        labels: One per spectrum, for the legend.
        ax: Where to draw; None for a new figure.

    Raises:
        InputError: If a spectrum has no density, or none that is finite.

    Source:
        The form: Ghorbani, Krishnan & Xiao (2019); Yao, Gholami, Keutzer & Mahoney (2020),
        PyHessian.
    """
    spectra, names = list_results(spectra, labels)
    densities = [_require_density(spectrum) for spectrum in spectra]
    nodes = np.concatenate([density.nodes[density.weights > 0] for density in densities])
    width = max(kernel_width(density) for density in densities)
    bulks = [_bulk(density, nodes, width) for density in densities]
    handles = _density_handles(bulks, names)
    if ax is None:
        ax = Legend(handles).new_figure(len(spectra), 2.5).add_subplot()
    elif handles:
        ax.legend(handles=handles)
    x = _abscissae(nodes, np.concatenate([density.outliers for density in densities]), width)
    peaks = [_draw_curve(ax, density, x, width, index) for index, (density, _) in enumerate(bulks)]
    num_parameters = max(density.num_parameters for density in densities)
    limits = _LOWEST / (width * np.sqrt(2 * np.pi) * num_parameters), _LOG_HEADROOM * max(peaks)
    set_log_ticks(ax, Scale("log", log_levels(*limits)))
    ax.set(ylim=limits, ylabel=f"density (log scale,\nkernel width {format_value(width)})")
    _set_eigenvalues(ax, spectra, nodes, x)
    for index, (_, outliers) in enumerate(bulks):
        _draw_outliers(ax, outliers, index)
    return ax


def _bulk(density: Density, nodes: np.ndarray, width: float) -> tuple[Density, np.ndarray]:
    """Split a density into what is drawn as a curve, and eigenvalues far from all nodes, (n,)."""
    if not nodes.size:
        return density, np.empty(0)
    known, reach = density.outliers, _REACH * width
    is_far = (known < nodes.min() - reach) | (known > nodes.max() + reach)
    residuals = density.outlier_residuals[~is_far]
    bulk = replace(density, outliers=known[~is_far], outlier_residuals=residuals)
    return bulk, known[is_far]


def _require_density(spectrum: Spectrum) -> Density:
    density = spectrum.density
    if density is None:
        raise InputError(
            "a density can only be drawn of a spectrum that has one, got eigenvalues alone.",
            hint="Compute it with `landscape.hessian(problem, density=True)`.",
        )
    require(
        np.isfinite([*density.outliers, *density.nodes[density.weights > 0]]).all(),
        "a density needs finite eigenvalues to be drawn, got NaN or inf.",
        hint="Look at the loss of the checkpoint for NaN and inf.",
    )
    return density


def _abscissae(nodes: np.ndarray, known: np.ndarray, width: float) -> np.ndarray:
    """Return the eigenvalues to compute the curves at, dense enough for each known peak."""
    around = np.linspace(-_REACH, _REACH, 41) * width
    lines = [
        np.linspace(values.min() + around[0], values.max() + around[-1], 1200)
        for values in (nodes, np.append(known, nodes))
        if values.size
    ]
    return np.unique(np.concatenate([*lines, (known[:, None] + around).ravel()]))


def _draw_curve(ax: Axes, density: Density, x: np.ndarray, width: float, index: int) -> float:
    """Draw one density and its band; return its highest value."""
    color = color_of(index)
    if len(density.nodes) > 1:
        draw_band(ax, x, *band(density, x, width), color, _BAND_OPACITY, "band")
    curve = smoothed(density, x, width)
    ax.plot(x, curve, **dashed(index), gid="density")
    return float(curve.max())


def _draw_outliers(ax: Axes, outliers: np.ndarray, index: int) -> None:
    """Mark eigenvalues in row `index` above the axis, and print those that have room beside them.

    The outermost is printed first.
    """
    height = _FIRST_ROW + _ROW_STEP * index
    style = {**OPEN, "color": color_of(index), "marker": marker_of(index), "zorder": 3}
    place = ax.get_xaxis_transform()
    ax.plot(outliers, np.full(len(outliers), height), **style, transform=place, gid="outliers")
    size = current_style().label_size
    printed: list[tuple[float, float]] = []
    for value in sorted(outliers.tolist(), key=abs, reverse=True):
        center = ax.transData.transform((value, 0.0))[0] * 72.0 / figure_of(ax).dpi
        half = 0.5 * (len(format_value(value)) * _CHARACTER * size + _ROOM)
        if all(abs(center - other) > half + width for other, width in printed):
            printed.append((center, half))
            ax.annotate(
                format_value(value),
                (value, height),
                xycoords=place,
                xytext=(0, 3.5),
                textcoords="offset points",
                ha="center",
                fontsize=size,
                path_effects=HALO,
                color=color_of(index),
                gid="outlier",
            )


def _set_eigenvalues(
    ax: Axes, spectra: Sequence[Spectrum], nodes: np.ndarray, x: np.ndarray
) -> None:
    """Name the eigenvalue axis, and make it logarithmic outside the nodes for far outliers."""
    kinds = dict.fromkeys(_CURVATURES.get(each.curvature, each.curvature) for each in spectra)
    label = f"{' / '.join(kinds)} eigenvalue ({split_of(spectra)} loss)"
    ends = [x[0], x[-1]]
    bulk = float(np.abs(nodes).max(initial=0.0))
    if bulk > 0 and np.abs(x).max() > _FAR * bulk:
        threshold = float(linear_levels(0.0, bulk)[-1])
        ax.set_xscale("symlog", linthresh=threshold, linscale=1.5)
        ax.xaxis.set_major_formatter(format_level)
        ends = [_LOG_MARGIN * end if abs(end) > threshold else end for end in ends]
        label += f",\nlogarithmic beyond \N{PLUS-MINUS SIGN}{format_level(threshold)}"
    ax.set(xlim=ends, xlabel=label)
    ax.axvline(0.0, color="0.6", linewidth=0.7, zorder=0)
    ax.spines[["top", "right"]].set_visible(False)


def _density_handles(
    bulks: Sequence[tuple[Density, np.ndarray]], names: Sequence[str]
) -> list[Artist]:
    """Name the checkpoints by colour, line and marker, and say what band and markers are."""
    handles: list[Artist] = [
        key(
            name,
            **dashed(index),
            marker=marker_of(index) if outliers.size else None,
            markerfacecolor="white",
        )
        for index, ((_, outliers), name) in enumerate(zip(bulks, names, strict=True))
        if name
    ]
    color = color_of(0) if len(bulks) == 1 else "0.35"
    if any(outliers.size for _, outliers in bulks):
        handles.append(key("outlier eigenvalue", color=color, **OPEN))
    if any(len(density.nodes) > 1 for density, _ in bulks):
        handles.append(band_key(f"{100 * CONFIDENCE:.0f} % over probes", color, _BAND_OPACITY))
    return handles
