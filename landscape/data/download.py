"""Download published files, checked before they get their names. The only user of pooch."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pooch
import requests

from landscape.data.published_files import Publication, PublishedArchive, PublishedFile
from landscape.errors import DataError, first_line, require
from landscape.runtime.files import replacing
from landscape.runtime.progress import SILENT, Progress

_CHUNK = 2**16
_KILOBYTE = 1000

_NO_ARCHIVE = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError)
"""What reading a damaged .zip archive raises."""


@dataclass(frozen=True)
class Fetched:
    """A file that is now there.

    Attributes:
        path: Where.
        is_new: Whether it was downloaded, or was there before.
    """

    path: Path
    is_new: bool


def fetch(publication: Publication, folder: Path, *, progress: Progress = SILENT) -> list[Fetched]:
    """Download a data set's files into a folder, those that are not there yet.

    A file gets its name when it is whole and has the published md5 sum, or, where none is
    published, holds as many lines as the data set has graphs, nodes and edges. A file that does not
    is downloaded again; what stands unpacked or extracted is left for its reader to check.

    Args:
        publication: The data set.
        folder: Made if it does not exist.
        progress: Is told the kilobytes of each file.

    Returns:
        What the reader will read, file by file; nothing where the data set is embedded.

    Raises:
        DataError: If one cannot be downloaded or written, or is not what was published.
    """
    return [_fetch(file, publication, folder, progress) for file in publication.files]


def _fetch(
    file: PublishedFile, publication: Publication, folder: Path, progress: Progress
) -> Fetched:
    found, target = file.find(folder), folder / file.name
    if found is not None and (found != target or not _complaint(file, target)):
        return Fetched(found, is_new=False)
    require(
        file.address,
        f"{publication.title} can only be downloaded after a login.",
        publication.how_to_get(),
        kind=DataError,
    )
    by_hand = f"Try again, or download {file.name} from {publication.page} into {folder} by hand."
    _download(file, target, progress, by_hand)
    return Fetched(target, is_new=True)


def _download(file: PublishedFile, target: Path, progress: Progress, by_hand: str) -> None:
    bar = _Bar(file.name, progress)
    try:
        with replacing(target) as beside:
            # As published: not packed for the way, nor unpacked by a reader of what the server says
            # it is.
            get = pooch.HTTPDownloader(
                progressbar=bar,  # pyright: ignore[reportArgumentType]  # any object that is a progress bar
                chunk_size=_CHUNK,
                headers={"Accept-Encoding": "identity"},
                hooks={"response": _keep_encoded},
            )
            get(file.address, str(beside), None)
            complaint = _complaint(file, beside)
            require(
                not complaint,
                f"{file.address} gave another file than published: {complaint}.",
                by_hand,
                kind=DataError,
            )
    except requests.RequestException as exc:
        raise DataError(
            f"{file.address} cannot be downloaded: {_reason(exc)}.", hint=by_hand
        ) from exc
    except OSError as exc:
        raise DataError(
            f"{target} cannot be written: {exc.strerror}.", hint="Pass another `data_dir`."
        ) from exc
    finally:
        bar.close()


def _keep_encoded(response: requests.Response, *args: Any, **kwargs: Any) -> None:
    response.raw.headers.pop("Content-Encoding", None)


def _reason(exc: requests.RequestException) -> str:
    if exc.response is not None:
        return f"the server answers {exc.response.status_code} {exc.response.reason}"
    if isinstance(exc, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    if isinstance(exc, requests.exceptions.Timeout) or "timed out" in str(exc):
        return "the server does not answer in time"
    if isinstance(exc, requests.exceptions.ConnectionError):
        return "there is no connection to the server"
    return first_line(exc)


def _complaint(file: PublishedFile, path: Path) -> str:
    """Return what tells a file from the published one; nothing if nothing does."""
    if file.md5:
        found = pooch.file_hash(str(path), alg="md5")
        return "" if found == file.md5 else f"its md5 sum is {found}, not {file.md5}"
    return _miscount(file, path) if isinstance(file, PublishedArchive) else ""


def _miscount(file: PublishedArchive, path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            for name, expected in file.member_lines.items():
                found = len(archive.read(f"{file.folder}/{name}").split(b"\n")[:-1])
                if found != expected:
                    return f"{name} has {found} lines, not {expected}"
    except _NO_ARCHIVE as exc:
        return f"it is no whole archive of {file.folder}, {first_line(exc)}"
    return ""


class _Bar:
    """Tells a `Progress` what pooch tells a progress bar: bytes, when their number is known."""

    def __init__(self, name: str, progress: Progress) -> None:
        self._name, self._progress = name, progress
        self._total: int | None = None
        self._num_bytes = 0

    @property
    def total(self) -> int | None:
        return self._total

    @total.setter
    def total(self, num_bytes: int) -> None:
        self._total = num_bytes
        self._progress.start(f"{self._name}, kB", num_bytes // _KILOBYTE or None)

    def update(self, num_bytes: int) -> None:
        self._num_bytes += num_bytes
        self._progress.update(min(self._num_bytes, self._total or self._num_bytes) // _KILOBYTE)

    def reset(self) -> None:
        self._num_bytes = 0

    def close(self) -> None:
        if self._total is not None:
            self._progress.stop()
            self._total = None
