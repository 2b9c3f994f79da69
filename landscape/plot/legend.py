"""What stands under the panels of a figure: marks, signs for missing points, evaluated share."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from landscape.plot.field import Field, interpolation_note
from landscape.plot.mark_symbols import View, mark_handles
from landscape.plot.style import missing_handles

_CHARACTER, _HANDLE = 0.062, 0.52  # inches, of 8 point type and of a sign with the space around it
_ROW, _BORDER = 0.165, 0.1  # inches
_NOTE_SIZE = 7.5  # points


@dataclass(frozen=True)
class Legend:
    """Signs with their names, and one sentence under them.

    Attributes:
        handles: In reading order.
        note: Empty for none.
    """

    handles: Sequence[Artist]
    note: str

    def height(self, width: float) -> float:
        """Return the height on a figure of a width, both in inches; 0 if it is empty."""
        if not self.handles and not self.note:
            return 0.0
        rows = -(-len(self.handles) // self._columns(width)) if self.handles else 0
        return _BORDER + _ROW * (rows + len(_lines(self.note, width)))

    def add_to(self, figure: Figure) -> None:
        """Put the legend under everything else in a figure; nothing if there is nothing to say."""
        if not self.handles and not self.note:
            return
        width = figure.get_figwidth()
        legend = figure.legend(
            handles=list(self.handles),
            ncols=self._columns(width),
            loc="outside lower center",
            title="\n".join(_lines(self.note, width)) or None,
            title_fontsize=_NOTE_SIZE,
            borderaxespad=0.2,
            borderpad=0.2,
            labelspacing=0.3,
        )
        legend.get_title().set_multialignment("center")

    def _columns(self, width: float) -> int:
        """Return the most columns that fit, each as wide as its longest name."""
        widths = [_HANDLE + _CHARACTER * len(str(handle.get_label())) for handle in self.handles]
        for columns in range(len(widths), 1, -1):
            parts = np.array_split(widths, columns)
            if sum(part.max() for part in parts) <= width:
                return columns
        return 1


def legend_of(fields: Sequence[Field], view: View) -> Legend:
    """Return what must be explained of fields that are seen in one view."""
    return Legend(
        [*mark_handles(fields, view), *missing_handles(fields)], interpolation_note(fields) or ""
    )


def _lines(note: str, width: float) -> list[str]:
    return textwrap.wrap(note, int(width / _CHARACTER * 8 / _NOTE_SIZE))
