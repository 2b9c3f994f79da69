"""The spectral density on a logarithmic axis, shared by checkpoints, with exact values marked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from landscape.errors import InputError
from landscape.plot.kinds import name_results
from landscape.plot.scale import Scale, linear_levels, log_levels
from landscape.plot.style import (
    LINE_COLORS,
    LINE_MARKERS,
    LINE_STYLES,
    ONE_COLUMN,
    TWO_COLUMNS,
    figure_of,
    format_level,
    format_value,
    new_figure,
    set_log_ticks,
    styled,
)
from landscape.results.spectral_density import band, kernel_width, smoothed
from landscape.results.spectrum import Density, Spectrum

_CONFIDENCE = 0.95
_FAR = 12.0  # outermost known eigenvalue over outermost node, from which on a linear axis shows the rest as one line
_MARGIN = 1.5  # beyond the outermost eigenvalue of a logarithmic axis
_HEADROOM = 2.0  # factor above the highest peak
_LOWEST = 0.1  # of the height of a single eigenvalue, at the foot of the axis
_REACH = 5.0  # kernel widths, beyond which a Gaussian is below a 1e-5th of its height
_POINTS = 1200
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
        labels: One a spectrum, for the legend.
        ax: Where to draw; None for a new figure.

    Raises:
        InputError: If a spectrum has no density, or none that is finite.

    Source:
        The form: Ghorbani, Krishnan & Xiao (2019); Yao, Gholami, Keutzer & Mahoney (2020),
        PyHessian.
    """
    spectra = [spectra] if isinstance(spectra, Spectrum) else list(spectra)
    names = name_results(spectra, labels)
    densities = [_require_density(spectrum) for spectrum in spectra]
    handles = _handles(densities, names)
    if ax is None:
        ax = new_figure(ONE_COLUMN if len(spectra) == 1 else TWO_COLUMNS, 2.8).add_subplot()
        columns = 2 if len(spectra) == 1 else _MAX_COLUMNS
        if handles:
            figure_of(ax).legend(
                handles=handles, loc="outside lower center", ncols=columns, handlelength=_SIGN
            )
    elif handles:
        ax.legend(handles=handles, handlelength=_SIGN)
    width = max(kernel_width(density) for density in densities)
    x = _abscissae(densities, width)
    highest = max(
        _draw_curve(ax, density, x, width, index) for index, density in enumerate(densities)
    )
    peak_of_one = 1 / (
        width * np.sqrt(2 * np.pi) * max(density.num_parameters for density in densities)
    )
    _set_heights(ax, _LOWEST * peak_of_one, _HEADROOM * highest, width)
    _set_eigenvalues(ax, spectra, densities, x)
    return ax


def _require_density(spectrum: Spectrum) -> Density:
    density = spectrum.density
    if density is None:
        raise InputError(
            "a density can only be drawn of a spectrum that has one, got eigenvalues alone.",
            hint="Compute it with landscape hessian --density.",
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
    color = LINE_COLORS[index % len(LINE_COLORS)]
    if len(density.nodes) > 1:
        low, high = band(density, x, width, confidence=_CONFIDENCE)
        ax.fill_between(x, low, high, color=color, alpha=0.25, linewidth=0, gid="band")
    curve = smoothed(density, x, width)
    ax.plot(x, curve, color=color, linestyle=LINE_STYLES[index % len(LINE_STYLES)], gid="density")
    if density.outliers.size:
        ax.plot(
            density.outliers,
            smoothed(density, density.outliers, width),
            linestyle="none",
            marker=LINE_MARKERS[index % len(LINE_MARKERS)],
            color=color,
            markerfacecolor="white",
            zorder=3,
            gid="known",
        )
    return float(curve.max())


def _set_heights(ax: Axes, lowest: float, highest: float, width: float) -> None:
    """Put the density on a logarithmic axis."""
    set_log_ticks(ax, Scale("log", log_levels(lowest, highest)))
    ax.set_ylim(lowest, highest)
    ax.set_ylabel(f"density (log scale,\nkernel width {format_value(width)})")


def _set_eigenvalues(
    ax: Axes, spectra: Sequence[Spectrum], densities: Sequence[Density], x: np.ndarray
) -> None:
    """Name the eigenvalue axis, and make it logarithmic outside the nodes for far outliers."""
    kinds = dict.fromkeys(
        _NAMES.get(spectrum.curvature, spectrum.curvature) for spectrum in spectra
    )
    splits = dict.fromkeys(spectrum.split for spectrum in spectra)
    label = f"{' / '.join(kinds)} eigenvalue ({' / '.join(splits)} loss)"
    ax.set_xlim(x[0], x[-1])
    bulk = max(
        float(np.abs(density.nodes[density.weights > 0]).max(initial=0.0)) for density in densities
    )
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
        if name:
            marker = LINE_MARKERS[index % len(LINE_MARKERS)] if density.outliers.size else None
            color, style = (
                LINE_COLORS[index % len(LINE_COLORS)],
                LINE_STYLES[index % len(LINE_STYLES)],
            )
            handles.append(
                Line2D(
                    [],
                    [],
                    color=color,
                    linestyle=style,
                    marker=marker,
                    markerfacecolor="white",
                    label=name,
                )
            )
    color = LINE_COLORS[0] if len(densities) == 1 else "0.35"
    if any(density.outliers.size for density in densities):
        known = Line2D([], [], color=color, linestyle="none", marker="o", markerfacecolor="white")
        known.set_label("known eigenvalue")
        handles.append(known)
    if any(len(density.nodes) > 1 for density in densities):
        handles.append(
            Patch(
                color=color, alpha=0.25, linewidth=0, label=f"{100 * _CONFIDENCE:.0f} % over probes"
            )
        )
    return handles
