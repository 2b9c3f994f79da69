"""Whether a checkpoint claims no more than it holds, before and after torch reads it."""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from landscape.errors import CheckpointError, require
from landscape.runtime.seal import check_seal

_MOST_UNPACKED = 16  # torch.save packs nothing; who packs weights gains little
_MOST_EXPANDED = 1 << 30  # bytes of a tensor of which a file holds fewer
_CHUNK = 1 << 20
READ_ERRORS = (
    pickle.UnpicklingError,
    struct.error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What torch raises on bytes that are no checkpoint."""


def check_bytes(path: Path) -> None:
    """Refuse a file whose seal does not hold, or that unpacks to more than it can hold.

    Raises:
        CheckpointError: If it does.
    """
    try:
        if not check_seal(path, CheckpointError) and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                _check_archive(path, archive)
    except (*READ_ERRORS, zipfile.BadZipFile) as exc:
        raise damaged_checkpoint(path, exc) from exc


def _check_archive(path: Path, archive: zipfile.ZipFile) -> None:
    """Compare sizes, and the checksum of each member that has one, as torch writes them."""
    size, unpacked = path.stat().st_size, sum(each.file_size for each in archive.infolist())
    require(
        unpacked <= _MOST_UNPACKED * size,
        f"{path} has {size} bytes and unpacks to {unpacked}; a checkpoint has at most "
        f"{_MOST_UNPACKED} times its size.",
        kind=CheckpointError,
    )
    for member in archive.infolist():
        if member.CRC:
            with archive.open(member) as file:
                while file.read(_CHUNK):  # raises at the end if the checksum is another
                    pass


def check_tensors(path: Path, content: Any) -> None:
    """Refuse tensors that claim far more than is stored of them.

    Raises:
        CheckpointError: If there are any.
    """
    rest: list[tuple[Any, Any]] = [("", content)]
    storages: dict[int, int] = {}
    while rest:
        name, item = rest.pop()
        if isinstance(item, Mapping):
            rest += item.items()
        elif isinstance(item, list | tuple):
            rest += enumerate(item)
        elif isinstance(item, Tensor) and item.layout == torch.strided and not item.is_meta:
            held = item.untyped_storage().nbytes()
            storages[item.untyped_storage().data_ptr()] = held
            require(
                item.nbytes <= max(held, _MOST_EXPANDED),
                f"{path} is damaged or is no checkpoint: {name} would be {item.nbytes} bytes, the "
                f"file holds {held} of them.",
                hint="Save a copy of the tensor: tensor.clone().",
                kind=CheckpointError,
            )
    total, size = sum(storages.values()), path.stat().st_size
    require(
        total <= _MOST_UNPACKED * size,
        f"{path} claims tensors of {total} bytes in a file of {size}.",
        kind=CheckpointError,
    )


def damaged_checkpoint(path: Path, exc: Exception) -> CheckpointError:
    """Return the error of a file that cannot be read."""
    return CheckpointError(
        f"{path} is damaged or is no checkpoint: {type(exc).__name__} while it was read.",
        hint="A checkpoint is written by torch.save or safetensors; copy or download the file "
        "again.",
    )
