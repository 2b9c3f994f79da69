"""No file that is not as it must be ends in anything but a sentence."""

import gzip
import json
import os
import pickle
import warnings
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from mutants import changed_array, changed_bytes, changed_hdf5, changed_value
from report_entries import detail
from safetensors.torch import save_file

from landscape.data.cifar import load_batch
from landscape.data.fashion_mnist import read_idx
from landscape.data.mitbih import read_heartbeats
from landscape.errors import InputError, LandscapeError
from landscape.hessian.krylov.krylov_sink import KrylovHead
from landscape.io import hdf5
from landscape.io.checkpoint import Recipe, load_checkpoint, save_checkpoint
from landscape.io.description import describe_file
from landscape.io.krylov_file import KrylovFile
from landscape.io.layouts import convert, read_any
from landscape.io.store import read_result, write_result
from landscape.problem.sampling_error import Sample
from landscape.report.document import Report
from landscape.report.entry import Entry, read_detail, write_detail
from landscape.report.measuring import MeasuringPlan
from landscape.runtime.seal import seal
from landscape.study.definition import Option, Study, StudyRun
from landscape.study.execute import make_job, read_record
from landscape.surface.surface_headlines import result_headline

OLD = sorted((Path(__file__).parents[2] / "written_by_0_1").glob("*.h5"))
AMOUNTS = pytest.mark.parametrize(
    "amount", [1, pytest.param(40, marks=pytest.mark.slow)], ids=["few", "many"]
)
SURFACE = next(path for path in OLD if path.name == "surface.h5")
FACTS = {"parameters": "5"}


@pytest.fixture(autouse=True)
def _without_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)


