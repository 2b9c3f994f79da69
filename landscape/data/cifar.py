"""CIFAR-10 and CIFAR-100, read from the published archives for Python."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
import torch

from landscape.data.archive_members import read_members
from landscape.data.normalization import Examples, Normalization, as_examples, choose_normalization
from landscape.data.pickled_batch import load_batch
from landscape.data.publications import PUBLICATIONS
from landscape.data.published_files import Publication
from landscape.data.subset import keep_examples
from landscape.errors import DataError

Batch: TypeAlias = tuple[np.ndarray, list[int]]
"""Images, uint8 (n, 3, 32, 32), and class numbers (n,)."""

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


CIFAR10 = Cifar(
    publication=PUBLICATIONS["cifar10"],
    train=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test="test_batch",
    label_key=b"labels",
    num_classes=10,
    normalization=Normalization((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
)

CIFAR100 = Cifar(
    publication=PUBLICATIONS["cifar100"],
    train=("train",),
    test="test",
    label_key=b"fine_labels",
    num_classes=100,
    normalization=Normalization((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
)


def cifar10(
    *,
    data_dir: str | None = None,
    normalization: str = "cifar",
    num_train: int | None = None,
    num_test: int | None = None,
) -> tuple[Examples, Examples]:
    """Read CIFAR-10.

    Args:
        data_dir: Folder that holds cifar-10-python.tar.gz or cifar-10-batches-py/, or the latter
            itself.
        normalization: "cifar" (the data set's own), "imagenet", or "none" (pixels in [0, 1]).
        num_train: Training examples to keep, of each class alike, drawn with a fixed seed; None
            keeps all.
        num_test: Likewise, of the test examples.

    Returns:
        50,000 training and 10,000 test examples, or as many as are kept, inputs (N, 3, 32, 32).

    Raises:
        InputError: If the normalization is unknown, or there are fewer examples than are to be
            kept.
        DataError: If a file is missing or damaged.

    Source:
        Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images.
    """
    return read_cifar(CIFAR10, data_dir, normalization, num_train, num_test)


def cifar100(
    *,
    data_dir: str | None = None,
    normalization: str = "cifar",
    num_train: int | None = None,
    num_test: int | None = None,
) -> tuple[Examples, Examples]:
    """Read CIFAR-100 with its 100 fine classes.

    Args:
        data_dir: Folder that holds cifar-100-python.tar.gz or cifar-100-python/, or the latter
            itself.
        normalization: "cifar" (the data set's own), "imagenet", or "none" (pixels in [0, 1]).
        num_train: Training examples to keep, of each class alike, drawn with a fixed seed; None
            keeps all.
        num_test: Likewise, of the test examples.

    Returns:
        50,000 training and 10,000 test examples, or as many as are kept, inputs (N, 3, 32, 32).

    Raises:
        InputError: If the normalization is unknown, or there are fewer examples than are to be
            kept.
        DataError: If a file is missing or damaged.

    Source:
        Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images.
    """
    return read_cifar(CIFAR100, data_dir, normalization, num_train, num_test)


def read_cifar(
    cifar: Cifar,
    data_dir: str | None,
    normalization: str,
    num_train: int | None = None,
    num_test: int | None = None,
) -> tuple[Examples, Examples]:
    """Read either data set; see `cifar10`."""
    chosen = choose_normalization(
        normalization, {"cifar": cifar.normalization, **_SHARED_NORMALIZATIONS}
    )
    batches = {
        name: _images_and_labels(load_batch(content, name), cifar, name)
        for name, content in read_members(cifar.publication, data_dir)
    }
    test = _examples([batches.pop(cifar.test)], num_test, chosen)
    return _examples([batches.pop(name) for name in cifar.train], num_train, chosen), test


def _examples(batches: list[Batch], num_kept: int | None, normalization: Normalization) -> Examples:
    """Join batches and normalize only what is kept, since float images are four times as large."""
    images, labels = zip(*batches, strict=True)
    everything = (
        torch.from_numpy(np.concatenate(images)),
        torch.tensor(list(chain.from_iterable(labels))),
    )
    pixels, targets = keep_examples(everything, num_kept)
    return as_examples(pixels.numpy(), targets.numpy(), normalization)


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
