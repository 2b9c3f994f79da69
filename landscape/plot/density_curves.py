"""The spectral density on a logarithmic axis, shared by checkpoints, with exact values marked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from landscape.errors import InputError
from landscape.plot.kinds import list_results, split_of
from landscape.plot.scale import Scale, linear_levels, log_levels
from landscape.plot.style import (
    OPEN,
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
    width_of,
)
from landscape.results.spectral_density import band, kernel_width, smoothed
from landscape.results.spectrum import Density, Spectrum

_CONFIDENCE = 0.95
_FAR = 12.0  # known eigenvalue over outermost node, from which a linear axis shows one line
_MARGIN = 1.5  # beyond the outermost eigenvalue of a logarithmic axis
_HEADROOM = 2.0  # factor above the highest peak
_LOWEST = 0.1  # of the height of a single eigenvalue, at the foot of the axis
_REACH = 5.0  # kernel widths, beyond which a Gaussian is below a 1e-5th of its height
_POINTS = 1200
_BAND = 0.25  # opacity
_MAX_COLUMNS = 5  # of the legend
_SIGN = 3.0  # length of a line in the legend, in type sizes
_NAMES = {"hessian": "Hessian", "ggn": "Gauss\N{EN DASH}Newton", "fisher": "empirical Fisher"}


@styled
def plot_density(
    spectra: Spectrum | Sequence[Spectrum],
    *,
    labels: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw smoothed spectral densities with bands, and mark the eigenvalues known exactly.

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
    handles = _handles(densities, names)
    is_new = ax is None
    ax = ax or new_figure(width_of(len(spectra)), 2.8).add_subplot()
    if handles and is_new:
        columns = 2 if len(spectra) == 1 else _MAX_COLUMNS
        style = {"loc": "outside lower center", "ncols": columns, "handlelength": _SIGN}
        figure_of(ax).legend(handles=handles, **style)
    elif handles:
        ax.legend(handles=handles, handlelength=_SIGN)
    width = max(kernel_width(density) for density in densities)
    x = _abscissae(densities, width)
    peaks = [_draw_curve(ax, density, x, width, index) for index, density in enumerate(densities)]
    num_parameters = max(density.num_parameters for density in densities)
    lowest = _LOWEST / (width * np.sqrt(2 * np.pi) * num_parameters)
    highest = _HEADROOM * max(peaks)
    set_log_ticks(ax, Scale("log", log_levels(lowest, highest)))
    ax.set_ylim(lowest, highest)
    ax.set_ylabel(f"density (log scale,\nkernel width {format_value(width)})")
    _set_eigenvalues(ax, spectra, densities, x)
    return ax


def _require_density(spectrum: Spectrum) -> Density:
    density = spectrum.density
    if density is None:
        raise InputError(
            "a density can only be drawn of a spectrum that has one, got eigenvalues alone.",
            hint="Compute it with `landscape.hessian(problem, density=True)`.",
        )
    if not np.isfinite([*density.outliers, *density.nodes[density.weights > 0]]).all():
        raise InputError(
            "a density needs finite eigenvalues to be drawn, got NaN or inf.",
            hint="Look at the loss of the checkpoint for NaN and inf.",
        )
    return density


def _abscissae(densities: Sequence[Density], width: float) -> np.ndarray:
    """Return the eigenvalues to compute the curves at, dense enough for each known peak."""
    known = np.concatenate([density.outliers for density in densities])
    nodes = np.concatenate([density.nodes[density.weights > 0] for density in densities])
    around = np.linspace(-_REACH, _REACH, 41) * width
    lines = [
        np.linspace(values.min() + around[0], values.max() + around[-1], _POINTS)
        for values in (nodes, np.append(known, nodes))
        if values.size
    ]
    return np.unique(np.concatenate([*lines, (known[:, None] + around).ravel()]))


def _draw_curve(ax: Axes, density: Density, x: np.ndarray, width: float, index: int) -> float:
    """Draw one density, its band and its known eigenvalues; return its highest value."""
    color = color_of(index)
    if len(density.nodes) > 1:
        low, high = band(density, x, width, confidence=_CONFIDENCE)
        draw_band(ax, x, low, high, color, _BAND, "band")
    curve = smoothed(density, x, width)
    ax.plot(x, curve, color=color, linestyle=line_style_of(index), gid="density")
    if density.outliers.size:
        style = {**OPEN, "color": color, "marker": marker_of(index), "zorder": 3}
        ax.plot(density.outliers, smoothed(density, density.outliers, width), **style, gid="known")
    return float(curve.max())


def _set_eigenvalues(
    ax: Axes, spectra: Sequence[Spectrum], densities: Sequence[Density], x: np.ndarray
) -> None:
    """Name the eigenvalue axis, and make it logarithmic outside the nodes for far outliers."""
    kinds = dict.fromkeys(
        _NAMES.get(spectrum.curvature, spectrum.curvature) for spectrum in spectra
    )
    label = f"{' / '.join(kinds)} eigenvalue ({split_of(spectra)} loss)"
    ax.set_xlim(x[0], x[-1])
    nodes = np.concatenate([density.nodes[density.weights > 0] for density in densities])
    bulk = float(np.abs(nodes).max(initial=0.0))
    if bulk > 0 and np.abs(x).max() > _FAR * bulk:
        threshold = float(linear_levels(0.0, bulk)[-1])
        ax.set_xscale("symlog", linthresh=threshold, linscale=1.5)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_level(value)))
        start, stop = (_MARGIN * end if abs(end) > threshold else end for end in (x[0], x[-1]))
        ax.set_xlim(start, stop)
        label += f",\nlogarithmic beyond \N{PLUS-MINUS SIGN}{format_level(threshold)}"
    ax.set_xlabel(label)
    ax.axvline(0.0, color="0.6", linewidth=0.7, zorder=0)
    ax.spines[["top", "right"]].set_visible(False)


def _handles(densities: Sequence[Density], names: Sequence[str]) -> list[Line2D | Patch]:
    """Name the checkpoints by colour, line and marker, and say what band and markers are."""
    handles: list[Line2D | Patch] = []
    for index, (density, name) in enumerate(zip(densities, names, strict=True)):
        marker = marker_of(index) if density.outliers.size else None
        style = {"color": color_of(index), "linestyle": line_style_of(index), "marker": marker}
        if name:
            handles.append(key(name, markerfacecolor="white", **style))
    color = color_of(0) if len(densities) == 1 else "0.35"
    if any(density.outliers.size for density in densities):
        handles.append(key("known eigenvalue", color=color, **OPEN))
    if any(len(density.nodes) > 1 for density in densities):
        label = f"{100 * _CONFIDENCE:.0f} % over probes"
        handles.append(Patch(color=color, alpha=_BAND, linewidth=0, label=label))
    return handles
