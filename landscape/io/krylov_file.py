"""A Krylov space in a file that grows by one vector at a time and stays whole after any kill."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from io import FileIO
from itertools import chain
from pathlib import Path
from typing import Any
from zlib import crc32

import h5py
import numpy as np

from landscape.errors import StoreError, require
from landscape.hessian.krylov.krylov_sink import KrylovHead, StoredKrylov
from landscape.io.hdf5 import array_of, opened, written
from landscape.io.schema import Misfit
from landscape.io.store import read_group, saying_what_is_wrong, write_members
from landscape.results.identity import item_traits, require_same
from landscape.runtime.files import saying_why_not

_FORMAT = "landscape-krylov"
_SCHEMA = 1
_HINT = "Remove it, or run without `resume`."
_UNRECORDED = ("loss function",)  # which files of an earlier version lack
_NEAR = 1e-2  # of the length of a unit vector from 1


class KrylovFile:
    """A sink for a Krylov space, next to the results file that it leads to.

    A vector is written in place, into room that the file has from the start and that takes none on
    the disk before: a step costs one vector, whatever the size of the space. Then its checksum is
    written, and the numbers of its product, which were NaN: as many steps are valid as have numbers
    and a vector of that checksum. So neither a full disk nor a loss of power makes a vector of a
    hole. They come first in the file, so that a copy made meanwhile is whole too. HDF5 makes the
    file; what follows is written without it, since it crashes where a write fails. A thick restart
    writes another file and puts it in the place of this one. That one process writes is for the
    caller to see to.

    Args:
        path: The file.
        identity: What the space is of, by name: hashes of weights and data, kind of curvature,
            split, dtype.
        resume: Whether what the file holds is to be continued.
    """

    def __init__(self, path: Path, identity: Mapping[str, str], *, resume: bool) -> None:
        self._path = path
        self._identity = dict(identity)
        self._resume = resume
        self._facts: dict[str, str] = {}
        self._num_kept = 0
        self._num_steps = 0
        self._places: dict[str, tuple[int, int]] = {}  # first byte, and bytes of an entry

    def load(self, facts: Mapping[str, str]) -> StoredKrylov | None:
        """Return what the file holds, if it is to be continued and exists.

        Raises:
            StoreError: If the file cannot be read, or is of something else.
        """
        self._facts = {**self._identity, **facts}
        if not (self._resume and self._path.exists()):
            return None
        with _opened(self._path) as file, saying_what_is_wrong(self._path):
            head, steps = self._read_numbers(file)
            has_checksums = "checksums" in file  # a file of an earlier version has none
            self._num_kept, num_whole = len(head.values), _count_whole(file, steps)
        self._num_steps = num_whole - self._num_kept - 1
        require(
            self._num_steps >= 0,
            f"{self._path} is damaged: a vector of its beginning is not the one that was written.",
            hint=_HINT,
            kind=StoreError,
        )
        steps = steps[: self._num_steps]
        if not has_checksums:
            self._write(head, steps, self._rows(), self._capacity)
        return StoredKrylov(head, steps, self._rows())

    def begin(self, head: KrylovHead, rows: Iterable[np.ndarray], *, capacity: int) -> None:
        """Replace the old file with one of k + 1 vectors (P,) and room for `capacity` products.

        Raises:
            StoreError: If it cannot be written.
        """
        self._write(head, np.empty((0, 3)), rows, capacity)
        self._num_kept, self._num_steps = len(head.values), 0

    def append(self, step: tuple[float, float, float], row: np.ndarray | None) -> None:
        """Write the next vector (P,), if there is one, and then the numbers of its product.

        Raises:
            StoreError: If it cannot be written.
        """
        with saying_why_not(self._path):
            if self._num_steps == self._capacity:  # a run goes on with a larger limit than at first
                with self._open() as file:
                    head, steps = self._read_numbers(file)
                self._write(head, steps, self._rows(), 2 * max(len(steps), 8))
            index = self._num_kept + 1 + self._num_steps
            vector = b"" if row is None else np.ascontiguousarray(row).tobytes()
            numbers = np.array(step).tobytes()
            checksum = np.array(crc32(numbers, crc32(vector)), np.uint32).tobytes()
            with self._path.open("rb+", buffering=0) as file:
                if row is not None:
                    self._put(file, "basis", index, vector)
                self._put(file, "checksums", index, checksum)
                self._put(file, "steps", self._num_steps, numbers)
        self._num_steps += 1

    def _put(self, file: FileIO, name: str, index: int, content: bytes) -> None:
        """Write an entry of a dataset in its place."""
        start, size = self._places[name]
        assert len(content) == size
        file.seek(start + index * size)
        rest = memoryview(content)
        while rest:
            rest = rest[file.write(rest) :]

    def remove(self) -> None:
        """Remove the file: what it led to is done."""
        self._path.unlink(missing_ok=True)

    def _open(self) -> Any:
        """Open the file, whose members h5py's types do not tell apart."""
        return h5py.File(self._path, "r", locking=False)

    def _read_numbers(self, file: Any) -> tuple[KrylovHead, np.ndarray]:
        """Return what the space begins with, and the steps that have numbers.

        A file of anything other than what this sink is for is rejected.
        """
        if file.attrs["format"] != _FORMAT or file.attrs["schema"] > _SCHEMA:
            raise ValueError(f"format {file.attrs['format']}")
        stored = json.loads(file.attrs["facts"])
        require_same(
            self._path,
            item_traits(
                {name: self._facts.get(name, "not said") for name in _UNRECORDED} | stored,
                self._facts,
                {**stored, **self._facts},
                default="not said",
            ),
            hint="Run with the same settings, or without `resume`.",
        )
        head, steps = read_group(file, KrylovHead), array_of(file["steps"])
        expected = _checksum_of(head, stored)
        if file.attrs.get("checksum", expected) != expected:
            raise Misfit("the numbers that it begins with are not those that were written")
        num_rows, size = file["basis"].shape
        if steps.shape != (num_rows - len(head.values) - 1, 3) or str(size) != stored["parameters"]:
            raise Misfit(f"basis has the shape ({num_rows}, {size}), which does not fit the steps")
        self._find_places(file)
        is_unwritten = ~np.isfinite(steps).all(axis=1)
        return head, steps[: int(is_unwritten.argmax()) if is_unwritten.any() else len(steps)]

    def _find_places(self, file: Any) -> None:
        self._capacity = len(file["steps"])
        self._places = {
            name: (
                file[name].id.get_offset(),
                file[name].dtype.itemsize * math.prod(file[name].shape[1:]),
            )
            for name in ("basis", "checksums", "steps")
            if name in file
        }

    def _rows(self) -> Iterator[np.ndarray]:
        with self._open() as file:
            basis = file["basis"]
            for index in range(min(self._num_kept + 1 + self._num_steps, basis.shape[1])):
                yield basis[index]

    def _write(
        self, head: KrylovHead, steps: np.ndarray, rows: Iterable[np.ndarray], capacity: int
    ) -> None:
        rows = iter(rows)
        first = next(rows)
        numbers = np.full((capacity, 3), np.nan)
        numbers[: len(steps)] = steps
        about = {"format": _FORMAT, "schema": _SCHEMA, "facts": json.dumps(self._facts)}
        checksums = np.zeros(len(head.values) + 1 + capacity, np.uint32)
        with written(self._path, is_sealed=False) as file:
            sums = {"checksum": _checksum_of(head, self._facts), "checksums": checksums}
            write_members(file, {**about, **vars(head), "steps": numbers, **sums})
            shape = (len(checksums), len(first))
            basis = _reserve(file, "basis", shape, first.dtype)
            for index, row in enumerate(chain([first], rows)):
                basis[index] = row
            array: Any = file["checksums"]
            for index in range(len(head.values) + 1 + len(steps)):
                array[index] = _checksum(basis, numbers, index)
            self._find_places(file)


