import gzip
import struct

import numpy as np
import pytest
import torch

from landscape.data.fashion_mnist import fashion_mnist
from landscape.data.publications import PUBLICATIONS
from landscape.errors import DataError

NUM_TRAIN, NUM_TEST = 5, 3
DEBIAN_FOLDER = PUBLICATIONS["fashion-mnist"].package[1]


def write_idx(folder, name, array, is_gzipped):
    content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
    path = folder / (f"{name}.gz" if is_gzipped else name)
    path.write_bytes(gzip.compress(content) if is_gzipped else content)


def images(num_images):
    return np.random.default_rng(num_images).integers(0, 256, (num_images, 28, 28), dtype=np.uint8)


def labels(num_labels):
    return np.arange(num_labels, dtype=np.uint8)


def write_all(folder, is_gzipped=False):
    for prefix, num_images in (("train", NUM_TRAIN), ("t10k", NUM_TEST)):
        write_idx(folder, f"{prefix}-images-idx3-ubyte", images(num_images), is_gzipped)
        write_idx(folder, f"{prefix}-labels-idx1-ubyte", labels(num_images), is_gzipped)
    return str(folder)


@pytest.mark.parametrize("is_gzipped", [False, True])
def test_images_are_read_with_one_channel(is_gzipped, tmp_path):
    data_dir = write_all(tmp_path, is_gzipped)
    (inputs, _), _ = fashion_mnist(data_dir=data_dir, normalization="none")
    assert np.array_equal((255 * inputs).round().numpy(), images(NUM_TRAIN)[:, None])


def test_labels_are_read_as_int64(tmp_path):
    _, (_, targets) = fashion_mnist(data_dir=write_all(tmp_path))
    assert torch.equal(targets, torch.arange(NUM_TEST))


def test_default_normalization_is_the_data_sets_own(tmp_path):
    data_dir = write_all(tmp_path)
    raw = fashion_mnist(data_dir=data_dir, normalization="none")[0][0]
    torch.testing.assert_close(fashion_mnist(data_dir=data_dir)[0][0], (raw - 0.2860) / 0.3530)


def test_missing_file_is_refused_with_where_to_get_it(tmp_path):
    write_all(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    expected = r"t10k-labels-idx1-ubyte\.gz, but.*Run landscape data fetch fashion-mnist"
    expected += ".*zalando.*`data_dir`.*Debian"
    with pytest.raises(DataError, match=expected):
        fashion_mnist(data_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "array", "reason"),
    [
        ("train-images-idx3-ubyte", images(NUM_TRAIN)[:, :27], "28x28 pixels, got shape"),
        ("train-labels-idx1-ubyte", labels(NUM_TRAIN - 1), "5 labels, one per image, got 4"),
        ("train-labels-idx1-ubyte", labels(NUM_TRAIN) + 6, "labels from 0 to 9, got 10"),
        ("train-labels-idx1-ubyte", images(NUM_TRAIN), "1 dimensions, got 3"),
    ],
)
def test_file_with_other_content_is_refused_by_name(name, array, reason, tmp_path):
    write_all(tmp_path)
    write_idx(tmp_path, name, array, is_gzipped=False)
    with pytest.raises(DataError, match=f"{name} must .*{reason}"):
        fashion_mnist(data_dir=str(tmp_path))


@pytest.mark.skipif(
    not DEBIAN_FOLDER.is_dir(), reason="the package dataset-fashion-mnist is not installed"
)
def test_debians_package_is_the_default():
    assert [targets.bincount().tolist() for _, targets in fashion_mnist()] == [
        [6000] * 10,
        [1000] * 10,
    ]
