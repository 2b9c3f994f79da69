"""Files that are written whole or not at all, by one process at a time, and their kinds."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

from filelock import FileLock, Timeout

from landscape.errors import StoreError

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
