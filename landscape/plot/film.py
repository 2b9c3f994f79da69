"""Films of surfaces: along training, from file to file, or around a relief."""

from __future__ import annotations

import base64
import html
import io
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D
from PIL import Image

from landscape.errors import InputError, from_extra, require, require_one_of
from landscape.plot.figure import draw
from landscape.plot.look import DEFAULT_LOOK, Look
from landscape.plot.presets import current_style
from landscape.results.surface import Surface
from landscape.runtime.files import replacing, saying_why_not

WAYS = ("path", "files", "turn")
"""What moves: the path of training grows, one file follows another, or a relief turns."""

FILM_SUFFIXES = (".gif", ".mp4", ".html")

_FRAMES_PER_SECOND = 12  # of a turn
_AZIMUTH = -45.0  # degrees from which a relief fills its panel; it has room for any other then
_LONGEST = 60.0  # seconds
_MOST_FRAMES = 1000
_MOST_DOTS = 1e9  # of all frames: 3 GB of memory
_NO_FFMPEG = "Install ffmpeg or `pip install 'landscape-toolkit[film]'`, or name a .gif."


def animate(
    results: Sequence[Surface],
    path: str | os.PathLike[str],
    *,
    along: str | None = None,
    kind: str | None = None,
    labels: Sequence[str] | None = None,
    split: str | None = None,
    quantity: str = "loss",
    title: str | None = None,
    look: Look = DEFAULT_LOOK,
    seconds: float = 6.0,
) -> int:
    """Write a film of surfaces on planes, with the same levels, limits and sizes in every frame.

    Args:
        results: One surface, or several that follow each other.
        path: Ends in `.gif`, `.mp4` (H.264, for which ffmpeg is needed) or `.html` (a page with
            the film in it). It is written next to its place and moved there when it is whole.
        along: One of `WAYS`; None for `files` of several surfaces, `path` of one with snapshots,
            else `turn`.
        kind: `filled`, `contour`, `heatmap` or `surface`; None for `surface` of a turn, else
            `filled`.
        labels: One per surface, shown over its frame; None for names of snapshots, or none.
        split: Data split; None for the first.
        quantity: `loss`, `accuracy` or the name of a map.
        title: Over every frame.
        look: Levels, scale, clipping and colours.
        seconds: Length of the film, at most 60.

    Returns:
        Number of frames.

    Raises:
        InputError: If the way does not fit the results, the frames together have more than 10^9
            dots, or an .mp4 is asked for and there is no ffmpeg.
        StoreError: If the file cannot be written.
    """
    path, results = Path(path), list(results)
    suffix = path.suffix.lower()
    require(
        suffix in FILM_SUFFIXES,
        f"the name of a film must end in {', '.join(FILM_SUFFIXES)}, got {path.name!r}.",
        hint="For example film.gif.",
    )
    require(
        0 < seconds <= _LONGEST,
        f"a film must take up to {_LONGEST:g} seconds, got {seconds:g}.",
        hint="Pass `seconds=6`.",
    )
    require(
        labels is None or len(labels) == len(results),
        f"there must be one label for each surface, got {len(labels or ())} for {len(results)}.",
    )
    ffmpeg = _ffmpeg(is_needed=suffix == ".mp4") if suffix != ".gif" else None
    way = _way(results, along)
    settings = {"split": split, "quantity": quantity, "title": title, "look": look}
    frames: list[Image.Image] = []
    film = _Film(results, kind, labels, seconds, settings)
    for frame in _FRAMES[way](film):
        frames.append(frame)
        dots = frame.width * frame.height * film.num_frames(way)
        require(
            dots <= _MOST_DOTS,
            f"the frames of a film must have at most {_MOST_DOTS:.0e} dots together, got "
            f"{dots:.1e}.",
            hint="Pass a smaller `dpi`, or fewer `seconds`.",
        )
    frames = _alike(frames)
    content = _as_mp4(frames, seconds, ffmpeg) if ffmpeg else _as_gif(frames, seconds)
    if suffix == ".html":
        content = _page(content, "video/mp4" if ffmpeg else "image/gif", title or path.stem)
    with saying_why_not(path), replacing(path) as beside:
        beside.write_bytes(content)
    return len(frames)


@dataclass(frozen=True)
class _Film:
    """What was asked for, as `animate` takes it; the settings are those of every frame."""

    results: Sequence[Surface]
    kind: str | None
    labels: Sequence[str] | None
    seconds: float
    settings: dict[str, Any]

    def num_frames(self, way: str) -> int:
        """Return how many frames there are."""
        return {
            "path": len(_snapshots(self.results[0])) - 1,
            "files": len(self.results),
            "turn": max(2, round(self.seconds * _FRAMES_PER_SECOND)),
        }[way]

    def frame(self, surface: Surface, label: str) -> Image.Image:
        """Draw a surface with the scale and limits of all."""
        kind = self.kind or "filled"
        return _image(
            draw([surface], labels=[label], kind=kind, among=self.results, **self.settings)
        )


