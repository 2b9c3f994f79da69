"""Direction and surface files in the layout of Li et al.'s code.

Their files carry no attributes: what a file is shows in the names of its members alone.

Source:
    Li, Xu, Taylor, Studer and Goldstein (2018), Visualizing the Loss Landscape of Neural Nets, and
    the HDF5 files that its published code reads and writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from landscape.errors import StoreError, require
from landscape.io.hdf5 import array_of, opened, written
from landscape.results.provenance import Provenance
from landscape.results.surface import Directions, Surface

_GROUPS = ("xdirection", "ydirection")
_AXES = ("xcoordinates", "ycoordinates")
_SPLITS = ("train", "test")
_NOT_DONE = -1.0
_EIGENVALUES = {"lambda_min": ("min_eig", 1.0), "lambda_max": ("max_eig", -1.0)}
"""Name of a map -> their name, and their mark of a point that is not done."""
_ORDER = "axis_order"  # attribute of ours, where their code fills the array in another order
_NAME = "li2018"


def holds(path: Path) -> str | None:
    """Say what a file in this layout holds, by its members.

    Returns:
        `surface` or `directions`; None if it is not in this layout, or no HDF5 file at all.
    """
    try:
        with _opened(path) as file:
            return _kind(file)
    except StoreError:
        return None


def _opened(path: Path) -> AbstractContextManager[h5py.File]:
    return opened(path, "is no file of Li et al.'s code", "Copy or download it again.")


def read_directions(path: Path) -> Directions:
    """Read the directions of a file, exactly as they are stored.

    Their code writes one tensor a parameter, or one an entry of the state dict, by number and
    without names; `landscape.directions.sources.directions_for` finds out which, given a model.

    Returns:
        One or two directions. Tensors are named '0', '1', ...; the normalization is `none`: as
        stored.

    Raises:
        StoreError: If the file is missing, damaged, or holds no such directions.
    """
    with _reading(path, "directions") as file:
        directions = [_tensors(path, file[name]) for name in _GROUPS if name in file]
        first = directions[0]
        require(
            len({tuple(tensor.shape for tensor in tensors) for tensors in directions}) == 1,
            f"{path} has directions whose tensors differ in shape; they belong to different "
            "models.",
            kind=StoreError,
        )
        vectors = [np.concatenate([each.reshape(-1) for each in one]) for one in directions]
        return Directions(
            vectors=np.stack(vectors),
            names=_GROUPS[: len(directions)],
            weight_names=tuple(map(str, range(len(first)))),
            weight_shapes=tuple(tensor.shape for tensor in first),
            normalization="none",
        )


def write_directions(path: Path, directions: Directions) -> tuple[str, ...]:
    """Write one or two directions, one tensor a parameter, whole or not at all.

    Returns:
        What the layout cannot hold of them, a sentence each.

    Raises:
        InputError: If there are more than two.
        StoreError: If the file cannot be written; an older one of that name stays.
    """
    require(
        1 <= len(directions.vectors) <= len(_GROUPS),
        f"the layout {_NAME} holds one or two directions, got {len(directions.vectors)}.",
    )
    with written(path) as file:
        for group_name, vector in zip(_GROUPS, directions.vectors, strict=False):
            group = file.create_group(group_name)
            start = 0
            for i, shape in enumerate(directions.weight_shapes):
                stop = start + int(np.prod(shape, dtype=np.int64))
                group.create_dataset(str(i), data=vector[start:stop].reshape(shape))
                start = stop
    return (f"The layout {_NAME} holds the vectors alone: no names, no normalization, no origin.",)


def read_surface(path: Path) -> Surface:
    """Read a surface.

    Arrays are filled with y outermost whatever their shape, so a non-square one, which their code
    stores with shape (nx, ny), is read in the order of its entries. A loss of -1 is a point that is
    not done.

    Returns:
        The surface. The centre is known if it is a point of the grid; norms and hashes of the
        directions are not. The normalization is taken from the name of the direction file.

    Raises:
        StoreError: If the file is missing, damaged, or holds no such surface.
    """
    with _reading(path, "surface") as file:
        axes = [
            np.atleast_1d(np.asarray(array_of(file[name]), dtype=np.float64))
            for name in _AXES
            if name in file
        ]
        shape = tuple(len(axis) for axis in reversed(axes))
        names = [f"{split}_{name}" for split in _SPLITS for name in ("loss", "acc")]
        names += [theirs for theirs, _ in _EIGENVALUES.values()]
        members = {name: _grid(path, file[name], shape) for name in names if name in file}
        direction_file = _text(file["dir_file"]) if "dir_file" in file else ""
    loss = {split: members[f"{split}_loss"] for split in _SPLITS if f"{split}_loss" in members}
    started = {
        split: values for split, values in loss.items() if (values != _NOT_DONE).any()
    } or loss
    done = np.all([values != _NOT_DONE for values in started.values()], axis=0)
    percent = {split: members[f"{split}_acc"] for split in started if f"{split}_acc" in members}
    accuracy = {
        split: np.where(values == _NOT_DONE, np.nan, values / 100.0)
        for split, values in percent.items()
    }
    return Surface(
        x=axes[0],
        y=axes[1] if len(axes) == 2 else None,
        loss=started,
        accuracy=accuracy,
        done=done,
        center_loss=_at_center(axes, done, started),
        center_accuracy=_at_center(axes, done, accuracy),
        normalization=_normalization(direction_file),
        direction_norms=np.full(len(axes), np.nan),
        direction_hashes=(),
        cosine=None,
        provenance=Provenance(
            batchnorm="", dtype="", settings={"layout": _NAME, "dir_file": direction_file}
        ),
        maps={
            ours: np.where(members[theirs] == mark, np.nan, members[theirs])
            for ours, (theirs, mark) in _EIGENVALUES.items()
            if theirs in members
        },
    )


def write_surface(path: Path, surface: Surface) -> tuple[str, ...]:
    """Write a surface, whole or not at all.

    A square grid is stored as their code does; one that is not has the shape (ny, nx) and an
    attribute that says so. Points that are not done have the loss -1, accuracies are in percent.

    Returns:
        What the layout cannot hold of it, a sentence each.

    Raises:
        InputError: If it has several lines, or a split other than train and test.
        StoreError: If the file cannot be written; an older one of that name stays.
    """
    require(
        (surface.num_lines or 1) == 1,
        f"the layout {_NAME} holds one line or one plane, got {surface.num_lines} lines.",
        hint="Convert them to csv or vtk.",
    )
    for split in surface.splits:
        require(
            split in _SPLITS,
            f"the layout {_NAME} has the splits train and test only, got {split!r}.",
        )
    shape = tuple(len(axis) for axis in (surface.y, surface.x) if axis is not None)
    with written(path) as file:
        if len(set(shape)) > 1:
            file.attrs[_ORDER] = "(y, x)"
        file["dir_file"] = str(surface.provenance.settings.get("dir_file", ""))
        for name, axis in zip(_AXES, (surface.x, surface.y), strict=True):
            if axis is not None:
                file[name] = np.asarray(axis, dtype=np.float64)
        for name, values in _their_arrays(surface):
            file[name] = values.reshape(shape)
    return tuple(_losses_of(surface))


def _their_arrays(surface: Surface) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and values of each array, points that are not done marked."""
    for split, values in surface.loss.items():
        yield f"{split}_loss", np.where(surface.done, values, _NOT_DONE)
    for split, values in surface.accuracy.items():
        yield f"{split}_acc", np.where(surface.done, 100.0 * values, _NOT_DONE)
    for ours, (theirs, mark) in _EIGENVALUES.items():
        if ours in surface.maps:
            values = surface.maps[ours]
            yield theirs, np.where(surface.done & ~np.isnan(values), values, mark)


