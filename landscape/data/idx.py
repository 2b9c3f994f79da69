"""The idx format of MNIST and its successors, plain or gzipped."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from landscape.errors import DataError

_UINT8 = 0x08


def read_idx(path: Path, *, num_dimensions: int) -> np.ndarray:
    """Read an array of uint8.

    Args:
        path: The file; gzipped if its name ends in .gz.
        num_dimensions: The number of dimensions that the file must state.

    Returns:
        A writable array.

    Raises:
        DataError: If the file cannot be read, or its magic number, element type, number of
            dimensions or length is not what the format prescribes.

    Source:
        LeCun, Cortes & Burges, The MNIST Database, "The IDX file format".
    """
    content = _read_bytes(path)
    start = 4 + 4 * num_dimensions
    zeros, dtype, dimensions = struct.unpack(">HBB", content[:4].ljust(4, b"\xff"))
    if zeros != 0:
        raise DataError(
            f"{path} must be an idx file, which starts with two zero bytes.", hint=_hint(path)
        )
    if dtype != _UINT8:
        raise DataError(f"{path} must hold unsigned bytes (type 0x08), got type {dtype:#04x}.")
    if dimensions != num_dimensions:
        raise DataError(f"{path} must have {num_dimensions} dimensions, got {dimensions}.")
    if len(content) < start:
        raise DataError(f"{path} ends within its header.", hint=_hint(path))
    shape = struct.unpack(f">{num_dimensions}I", content[4:start])
    if len(content) != start + math.prod(shape):
        raise DataError(
            f"{path} must have {start + math.prod(shape)} bytes for shape {shape}, got "
            f"{len(content)}.",
            hint=_hint(path),
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _read_bytes(path: Path) -> bytearray:
    try:
        raw = path.read_bytes()
        return bytearray(gzip.decompress(raw) if path.suffix == ".gz" else raw)
    except (OSError, EOFError, zlib.error) as exc:
        raise DataError(f"{path} cannot be read: {exc}.", hint=_hint(path)) from exc


def _hint(path: Path) -> str:
    return f"Download {path.name} again."
