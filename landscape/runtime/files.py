"""Files that are written whole or not at all, by one process at a time, and their kinds."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from glob import escape
from io import FileIO
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from landscape.errors import StoreError, first_line

_HDF5 = b"\x89HDF\r\n\x1a\n"
_HDF5_SUFFIXES = (".h5", ".hdf5")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write next to `path`, and put it in its place at the end.

    The new file is on the disk before it replaces the old one; on any exception the old one stays
    and nothing is left next to it, not what killed processes have left there either. A link stays a
    link; what it points to is replaced.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}{path.suffix}")
    for left, process in _left_half_written(path):
        if not _is_running(process):
            left.unlink(missing_ok=True)
    try:
        yield beside
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a path to write in the place of `path`, whole or not at all.

    Raises:
        StoreError: If it cannot be written; an older file of that name stays.
    """
    with saying_why_not(path), replacing(path) as beside:
        yield beside


@contextmanager
def unfailing(path: Path) -> Iterator[Unfailing]:
    """Open a file for libraries that crash where a write fails; what failed is raised at the end.

    Raises:
        OSError: If it cannot be written.
    """
    with path.open("wb+", buffering=0) as file:
        stream = Unfailing(file)
        try:
            yield stream
        finally:
            if stream.failure is not None:
                raise stream.failure


class Unfailing:
    """A file whose writes never fail in the eyes of who makes them.

    Args:
        file: Open for reading and writing, without a buffer.

    Attributes:
        failure: The first exception, after which nothing is written; None if there was none.
    """

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self.failure: BaseException | None = None

    def write(self, content: bytes | memoryview) -> int:
        """Write all bytes where the file stands."""
        rest = memoryview(content).cast("B")
        size = len(rest)
        while rest and self.failure is None:
            try:
                rest = rest[self._file.write(rest) :]
            except BaseException as exc:  # a signal's too: it may come at any time
                self.failure = exc
        return size

    def truncate(self, size: int | None = None) -> int:
        """Set the length of the file."""
        try:
            return self._file.truncate(size)
        except BaseException as exc:
            self.failure = self.failure or exc
            return size or 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextmanager
def saying_why_not(path: Path) -> Iterator[None]:
    """Say why a file cannot be written.

    Raises:
        StoreError: If it cannot.
    """
    try:
        yield
    except (OSError, RuntimeError) as exc:
        raise StoreError(
            f"{path} cannot be written: {_reason(exc)}.",
            hint="Check the free space and the permissions of its folder.",
        ) from exc


def _reason(exc: Exception) -> str:
    """Say what the system says; HDF5 puts several lines around it."""
    found = re.search(r"errno = (\d+)", str(exc))
    number = getattr(exc, "errno", None) or (int(found[1]) if found else 0)
    if number in (errno.EEXIST, errno.ENOTDIR):
        return "a part of its path is a file, not a folder"
    return os.strerror(number) if number else first_line(exc).rstrip(".")


@contextmanager
def folder_of(path: Path) -> Iterator[None]:
    """Make the folder of `path`; at the end, what was made and is still empty is removed."""
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        for folder in made:
            with suppress(OSError):  # it holds something by now, or somebody else has removed it
                folder.rmdir()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes that ask for the same lock from writing `path` meanwhile.

    The lock is the kernel's, on an empty hidden file next to `path`. It ends with the process,
    however that ends: a file that a killed one leaves refuses nobody. What such a process has left
    half written is removed.

    Raises:
        StoreError: If another process has the lock.
    """
    path = path.resolve()
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    with folder_of(path):
        try:
            _acquire(lock)
        except Timeout as exc:
            raise StoreError(
                f"{path} is being written by another process.",
                hint="Wait for it, or write to another `out`.",
            ) from exc
        try:
            for left, _ in _left_half_written(path):
                left.unlink()
            yield
        finally:
            if os.name != "nt":  # there it is removed by its release, and cannot be before
                Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()


def _acquire(lock: FileLock) -> None:
    """Lock the file that exists now.

    What is opened may be removed, before it is locked, by the process that held the lock.
    """
    while True:
        # While it is open here, the file's number is not given to another one.
        with open(lock.lock_file, "a") as file:
            lock.acquire(timeout=0)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), os.stat(lock.lock_file)):
                    return
        lock.release()


def _left_half_written(path: Path) -> list[tuple[Path, int]]:
    """Return what processes write next to `path`, or have left there, and their numbers.

    Files of another output whose name begins like that of `path` are not among them.
    """
    start = f".{path.name}."
    found = [
        (file, file.name.removeprefix(start).removesuffix(path.suffix))
        for file in path.parent.glob(f"{escape(start)}[0-9]*")
    ]
    return [(file, int(number)) for file, number in found if number.isdecimal()]


def _is_running(process: int) -> bool:
    """Whether a process of this number is there; supposed on a system that does not tell."""
    if os.name == "nt":  # there os.kill ends the process, whatever the signal
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        pass
    return True


def is_hdf5(path: Path) -> bool:
    """Whether a file that exists is HDF5, or is called so."""
    with path.open("rb") as file:
        return path.suffix in _HDF5_SUFFIXES or file.read(len(_HDF5)) == _HDF5


def names_apart(paths: Sequence[Path]) -> list[str]:
    """Return what tells paths apart: their names, with as many folders before as it takes."""
    whole = [path.resolve().parts for path in paths]
    for count in range(1, max(map(len, whole))):
        names = ["/".join(parts[-count:]) for parts in whole]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]
