import os
import pickle

import numpy as np
import pytest

from landscape.data.cifar import load_batch
from landscape.errors import DataError

# {'data': uint8 [[1, 2], [3, 4]], 'labels': [5, 6]} as Python 2 and its numpy wrote it.
PYTHON2_BATCH = (
    b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    b"(K\x01K\x02K\x02\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
    b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x04\x01\x02\x03\x04tb"
    b"U\x06labels](K\x05K\x06eu."
)


class Harmful:
    """Creates a directory when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_array_of_a_python2_pickle_is_read():
    assert load_batch(PYTHON2_BATCH, "batch")[b"data"].tolist() == [[1, 2], [3, 4]]


def test_list_of_a_python2_pickle_is_read():
    assert load_batch(PYTHON2_BATCH, "batch")[b"labels"] == [5, 6]


def test_array_that_todays_numpy_pickles_is_read():
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    batch = load_batch(pickle.dumps({b"data": array}, protocol=3), "batch")
    assert np.array_equal(batch[b"data"], array)


def test_the_harmful_pickle_is_harmful_elsewhere(tmp_path):
    pickle.loads(pickle.dumps({b"data": Harmful(tmp_path / "made")}))
    assert (tmp_path / "made").is_dir()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_harmful_pickle_is_refused(protocol, tmp_path):
    content = pickle.dumps({"data": Harmful(tmp_path / "made")}, protocol=protocol)
    with pytest.raises(DataError, match=r"batch must hold only .* it names \w+\.mkdir"):
        load_batch(content, "batch")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_harmful_pickle_does_not_run(protocol, tmp_path):
    content = pickle.dumps({"data": Harmful(tmp_path / "made")}, protocol=protocol)
    with pytest.raises(DataError):
        load_batch(content, "batch")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "name",
    [("builtins", "eval"), ("numpy", "load"), ("numpy", "ndarray.tofile"), ("pickle", "loads")],
)
def test_other_names_cannot_be_reached(name):
    content = b"\x80\x04\x8c%c%b\x8c%c%b\x93." % (
        len(name[0]),
        name[0].encode(),
        len(name[1]),
        name[1].encode(),
    )
    with pytest.raises(DataError, match=f"names {name[0]}.{name[1]}"):
        load_batch(content, "batch")


def test_array_of_another_type_is_refused():
    with pytest.raises(DataError, match="must be uint8"):
        load_batch(pickle.dumps({b"data": np.zeros(3)}, protocol=3), "batch")


def test_array_shorter_than_its_shape_is_refused():
    with pytest.raises(DataError, match="uint8 in C order"):
        load_batch(PYTHON2_BATCH.replace(b"K\x02K\x02\x86", b"K\x02K\x03\x86"), "batch")


def test_pickle_truncated_anywhere_is_refused():
    for length in range(len(PYTHON2_BATCH)):
        with pytest.raises(DataError, match="batch must hold"):
            load_batch(PYTHON2_BATCH[:length], "batch")


def test_pickle_of_something_else_is_refused():
    with pytest.raises(DataError, match="must hold a dict, got list"):
        load_batch(pickle.dumps([1, 2], protocol=3), "batch")
