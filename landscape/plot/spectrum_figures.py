"""The extremes of a Hessian's spectrum: eigenvalues as bars, and the layers of eigenvectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from landscape.errors import require
from landscape.plot.names import list_results, shortened, split_of
from landscape.plot.presets import current_style
from landscape.plot.scale import extent, require_finite
from landscape.plot.style import (
    color_map,
    color_of,
    contrasting,
    draw_residuals,
    figure_of,
    format_value,
    new_figure,
    styled,
)
from landscape.results.spectrum import Spectrum

_ROW, _BORDER = 0.16, 0.75  # inches, of a row and around all
_LEAST_HEIGHT = 1.4  # inches, which the name of the colour bar takes
_PRINTED = 0.005  # share from which a cell has its number
_GROUP_WIDTH = 0.82  # of the distance between two eigenvalues
_GAP = 0.5  # extra distance between the largest and the smallest, in the same unit
_VISIBLE = 0.004  # share of the range of values below which an error bar is thinner than a line
_CHARACTER = 0.62  # of the size of type
_ROOM = 4.0  # points around a printed value
_HEADROOM = 0.03  # of the height, above the printed values
_MAX_BARS = 10  # in one column


@styled
def plot_eigenvalues(
    spectra: Spectrum | Sequence[Spectrum],
    *,
    labels: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the largest and the smallest eigenvalues, in descending order, with their values.

    The residual, within which an eigenvalue lies, is the error bar where it can be seen. Bars of a
    run that stopped before it converged are hatched.

    Args:
        spectra: One or several.
        labels: One per spectrum, for the legend.
        ax: Where to draw; None for a new figure.

    Raises:
        InputError: If no eigenvalue is finite.
    """
    spectra, names = list_results(spectra, labels)
    values = require_finite(
        [each for s in spectra for each in (s.eigenvalues, s.bottom_eigenvalues)],
        "a spectrum needs at least one finite eigenvalue to be drawn",
        "Look at the loss of the checkpoint for NaN and inf.",
    )
    num_top = max(s.eigenvalues.size for s in spectra)
    num_bottom = max(s.bottom_eigenvalues.size for s in spectra)
    if ax is None:
        is_narrow = (num_top + num_bottom) * len(spectra) <= _MAX_BARS
        ax = new_figure(1 if is_narrow else 2, 2.6).add_subplot()
    span = float(np.ptp(np.append(values, 0.0))) or 1.0
    size = current_style().label_size
    longest = max(map(len, map(format_value, values))) * _CHARACTER * size + _ROOM
    num_places = num_top + num_bottom + _GAP * bool(num_top and num_bottom)
    is_upright = longest > _size_of(ax)[0] / num_places * _GROUP_WIDTH / len(spectra)
    ends = [np.zeros(1)]
    for index, spectrum in enumerate(spectra):
        bars = _bars(spectrum, index, len(spectra), num_top + num_bottom)
        ax.bar(
            bars[0],
            bars[1],
            0.92 * _GROUP_WIDTH / len(spectra),
            color=color_of(index),
            **_look(spectrum),
        )
        draw_residuals(ax, bars, np.isfinite(bars[2]) & (bars[2] > _VISIBLE * span))
        _print_values(ax, bars, is_upright)
        ends.append(_ends(bars))
    _set_axes(ax, spectra, num_top, num_bottom)
    _leave_room(ax, np.concatenate(ends), longest if is_upright else size + _ROOM)
    notes = ["" if spectrum.converged else " (not converged)" for spectrum in spectra]
    handles = [
        Patch(facecolor=color_of(index), label=f"{name}{note}".strip(), **_look(spectra[index]))
        for index, (name, note) in enumerate(zip(names, notes, strict=True))
        if name or note
    ]
    if handles:
        ax.legend(handles=handles)
    return ax


def _look(spectrum: Spectrum) -> dict[str, Any]:
    """Return how the bars of a run that did not converge differ."""
    return {} if spectrum.converged else {"hatch": "//////", "edgecolor": "white", "linewidth": 0.0}


def _bars(spectrum: Spectrum, index: int, count: int, num_positions: int) -> np.ndarray:
    """Return position, eigenvalue and its error of each finite bar, descending, (3, n).

    The spectrum is number `index` of `count`.
    """
    top = np.arange(spectrum.eigenvalues.size)
    bottom = num_positions - 1 + _GAP - np.arange(spectrum.bottom_eigenvalues.size)
    at_top, at_bottom = spectrum.half_widths
    shift = (index - (count - 1) / 2) * _GROUP_WIDTH / count
    bars = np.stack(
        [
            np.append(top, bottom[::-1]) + shift,
            np.append(spectrum.eigenvalues, spectrum.bottom_eigenvalues[::-1]),
            np.append(at_top, at_bottom[::-1]),
        ]
    )
    return bars[:, np.isfinite(bars[1])]


def _ends(bars: np.ndarray) -> np.ndarray:
    """Return where the bars, as `_bars` gives them, end with their error bars, (n,)."""
    return bars[1] + np.copysign(np.nan_to_num(bars[2], posinf=0.0), bars[1])


