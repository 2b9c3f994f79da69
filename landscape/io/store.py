"""Results in versioned HDF5. Torch is not needed to read them.

Arrays are datasets, dictionaries of arrays are groups of datasets, numbers and strings are
attributes, everything else is a dataset that holds JSON.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

import h5py
import numpy as np

from landscape.errors import StoreError, first_line, require
from landscape.results.eigenvalue_history import CurvatureHistory
from landscape.results.history import History
from landscape.results.provenance import Provenance
from landscape.results.sharpness import (
    Certificate,
    Difference,
    GroupValue,
    Measure,
    Rescaled,
    Sharpness,
    SharpnessComparison,
    Taylor,
)
from landscape.results.spectrum import (
    BlockCurvature,
    Density,
    Fold,
    SecondLook,
    Spectrum,
    Trace,
)
from landscape.results.surface import Directions, Mark, Surface
from landscape.runtime.files import replacing

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

_RECORDS: dict[str, type[Any]] = {
    "provenance": Provenance,
    "second_look": SecondLook,
    "trace": Trace,
    "taylor": Taylor,
    "marks": Mark,
    "measures": Measure,
    "blocks": BlockCurvature,
    "folds": Fold,
    "differences": Difference,
    "groups": GroupValue,
    "rescaled": Rescaled,
}
"""Fields that are dataclasses of plain values, or lists of such."""

_GROUPS: dict[str, type[Any]] = {"density": Density}
_LISTS_OF_GROUPS: dict[str, type[Any]] = {"checkpoints": Sharpness}
"""Fields that are dataclasses with arrays, and lists of such."""

R = TypeVar("R", bound=Result)


def write_result(path: str | os.PathLike[str], result: Result) -> None:
    """Write a result, whole or not at all.

    Args:
        path: HDF5 file; one that is there is replaced.
        result: Any result of this package.

    Raises:
        StoreError: If it cannot be written; an older file of that name stays.
    """
    with writing(Path(path)) as beside, h5py.File(beside, "w") as file:
        file.attrs.update({"format": _FORMAT, "schema": _SCHEMA, "kind": kind_of(result)})
        write_members(file, vars(result))


def kind_of(result: Result) -> str:
    """Return the name of the kind of a result."""
    return next(name for name, cls in RESULT_KINDS.items() if type(result) is cls)


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a path to write in the place of `path`, whole or not at all.

    Raises:
        StoreError: If it cannot be written; an older file of that name stays.
    """
    with saying_why_not(path), replacing(path) as beside:
        yield beside


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
    return os.strerror(number) if number else first_line(exc).rstrip(".")


def read_result(path: str | os.PathLike[str]) -> Result:
    """Read a result of any kind.

    Args:
        path: HDF5 file of a surface, spectrum, sharpness, history, directions or the like.

    Raises:
        StoreError: If the file is missing, damaged, or was not written by this toolkit.
    """
    path = Path(path)
    require_file(path)
    try:
        with h5py.File(path, "r") as file:
            _require_ours(path, file)
            return _read_record(file, RESULT_KINDS[str(file.attrs["kind"])])
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as exc:
        raise StoreError(
            f"{path} is damaged or is no HDF5 file of this toolkit.",
            hint="Results are written by landscape surface, hessian, sharpness and train.",
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


def require_file(path: Path) -> None:
    """Raise a StoreError unless a results file exists."""
    require(
        path.exists(),
        f"results file {path} does not exist.",
        hint="Check its name and folder.",
        kind=StoreError,
    )


def read_schema(path: str | os.PathLike[str]) -> int:
    """Return the version of the format that a results file has, which `read_result` could read."""
    with h5py.File(path, "r") as file:
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
        elif name in _LISTS_OF_GROUPS:
            write_members(
                group.create_group(name), {str(i): record for i, record in enumerate(value)}
            )
        elif _is_dict_of_arrays(value):
            write_members(group.create_group(name, track_order=True), value)
        elif value is not None:
            group.create_dataset(name, data=json.dumps(value, default=dataclasses.asdict))


def _read_record(group: h5py.Group, cls: type[Any]) -> Any:
    """Read a dataclass; a field that the file does not have has its default, None without one."""
    fields = dataclasses.fields(cls)
    required = [
        each.name for each in fields if each.default is each.default_factory is dataclasses.MISSING
    ]
    stored = [each.name for each in fields if each.name in group or each.name in group.attrs]
    return cls(**{**dict.fromkeys(required), **{name: _read(group, name) for name in stored}})


def _read(group: h5py.Group, name: str) -> Any:
    if name in group.attrs:
        value = group.attrs[name]
        return value.item() if isinstance(value, np.generic) else value
    item = group[name]
    if isinstance(item, h5py.Dataset):
        value = array_of(item)
        return _structured(name, json.loads(value)) if isinstance(value, bytes) else value
    members: Any = item
    if name in _GROUPS:
        return _read_record(members, _GROUPS[name])
    if name in _LISTS_OF_GROUPS:
        cls = _LISTS_OF_GROUPS[name]
        return tuple(_read_record(members[str(i)], cls) for i in range(len(members)))
    return {key: array_of(members[key]) for key in members}


def array_of(dataset: Any) -> Any:
    """Read a whole dataset of HDF5."""
    return dataset[()]


def _structured(name: str, value: Any) -> Any:
    cls = _RECORDS.get(name)
    if cls is None:
        return _tuples(value)
    if isinstance(value, dict):
        return cls(**value)
    return tuple(cls(**{key: _tuples(item) for key, item in each.items()}) for each in value)


def _tuples(value: Any) -> Any:
    """JSON knows lists only."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


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
