"""HDF5 files, of which nothing is believed.

A file is read only after its seal was checked, or after another process has read it to its end
without a crash of the HDF5 library; only what is in the file itself, and only as much as its bytes
can hold. A file is written so that the library never sees a write fail, which crashes it.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py

from landscape.errors import StoreError, require
from landscape.runtime.files import unfailing, writing
from landscape.runtime.free_memory import free_host_memory
from landscape.runtime.seal import check_seal, seal

_MOST_DEFLATED = 1032
"""Bytes that deflate can make of one byte at most (zlib's technical notes)."""

_MOST_MEMBERS = 100_000
_MOST_DEPTH = 8
_MOST_VALUES = 1 << 16  # of an attribute
_SMALL = 1 << 20  # bytes that there is always memory for
_SECONDS = 30.0  # for another process to start and to read a small file
_BYTES_PER_SECOND = 2e7  # on the slowest disk that is waited for

_READ_ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What h5py raises on bytes that are not such a file."""


@contextmanager
def opened(path: Path, what: str, hint: str) -> Iterator[h5py.File]:
    """Open a file to read it, after its bytes, members and sizes were checked.

    Args:
        path: The file.
        what: What is wrong with one that is something else, for the message.
        hint: What to do where it is not.

    Raises:
        StoreError: If it is missing or damaged, or reads or holds what such a file never does.
    """
    require_file(path)
    try:
        if not check_seal(path):
            _let_another_process_read(path)
        with h5py.File(path, "r", locking=False) as file:
            _check_members(path, file)
            yield file
    except _READ_ERRORS as exc:
        raise StoreError(f"{path} is damaged or {what}.", hint=hint) from exc


def require_file(path: Path) -> None:
    """Raise a StoreError unless a results file exists."""
    require(
        path.exists(),
        f"results file {path} does not exist.",
        hint="Check its name and folder.",
        kind=StoreError,
    )


def array_of(dataset: Any) -> Any:
    """Read a whole dataset of HDF5.

    Raises:
        StoreError: If it takes more memory than there is.
    """
    free = free_host_memory() if dataset.nbytes > _SMALL else 0
    complaint = f"takes {dataset.nbytes} bytes of memory, {free} are free"
    _require(
        Path(dataset.file.filename), dataset.nbytes <= (free or math.inf), dataset.name, complaint
    )
    return dataset[()]


def _let_another_process_read(path: Path) -> None:
    """Raise a StoreError if the HDF5 library crashes or never ends on a file without a seal."""
    found = path.stat()
    complaint = _complaint(path.resolve(), found.st_mtime_ns, found.st_size)
    require(
        not complaint,
        f"{path} is damaged: {complaint}.",
        hint="Copy the file again from where it is whole, or compute it anew.",
        kind=StoreError,
    )


@lru_cache(maxsize=4096)
def _complaint(path: Path, modified: int, size: int) -> str:
    """Say what the HDF5 library does on a file; nothing if it comes to its end."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", __name__, str(path)],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS + size / _BYTES_PER_SECOND,
        )
    except subprocess.TimeoutExpired:
        return "the HDF5 library does not come to the end of it"
    return "" if done.returncode in (0, 1) else "the HDF5 library crashes on it"


def _read_everything(path: Path) -> None:
    with h5py.File(path, "r", locking=False) as file:
        for item in _check_members(path, file):
            for name in item.attrs:
                item.attrs[name]
            # Numbers in one piece are read as from any file.
            if isinstance(item, h5py.Dataset) and (item.chunks or item.dtype.kind == "O"):
                array_of(item)


def _check_members(path: Path, file: h5py.File) -> list[Any]:
    """Return all members after a check of each.

    Raises:
        StoreError: If one is elsewhere, or claims more than the file can hold.
    """
    found: list[Any] = [file]
    _require_small_attributes(path, file)
    rest: list[tuple[Any, int]] = [(file, _MOST_DEPTH)]
    while rest:
        group, depth = rest.pop()
        for name in group:
            where = f"{group.name}/{name}".strip("/")
            is_here = isinstance(group.get(name, getlink=True), h5py.HardLink)
            _require(path, is_here, where, "is a link to another place, which is never followed")
            item: Any = group[name]
            _require_small_attributes(path, item)
            if isinstance(item, h5py.Dataset):
                _check_dataset(path, item, where)
            else:
                _require(path, isinstance(item, h5py.Group) and depth, where, "is no data")
                rest.append((item, depth - 1))
            found.append(item)
            _require(path, len(found) <= _MOST_MEMBERS, where, "is one member too many")
    return found


def _require(path: Path, condition: object, where: str, complaint: str) -> None:
    require(condition, f"{path} cannot be read: {where} {complaint}.", kind=StoreError)


def _require_small_attributes(path: Path, item: Any) -> None:
    for name in item.attrs:
        shape: tuple[int, ...] | None = item.attrs.get_id(name).shape
        is_small = shape is not None and math.prod(shape) <= _MOST_VALUES
        _require(path, is_small, f"the attribute {name}", "is no single value")


def _check_dataset(path: Path, dataset: Any, where: str) -> None:
    properties = dataset.id.get_create_plist()
    is_inside = not properties.get_external_count() and not dataset.is_virtual
    _require(path, is_inside, where, "lies in another file, which is never read")
    text = h5py.check_string_dtype(dataset.dtype)
    is_plain = dataset.dtype.kind in "biuf" or (text is not None and dataset.shape == ())
    _require(path, is_plain and dataset.shape is not None, where, "holds no numbers and no text")
    chunk: tuple[int, ...] = dataset.chunks or (0,)
    size = dataset.dtype.itemsize * max(dataset.size, math.prod(chunk))
    stored = min(dataset.id.get_storage_size(), path.stat().st_size)
    shape = " x ".join([str(length) for length in dataset.shape or ()])
    _require(
        path,
        not dataset.size or size <= _MOST_DEFLATED * stored,
        where,
        f"claims the shape {shape}, {size} bytes, of which the file has {stored}",
    )


@contextmanager
def written(path: Path, *, is_sealed: bool = True) -> Iterator[h5py.File]:
    """Give a new HDF5 file to fill in the place of `path`, whole or not at all.

    Args:
        path: The file; one that is there is replaced at the end.
        is_sealed: Whether it gets a seal at the end; without, it may be written further.

    Raises:
        StoreError: If it cannot be written; an older file of that name stays.
    """
    with writing(path) as beside:
        with unfailing(beside) as stream, h5py.File(stream, "w") as file:
            yield file
        if is_sealed:
            seal(beside)


if __name__ == "__main__":
    os.environ["HDF5_USE_FILE_LOCKING"] = "FALSE"
    _read_everything(Path(sys.argv[1]))
