"""A Krylov space in a file that grows by one vector at a time and stays whole after any kill."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from landscape.errors import StoreError
from landscape.hessian.krylov.krylov_sink import KrylovHead, StoredKrylov
from landscape.io.store import saying_why_not, write_members, writing
from landscape.results.identity import item_traits, require_same

_FORMAT = "landscape-krylov"
_SCHEMA = 1


class KrylovFile:
    """A sink for a Krylov space, next to the results file that it leads to.

    A vector is written in place, into room that the file has from the start and that takes none on
    the disk before: a step costs one vector, whatever the size of the space. Then the numbers of
    its product are written, which were NaN: as many steps are valid as have numbers. They come
    first in the file, so that a copy made meanwhile is whole too. A thick restart writes another
    file and puts it in the place of this one. It is opened without HDF5's locks, or whoever reads
    it meanwhile would end the run; that one process writes is for the caller to see to.

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

    def load(self, facts: Mapping[str, str]) -> StoredKrylov | None:
        """Return what the file holds, if it is to be continued and exists.

        Raises:
            StoreError: If the file cannot be read, or is of something else.
        """
        self._facts = {**self._identity, **facts}
        if not (self._resume and self._path.exists()):
            return None
        head, steps = self._read_numbers()
        self._num_kept, self._num_steps = len(head.values), len(steps)
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
            with self._open("r") as file:
                is_full = self._num_steps == len(file["steps"])
            if is_full:  # a run goes on with a larger limit than the file was made for
                head, steps = self._read_numbers()
                self._write(head, steps, self._rows(), 2 * max(len(steps), 8))
            with self._open("r+") as file:
                if row is not None:
                    file["basis"][self._num_kept + 1 + self._num_steps] = row
                    file.flush()
                file["steps"][self._num_steps] = step
        self._num_steps += 1

    def remove(self) -> None:
        """Remove the file: what it led to is done."""
        self._path.unlink(missing_ok=True)

    def _open(self, mode: str) -> Any:
        """Open the file, whose members h5py's types do not tell apart."""
        return h5py.File(self._path, mode, locking=False)

    def _read_numbers(self) -> tuple[KrylovHead, np.ndarray]:
        """Return what the space begins with, and the valid steps.

        A file of anything other than what this sink is for is rejected.
        """
        try:
            with self._open("r") as file:
                if file.attrs["format"] != _FORMAT or file.attrs["schema"] > _SCHEMA:
                    raise ValueError(f"format {file.attrs['format']}")
                stored = json.loads(file.attrs["facts"])
                require_same(
                    self._path,
                    item_traits(stored, self._facts, {**stored, **self._facts}, default="not said"),
                    hint="Run with the same settings, or without `resume`.",
                )
                head = KrylovHead(
                    file["values"][()],
                    file["couplings"][()],
                    int(file.attrs["num_matvecs"]),
                    float(file.attrs["deviation"]),
                )
                steps = file["steps"][()]
        except (OSError, KeyError, TypeError, ValueError, RuntimeError) as exc:
            raise StoreError(
                f"{self._path} is damaged or holds no Krylov space.",
                hint="Remove it, or run without `resume`.",
            ) from exc
        is_unwritten = np.isnan(steps).any(axis=1)
        return head, steps[: int(is_unwritten.argmax()) if is_unwritten.any() else len(steps)]

    def _rows(self) -> Iterator[np.ndarray]:
        with self._open("r") as file:
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
        with writing(self._path) as beside, h5py.File(beside, "w") as file:
            about = {"format": _FORMAT, "schema": _SCHEMA, "facts": json.dumps(self._facts)}
            write_members(file, {**about, **vars(head), "steps": numbers})
            shape = (len(head.values) + 1 + capacity, len(first))
            basis = _reserve(file, "basis", shape, first.dtype)
            for index, row in enumerate(chain([first], rows)):
                basis[index] = row


def _reserve(file: h5py.File, name: str, shape: tuple[int, int], dtype: np.dtype) -> h5py.Dataset:
    """Create a contiguous dataset whose place in the file is reserved at once.

    It takes no space on the disk before it is written.
    """
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    return file.create_dataset(name, shape, dtype, dcpl=properties)
