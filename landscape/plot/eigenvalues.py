"""Eigenvalues of a Hessian as bars, and the layers that its eigenvectors live in as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.patches import Patch

from landscape.errors import InputError
from landscape.plot.kinds import list_results, split_of
from landscape.plot.names import shortened
from landscape.plot.style import (
    ONE_COLUMN,
    color_map,
    color_of,
    contrasting,
    draw_residuals,
    figure_of,
    format_value,
    new_figure,
    styled,
    width_of,
)
from landscape.results.spectrum import Spectrum

_MAX_ROWS = 30
_ROW, _BORDER = 0.16, 0.75  # inches, of a row and around all
_LEAST_HEIGHT = 1.4  # inches, which the name of the colour bar takes
_PRINTED = 0.005  # share from which a cell has its number
_SHARE_SIZE = 6.5  # points, of the printed shares
_GROUP_WIDTH = 0.82  # of the distance between two eigenvalues
_GAP = 0.5  # extra distance between the largest and the smallest, in the same unit
_VISIBLE = 0.004  # share of the range of values below which an error bar is thinner than a line
_FONT_SIZE = 7.0  # points, of the printed values
_CHARACTER = 0.62 * _FONT_SIZE
_ROOM = 4.0  # points around a printed value
_HEADROOM = 0.03  # of the height, above the printed values
_MAX_BARS = 10  # in one column
_NOT_CONVERGED = {"hatch": "//////", "edgecolor": "white", "linewidth": 0.0}


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
    values = np.concatenate([np.append(s.eigenvalues, s.bottom_eigenvalues) for s in spectra])
    values = values[np.isfinite(values)]
    if not values.size:
        raise InputError(
            "a spectrum needs at least one finite eigenvalue to be drawn, got none.",
            hint="Look at the loss of the checkpoint for NaN and inf.",
        )
    num_top = max(s.eigenvalues.size for s in spectra)
    num_bottom = max(s.bottom_eigenvalues.size for s in spectra)
    if ax is None:
        num_columns = 1 if (num_top + num_bottom) * len(spectra) <= _MAX_BARS else 2
        ax = new_figure(width_of(num_columns), 2.6).add_subplot()
    span = float(np.ptp(np.append(values, 0.0))) or 1.0
    longest = max(len(format_value(value)) for value in values) * _CHARACTER + _ROOM
    num_places = num_top + num_bottom + _GAP * bool(num_top and num_bottom)
    is_upright = longest > _size_of(ax)[0] / num_places * _GROUP_WIDTH / len(spectra)
    for index, spectrum in enumerate(spectra):
        bars = _bars(spectrum, index, len(spectra), num_top + num_bottom)
        look = {} if spectrum.converged else _NOT_CONVERGED
        width = 0.92 * _GROUP_WIDTH / len(spectra)
        ax.bar(bars[0], bars[1], width=width, color=color_of(index), **look)
        draw_residuals(ax, bars, np.isfinite(bars[2]) & (bars[2] > _VISIBLE * span))
        _print_values(ax, bars, is_upright)
    _set_axes(ax, spectra, num_top, num_bottom)
    _leave_room(ax, values, longest if is_upright else _FONT_SIZE + _ROOM)
    _add_legend(ax, spectra, names)
    return ax


def _bars(spectrum: Spectrum, index: int, count: int, num_positions: int) -> np.ndarray:
    """Return position, eigenvalue and residual of each finite bar, descending, (3, n).

    The spectrum is number `index` of `count`.
    """
    top = np.arange(spectrum.eigenvalues.size)
    bottom = num_positions - 1 + _GAP - np.arange(spectrum.bottom_eigenvalues.size)
    shift = (index - (count - 1) / 2) * _GROUP_WIDTH / count
    bars = np.stack(
        [
            np.append(top, bottom[::-1]) + shift,
            np.append(spectrum.eigenvalues, spectrum.bottom_eigenvalues[::-1]),
            np.append(spectrum.residuals, spectrum.bottom_residuals[::-1]),
        ]
    )
    return bars[:, np.isfinite(bars[1])]


def _print_values(ax: Axes, bars: np.ndarray, is_upright: bool) -> None:
    """Print each value beyond the end of its bar and of its error bar."""
    for position, value, residual in bars.T:
        end = value + np.copysign(residual if np.isfinite(residual) else 0.0, value)
        ax.annotate(
            format_value(value),
            (position, end),
            xytext=(0, 2 if value >= 0 else -2),
            textcoords="offset points",
            ha="center",
            va="bottom" if value >= 0 else "top",
            rotation=90 if is_upright else 0,
            fontsize=_FONT_SIZE,
        )


def _size_of(ax: Axes) -> np.ndarray:
    """Return the width and the height of axes in points."""
    extent = ax.get_window_extent()
    return np.array([extent.width, extent.height]) * 72.0 / figure_of(ax).dpi


def _leave_room(ax: Axes, values: np.ndarray, points: float) -> None:
    """Set limits so that the printed values, some points high, fit above and below the bars."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    share = points / _size_of(ax)[1]
    below, above = share * (low < 0), share * (high > 0)
    span = (high - low or 1.0) / (1 - below - above)
    ax.set_ylim(low - below * span, high + (above + _HEADROOM) * span)


