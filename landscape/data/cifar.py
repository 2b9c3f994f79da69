"""CIFAR-10 and CIFAR-100, read from the published archives for Python.

Their batches are pickles of dicts of lists, bytes, numbers and uint8 arrays, which are read without
running code.
"""

from __future__ import annotations

import io
import math
import pickle
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch

from landscape.data.normalization import Examples, Normalization, as_examples, choose_normalization
from landscape.data.publications import PUBLICATIONS
from landscape.data.published_files import Publication, read_members
from landscape.data.subset import keep_examples
from landscape.errors import DataError, require

_SHARED_NORMALIZATIONS = {
    # The 1.28 million training images of ILSVRC 2012, as torchvision's models expect them.
    "imagenet": Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "none": Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


@dataclass(frozen=True)
class Cifar:
    """One of the two data sets.

    Attributes:
        publication: Its one archive.
        train: Names of the batches with training images, in order.
        test: Name of the batch with test images.
        label_key: The batches' key for the class numbers.
        num_classes: Number of classes.
        normalization: Mean and standard deviation of the training images, over all pixels of a
            channel.
    """

    publication: Publication
    train: tuple[str, ...]
    test: str
    label_key: bytes
    num_classes: int
    normalization: Normalization


CIFARS = {
    "cifar10": Cifar(
        publication=PUBLICATIONS["cifar10"],
        train=tuple(f"data_batch_{number}" for number in range(1, 6)),
        test="test_batch",
        label_key=b"labels",
        num_classes=10,
        normalization=Normalization((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    ),
    "cifar100": Cifar(
        publication=PUBLICATIONS["cifar100"],
        train=("train",),
        test="test",
        label_key=b"fine_labels",
        num_classes=100,
        normalization=Normalization((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    ),
}
"""Name to data set."""


def cifar(
    name: str,
    /,
    *,
    data_dir: str | None = None,
    normalization: str = "cifar",
    num_train: int | None = None,
    num_test: int | None = None,
) -> tuple[Examples, Examples]:
    """Read CIFAR-10, or CIFAR-100 with its 100 fine classes.

    Args:
        name: One of `CIFARS`.
        data_dir: Folder that holds the published archive, cifar-10-python.tar.gz or
            cifar-100-python.tar.gz, or the folder in it, or the latter itself.
        normalization: "cifar" (the data set's own), "imagenet", or "none" (pixels in [0, 1]).
        num_train: Training examples to keep, of each class alike, drawn with a fixed seed; None
            keeps all.
        num_test: Test examples to keep, likewise.

    Returns:
        50,000 training and 10,000 test examples, or as many as are kept, inputs (N, 3, 32, 32).

    Raises:
        InputError: If the normalization is unknown, or there are fewer examples than are to be
            kept.
        DataError: If a file is missing or damaged.

    Source:
        Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images.
    """
    return read_cifar(CIFARS[name], data_dir, normalization, num_train, num_test)


def read_cifar(
    data_set: Cifar,
    data_dir: str | None,
    normalization: str,
    num_train: int | None = None,
    num_test: int | None = None,
) -> tuple[Examples, Examples]:
    """Read either data set; see `cifar`."""
    chosen = choose_normalization(
        normalization, {"cifar": data_set.normalization, **_SHARED_NORMALIZATIONS}
    )
    batches = {
        name: _images_and_labels(load_batch(content, name), data_set, name)
        for name, content in read_members(data_set.publication, data_dir)
    }
    test = _examples([batches.pop(data_set.test)], num_test, chosen)
    return _examples([batches.pop(name) for name in data_set.train], num_train, chosen), test


def _examples(
    batches: list[tuple[np.ndarray, list[int]]], num_kept: int | None, normalization: Normalization
) -> Examples:
    """Join batches and normalize only what is kept, since float images are four times as large."""
    images, labels = zip(*batches, strict=True)
    everything = (
        torch.from_numpy(np.concatenate(images)),
        torch.tensor(list(chain.from_iterable(labels))),
    )
    pixels, targets = keep_examples(everything, num_kept)
    return as_examples(pixels.numpy(), targets.numpy(), normalization)


def _images_and_labels(
    batch: dict[bytes, Any], data_set: Cifar, name: str
) -> tuple[np.ndarray, list[int]]:
    """Return images (n, 3, 32, 32) and class numbers (n,) of one batch."""
    pixels: Any = batch.get(b"data")
    labels: Any = batch.get(data_set.label_key)
    require(
        isinstance(pixels, np.ndarray) and pixels.ndim == 2 and pixels.shape[1] == 3 * 32 * 32,
        f"{name} must hold images as rows of 3072 bytes.",
        kind=DataError,
    )
    require(
        isinstance(labels, list) and len(labels) == len(pixels),
        f"{name} must hold a list of as many labels as images, {len(pixels)}.",
        kind=DataError,
    )
    require(
        all(isinstance(label, int) and 0 <= label < data_set.num_classes for label in labels),
        f"{name} must hold labels from 0 to {data_set.num_classes - 1}.",
        kind=DataError,
    )
    return pixels.reshape(-1, 3, 32, 32), labels


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
    found = type(batch).__name__
    require(isinstance(batch, dict), f"{where} must hold a dict, got {found}.", kind=DataError)
    return {
        key: value.values if isinstance(value, _Array) else value for key, value in batch.items()
    }
