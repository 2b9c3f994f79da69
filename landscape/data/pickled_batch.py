"""Python pickles of dicts of lists, bytes, numbers and uint8 arrays, read without running code."""

from __future__ import annotations

import io
import math
import pickle
from typing import Any

import numpy as np

from landscape.errors import DataError

_NOT_A_BATCH = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
)
"""What unpickling raises on bytes that are not such a pickle."""


class _Dtype:
    """Stands for numpy.dtype; only uint8 passes."""

    def __init__(self, code: bytes | str, *_: object) -> None:
        if code not in (b"u1", "u1"):
            raise pickle.UnpicklingError(f"arrays must be uint8, got {code!r}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Ignore byte order and the like, which uint8 does not have."""


class _Array:
    """Stands for numpy.ndarray; keeps the shape and the raw bytes that the pickle states."""

    def __init__(self, *_: object) -> None:
        self.values = np.empty(0, np.uint8)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, raw = state
        if not isinstance(dtype, _Dtype) or is_fortran or len(raw) != math.prod(shape):
            raise pickle.UnpicklingError("arrays must be uint8 in C order")
        self.values = np.frombuffer(raw, np.uint8).reshape(shape)


_ALLOWED = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    # What numpy 2 writes.
    ("numpy._core.multiarray", "_reconstruct"): _Array,
}


class _BatchUnpickler(pickle.Unpickler):
    """An unpickler that maps the names in `_ALLOWED` to our stand-ins, so no numpy code runs."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return _ALLOWED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module_name}.{global_name}") from None


def load_batch(content: bytes, where: str) -> dict[bytes, Any]:
    """Unpickle a dict whose keys are bytes, as Python 2 wrote it.

    Args:
        content: The pickle.
        where: The file's name, for messages.

    Returns:
        The dict; its arrays are read-only views into the pickle's bytes.

    Raises:
        DataError: If the pickle is damaged or names anything but a numpy array of uint8.
    """
    try:
        batch = _BatchUnpickler(io.BytesIO(content), encoding="bytes").load()
    except _NOT_A_BATCH as exc:
        raise DataError(
            f"{where} must hold only lists, bytes, numbers and uint8 arrays, but {exc}."
        ) from exc
    if not isinstance(batch, dict):
        raise DataError(f"{where} must hold a dict, got {type(batch).__name__}.")
    return {
        key: value.values if isinstance(value, _Array) else value for key, value in batch.items()
    }
