"""How a result shows itself: a line in a console, a table in a notebook, and a figure."""

from __future__ import annotations

from html import escape
from typing import Any

from landscape.registry import imported
from landscape.results.record import Record

_IN_A_LINE = 6
"""Entries of a summary that fit into the two lines of a `repr`."""


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


def span(values: Any) -> str:
    """Return the ends of a sequence of numbers, (n,): the first and the last."""
    return f"{values[0]:.5g} to {values[-1]:.5g}" if len(values) else "none"