def _losses_of(surface: Surface) -> Iterator[str]:
    """Say what of a surface the layout cannot hold, or its readers take for something else."""
    recorded = _normalization(str(surface.provenance.settings.get("dir_file", "")))
    dropped = {
        "normalization": surface.normalization != recorded,
        "standard errors": surface.standard_error,
        "marks": surface.marks,
        "explained variance": surface.explained_variance is not None,
        **{f"map {name}": True for name in surface.maps if name not in _EIGENVALUES},
        "hashes and norms of the directions": surface.direction_hashes,
        "provenance": surface.provenance.weights_hash,
    }
    names = [name for name, is_there in dropped.items() if is_there]
    if names:
        yield f"The layout {_NAME} does not hold: {', '.join(names)}."
    values = np.concatenate([values[surface.done].reshape(-1) for values in surface.loss.values()])
    if num_low := int((values <= 0).sum()):
        yield (
            f"{num_low} losses are not positive: Li et al.'s code takes such points for not done; "
            "-1 itself is lost."
        )
    if num_odd := int((~np.isfinite(values)).sum()):
        yield (
            f"{num_odd} losses are NaN or infinite: they are kept, and Li et al.'s figures have "
            "holes there."
        )


@contextmanager
def _reading(path: Path, kind: str) -> Iterator[h5py.File]:
    """Open a file in this layout, and say what is wrong with one that cannot be read."""
    with _opened(path) as file:
        found = _kind(file)
        expected = "Their files have groups xdirection, or xcoordinates and train_loss."
        require(
            found == kind,
            f"{path} holds no {kind} in the layout of Li et al.",
            hint=f"It holds {found}." if found else expected,
            kind=StoreError,
        )
        yield file


def _kind(file: h5py.File) -> str | None:
    if isinstance(file.get(_GROUPS[0]), h5py.Group):
        return "directions"
    if _AXES[0] in file and any(f"{split}_loss" in file for split in _SPLITS):
        return "surface"
    return None


def _tensors(path: Path, group: Any) -> list[np.ndarray]:
    """Read the members '0', '1', ... of a group, by number."""
    names = [str(i) for i in range(len(group))]
    require(
        names and all(name in group for name in names),
        f"{path} has no tensors 0, 1, ... in {group.name.strip('/')}; it is damaged.",
        kind=StoreError,
    )
    return [np.asarray(array_of(group[name])) for name in names]


def _grid(path: Path, dataset: Any, shape: tuple[int, ...]) -> np.ndarray:
    values = np.asarray(array_of(dataset), dtype=np.float64)
    require(
        values.size == np.prod(shape),
        f"{path} has {values.size} values in {dataset.name.strip('/')}, its axes have "
        f"{'x'.join(map(str, shape))}.",
        kind=StoreError,
    )
    return values.reshape(-1).reshape(shape)


def _text(dataset: Any) -> str:
    value = array_of(dataset)
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _at_center(
    axes: list[np.ndarray], done: np.ndarray, fields: dict[str, np.ndarray]
) -> dict[str, float]:
    """Take split -> value at the origin, where it is a point of the grid that is done."""
    places = [np.flatnonzero(axis == 0.0) for axis in reversed(axes)]
    if not all(place.size for place in places):
        return {}
    index = tuple(int(place[0]) for place in places)
    return {split: float(values[index]) for split, values in fields.items() if done[index]}


def _normalization(direction_file: str) -> str:
    """Read the normalization from a direction file's name, the only place where it is written."""
    found = [
        match.group(1)
        for axis in "xy"
        if (match := re.search(rf"_{axis}norm=([a-z]+)", direction_file))
    ]
    return "/".join(dict.fromkeys(found)) or "none"
