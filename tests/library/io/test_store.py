import math
import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest

from landscape.errors import StoreError
from landscape.io.store import FileSink, read_result, write_result
from landscape.results.curvature_parts import BlockCurvature, Fold
from landscape.results.eigenvalue_history import CurvatureHistory
from landscape.results.history import History
from landscape.results.provenance import Provenance
from landscape.results.sharpness import (
    Difference,
    GroupValue,
    Measure,
    Sharpness,
    SharpnessComparison,
    Taylor,
)
from landscape.results.spectrum import Density, SecondLook, Spectrum, Trace
from landscape.results.surface import Directions, Mark, Surface

PROVENANCE = Provenance(
    weights_hash="ab",
    data_hash={"train": "cd"},
    num_examples={"train": 7},
    num_parameters=5,
    plan={"batch_size": 3},
    settings={"seed": 0, "model": None, "command": ["surface", "c.pt"]},
    versions={"torch": "2"},
    created="2026-01-01T00:00:00+00:00",
)
SURFACE = Surface(
    x=np.linspace(-1, 1, 3),
    y=np.array([0.0, 0.5]),
    loss={"train": np.array([[1.0, np.nan, np.inf], [2.0, 3.0, 4.0]]), "test": np.ones((2, 3))},
    accuracy={"train": np.zeros((2, 3))},
    done=np.array([[True, True, True], [True, False, False]]),
    center_loss={"train": 1.5, "test": float("nan")},
    center_accuracy={"train": 0.25},
    normalization="filter",
    direction_norms=np.array([1.0, 2.0]),
    direction_hashes=("x", "y"),
    cosine=0.125,
    provenance=PROVENANCE,
)
LINE = Surface(
    SURFACE.x,
    None,
    {"train": np.zeros(3)},
    {},
    np.ones(3, bool),
    {"train": 0.0},
    {},
    "none",
    np.ones(1),
    ("x",),
    None,
    PROVENANCE,
)
MARKED = replace(
    SURFACE,
    direction_names=("to:a.pt", "random"),
    standard_error={"train": np.full((2, 3), 0.1)},
    maps={"lambda_max": np.ones((2, 3))},
    marks=(Mark("a", "checkpoint", (1.0, 0.0), 0.0, {"train": 0.5}, {"train": float("inf")}),),
    explained_variance=np.array([0.9, 0.05]),
    deviations={"bfloat16": 1e-3},
    tolerance=0.01,
)
DIRECTIONS = Directions(
    np.eye(2, 5),
    ("random", "gradient"),
    ("w", "b"),
    ((2, 2), (1,)),
    "filter",
    origin=np.arange(5.0),
)
SPECTRUM = Spectrum(
    np.array([3.0, 2.0]),
    np.array([1e-6, 1e-5]),
    np.array([]),
    np.array([]),
    20,
    True,
    1e-4,
    1e-6,
    "lanczos",
    0.5,
    None,
    "train",
    PROVENANCE,
    vectors=np.eye(2, 5),
)
WHOLE_SPECTRUM = replace(
    SPECTRUM,
    estimates=np.array([1e-9, 1e-8]),
    second_look=SecondLook(10, 1.5, -0.1, 1, 0),
    trace=Trace(5.0, 0.1, 4.7, 5.3, 0.95, 10, 30),
    density=Density(
        np.array([3.0]), np.array([1e-6]), np.zeros((2, 4)), np.full((2, 4), 0.2), 8, 5
    ),
    blocks=(BlockCurvature("fc1", 4, 1.0, 1e-3, 2.0, 0.1, 20, True),),
    folds=(Fold(10, 3.0, -1.0, 1e-3, 2.5, True), Fold(9, 3.5, -1.5, 1e-3, 2.25, False)),
    layer_shares={"w": np.ones(2), "b": np.zeros(2)},
    gradient_norm=0.5,
    gradient_overlaps=np.array([0.5, 0.25]),
    alignment=np.eye(2),
    aligned_with="b.h5",
)
CURVATURE_HISTORY = CurvatureHistory(
    np.arange(3), *(np.ones((3, 2)) for _ in range(4)), np.arange(3), np.ones(3, bool),
    *(np.full(3, np.nan) for _ in range(3)), np.zeros(3, bool), "train", PROVENANCE,
    ("a", "b", "c"),
)  # fmt: skip
MEASURE = Measure("avg", 0.05, 0.6, 0.1, 0.01, 2.0, False, 5, 1.0)
SHARPNESS = Sharpness(0.5, 0.9, 0.1, (MEASURE, MEASURE), "train", PROVENANCE)
WHOLE_SHARPNESS = replace(
    SHARPNESS,
    measures=(
        replace(MEASURE, name="max", p=math.inf, m=8, data_error=0.02, gap=0.1, converged=False),
    ),
    test_loss=0.7,
    test_accuracy=0.8,
    taylor=Taylor(0.1, 2.0, 3.0, 4.0, 0.5, 10),
    protocol="s001",
)
COMPARISON = SharpnessComparison(
    ("a", "b"),
    (SHARPNESS, WHOLE_SHARPNESS),
    (Difference("avg", 0.05, "a", "b", -0.1, -0.2, 0.1, 0.95, "not distinguishable", "data"),),
    (GroupValue("seeds", "avg", 0.05, 0.1, 0.01, 2),),
    ("seeds", "seeds"),
)
HISTORY = History(*(np.arange(3.0) for _ in range(10)), settings={"optim": "sam"})


