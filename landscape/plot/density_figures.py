"""Densities of all eigenvalues: smooth where they are many, the outermost one by one with values.

The axis of the density is logarithmic and shared by checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from scipy.optimize import isotonic_regression

from landscape.errors import InputError, require
from landscape.plot.names import list_results, split_of
from landscape.plot.scale import Scale, linear_levels, log_levels
from landscape.plot.style import (
    OPEN,
    band_key,
    color_of,
    draw_band,
    figure_of,
    format_level,
    format_value,
    key,
    line_style_of,
    marker_of,
    new_figure,
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
_SIGN_LENGTH = 3.0  # length of a line in the legend, in type sizes
_FONT_SIZE = 7.0  # points, of the values of eigenvalues
_SPACING = 9.5  # points between these, which stand upright
_LABEL_ROOM = 32.0  # points for the longest of them
_LABELLED_SHARE = 0.5  # of the width, which they may take
_CURVATURES = {"hessian": "Hessian", "ggn": "Gauss\N{EN DASH}Newton", "fisher": "empirical Fisher"}


@styled
def plot_density(
    spectra: Spectrum | Sequence[Spectrum],
    *,
    labels: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw smoothed spectral densities with bands, and mark the eigenvalues known exactly.

    Known eigenvalues where the rest of the density is below that of a single one are no part of the
    curve: each has a marker at the height of its own peak, and the outermost, as many as there is
    room for, their values above it.

    All have the same kernel, the widest of their defaults, for its width decides the height of a
    peak. The axis of the eigenvalues is logarithmic outside the range of the nodes where known ones
    are far out.

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
    handles = _density_handles(densities, names)
    place = {}
    if ax is None:
        ax = new_figure(len(spectra), 2.8).add_subplot()
        place = {"loc": "outside lower center", "ncols": 2 if len(spectra) == 1 else 5}
    if handles:
        (figure_of(ax) if place else ax).legend(handles=handles, handlelength=_SIGN_LENGTH, **place)
    width = max(kernel_width(density) for density in densities)
    nodes = np.concatenate([density.nodes[density.weights > 0] for density in densities])
    x = _abscissae(nodes, np.concatenate([density.outliers for density in densities]), width)
    apart = [_is_apart(density, width) for density in densities]
    peaks = [
        _draw_curve(ax, density, is_apart, x, width, index)
        for index, (density, is_apart) in enumerate(zip(densities, apart, strict=True))
    ]
    foot = _LOWEST * min(_height_of_one(density, width) for density in densities)
    limits = foot, _LOG_HEADROOM * max(peaks)
    set_log_ticks(ax, Scale("log", log_levels(*limits)))
    if any(map(np.any, apart)):
        room = _LABEL_ROOM / (_height_in_points(ax) - _LABEL_ROOM)
        limits = foot, limits[1] * (limits[1] / foot) ** room
    ax.set(ylim=limits, ylabel=f"density (log scale,\nkernel width {format_value(width)})")
    _set_eigenvalues(ax, spectra, nodes, x)
    _print_outermost(ax, densities, apart, width)
    return ax


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


def _height_of_one(density: Density, width: float) -> float:
    """Return the height of the peak of a single eigenvalue."""
    return 1 / (width * np.sqrt(2 * np.pi) * density.num_parameters)


def _is_apart(density: Density, width: float) -> np.ndarray:
    """Return which known eigenvalues stand out of the density of the others, (n,)."""
    if not density.nodes.size:
        return np.zeros(density.outliers.size, dtype=bool)
    rest = smoothed(replace(density, outliers=np.empty(0)), density.outliers, width)
    return rest < _height_of_one(density, width)


def _draw_curve(
    ax: Axes, density: Density, is_apart: np.ndarray, x: np.ndarray, width: float, index: int
) -> float:
    """Draw one density, its band and its known eigenvalues; return its highest value."""
    color, known = color_of(index), density.outliers
    rest = replace(density, outliers=known[~is_apart])
    if len(density.nodes) > 1:
        draw_band(ax, x, *band(rest, x, width), color, _BAND_OPACITY, "band")
    curve = smoothed(rest, x, width)
    ax.plot(x, curve, color=color, linestyle=line_style_of(index), gid="density")
    if known.size:
        heights = smoothed(density, known, width)
        style = {**OPEN, "color": color, "marker": marker_of(index), "zorder": 3}
        ax.plot(known, heights, **style, gid="known")
        return float(max(curve.max(), heights.max()))
    return float(curve.max())


def _height_in_points(ax: Axes) -> float:
    return ax.get_window_extent().height * 72.0 / figure_of(ax).dpi


def _print_outermost(
    ax: Axes, densities: Sequence[Density], apart: Sequence[np.ndarray], width: float
) -> None:
    """Print the values of the outermost eigenvalues in a row, each joined to its marker."""
    found = [
        (float(value), index)
        for index, (density, is_apart) in enumerate(zip(densities, apart, strict=True))
        for value in density.outliers[is_apart]
    ]
    points = ax.get_window_extent().width * 72.0 / figure_of(ax).dpi
    most = int(_LABELLED_SHARE * points / _SPACING)
    chosen = sorted(sorted(found, key=lambda pair: -abs(pair[0]))[:most])
    if not chosen:
        return
    values = np.array([value for value, _ in chosen])
    to_share = (ax.transData - ax.transAxes).transform
    shares = to_share(np.stack([values, np.full_like(values, ax.get_ylim()[0])], axis=1))[:, 0]
    steps = _SPACING / points * np.arange(values.size)
    places = np.clip(isotonic_regression(shares - steps).x, 0.0, 1.0 - steps[-1]) + steps
    base = 1.0 - _LABEL_ROOM / _height_in_points(ax)
    for (value, index), place in zip(chosen, places, strict=True):
        ax.annotate(
            format_value(value),
            (value, smoothed(densities[index], np.array([value]), width)[0]),
            (place, base),
            textcoords="axes fraction",
            rotation=90,
            ha="center",
            va="bottom",
            color=color_of(index),
            fontsize=_FONT_SIZE,
            arrowprops={
                "arrowstyle": "-",
                "color": color_of(index),
                "linewidth": 0.5,
                "shrinkB": 1.5,
                "relpos": (0.5, 0.0),
            },
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


def _density_handles(densities: Sequence[Density], names: Sequence[str]) -> list[Artist]:
    """Name the checkpoints by colour, line and marker, and say what band and markers are."""
    handles: list[Artist] = [
        key(
            name,
            color=color_of(index),
            linestyle=line_style_of(index),
            marker=marker_of(index) if density.outliers.size else None,
            markerfacecolor="white",
        )
        for index, (density, name) in enumerate(zip(densities, names, strict=True))
        if name
    ]
    color = color_of(0) if len(densities) == 1 else "0.35"
    if any(density.outliers.size for density in densities):
        handles.append(key("known eigenvalue", color=color, **OPEN))
    if any(len(density.nodes) > 1 for density in densities):
        handles.append(band_key(f"{100 * CONFIDENCE:.0f} % over probes", color, _BAND_OPACITY))
    return handles
