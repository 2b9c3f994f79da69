import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from surfaces import formula, plane_surface

from landscape.io import li2018
from landscape.io.layouts import read_any
from landscape.io.store import write_result
from landscape.results.history import make_history
from landscape.results.surface import Directions
from landscape.surface.surface_headlines import result_headline

FILES = Path(__file__).resolve().parents[1] / "written_by_0_1"


@pytest.fixture
def stored(tmp_path):
    write_result(tmp_path / "s.h5", plane_surface(4, 3, left_out=(1,)))
    return tmp_path / "s.h5"


def test_a_surface_is_described(run, stored):
    answer = run("info", stored)
    lines = [line.split() for line in answer.out.splitlines()]
    assert ["num_done", "11"] in lines
    assert ["1", "random", "2", "a"] in lines
    assert ["settings.seed", "3"] in lines
    assert ["versions.torch", "2"] in lines
    assert answer.err == ""


def test_json_is_one_object(run, stored):
    found = run("info", stored, "--json").json
    assert found["splits"]["train"]["max"] == pytest.approx(formula(1.0, 2.0))
    assert found["x"] == {"start": -1.0, "stop": 1.0, "num_points": 4}


def test_results_are_described_without_torch(stored):
    code = (
        "import sys; from landscape_cli.app import app\n"
        "try: app(sys.argv[1:], standalone_mode=False)\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules and 'meshio' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "info", str(stored), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["kind"] == "surface"


def test_what_the_other_commands_write_is_described(run, trained):
    assert run("info", trained / "history.h5", "--json").json["num_epochs"] == 2
    found = run("info", trained / "checkpoint.pt", "--json").json
    assert (found["kind"], found["epoch"], found["settings"]["optim"]) == ("checkpoint", 2, "sam")
    assert found["recipe"]["model"] == "mlp"


def test_their_directions_are_described(run, tmp_path):
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["xdirection/0"], file["ydirection/0"] = np.array([3.0, 4.0]), np.array([0.0, 2.0])
    found = run("info", tmp_path / "d.h5", "--json").json
    assert (found["kind"], found["layout"], found["cosine"]) == (
        "directions",
        "li2018",
        pytest.approx(0.8),
    )
    assert "directions" in run("info", tmp_path / "d.h5").out


def test_their_surface_is_described(run, tmp_path):
    li2018.write_surface(tmp_path / "s.h5", plane_surface())
    assert "li2018" in run("info", tmp_path / "s.h5").out


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.write_text("x"), "is damaged or is no HDF5 file"),
        (
            lambda path: path.write_bytes(path.with_name("s.h5").read_bytes()[:3000]),
            "is damaged or is no HDF5 file",
        ),
    ],
)
def test_what_cannot_be_described_is_refused_with_a_hint(run, stored, make, message):
    path = stored.with_name("bad.h5")
    make(path)
    answer = run("info", path)
    assert (answer.code, answer.out) == (1, "")
    assert message in answer.err
    assert "Hint: " in answer.err


def test_a_foreign_file_is_refused_with_a_hint(run, tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["something"] = np.zeros(3)
    answer = run("info", tmp_path / "f.h5")
    assert answer.code == 1
    assert "an HDF5 file of something else" in answer.err
    assert "Hint: " in answer.err


@pytest.mark.parametrize("file", sorted(FILES.glob("*.h5")), ids=lambda path: path.stem)
def test_a_result_is_told_in_a_sentence_first(run, file):
    _, words, *_ = run("info", file).out.splitlines()
    result = read_any(file)[0]
    is_told = not isinstance(result, Directions)
    assert (words in result_headline(result).splitlines()) == is_told
    assert words.endswith(".") == is_told


def test_a_checkpoint_is_told_by_its_training(run, trained, tmp_path):
    def told(path):
        return run("info", path).out.splitlines()[1]

    assert told(trained / "checkpoint.pt") == (
        "mlp for digits, after epoch 2 of training with sam around sgd, rho 0.05, learning rate "
        "0.05, weight decay 0.0005."
    )
    assert told(trained / "snapshots" / "epoch-0001.pt").startswith("mlp for digits, after epoch 1")
    torch.save({"w": torch.zeros(1200)}, tmp_path / "own.pt")
    assert told(tmp_path / "own.pt") == "1,200 values; how it was trained is not recorded."


def test_the_top_5_error_is_told_only_of_more_than_five_classes(run, tmp_path, trained):
    assert "test_top5_error" in run("info", trained / "history.h5").out
    rows = [{"epoch": 1, "train_loss": 0.5, "test_accuracy": 0.9, "test_top5_error": 0.0}]
    write_result(tmp_path / "few.h5", make_history(rows, {}))
    assert "test_top5_error" not in run("info", tmp_path / "few.h5").out