def _assert_same(found, expected):
    assert type(found) is type(expected)
    for name, value in vars(expected).items():
        other = getattr(found, name)
        if isinstance(value, dict):
            assert list(other) == list(value)
            for key, item in value.items():
                np.testing.assert_equal(other[key], item)
        elif isinstance(value, np.ndarray):
            np.testing.assert_array_equal(other, value)
            assert other.dtype == value.dtype
        elif isinstance(value, Density):
            _assert_same(other, value)
        else:
            assert other == value, name


@pytest.mark.parametrize(
    "result",
    [
        SURFACE,
        LINE,
        MARKED,
        SPECTRUM,
        WHOLE_SPECTRUM,
        CURVATURE_HISTORY,
        SHARPNESS,
        WHOLE_SHARPNESS,
        COMPARISON,
        HISTORY,
        DIRECTIONS,
    ],
    ids=lambda r: type(r).__name__,
)
def test_a_result_comes_back_as_it_was(tmp_path, result):
    write_result(tmp_path / "r.h5", result)
    _assert_same(read_result(tmp_path / "r.h5"), result)


def test_the_file_says_what_it_is(tmp_path):
    write_result(tmp_path / "r.h5", SURFACE)
    with h5py.File(tmp_path / "r.h5") as file:
        assert dict(file.attrs)["format"] == "landscape"
        assert dict(file.attrs)["kind"] == "surface"
        assert dict(file.attrs)["schema"] == 1


def test_reading_needs_no_torch(tmp_path):
    write_result(tmp_path / "r.h5", SURFACE)
    code = (
        "import sys; from pathlib import Path; from landscape.io.store import read_result;"
        "read_result(Path(sys.argv[1])); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "r.h5")], check=True)


def _truncated(path):
    write_result(path, SURFACE)
    path.write_bytes(path.read_bytes()[:3000])


def _foreign(path):
    with h5py.File(path, "w") as file:
        file["train_loss"] = np.zeros(3)


def _newer(path):
    write_result(path, SURFACE)
    with h5py.File(path, "a") as file:
        file.attrs["schema"] = 2


@pytest.mark.parametrize(
    ("break_file", "message"),
    [
        (_truncated, "is damaged or is no HDF5 file"),
        (lambda path: path.write_text("x"), "is damaged or is no HDF5 file"),
        (_foreign, "an HDF5 file of something else"),
        (_newer, "newer version"),
        (lambda path: None, "does not exist"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_apart(tmp_path, break_file, message):
    break_file(tmp_path / "r.h5")
    with pytest.raises(StoreError, match=message):
        read_result(tmp_path / "r.h5")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "r.h5"
    write_result(path, LINE)
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(h5py.Group, "create_dataset", full)
    with pytest.raises(StoreError, match=r"cannot be written.*No space left"):
        write_result(path, SURFACE)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["r.h5"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "Can't synchronously write data (time = Sat\n, errno = 28)"),
        RuntimeError(
            "Can't decrement id ref count (errno = 28, error message = 'No space left on device')"
        ),
    ],
    ids=["writing", "closing"],
)
def test_a_full_disk_is_said_in_one_line(tmp_path, monkeypatch, error):
    def full(*_, **__):
        raise error

    monkeypatch.setattr(h5py.Group, "create_dataset", full)
    with pytest.raises(
        StoreError, match=r"r\.h5 cannot be written: No space left on device\. Check the free space"
    ):
        write_result(tmp_path / "r.h5", SURFACE)


def test_a_sink_writes_at_once_and_then_at_its_interval(tmp_path):
    path = tmp_path / "r.h5"
    sink = FileSink(path, resume=False, interval=1000.0)
    sink.save(LINE)
    _assert_same(read_result(path), LINE)
    sink.save(SURFACE)
    _assert_same(read_result(path), LINE)
    sink.flush()
    _assert_same(read_result(path), SURFACE)


def test_a_sink_gives_back_what_is_to_be_continued(tmp_path):
    path = tmp_path / "r.h5"
    assert FileSink(path, resume=True).load() is None
    write_result(path, SURFACE)
    assert FileSink(path, resume=False).load() is None
    _assert_same(FileSink(path, resume=True).load(), SURFACE)


def test_a_column_that_an_older_history_lacks_was_not_measured(tmp_path):
    path = tmp_path / "h.h5"
    write_result(path, HISTORY)
    with h5py.File(path, "a") as file:
        del file["ascent_sharpness"], file["ema_test_loss"], file["ema_test_accuracy"]
    history = read_result(path)
    for column in (history.ascent_sharpness, history.ema_test_loss, history.ema_test_accuracy):
        np.testing.assert_array_equal(column, [np.nan] * 3)


def test_a_file_may_be_named_by_a_string(tmp_path):
    write_result(f"{tmp_path}/s.h5", SPECTRUM)
    np.testing.assert_array_equal(read_result(f"{tmp_path}/s.h5").eigenvalues, SPECTRUM.eigenvalues)
    with pytest.raises(StoreError, match="does not exist"):
        read_result(f"{tmp_path}/t.h5")
