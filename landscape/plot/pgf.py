"""Figures as PGF code for LaTeX, written without TeX."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_pgf import RendererPgf
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from landscape.errors import require

_PICTURE = r"""\begingroup
\makeatletter
\begin{pgfpicture}
\pgfpathrectangle{\pgfpointorigin}{\pgfqpoint{%fin}{%fin}}
\pgfusepath{use as bounding box, clip}
%s\end{pgfpicture}
\makeatother
\endgroup
"""


class _Renderer(RendererPgf):
    """What writes PGF, except that text is measured in matplotlib's fonts instead of by TeX."""

    def get_text_width_height_descent(self, s: str, prop: Any, ismath: Any) -> Any:
        return RendererBase.get_text_width_height_descent(self, s, prop, ismath)


def pgf_code(figure: Figure) -> str:
    """Return the code of a figure, for a document of LaTeX that uses the package pgf.

    Raises:
        InputError: If the figure holds an image.
    """
    parts = getattr(figure, "parts", [figure])
    is_image = any(map(_holds_image, (ax for part in parts for ax in part.axes)))
    require(
        not is_image,
        "a figure as .pgf must have lines and areas alone, got one with an image.",
        hint="Save it as .pdf, or draw planes as the kind filled or contour.",
    )
    code = io.StringIO()
    figure.draw(_Renderer(figure, code))
    return _PICTURE % (figure.get_figwidth(), figure.get_figheight(), code.getvalue())


def _holds_image(ax: Axes) -> bool:
    """Return whether axes hold an image, or so many areas that they are drawn as one."""
    if ax.get_label() == "<colorbar>":
        return False
    return bool(ax.images) or any(
        each.get_rasterized() and not isinstance(each, Line2D) for each in ax.get_children()
    )
