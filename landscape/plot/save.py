"""Figures as files: the format by the suffix, all of a file or nothing."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from landscape.errors import InputError, printable, require
from landscape.runtime.files import replacing
from landscape.runtime.seal import seal_figure

FORMATS = ("png", "svg", "pdf")

# Without the dates and the random ids that would make two files of one figure differ.
_METADATA = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}

_STYLE: Any = {"svg.hashsalt": "landscape", "pdf.fonttype": 42, "hatch.linewidth": 0.5}


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure to a PNG, SVG or PDF file; one figure gives the same bytes each time.

    The file is written next to its place and moved there when it is whole.

    Args:
        figure: As the functions of this package return it.
        path: Ends in `.png` (200 dots an inch), `.svg` or `.pdf`.

    Returns:
        The path.

    Raises:
        InputError: If the suffix is another, or the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower().removeprefix(".")
    require(
        suffix in FORMATS,
        f"the name of a figure must end in .png, .svg or .pdf, got {path.name!r}.",
        hint=f"For example {path.with_suffix('.png').name if path.name else 'figure.png'}.",
    )
    content = io.BytesIO()  # what draws a figure does not take a full disk well
    with rc_context(_STYLE):
        figure.savefig(content, format=suffix, dpi=200, metadata=_METADATA[suffix])
    image = content.getvalue()
    if suffix == "svg":  # which has every text in a comment, as it is
        image = "\n".join(map(printable, image.decode().split("\n"))).encode()
    with _writing(path) as beside:
        beside.write_bytes(seal_figure(image, suffix))
    return path


def save_page(page: str, path: str | os.PathLike[str]) -> Path:
    """Write an interactive page to a file, as `save_figure` does.

    Args:
        page: As `draw_page` returns it.
        path: Usually ends in `.html`.

    Raises:
        InputError: If the file cannot be written.
    """
    path = Path(path)
    with _writing(path) as beside:
        beside.write_bytes(page.encode())
    return path


@contextmanager
def _writing(path: Path) -> Iterator[Path]:
    """Give a path to write in the place of `path`, and say what is wrong where that cannot be."""
    try:
        with replacing(path) as beside:
            yield beside
    except OSError as exc:
        raise InputError(
            f"the figure must go to a folder that can be written, got {str(path)!r} "
            f"({exc.strerror or exc}).",
            hint="Make the folder, or pass another path.",
        ) from exc