def _opened(path: Path) -> AbstractContextManager[Any]:
    return opened(path, "holds no Krylov space", _HINT)


def _checksum_of(head: KrylovHead, facts: Mapping[str, str]) -> int:
    numbers = (head.values, head.couplings, np.array([head.num_matvecs, head.deviation]))
    content = b"".join(np.asarray(each, np.float64).tobytes() for each in numbers)
    return crc32(content, crc32(json.dumps(facts).encode()))


def _checksum(basis: Any, steps: np.ndarray, index: int) -> int:
    """Return the checksum of a vector (P,) and of the step (3,) that led to it, if one did.

    The last step of a complete space leads to none.
    """
    vector = basis[index].tobytes() if index < basis.shape[1] else b""
    step = index - (len(basis) - len(steps))
    return crc32(steps[step].tobytes() if step >= 0 else b"", crc32(vector))


def _count_whole(file: Any, steps: np.ndarray) -> int:
    """Return the number of vectors, from the first on, that are those that were written.

    Without checksums, those whose length is 1.
    """
    basis, numbers = file["basis"], array_of(file["steps"])
    checksums = array_of(file["checksums"]) if "checksums" in file else None
    num_written = len(basis) - len(numbers) + len(steps)
    for index in range(num_written):
        if checksums is not None:
            is_whole = checksums[index] == _checksum(basis, numbers, index)
        else:
            is_whole = index >= basis.shape[1] or abs(np.linalg.norm(basis[index]) - 1) < _NEAR
        if not is_whole:
            return index
    return num_written


def _reserve(file: h5py.File, name: str, shape: tuple[int, int], dtype: np.dtype) -> h5py.Dataset:
    """Create a contiguous dataset whose place in the file is reserved at once.

    It takes no space on the disk before it is written.
    """
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    return file.create_dataset(name, shape, dtype, dcpl=properties)