def _message(function, *arguments):
    """Return what a call says is wrong; any other exception is the test's failure."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            function(*arguments)
    except LandscapeError as exc:
        return exc.message
    return ""


def _is_said(function, *arguments):
    return "\n" not in _message(function, *arguments)


def _look_at(path):
    """Read a results file as the commands that compute nothing do."""
    describe_file(path)
    result, _ = read_any(path)
    assert repr(result)
    assert "\n\n" not in result_headline(result)
    for suffix, layout in ((".csv", "csv"), (".li", "li2018")):
        assert _is_said(convert, path, path.with_suffix(suffix), layout)


@AMOUNTS
def test_results_of_another_structure_are_refused_in_a_sentence(tmp_path, amount):
    path, rng = tmp_path / "r.h5", np.random.default_rng(0)
    for old in OLD:
        content = old.read_bytes()
        for _ in range(3 if amount == 1 else 300):
            path.write_bytes(changed_hdf5(rng, content))
            seal(path)  # it is no seal that keeps them away
            assert _is_said(_look_at, path)


def _sealed_files(folder):
    write_result(folder / "s.h5", read_result(SURFACE))
    weights = {"a": torch.ones(3, 2), "b": torch.zeros(2)}
    save_checkpoint(folder / "c.pt", weights, Recipe(model="mlp"), {"epoch": 1})
    return folder / "s.h5", folder / "c.pt"


@AMOUNTS
def test_every_flipped_bit_of_a_sealed_file_is_an_error(tmp_path, amount):
    rng = np.random.default_rng(1)
    for path in _sealed_files(tmp_path):
        content = path.read_bytes()
        for place in rng.integers(len(content), size=75 * amount):
            flipped = bytearray(content)
            flipped[place] ^= 1 << rng.integers(8)
            path.write_bytes(flipped)
            assert "is damaged" in _message(describe_file, path), place


def test_every_flipped_bit_of_a_seal_is_an_error(tmp_path):
    for path in _sealed_files(tmp_path):
        content = path.read_bytes()
        for bit in range(8 * 48):
            flipped = bytearray(content)
            flipped[bit // 8 - 48] ^= 1 << bit % 8
            path.write_bytes(flipped)
            assert "is damaged" in _message(describe_file, path), bit


@pytest.mark.parametrize("size", [1, 2, 16, 31, 32, 33, 40, 45])
def test_a_file_that_ends_in_the_midst_of_its_seal_is_an_error(tmp_path, size):
    for path in _sealed_files(tmp_path):
        path.write_bytes(path.read_bytes()[:-size])
        assert "its end is missing" in _message(describe_file, path)


@pytest.mark.parametrize("size", [46, 47, 48])
def test_a_checkpoint_that_ends_before_its_seal_is_an_error(tmp_path, size):
    path = next(path for path in _sealed_files(tmp_path) if path.suffix == ".pt")
    path.write_bytes(path.read_bytes()[:-size])
    assert "its end is missing" in _message(describe_file, path)


def _training():
    row = {"epoch": 1, "train_loss": 0.5, "test_accuracy": 0.5}
    state = {"epoch": 1, "step": 0, "rows": [row], "module": {"a": torch.ones(3)}}
    return {"settings": {"seed": 0, "augmentation": "none"}, "state": state}


@AMOUNTS
def test_checkpoints_of_another_structure_are_refused_in_a_sentence(tmp_path, amount):
    path, rng = tmp_path / "c.pt", np.random.default_rng(2)
    save_checkpoint(path, {"a": torch.ones(3)}, Recipe(model="mlp"), _training())
    content = torch.load(path, weights_only=True)
    for _ in range(60 * amount):
        torch.save(changed_value(rng, content), path)
        assert _is_said(describe_file, path)


@AMOUNTS
def test_damaged_checkpoints_are_refused_in_a_sentence(tmp_path, amount):
    rng, state = np.random.default_rng(3), {"a": torch.ones(3, 2), "b": torch.zeros(2)}
    torch.save(state, tmp_path / "zip.pt")
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "s.safetensors")
    for path in sorted(tmp_path.iterdir()):
        content = path.read_bytes()
        for _ in range(40 * amount):
            path.write_bytes(changed_bytes(rng, content))
            assert _is_said(load_checkpoint, path)


@AMOUNTS
def test_damaged_data_are_refused_in_a_sentence(tmp_path, amount):
    rng = np.random.default_rng(4)
    idx = b"\0\0\x08\x01\0\0\0\x05" + bytes(range(5))
    rows = "\n".join(",".join(["0.5"] * 187 + ["1"]) for _ in range(2)).encode()
    batch = pickle.dumps({b"labels": [1, 2], b"data": [3]}, protocol=2)
    readers = {
        "a.idx": (idx, lambda path: read_idx(path, num_dimensions=1)),
        "a.idx.gz": (gzip.compress(idx), lambda path: read_idx(path, num_dimensions=1)),
        "a.csv": (rows, read_heartbeats),
        "a.csv.gz": (gzip.compress(rows), read_heartbeats),
        "batch": (batch, lambda path: load_batch(path.read_bytes(), "batch")),
    }
    for name, (content, read) in readers.items():
        for _ in range(15 * amount):
            (tmp_path / name).write_bytes(changed_bytes(rng, content))
            assert _is_said(read, tmp_path / name)


@AMOUNTS
def test_krylov_spaces_of_another_structure_are_refused_in_a_sentence(
    tmp_path, amount, monkeypatch
):
    monkeypatch.setattr(hdf5, "_let_another_process_read", lambda _: None)
    path, rng = tmp_path / "k.h5", np.random.default_rng(5)
    sink = KrylovFile(path, {}, resume=True)
    sink.load(FACTS)
    sink.begin(KrylovHead(), [np.eye(5)[0]], capacity=3)
    sink.append((1.0, 0.5, 0.0), np.eye(5)[1])
    content = path.read_bytes()
    for _ in range(30 * amount):
        path.write_bytes(changed_hdf5(rng, content))
        assert _is_said(_resume, path)


def _resume(path):
    stored = KrylovFile(path, {}, resume=True).load(FACTS)
    assert stored is None or all(np.isfinite(row).all() for row in stored.rows)


def _details(folder):
    """Write what a comparison keeps of a subset, and return the detail."""
    found = detail(rise=0.02)
    rises = {
        key: replace(each, units=np.linspace(0.0, each.value, 6))
        for key, each in found.measured.rises.items()
    }
    sample = Sample(np.ones(6), 0.25, np.array([0, 0, 0, 1, 1, 1]))
    found = replace(found, measured=replace(found.measured, rises=rises, sample=sample))
    found = replace(found, train_error=0.5)
    write_detail(folder / "d.npz", found)
    return found


def test_details_of_a_comparison_are_read_back(tmp_path):
    found = _details(tmp_path)
    again = read_detail(tmp_path / "d.npz", found.measured.result)
    assert again.train_error == 0.5
    assert again.measured.sample.share == 0.25
    for key, each in found.measured.rises.items():
        assert again.measured.rises[key].units.tolist() == each.units.tolist()


@AMOUNTS
def test_details_of_another_structure_are_compared_or_measured_anew(tmp_path, amount):
    path, rng = tmp_path / "d.npz", np.random.default_rng(7)
    whole = _details(tmp_path)
    with np.load(path) as file:
        arrays = dict(file)
    other = Entry("other", Path("o.pt"), detail=whole)
    num_taken = 0
    for _ in range(60 * amount):
        changed, name = dict(arrays), list(arrays)[rng.integers(len(arrays))]
        array = changed.pop(name)
        new = changed_array(rng, np.ones(4) if array.dtype.kind == "U" else array)
        if (kind := rng.integers(6)) > 1:
            changed[name] = new
        elif kind == 1:
            changed[f"{name}x"] = new
        np.savez(path, **changed)
        found = read_detail(path, whole.measured.result)
        if found is not None:
            num_taken += 1
            pair = [replace(other, name="one", detail=found), other]
            report = Report(pair, MeasuringPlan(), "compare", tmp_path, "now")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert json.dumps(report.as_json(), allow_nan=False)
    assert num_taken > 0


@AMOUNTS
def test_damaged_details_of_a_comparison_are_measured_anew(tmp_path, amount):
    path, rng = tmp_path / "d.npz", np.random.default_rng(8)
    whole = _details(tmp_path)
    content = path.read_bytes()
    for _ in range(60 * amount):
        # Without the seal, as earlier versions wrote it, there are the checksums of zip.
        path.write_bytes(changed_bytes(rng, content[: -48 * rng.integers(2) or None]))
        found = read_detail(path, whole.measured.result)
        assert found is None or _numbers(found) == _numbers(whole)


def _numbers(found):
    rises = found.measured.rises.values()
    return [found.test_losses.tolist(), *(each.units.tolist() for each in rises)]


def test_a_detail_that_is_no_archive_is_measured_anew(tmp_path):
    np.save(tmp_path / "d.npy", np.ones(3))
    whole = detail()
    assert read_detail(tmp_path / "d.npy", whole.measured.result) is None


RECORD = {"train": {"lr": 0.1, "seed": 0}, "threads": 2, "stages": {"train": {"lr": 0.1}}}


@AMOUNTS
def test_records_of_runs_of_another_structure_are_refused_in_a_sentence(tmp_path, amount):
    rng = np.random.default_rng(9)
    run = StudyRun("r", "", {"lr": 0.1, "seed": 0}, {})
    study = Study(tmp_path / "s.toml", tmp_path, (run,), {}, (), None, {})
    options = {"train": {name: Option() for name in ("lr", "seed")}}
    study.folder(run).mkdir(parents=True)
    for _ in range(60 * amount):
        path = study.folder(run) / "run.json"
        content = json.dumps(changed_value(rng, RECORD)).encode()
        path.write_bytes(changed_bytes(rng, content) if rng.random() < 0.3 else content)
        assert _is_said(lambda: make_job(study, run, options, ("python",), 1).remaining)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({**RECORD, "threads": 100_000}, "threads must be from 1 to 4096"),
        ({**RECORD, "stages": []}, "stages must have names"),
        ({**RECORD, "stages": {"train": 3}}, "stages must have names"),
        ({**RECORD, "train": "lr"}, "train must have names"),
    ],
)
def test_what_is_wrong_with_the_record_of_a_run_is_named(tmp_path, content, message):
    (tmp_path / "run.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"is damaged: {message}"):
        read_record(tmp_path)


def test_a_record_of_a_run_without_an_end_to_its_brackets_is_damaged(tmp_path):
    (tmp_path / "run.json").write_text("[" * 100_000)
    assert "is damaged" in _message(read_record, tmp_path)


@pytest.mark.slow
def test_damaged_files_without_a_seal_are_refused_in_a_sentence(tmp_path):
    path, rng = tmp_path / "r.h5", np.random.default_rng(6)
    for old in OLD:
        for _ in range(4):
            path.write_bytes(changed_bytes(rng, old.read_bytes()))
            assert _is_said(_look_at, path)


def test_a_file_that_hdf5_never_comes_to_the_end_of_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5, "_SECONDS", 0.0)
    monkeypatch.setattr(hdf5, "_BYTES_PER_SECOND", 1e12)
    path = tmp_path / "r.h5"
    path.write_bytes(OLD[0].read_bytes())  # any file takes longer than that
    assert "does not come to the end of it" in _message(read_result, path)


def test_a_file_that_hdf5_crashes_on_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5.sys, "executable", str(tmp_path / "python"))
    (tmp_path / "python").write_text("#!/bin/sh\nkill -SEGV $$\n")
    (tmp_path / "python").chmod(0o700)
    path = tmp_path / "r.h5"
    path.write_bytes(OLD[0].read_bytes())
    assert "the HDF5 library crashes on it" in _message(read_result, path)


@pytest.mark.parametrize("kind", ["soft", "external", "storage", "virtual", "huge"])
def test_nothing_is_read_that_is_not_in_the_file(tmp_path, kind):
    path, secret = tmp_path / "r.h5", tmp_path / "secret"
    secret.write_bytes(bytes(24))
    write_result(path, read_result(SURFACE))
    with h5py.File(path, "r+") as file:
        del file["x"]
        if kind == "soft":
            file["x"] = h5py.SoftLink("/y")
        elif kind == "external":
            file["x"] = h5py.ExternalLink("other.h5", "/x")
        elif kind == "storage":
            file.create_dataset("x", (3,), "f8", external=[(str(secret), 0, 24)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout((3,), "f8")
            layout[:] = h5py.VirtualSource("other.h5", "x", (3,))
            file.create_virtual_dataset("x", layout)
        else:
            file.create_dataset("x", (10**11,), "f8", chunks=(1024,))
    expected = "claims the shape" if kind == "huge" else "never"
    assert expected in _message(read_result, path)