def _way(results: Sequence[Any], along: str | None) -> str:
    """Return what moves, after checking that the results have it."""
    require(
        results and all(isinstance(each, Surface) and each.y is not None for each in results),
        "a film is of surfaces on planes.",
        hint="Compute one with `landscape.surface(problem)`.",
    )
    num_snapshots = len(_snapshots(results[0]))
    fits = "files" if len(results) > 1 else "path" if num_snapshots > 1 else "turn"
    along = along or fits
    require_one_of("along", along, WAYS)
    require(
        (along == "files") == (len(results) > 1),
        f"a film along {along} is of {'several files' if along == 'files' else 'one file'}, got "
        f"{len(results)}.",
        hint="Leave `along` out.",
    )
    require(
        along != "path" or num_snapshots > 1,
        f"a film along the path needs two snapshots at least, got {num_snapshots}.",
        hint="Compute the surface with `x='pca:FOLDER'`.",
    )
    require(
        max(len(results), num_snapshots) <= _MOST_FRAMES,
        f"a film has at most {_MOST_FRAMES} frames, got {max(len(results), num_snapshots)}.",
    )
    return along


def _snapshots(surface: Surface) -> list[int]:
    """Return the places of the snapshots among the marks."""
    return [place for place, mark in enumerate(surface.marks) if mark.kind == "snapshot"]


def _along_path(film: _Film) -> Iterator[Image.Image]:
    """Yield a frame for each snapshot but the first, with the path up to it."""
    (surface,) = film.results
    places = _snapshots(surface)
    for count, place in enumerate(places[1:], start=2):
        later = set(places[count:])
        marks = tuple(mark for i, mark in enumerate(surface.marks) if i not in later)
        name = surface.marks[place].label
        label = f"{film.labels[0]}, {name}" if film.labels else name
        yield film.frame(replace(surface, marks=marks), label)


def _from_file_to_file(film: _Film) -> Iterator[Image.Image]:
    """Yield a frame for each surface."""
    names = film.labels or [""] * len(film.results)
    for surface, name in zip(film.results, names, strict=True):
        yield film.frame(surface, name)


def _around(film: _Film) -> Iterator[Image.Image]:
    """Yield views from all around a relief, which is drawn once."""
    require(
        film.kind in (None, "surface"),
        f"what turns is the kind surface, got {film.kind!r}.",
        hint="Leave `kind` out.",
    )
    look = film.settings["look"]
    elevation, start = look.view or (35.0, -60.0)
    settings = {**film.settings, "look": replace(look, view=(elevation, _AZIMUTH))}
    figure = draw(film.results, labels=film.labels, kind="surface", **settings)
    num_frames = film.num_frames("turn")
    for number in range(num_frames):
        for ax in figure.axes:
            if isinstance(ax, Axes3D):
                ax.view_init(elev=elevation, azim=start + 360 * number / num_frames)
        yield _image(figure)


_FRAMES = {"path": _along_path, "files": _from_file_to_file, "turn": _around}


def _alike(frames: Sequence[Image.Image]) -> list[Image.Image]:
    """Return the frames with one size, to which white is added at the foot."""
    width, height = (max(sizes) for sizes in zip(*(each.size for each in frames), strict=True))
    found = [Image.new("RGB", (width, height), "white") for _ in frames]
    for whole, frame in zip(found, frames, strict=True):
        whole.paste(frame, (0, 0))
    return found


def _image(figure: Figure) -> Image.Image:
    """Return a figure as an image, of even width and height, which H.264 asks for."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=current_style().dpi)
    image = Image.open(content).convert("RGB")
    return image.crop((0, 0, image.width // 2 * 2, image.height // 2 * 2))


def _as_gif(frames: Sequence[Image.Image], seconds: float) -> bytes:
    """Return an animated GIF that is shown again and again, with one palette."""
    palette = frames[-1].quantize(256)
    reduced = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    content = io.BytesIO()
    reduced[0].save(
        content,
        format="GIF",
        save_all=True,
        append_images=reduced[1:],
        duration=round(1000 * seconds / len(frames)),
        loop=0,
    )
    return content.getvalue()


def _ffmpeg(*, is_needed: bool) -> str | None:
    """Return the path of ffmpeg: on PATH, or that of imageio-ffmpeg."""
    if found := shutil.which("ffmpeg"):
        return found
    try:
        with from_extra("film", "imageio-ffmpeg"):
            from imageio_ffmpeg import get_ffmpeg_exe
        return get_ffmpeg_exe()
    except (InputError, RuntimeError) as exc:
        if is_needed:
            raise InputError("an .mp4 needs ffmpeg, which was not found.", _NO_FFMPEG) from exc
        return None


def _as_mp4(frames: Sequence[Image.Image], seconds: float, ffmpeg: str) -> bytes:
    """Return a film in H.264."""
    width, height = frames[0].size
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        command = [ffmpeg, "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"]
        command += ["-s", f"{width}x{height}", "-r", f"{len(frames) / seconds:.6f}", "-i", "-"]
        command += ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-r", "24"]
        command += ["-movflags", "+faststart", str(path)]
        content = b"".join(np.asarray(frame).tobytes() for frame in frames)
        done = subprocess.run(command, input=content, capture_output=True, check=False)
        require(
            done.returncode == 0,
            f"ffmpeg cannot write the film: {done.stderr.decode(errors='replace').strip()}.",
            hint=_NO_FFMPEG,
        )
        return path.read_bytes()


def _page(film: bytes, kind: str, title: str) -> bytes:
    """Return a page with a film in it, which opens without a network."""
    source = f"data:{kind};base64,{base64.b64encode(film).decode()}"
    name = html.escape(title)
    shown = (
        f'<video src="{source}" controls loop autoplay muted playsinline aria-label="{name}">'
        "</video>"
        if kind.startswith("video")
        else f'<img src="{source}" alt="{name}">'
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}</title><style>body {{ margin: 16px; }} video, img "
        f"{{ max-width: 100%; }}</style></head>\n<body><main>{shown}</main></body></html>\n"
    ).encode()
