import gzip

import numpy as np
import pytest

from landscape.data.fashion_mnist import read_idx
from landscape.errors import DataError

# Written out by hand from the format's description: uint8 [[1, 2, 3], [4, 5, 6]].
MATRIX = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6])


def write(tmp_path, content, name="file"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def test_values_are_read_in_row_major_order(tmp_path):
    assert read_idx(write(tmp_path, MATRIX), num_dimensions=2).tolist() == [[1, 2, 3], [4, 5, 6]]


def test_gzipped_file_reads_as_the_plain_one(tmp_path):
    plain = read_idx(write(tmp_path, MATRIX), num_dimensions=2)
    gzipped = read_idx(write(tmp_path, gzip.compress(MATRIX, mtime=0), "file.gz"), num_dimensions=2)
    assert np.array_equal(plain, gzipped)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "two zero bytes"),
        (b"\x89PNG" + MATRIX[4:], "two zero bytes"),
        (MATRIX[:2] + b"\x0d" + MATRIX[3:], "unsigned bytes .*got type 0x0d"),
        (MATRIX[:3] + b"\x03" + MATRIX[4:], "must have 2 dimensions, got 3"),
        (MATRIX[:9], "within its header"),
        (MATRIX[:-1], r"must have 18 bytes for shape \(2, 3\), got 17"),
        (MATRIX + b"\0", "must have 18 bytes .*got 19"),
    ],
)
def test_other_content_is_refused(content, reason, tmp_path):
    with pytest.raises(DataError, match=f"file .*{reason}"):
        read_idx(write(tmp_path, content), num_dimensions=2)


@pytest.mark.parametrize(
    "content", [MATRIX, gzip.compress(MATRIX, mtime=0)[:-9], gzip.compress(MATRIX, mtime=0)[:5]]
)
def test_broken_gzip_file_is_refused(content, tmp_path):
    with pytest.raises(DataError, match=r"file\.gz cannot be read"):
        read_idx(write(tmp_path, content, "file.gz"), num_dimensions=2)
