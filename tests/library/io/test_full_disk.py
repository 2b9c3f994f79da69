"""A disk that is full leaves every old file whole, and is said in a sentence."""

import os
import resource
import subprocess
from contextlib import contextmanager

import h5py
import numpy as np
import pytest
import torch

from landscape.errors import LandscapeError
from landscape.hessian.krylov.krylov_sink import KrylovHead
from landscape.io.checkpoint import Recipe, load_checkpoint, save_checkpoint
from landscape.io.krylov_file import KrylovFile
from landscape.io.layouts import LAYOUTS
from landscape.io.store import read_result, write_result
from landscape.plot.mesh_files import ALL_LAYOUTS
from landscape.plot.save import save_figure, save_page
from landscape.results.history import make_history
from landscape.results.provenance import Provenance
from landscape.results.surface import Directions, Surface

SIZE = 20_000
FACTS = {"parameters": str(SIZE)}


@contextmanager
def _largest_file(size):
    """Let no file of this process grow beyond a size, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _directions():
    names = ("w",)
    return Directions(np.ones((1, SIZE)), names, names, ((SIZE,),), "none")


def _figure():
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().plot(np.random.default_rng(0).normal(size=3000))
    return figure


WRITERS = {
    "r.h5": lambda path: write_result(path, _directions()),
    "c.pt": lambda path: save_checkpoint(path, {"w": torch.ones(SIZE)}, Recipe(), {"epoch": 1}),
    "li.h5": lambda path: LAYOUTS["li2018"].writers[Directions](path, _directions()),
    "t.csv": lambda path: LAYOUTS["csv"].writers[type(_history())](path, _history()),
    "m.vtu": lambda path: ALL_LAYOUTS["vtk"].writers[Surface](path, _surface()),
    "f.png": lambda path: save_figure(_figure(), path),
    "f.svg": lambda path: save_figure(_figure(), path),
    "f.pdf": lambda path: save_figure(_figure(), path),
    "p.html": lambda path: save_page("x" * SIZE, path),
}


def _surface():
    x = np.linspace(-1, 1, 60)
    loss = {"train": np.random.default_rng(0).normal(size=(60, 60))}
    done, norms = np.ones((60, 60), bool), np.ones(2)
    return Surface(x, x, loss, {}, done, {}, {}, "none", norms, (), None, Provenance())


def _history():
    return make_history([{"epoch": number, "train_loss": 1 / 3} for number in range(300)], {})


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_the_old_file_and_nothing_beside_it(tmp_path, name, capfd):
    path = tmp_path / name
    path.write_bytes(b"old")
    with _largest_file(4096), pytest.raises(LandscapeError, match="File too large"):
        WRITERS[name](path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [name]
    assert capfd.readouterr() == ("", "")
    WRITERS[name](path)
    assert len(path.read_bytes()) > 4096


def _rows():
    rows = np.random.default_rng(0).normal(size=(8, SIZE))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _append(sink, rows, numbers):
    for number in numbers:
        sink.append((float(number), 1.0, 0.0), rows[number])


def test_a_basis_goes_on_after_a_full_disk_from_its_last_whole_vector(tmp_path):
    rows, sink = _rows(), KrylovFile(tmp_path / "k.h5", {}, resume=True)
    sink.load(FACTS)
    sink.begin(KrylovHead(), rows[:1], capacity=7)
    _append(sink, rows, [1, 2])
    limit = 8 * SIZE * 4 - 80_000  # half of the fourth vector
    with _largest_file(limit), pytest.raises(LandscapeError, match="cannot be written"):
        _append(sink, rows, [3])
    stored = KrylovFile(tmp_path / "k.h5", {}, resume=True).load(FACTS)
    np.testing.assert_array_equal(list(stored.rows), rows[:3])
    assert stored.steps[:, 0].tolist() == [1.0, 2.0]


def test_a_hole_is_no_vector(tmp_path):
    rows, path = _rows(), tmp_path / "k.h5"
    for first in (3, 0):
        sink = KrylovFile(path, {}, resume=False)
        sink.load(FACTS)
        sink.begin(KrylovHead(), rows[:1], capacity=7)
        _append(sink, rows, range(1, 6))
        with h5py.File(path, "r+") as file:
            file["basis"][first, SIZE // 2 :] = 0.0
        again = KrylovFile(path, {}, resume=True)
        if first == 0:
            with pytest.raises(LandscapeError, match="a vector of its beginning is not the one"):
                again.load(FACTS)
        else:
            np.testing.assert_array_equal(list(again.load(FACTS).rows), rows[:3])


def test_a_basis_of_an_earlier_version_has_unit_vectors_and_gets_checksums(tmp_path):
    rows, path = _rows(), tmp_path / "k.h5"
    sink = KrylovFile(path, {}, resume=True)
    sink.load(FACTS)
    sink.begin(KrylovHead(), rows[:1], capacity=7)
    _append(sink, rows, range(1, 6))
    with h5py.File(path, "r+") as file:
        del file["checksums"], file.attrs["checksum"]
        file["basis"][4] = 0.0
    again = KrylovFile(path, {}, resume=True)
    np.testing.assert_array_equal(list(again.load(FACTS).rows), rows[:4])
    _append(again, rows, [4])
    stored = KrylovFile(path, {}, resume=True).load(FACTS)
    np.testing.assert_array_equal(list(stored.rows), rows[:5])


def test_a_result_is_written_through_a_signal_in_the_midst(tmp_path, monkeypatch):
    from landscape.runtime import files

    path = tmp_path / "r.h5"
    write_result(path, _directions())
    before = path.read_bytes()

    class Interrupted(files.Unfailing):
        def __init__(self, file):
            class _Raw:
                def write(self, content):
                    raise KeyboardInterrupt

                def __getattr__(self, name):
                    return getattr(file, name)

            super().__init__(_Raw())

    monkeypatch.setattr(files, "Unfailing", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_result(path, _directions())
    assert path.read_bytes() == before
    assert read_result(path).vectors.shape == (1, SIZE)
    assert os.listdir(tmp_path) == ["r.h5"]


@pytest.fixture
def tiny_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("needs the right to mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_without_room_is_said_in_a_sentence(tiny_disk):
    for name in ("r.h5", "c.pt", "li.h5"):
        with pytest.raises(LandscapeError, match="No space left on device"):
            WRITERS[name](tiny_disk / name)
    assert os.listdir(tiny_disk) == []


def test_a_checkpoint_comes_back(tmp_path):
    WRITERS["c.pt"](tmp_path / "c.pt")
    assert torch.equal(load_checkpoint(tmp_path / "c.pt").state_dict["w"], torch.ones(SIZE))