def _print_values(ax: Axes, bars: np.ndarray, is_upright: bool) -> None:
    """Print each value beyond the end of its bar and of its error bar."""
    for position, value, end in zip(*bars[:2], _ends(bars), strict=True):
        ax.annotate(
            format_value(value),
            (position, end),
            xytext=(0, 2 if value >= 0 else -2),
            textcoords="offset points",
            ha="center",
            va="bottom" if value >= 0 else "top",
            rotation=90 if is_upright else 0,
            fontsize=current_style().label_size,
        )


def _size_of(ax: Axes) -> np.ndarray:
    """Return the width and the height of axes in points."""
    extent = ax.get_window_extent()
    return np.array([extent.width, extent.height]) * 72.0 / figure_of(ax).dpi


def _leave_room(ax: Axes, ends: np.ndarray, points: float) -> None:
    """Set limits so that printed values, some points high, fit beyond where bars end (n,)."""
    low, high = extent([ends])
    share = points / _size_of(ax)[1]
    below, above = share * (low < 0), share * (high > 0)
    span = (high - low or 1.0) / (1 - below - above)
    ax.set_ylim(low - below * span, high + (above + _HEADROOM) * span)


def _set_axes(ax: Axes, spectra: Sequence[Spectrum], num_top: int, num_bottom: int) -> None:
    """Name the eigenvalues by their rank."""
    ranks = np.arange(num_top + num_bottom)
    top, bottom = _eigenvalue_names(num_top, num_bottom)
    ax.set(
        xticks=ranks + _GAP * (ranks >= num_top),
        xticklabels=top + bottom[::-1],
        ylabel=f"Hessian eigenvalue ({split_of(spectra)} loss)",
    )
    ax.tick_params(axis="x", length=0)
    ax.axhline(0.0, color="black", linewidth=0.7)
    ax.margins(x=0.02)
    ax.spines[["top", "right"]].set_visible(False)


def _eigenvalue_names(num_top: int, num_bottom: int) -> tuple[list[str], list[str]]:
    """Name the largest eigenvalues by their rank, and the smallest ones, the smallest first."""
    top = [rf"$\lambda_{{{i + 1}}}$" for i in range(num_top)]
    return top, [rf"$\lambda_{{P{-i or ''}}}$" for i in range(num_bottom)]


@styled
def plot_layer_shares(spectrum: Spectrum, *, label: str = "", ax: Axes | None = None) -> Axes:
    """Draw the shares of each eigenvector's squared length by layer, in percent, in one column.

    Parameter tensors are rows. Where these would be more than 30, those are one row that have the
    first parts of their names in common, as many parts as make at most 30: the tensors of a layer,
    or those of a block.

    Args:
        spectrum: One that has `layer_shares`.
        label: Title of the panel.
        ax: Where to draw; None for a new figure.

    Raises:
        InputError: If it has none.
    """
    require(
        spectrum.layer_shares,
        "a figure of layers needs the shares of the layers in the eigenvectors, the spectrum "
        "has none.",
        hint="Compute the spectrum again.",
    )
    shares = group_by_layer(spectrum.layer_shares)
    table = 100 * np.stack(list(shares.values()))  # (layers, eigenvectors)
    if ax is None:
        ax = new_figure(1, max(_BORDER + _ROW * len(table), _LEAST_HEIGHT)).add_subplot()
    image = ax.imshow(
        table,
        aspect="auto",
        cmap=color_map("share"),
        vmin=0.0,
        vmax=max(float(np.nanmax(table)), 1.0),
        interpolation="nearest",
    )
    colors = contrasting(image.to_rgba(table).reshape(-1, 4))
    style = {"ha": "center", "va": "center", "fontsize": current_style().label_size}
    for (row, column), color in zip(np.ndindex(table.shape), colors, strict=True):
        if table[row, column] >= 100 * _PRINTED:
            ax.text(column, row, f"{table[row, column]:.0f}", color=color, **style)
    top, bottom = _eigenvalue_names(spectrum.eigenvalues.size, spectrum.bottom_eigenvalues.size)
    ax.set(
        xticks=range(table.shape[1]),
        xticklabels=top + bottom,
        yticks=range(len(shares)),
        yticklabels=[shortened(name) for name in shares],
        xlabel=f"eigenvector of the Hessian ({spectrum.split} loss)",
        title=label,
    )
    ax.tick_params(length=0)
    figure_of(ax).colorbar(image, ax=ax, label="share (%)", aspect=30)
    return ax


def group_by_layer(shares: Mapping[str, np.ndarray], max_groups: int = 30) -> dict[str, np.ndarray]:
    """Add up the shares of tensors, in order, into at most so many groups if names allow it.

    Args:
        shares: Parameter name -> (k,).
        max_groups: Fewer parts of the names are told apart until there are no more.
    """
    groups = dict(shares)
    for depth in range(max(name.count(".") for name in shares), 0, -1):
        if len(groups) <= max_groups:
            break
        groups = {}
        for name, share in shares.items():
            group = ".".join(name.split(".")[:depth])
            groups[group] = groups.get(group, 0.0) + share
    return groups
