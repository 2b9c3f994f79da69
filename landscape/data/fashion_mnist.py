"""Fashion-MNIST, read from its four idx files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from landscape.data.idx import read_idx
from landscape.data.normalization import Examples, Normalization, as_examples, choose_normalization
from landscape.data.publications import PUBLICATIONS
from landscape.errors import DataError

NUM_CLASSES = 10

NORMALIZATIONS = {
    # Over all pixels of the 60,000 training images, divided by 255.
    "fashion-mnist": Normalization((0.2860,), (0.3530,)),
    "none": Normalization((0.0,), (1.0,)),
}


def fashion_mnist(
    *, data_dir: str | None = None, normalization: str = "fashion-mnist"
) -> tuple[Examples, Examples]:
    """Read Fashion-MNIST.

    Args:
        data_dir: Folder that holds train-images-idx3-ubyte and its three companions, plain or .gz.
            None is the folder of Debian's package dataset-fashion-mnist.
        normalization: "fashion-mnist" (the data set's own) or "none" (pixels in [0, 1]).

    Returns:
        60,000 training and 10,000 test examples, inputs (N, 1, 28, 28).

    Raises:
        InputError: If the normalization is unknown.
        DataError: If a file is missing or damaged.

    Source:
        Xiao, Rasul & Vollgraf (2017), Fashion-MNIST, arXiv:1708.07747.
    """
    chosen = choose_normalization(normalization, NORMALIZATIONS)
    paths = PUBLICATIONS["fashion-mnist"].locate(data_dir)
    train, test = (_images_and_labels(*pair) for pair in (paths[:2], paths[2:]))
    return as_examples(*train, chosen), as_examples(*test, chosen)


def _images_and_labels(images_path: Path, labels_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return images (n, 1, 28, 28) and class numbers (n,) of one split."""
    images = read_idx(images_path, num_dimensions=3)
    labels = read_idx(labels_path, num_dimensions=1)
    if images.shape[1:] != (28, 28):
        raise DataError(
            f"{images_path} must hold images of 28x28 pixels, got shape {images.shape}."
        )
    if len(images) != len(labels):
        raise DataError(
            f"{labels_path} must hold {len(images)} labels, one an image, got {len(labels)}."
        )
    if labels.max(initial=0) >= NUM_CLASSES:
        raise DataError(f"{labels_path} must hold labels from 0 to 9, got {labels.max()}.")
    return images[:, None], labels
