"""Figures as files: the format by the suffix, all of a file or nothing."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from landscape.errors import printable, require
from landscape.plot.presets import current_style
from landscape.runtime.files import replacing, saying_why_not
from landscape.runtime.seal import seal_figure

FORMATS = ("png", "svg", "pdf", "pgf")

# Without the dates and the random ids that would make two files of one figure differ.
_METADATA = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}

_MOST_DOTS = 2e8  # 800 MB of memory

_STYLE: Any = {"svg.hashsalt": "landscape", "pdf.fonttype": 42, "hatch.linewidth": 0.5}


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure to a PNG, SVG, PDF or PGF file; one figure gives the same bytes each time.

    The file is written next to its place and moved there when it is whole.

    Args:
        figure: As the functions of this package return it.
        path: Ends in `.png` (with the dots per inch of the style), `.svg`, `.pdf` or `.pgf`, which
            LaTeX draws in the fonts of its document; TeX is not needed to write it.

    Returns:
        The path.

    Raises:
        InputError: If the suffix is another, an image would have more than 200 million points, a
            PGF file would hold an image.
        StoreError: If the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower().removeprefix(".")
    require(
        suffix in FORMATS,
        f"the name of a figure must end in .png, .svg, .pdf or .pgf, got {path.name!r}.",
        hint=f"For example {path.with_suffix('.png').name if path.name else 'figure.png'}.",
    )
    dpi, size = current_style().dpi, np.prod(figure.get_size_inches())
    require(
        suffix != "png" or size * dpi**2 <= _MOST_DOTS,
        f"a PNG must have at most {_MOST_DOTS:.0e} points, got {size * dpi**2:.1e}.",
        hint="Pass a smaller `dpi`, or save a .pdf.",
    )
    content = io.BytesIO()  # what draws a figure does not take a full disk well
    with rc_context(_STYLE):
        if suffix == "pgf":
            from landscape.plot.pgf import pgf_code  # with the backends of LaTeX and PDF

            content.write(pgf_code(figure).encode())
        else:
            figure.savefig(content, format=suffix, dpi=dpi, metadata=_METADATA[suffix])
    image = content.getvalue()
    if suffix == "svg":  # which has every text in a comment, as it is
        image = "\n".join(map(printable, image.decode().split("\n"))).encode()
    with saying_why_not(path), replacing(path) as beside:
        beside.write_bytes(seal_figure(image, suffix))
    return path


def save_page(page: str, path: str | os.PathLike[str]) -> Path:
    """Write an interactive page to a file, as `save_figure` does.

    Args:
        page: As `draw_page` returns it.
        path: Usually ends in `.html`.

    Raises:
        StoreError: If the file cannot be written.
    """
    path = Path(path)
    with saying_why_not(path), replacing(path) as beside:
        beside.write_bytes(page.encode())
    return path
