"""How a result shows itself: a line in a console, a table in a notebook, a figure, a dictionary.

The dictionary is what `--json`, the report and the description of a file read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from html import escape
from typing import Any

from landscape.errors import printable
from landscape.registry import imported

_IN_A_LINE = 6
"""Entries of a summary that fit into the two lines of a `repr`."""

_LONGEST_IN_SECONDS = 99.5
"""From here on durations are rounded to minutes."""

_FORMULA = (*"=+-@", "\uff0b", "\uff0d", "\uff1d", "\uff20")
"""What a formula begins with, in full width too."""


class Record:
    """A result, or a part of one; a base of frozen dataclasses that has no fields itself."""

    def as_dict(self) -> dict[str, Any]:
        """Return what the record holds, by name: numbers, strings, lists and dictionaries."""
        return {name: as_plain(getattr(self, name)) for name in self._names()}

    def _names(self) -> Sequence[str]:
        """Return the attributes that `as_dict` gives, in order: all fields by default."""
        return [field.name for field in fields(self)]  # pyright: ignore[reportArgumentType]  # of a dataclass


def label_cell(text: str) -> str:
    """Return a label as a cell of a table of values that no spreadsheet takes for a formula.

    Its lines stay lines; other control characters are escaped.
    """
    text = "\n".join(map(printable, text.split("\n")))
    return f"'{text}" if text.startswith(_FORMULA) else text


def as_plain(value: Any) -> Any:
    """Return a value, or a record, as JSON can hold it; what it does not know stays as it is."""
    if isinstance(value, Record):
        return value.as_dict()
    if isinstance(value, dict):
        return {key: as_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


class Displayed(Record):
    """A result that shows its main numbers wherever it is printed; a base of dataclasses."""

    def summary(self) -> list[tuple[str, str]]:
        """Return the main numbers as label and text, the most important ones first."""
        raise NotImplementedError

    def __repr__(self) -> str:
        entries = [f"{label}: {text}" for label, text in self.summary()]
        more = ["..."] if len(entries) > _IN_A_LINE else []
        return f"<{type(self).__name__} {', '.join(entries[:_IN_A_LINE] + more)}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{escape(label)}</th><td>{escape(text)}</td></tr>"
            for label, text in self.summary()
        )
        return f"<table><caption>{type(self).__name__}</caption>{rows}</table>"

    def plot(self, ax: Any = None) -> Any:
        """Draw the result as the kind of figure that is the default for it.

        Args:
            ax: Matplotlib axes to draw on; None for a new figure.

        Returns:
            The axes, or the array of the axes of all panels; see `landscape.plot.draw_result`.
        """
        # The figures know the results, not the reverse; matplotlib is imported by the first plot.
        return imported("landscape.plot.figure:draw_result")(self, ax=ax)


def duration(seconds: float | None) -> str:
    """Return a duration in words, in seconds, minutes or hours; None and NaN are a dash."""
    if seconds is None or math.isnan(seconds):
        return "-"
    if seconds < _LONGEST_IN_SECONDS:
        return f"{seconds:.3g} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def span(values: Any) -> str:
    """Return the ends of a sequence of numbers, (n,): the first and the last."""
    return f"{values[0]:.5g} to {values[-1]:.5g}" if len(values) else "none"