def _set_axes(ax: Axes, spectra: Sequence[Spectrum], num_top: int, num_bottom: int) -> None:
    """Name the eigenvalues by their rank."""
    ranks = np.arange(num_top + num_bottom)
    top, bottom = eigenvalue_names(num_top, num_bottom)
    ax.set_xticks(ranks + _GAP * (ranks >= num_top), top + bottom[::-1])
    ax.tick_params(axis="x", length=0)
    ax.axhline(0.0, color="black", linewidth=0.7)
    ax.margins(x=0.02)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_ylabel(f"Hessian eigenvalue ({split_of(spectra)} loss)")


def eigenvalue_names(num_top: int, num_bottom: int) -> tuple[list[str], list[str]]:
    """Name the largest eigenvalues by their rank, and the smallest ones, the smallest first."""
    top = [rf"$\lambda_{{{i + 1}}}$" for i in range(num_top)]
    return top, [rf"$\lambda_{{P{-i or ''}}}$" for i in range(num_bottom)]


def _add_legend(ax: Axes, spectra: Sequence[Spectrum], names: Sequence[str]) -> None:
    """Name the checkpoints, and say which of them did not converge."""
    handles = []
    for index, (spectrum, name) in enumerate(zip(spectra, names, strict=True)):
        look = {} if spectrum.converged else _NOT_CONVERGED
        label = name if spectrum.converged else f"{name} (not converged)".strip()
        handles.append(Patch(facecolor=color_of(index), label=label, **look))
    if named := [handle for handle in handles if handle.get_label()]:
        ax.legend(handles=named)


@styled
def plot_layer_shares(spectrum: Spectrum, *, ax: Axes | None = None) -> Axes:
    """Draw the shares of each eigenvector's squared length by layer, in percent, in one column.

    Parameter tensors are rows. Where these would be more than 30, those are one row that have the
    first parts of their names in common, as many parts as make at most 30: the tensors of a layer,
    or those of a block.

    Args:
        spectrum: One that has `layer_shares`.
        ax: Where to draw; None for a new figure.

    Raises:
        InputError: If it has none.
    """
    if not spectrum.layer_shares:
        raise InputError(
            "a figure of layers needs the shares of the layers in the eigenvectors, the spectrum "
            "has none.",
            hint="Compute the spectrum again.",
        )
    shares = group_by_layer(spectrum.layer_shares)
    table = 100 * np.stack(list(shares.values()))  # (layers, eigenvectors)
    if ax is None:
        ax = new_figure(ONE_COLUMN, max(_BORDER + _ROW * len(table), _LEAST_HEIGHT)).add_subplot()
    norm = Normalize(0.0, max(float(np.nanmax(table)), 1.0))
    image = ax.imshow(
        table, aspect="auto", cmap=color_map("share"), norm=norm, interpolation="nearest"
    )
    _print_numbers(ax, table, contrasting(image.to_rgba(table).reshape(-1, 4)))
    ax.set_yticks(range(len(shares)), [shortened(name) for name in shares])
    top, bottom = eigenvalue_names(spectrum.eigenvalues.size, spectrum.bottom_eigenvalues.size)
    ax.set_xticks(range(table.shape[1]), top + bottom)
    ax.tick_params(length=0)
    ax.set_xlabel(f"eigenvector of the Hessian ({spectrum.split} loss)")
    figure_of(ax).colorbar(image, ax=ax, label="share (%)", aspect=30)
    return ax


def group_by_layer(
    shares: Mapping[str, np.ndarray], max_groups: int = _MAX_ROWS
) -> dict[str, np.ndarray]:
    """Add up the shares of tensors, in order, into at most so many groups if names allow it.

    Args:
        shares: Parameter name -> (k,).
        max_groups: Fewer parts of the names are told apart until there are no more.
    """
    depth = max(name.count(".") for name in shares) + 1
    groups = dict(shares)
    while len(groups) > max_groups and depth > 1:
        depth -= 1
        groups = {}
        for name, share in shares.items():
            group = ".".join(name.split(".")[:depth])
            groups[group] = groups.get(group, 0.0) + share
    return groups


def _print_numbers(ax: Axes, table: np.ndarray, colors: list[str]) -> None:
    """Print what is not almost nothing."""
    style = {"ha": "center", "va": "center", "fontsize": _SHARE_SIZE}
    for (row, column), color in zip(np.ndindex(table.shape), colors, strict=True):
        if table[row, column] >= 100 * _PRINTED:
            ax.text(column, row, f"{table[row, column]:.0f}", color=color, **style)
