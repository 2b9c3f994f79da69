"""Which layers the eigenvectors of a Hessian live in, as a table of colours."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from landscape.errors import InputError
from landscape.plot.eigenvalues import eigenvalue_names
from landscape.plot.names import shortened
from landscape.plot.style import ONE_COLUMN, color_map, contrasting, figure_of, new_figure, styled
from landscape.results.spectrum import Spectrum

_MAX_ROWS = 30
_ROW, _BORDER = 0.16, 0.75  # inches, of a row and around all
_LEAST_HEIGHT = 1.4  # inches, which the name of the colour bar takes
_PRINTED = 0.005  # share from which a cell has its number
_FONT_SIZE = 6.5  # points


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
    style = {"ha": "center", "va": "center", "fontsize": _FONT_SIZE}
    for (row, column), color in zip(np.ndindex(table.shape), colors, strict=True):
        if table[row, column] >= 100 * _PRINTED:
            ax.text(column, row, f"{table[row, column]:.0f}", color=color, **style)
