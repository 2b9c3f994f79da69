"""CIFAR-10 and CIFAR-100, read from the published archives for Python."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias

import numpy as np

from landscape.data.normalization import Examples, Normalization, as_examples, choose_normalization
from landscape.data.pickled_batch import load_batch
from landscape.data.published_files import PublishedFiles, read_published
from landscape.errors import DataError

Batch: TypeAlias = tuple[np.ndarray, list[int]]
"""Images, uint8 (n, 3, 32, 32), and class numbers (n,)."""

PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"

_SHARED_NORMALIZATIONS = {
    # The 1.28 million training images of ILSVRC 2012, as torchvision's models expect them.
    "imagenet": Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "none": Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


@dataclass(frozen=True)
class Cifar:
    """One of the two data sets.

    Attributes:
        files: The published batches.
        train: Names of the batches with training images, in order.
        test: Name of the batch with test images.
        label_key: The batches' key for the class numbers.
        num_classes: Number of classes.
        normalization: Mean and standard deviation of the training images, over all pixels of a channel.
    """

    files: PublishedFiles
    train: tuple[str, ...]
    test: str
    label_key: bytes
    num_classes: int
    normalization: Normalization


CIFAR10 = Cifar(
    files=PublishedFiles(
        title="CIFAR-10",
        page=PAGE,
        archive="cifar-10-python.tar.gz",
        folder="cifar-10-batches-py",
        md5={
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            "test_batch": "40351d587109b95175f43aff81a1287e",
        },
    ),
    train=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test="test_batch",
    label_key=b"labels",
    num_classes=10,
    normalization=Normalization((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
)

CIFAR100 = Cifar(
    files=PublishedFiles(
        title="CIFAR-100",
        page=PAGE,
        archive="cifar-100-python.tar.gz",
        folder="cifar-100-python",
        md5={"train": "16019d7e3df5f24257cddd939b257f8d", "test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    ),
    train=("train",),
    test="test",
    label_key=b"fine_labels",
    num_classes=100,
    normalization=Normalization((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
)


def cifar10(*, data_dir: str | None = None, normalization: str = "cifar") -> tuple[Examples, Examples]:
    """Read CIFAR-10.

    Args:
        data_dir: Folder that holds cifar-10-python.tar.gz or cifar-10-batches-py/, or the latter itself.
        normalization: "cifar" (the data set's own), "imagenet", or "none" (pixels in [0, 1]).

    Returns:
        50,000 training and 10,000 test examples, inputs (N, 3, 32, 32).

    Raises:
        InputError: If the normalization is unknown.
        DataError: If a file is missing or damaged.

    Source:
        Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images.
    """
    return read_cifar(CIFAR10, data_dir, normalization)


def cifar100(*, data_dir: str | None = None, normalization: str = "cifar") -> tuple[Examples, Examples]:
    """Read CIFAR-100 with its 100 fine classes.

    Args:
        data_dir: Folder that holds cifar-100-python.tar.gz or cifar-100-python/, or the latter itself.
        normalization: "cifar" (the data set's own), "imagenet", or "none" (pixels in [0, 1]).

    Returns:
        50,000 training and 10,000 test examples, inputs (N, 3, 32, 32).

    Raises:
        InputError: If the normalization is unknown.
        DataError: If a file is missing or damaged.

    Source:
        Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images.
    """
    return read_cifar(CIFAR100, data_dir, normalization)


def read_cifar(cifar: Cifar, data_dir: str | None, normalization: str) -> tuple[Examples, Examples]:
    """Read either data set; see `cifar10`."""
    chosen = choose_normalization(normalization, {"cifar": cifar.normalization, **_SHARED_NORMALIZATIONS})
    batches = {
        name: _images_and_labels(load_batch(content, name), cifar, name)
        for name, content in read_published(data_dir, cifar.files)
    }
    test = as_examples(*_join([batches.pop(cifar.test)]), chosen)
    images, labels = _join([batches.pop(name) for name in cifar.train])
    return as_examples(images, labels, chosen), test


def _join(batches: list[Batch]) -> Batch:
    images, labels = zip(*batches, strict=True)
    return np.concatenate(images), list(chain.from_iterable(labels))


def _images_and_labels(batch: dict[bytes, Any], cifar: Cifar, name: str) -> Batch:
    """Return images (n, 3, 32, 32) and class numbers (n,) of one batch."""
    pixels, labels = batch.get(b"data"), batch.get(cifar.label_key)
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.shape[1] != 3 * 32 * 32:
        raise DataError(f"{name} must hold images as rows of 3072 bytes.")
    if not isinstance(labels, list) or len(labels) != len(pixels):
        raise DataError(f"{name} must hold a list of as many labels as images, {len(pixels)}.")
    if not all(isinstance(label, int) and 0 <= label < cifar.num_classes for label in labels):
        raise DataError(f"{name} must hold labels from 0 to {cifar.num_classes - 1}.")
    return pixels.reshape(-1, 3, 32, 32), labels
