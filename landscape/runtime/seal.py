"""A seal at the end of a file: the digest of all that comes before, checked before it is read.

Neither HDF5 nor torch minds it. Whatever else changes a file of HDF5 takes the seal off. That of a
figure is a comment in its format; it tells a figure that nobody has changed from any other file.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from landscape.errors import LandscapeError, StoreError, require

_MARK = b"landscape sha256"
_LENGTH = len(_MARK) + hashlib.sha256().digest_size
_ZIP, _ZIP_END = b"PK", b"PK\5\6"
_BEGINNING = 3  # bytes of the mark by which it is known where a file ends in the midst of it
_CHUNK = 1 << 20
_PNG_END = 12
"""Bytes of the last chunk of a PNG file, before which its comment is."""

_AGAIN = "Copy the file again from where it is whole, or compute it anew."


def seal(path: Path) -> None:
    """Append the seal to a file that has none; that of a zip archive is its comment."""
    with path.open("rb+") as file:
        if file.read(len(_ZIP)) == _ZIP:  # the last two bytes are the length of the comment
            file.seek(-2, os.SEEK_END)
            file.write(_LENGTH.to_bytes(2, "little"))
        size = file.seek(0, os.SEEK_END)
        digest = _digest(file, size)
        file.seek(size)
        file.write(_MARK + digest)


def check_seal(path: Path, kind: type[LandscapeError] = StoreError) -> bool:
    """Return whether a file has a seal, which holds.

    Args:
        path: A file that exists.
        kind: Class of the error.

    Raises:
        LandscapeError: If the seal does not hold: a byte of the file has changed.
    """
    with path.open("rb") as file:
        start = file.seek(0, os.SEEK_END) - _LENGTH
        file.seek(max(start, 0))
        found = file.read(_LENGTH)
        begins = any(found.endswith(_MARK[:size]) for size in range(_BEGINNING, len(_MARK)))
        comment = found[found.rfind(_ZIP_END) :][20:22]  # its length, as an archive's end says it
        is_cut = begins or _MARK in found[1:] or comment == _LENGTH.to_bytes(2, "little")
        require(not is_cut, f"{path} is damaged: its end is missing.", _AGAIN, kind=kind)
        # The mark itself may be what is damaged.
        if start < 0 or sum(a == b for a, b in zip(found, _MARK, strict=False)) < len(_MARK) // 2:
            return False
        require(
            found == _MARK + _digest(file, start),
            f"{path} is damaged: its bytes are not those that were written (SHA-256).",
            hint=_AGAIN,
            kind=kind,
        )
        return True


def _digest(file: BinaryIO, size: int) -> bytes:
    """Return the SHA-256 of the first bytes of a file."""
    digest = hashlib.sha256()
    file.seek(0)
    while size and (chunk := file.read(min(_CHUNK, size))):
        digest.update(chunk)
        size -= len(chunk)
    return digest.digest()


def seal_figure(content: bytes, suffix: str) -> bytes:
    """Return the bytes of a figure with a seal.

    Args:
        content: Without one.
        suffix: What the format is known by: `png`, `pdf`, `pgf`, `svg` or `html`.
    """
    mark = f"landscape figure sha256 {hashlib.sha256(content).hexdigest()}".encode()
    if suffix == "png":
        chunk = b"tEXtComment\0" + mark
        length, check = (len(chunk) - 4).to_bytes(4), zlib.crc32(chunk).to_bytes(4)
        return content[:-_PNG_END] + length + chunk + check + content[-_PNG_END:]
    return content + (b"%% %s\n" % mark if suffix in ("pdf", "pgf") else b"<!-- %s -->\n" % mark)


def is_own_figure(path: Path) -> bool:
    """Whether a file is a figure of this toolkit, as it was written."""
    suffix, content = path.suffix.lower().removeprefix("."), b""
    with suppress(OSError):
        content = path.read_bytes() if path.is_file() else content
    end = len(content) - (_PNG_END if suffix == "png" else 0)
    start = end - len(seal_figure(b"", suffix))
    return start > 0 and seal_figure(content[:start] + content[end:], suffix) == content
