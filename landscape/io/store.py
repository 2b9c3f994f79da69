"""Results in versioned HDF5. Torch is not needed to read them.

Arrays are datasets, dictionaries of arrays are groups of datasets, numbers and strings are
attributes, everything else is a dataset that holds JSON.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar, cast, get_args, get_origin

import h5py
import numpy as np

from landscape.errors import StoreError, require
from landscape.io.hdf5 import array_of, opened, written
from landscape.io.schema import Misfit, build_record, field_hint
from landscape.results.eigenvalue_history import CurvatureHistory
from landscape.results.history import History
from landscape.results.sharpness import Certificate, Sharpness, SharpnessComparison
from landscape.results.spectrum import Density, Spectrum
from landscape.results.surface import Directions, Surface

Result: TypeAlias = (
    Surface
    | Spectrum
    | CurvatureHistory
    | Sharpness
    | SharpnessComparison
    | Certificate
    | History
    | Directions
)

RESULT_KINDS: dict[str, type[Any]] = {
    "surface": Surface,
    "spectrum": Spectrum,
    "curvature-history": CurvatureHistory,
    "sharpness": Sharpness,
    "sharpness-comparison": SharpnessComparison,
    "certificate": Certificate,
    "history": History,
    "directions": Directions,
}
"""Kind of file -> class of result."""

_FORMAT = "landscape"
_SCHEMA = 1

R = TypeVar("R", bound=Result)


def write_result(path: str | os.PathLike[str], result: Result) -> None:
    """Write a result, whole or not at all.

    Args:
        path: HDF5 file; one that is there is replaced.
        result: Any result of this package.

    Raises:
        StoreError: If it cannot be written; an older file of that name stays.
    """
    with written(Path(path)) as file:
        file.attrs.update({"format": _FORMAT, "schema": _SCHEMA, "kind": kind_of(result)})
        write_members(file, vars(result))


def kind_of(result: Result) -> str:
    """Return the name of the kind of a result."""
    return next(name for name, cls in RESULT_KINDS.items() if type(result) is cls)


def read_result(path: str | os.PathLike[str]) -> Result:
    """Read a result of any kind.

    Args:
        path: HDF5 file of a surface, spectrum, sharpness, history, directions or the like.

    Raises:
        StoreError: If the file is missing, damaged, or was not written by this toolkit.
    """
    path = Path(path)
    with _opened(path) as file, saying_what_is_wrong(path):
        return read_group(file, RESULT_KINDS[str(file.attrs["kind"])])


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    hint = "Results are written by landscape surface, hessian, sharpness and train."
    with opened(path, "is no HDF5 file of this toolkit", hint) as file:
        _require_ours(path, file)
        yield file


@contextmanager
def saying_what_is_wrong(path: Path) -> Iterator[None]:
    """Say which field of a file is not as it must be.

    Raises:
        StoreError: If one is not.
    """
    try:
        yield
    except Misfit as exc:
        raise StoreError(
            f"{path} is damaged: {exc}.",
            hint="Copy the file again from where it is whole, or compute it anew.",
        ) from exc


def read_as(path: str | os.PathLike[str], kind: type[R], *, hint: str) -> R:
    """Read a result of one kind.

    Args:
        path: HDF5 file.
        kind: Class of the result.
        hint: What to do where the file holds another kind.

    Raises:
        StoreError: If the file cannot be read, or holds another kind.
    """
    found = read_result(path)
    if not isinstance(found, kind):
        raise StoreError(f"{path} holds no {kind.__name__.lower()}.", hint=hint)
    return found


def read_schema(path: str | os.PathLike[str]) -> int:
    """Return the version of the format that a results file has, which `read_result` could read."""
    with h5py.File(path, "r", locking=False) as file:
        return int(str(file.attrs["schema"]))


def _require_ours(path: Path, file: h5py.File) -> None:
    require(
        file.attrs.get("format") == _FORMAT and file.attrs.get("kind") in RESULT_KINDS,
        f"{path} is an HDF5 file of something else.",
        hint="Results are written by landscape surface, hessian, sharpness and train.",
        kind=StoreError,
    )
    schema = int(str(file.attrs["schema"]))
    require(
        schema <= _SCHEMA,
        f"{path} was written by a newer version of the toolkit (schema {schema}).",
        hint="Update landscape-toolkit.",
        kind=StoreError,
    )


def write_members(group: h5py.Group, members: Mapping[str, Any]) -> None:
    """Write values by name, each as its type is stored; None is left out."""
    for name, value in members.items():
        if isinstance(value, np.ndarray):
            group.create_dataset(name, data=value)
        elif isinstance(value, bool | int | float | str):
            group.attrs[name] = value
        elif isinstance(value, Density | Sharpness):
            write_members(group.create_group(name), vars(value))
        elif isinstance(value, tuple) and any(isinstance(item, Sharpness) for item in value):
            members = {str(number): record for number, record in enumerate(value)}
            write_members(group.create_group(name), members)
        elif _is_dict_of_arrays(value):
            write_members(group.create_group(name, track_order=True), cast("dict[str, Any]", value))
        elif value is not None:
            group.create_dataset(name, data=json.dumps(value, default=dataclasses.asdict))


def read_group(group: h5py.Group, cls: type[Any]) -> Any:
    """Read a dataclass; a field that the file does not have has its default, None without one."""
    names = [each.name for each in dataclasses.fields(cls)]
    stored = [name for name in names if name in group or name in group.attrs]
    return build_record(cls, {name: _read(group, name, field_hint(cls, name)) for name in stored})


def _read(group: h5py.Group, name: str, hint: Any) -> Any:
    if name in group.attrs:
        return _plain(group.attrs[name])
    item: Any = group[name]
    if isinstance(item, h5py.Dataset):
        value = array_of(item)
        return _from_json(value, name) if isinstance(value, bytes | str) else _plain(value)
    if dataclasses.is_dataclass(hint):
        return read_group(item, cast("type[Any]", hint))
    if get_origin(hint) is tuple:
        numbers = range(len(item))
        return tuple(_read(item, str(i), get_args(hint)[0]) for i in numbers)
    return {key: array_of(item[key]) for key in item}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _from_json(text: bytes | str, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise Misfit(f"{name} is not JSON") from exc


def _is_dict_of_arrays(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(v, np.ndarray) for v in value.values())
    )


class FileSink(Generic[R]):
    """A sink that keeps the newest state in one file, which is whole at every instant.

    Args:
        path: The file.
        resume: Whether what the file holds is to be continued.
        interval: Least seconds between two writes; `flush` writes at once.
    """

    def __init__(self, path: Path, *, resume: bool, interval: float = 10.0) -> None:
        self._path = path
        self._resume = resume
        self._interval = interval
        self._pending: R | None = None
        self._written_at = -np.inf

    def load(self) -> R | None:
        """Return what the file holds, if it is to be continued and exists."""
        return read_result(self._path) if self._resume and self._path.exists() else None  # pyright: ignore[reportReturnType]

    def save(self, result: R) -> None:
        """Take the newest state; write it if the last write is `interval` seconds ago."""
        self._pending = result
        if time.monotonic() - self._written_at >= self._interval:
            self.flush()

    def flush(self) -> None:
        """Write the newest state now, if it has not been written."""
        if self._pending is not None:
            write_result(self._path, self._pending)
            self._pending = None
            self._written_at = time.monotonic()
