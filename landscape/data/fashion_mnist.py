"""Fashion-MNIST, read from its four files in the idx format of MNIST, plain or gzipped."""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path

import numpy as np

from landscape.data.normalization import Examples, Normalization, as_examples, choose_normalization
from landscape.data.publications import PUBLICATIONS
from landscape.data.published_files import MOST_BYTES, opened_within
from landscape.errors import DataError, require

_NORMALIZATIONS = {
    # Over all pixels of the 60,000 training images, divided by 255.
    "fashion-mnist": Normalization((0.2860,), (0.3530,)),
    "none": Normalization((0.0,), (1.0,)),
}
_UINT8 = 0x08  # code of the element type in an idx file


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
    chosen = choose_normalization(normalization, _NORMALIZATIONS)
    paths = PUBLICATIONS["fashion-mnist"].locate(data_dir)
    train, test = (_images_and_labels(*pair) for pair in (paths[:2], paths[2:]))
    return as_examples(*train, chosen), as_examples(*test, chosen)


def _images_and_labels(images_path: Path, labels_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return images (n, 1, 28, 28) and class numbers (n,) of one split."""
    images = read_idx(images_path, num_dimensions=3)
    labels = read_idx(labels_path, num_dimensions=1)
    largest = labels.max(initial=0)
    require(
        images.shape[1:] == (28, 28),
        f"{images_path} must hold images of 28x28 pixels, got shape {images.shape}.",
        kind=DataError,
    )
    require(
        len(images) == len(labels),
        f"{labels_path} must hold {len(images)} labels, one per image, got {len(labels)}.",
        kind=DataError,
    )
    require(
        largest <= 9, f"{labels_path} must hold labels from 0 to 9, got {largest}.", kind=DataError
    )
    return images[:, None], labels


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
    again = f"Download {path.name} again."
    start = 4 + 4 * num_dimensions
    try:
        with opened_within(path) as file:
            header = file.read(start)
            shape = _idx_shape(path, header, num_dimensions, again)
            size = math.prod(shape)
            require(
                size <= MOST_BYTES,
                f"{path} must have at most {MOST_BYTES} bytes, its shape {shape} has {size}.",
                again,
                kind=DataError,
            )
            content = bytearray(file.read(size + 1))
            count = start + len(content) + sum(map(len, iter(lambda: file.read(1 << 20), b"")))
    except (OSError, EOFError, zlib.error) as exc:
        raise DataError(f"{path} cannot be read: {exc}.", hint=again) from exc
    require(
        count == start + size,
        f"{path} must have {start + size} bytes for shape {shape}, got {count}.",
        again,
        kind=DataError,
    )
    return np.frombuffer(content, np.uint8).reshape(shape)


def _idx_shape(path: Path, header: bytes, num_dimensions: int, again: str) -> tuple[int, ...]:
    zeros, dtype, dimensions = struct.unpack(">HBB", header[:4].ljust(4, b"\xff"))
    for is_right, complaint, remedy in (
        (zeros == 0, "must be an idx file, which starts with two zero bytes", again),
        (dtype == _UINT8, f"must hold unsigned bytes (type 0x08), got type {dtype:#04x}", ""),
        (
            dimensions == num_dimensions,
            f"must have {num_dimensions} dimensions, got {dimensions}",
            "",
        ),
        (len(header) == 4 + 4 * num_dimensions, "ends within its header", again),
    ):
        require(is_right, f"{path} {complaint}.", remedy, kind=DataError)
    return struct.unpack(f">{num_dimensions}I", header[4:])
