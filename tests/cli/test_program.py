"""A command ends with its exit code and without a traceback, wherever it runs."""

import os
import resource
import shutil
import subprocess
import sys

import pytest
import torch
from strange_processes import (
    ended,
    failing_at_import,
    interrupted_at_import,
    with_closed,
    with_encoding,
    with_full_disk_for_remarks,
    with_memory,
)

from landscape import read_result

BROKEN = """
from landscape_cli import app, program
def broken(): raise ZeroDivisionError("a mistake of ours")
app.app = broken
program.main()
"""
NO_MEMORY = "Error: there is not enough memory."


@pytest.mark.parametrize("numbers", [[2], [0], [0, 1, 2]])
def test_closed_streams_do_not_keep_a_surface_from_its_file(checkpoint, tmp_path, numbers):
    out = tmp_path / "s.h5"
    done = ended(with_closed, numbers, ["surface", checkpoint, "--grid", 3, "--out", out])
    assert done.returncode == 0, done.stderr
    assert ("Loss surface" in done.stdout) == (1 not in numbers)
    assert read_result(out).done.all()


def test_remarks_that_cannot_be_written_do_not_end_a_command(checkpoint, tmp_path):
    out = tmp_path / "s.h5"
    done = ended(with_full_disk_for_remarks, ["surface", checkpoint, "--grid", 3, "--out", out])
    assert done.returncode == 0
    assert "Loss surface" in done.stdout
    assert out.exists()


def test_what_stdout_cannot_encode_is_written_as_escapes(trained, tmp_path):
    label = "\xe9\u4e2d\u202e\x1b[2J\udcff"
    words = ["compare", trained / "checkpoint.pt", "--quick", "--samples", 32, "--grid", 3]
    done = ended(with_encoding, "ascii", [*words, "--labels", label, "--out", tmp_path / "report"])
    assert done.returncode == 0, done.stderr
    assert r"\xe9\u4e2d\u202e\x1b[2J\udcff" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert (tmp_path / "report" / "index.html").exists()


@pytest.mark.parametrize("words", [["info"], ["info", "--json"], ["plot"], ["plot", "--json"]])
def test_a_path_that_is_no_text_is_read_drawn_and_shown(trained, tmp_path, words):
    folder = tmp_path / os.fsdecode(b"\xff\xfe")
    folder.mkdir()
    shutil.copy(trained / "history.h5", folder)
    done = ended(with_encoding, "utf-8", [words[0], folder / "history.h5", *words[1:]])
    assert (done.returncode, done.stderr) == (0, "")
    assert r"\udcff\udcfe" in done.stdout


@pytest.mark.parametrize("module", ["landscape_cli.app", "landscape_cli.surface.run", "typer"])
def test_ctrl_c_during_an_import_ends_the_program(checkpoint, tmp_path, module):
    words = ["surface", checkpoint, "--grid", 3, "--out", tmp_path / "s.h5"]
    done = ended(interrupted_at_import, module, words)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\nInterrupted.\n")
    assert not (tmp_path / "s.h5").exists()


@pytest.mark.parametrize("module", ["landscape_cli.app", "landscape_cli.surface.run"])
@pytest.mark.parametrize(
    "exc",
    [
        MemoryError(),
        OSError(12, "Cannot allocate memory"),
        ImportError("libx.so: failed to map segment from shared object"),
        RuntimeError("can't start new thread"),
    ],
    ids=repr,
)
def test_memory_that_runs_out_in_an_import_is_a_sentence(checkpoint, tmp_path, module, exc):
    words = ["surface", checkpoint, "--grid", 3, "--out", tmp_path / "s.h5"]
    done = ended(failing_at_import, module, exc, words)
    assert (done.returncode, done.stdout) == (1, "")
    error, hint = done.stderr.splitlines()
    assert error == NO_MEMORY
    assert hint.startswith("Hint: Free some, ")


def test_memory_that_runs_out_in_a_computation_is_a_sentence(tmp_path):
    words = ["train", "--model-arg", "width=3000", "--epochs", 1, "--out", tmp_path / "run"]
    done = ended(with_memory, 30 << 20, words)
    assert (done.returncode, done.stdout) == (1, "")
    assert "emory" in done.stderr.splitlines()[0]
    assert "Traceback" not in done.stderr


def test_a_limit_in_which_torch_cannot_be_imported_is_a_sentence(checkpoint):
    limit = (450 << 20,) * 2
    done = subprocess.run(
        [sys.executable, "-m", "landscape_cli", "sharpness", checkpoint],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limit),
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[0] == NO_MEMORY


def test_names_in_a_checkpoint_reach_the_terminal_as_escapes(run, checkpoint, tmp_path):
    content = torch.load(checkpoint, weights_only=True)
    content["recipe"]["model"] = "\x1b]0;title\x07\n  recipe.data  x\u202e:y"
    torch.save(content, tmp_path / "c.pt")
    shown = r"\x1b]0;title\x07\n  recipe.data  x\u202e:y"
    assert shown in run("info", tmp_path / "c.pt").out
    assert shown in run("surface", tmp_path / "c.pt").err
    torch.save({"\x1b[2J": torch.zeros(1)}, tmp_path / "k.pt")
    words = ("--model", "mlp", "--data", "digits")
    assert r"unexpected: \x1b[2J." in run("hessian", tmp_path / "k.pt", *words).err


@pytest.mark.parametrize(("command", "code"), [("assert", 2), ("verify", 2), ("info", 1)])
def test_a_traceback_is_no_answer(command, code):
    done = subprocess.run(
        [sys.executable, "-c", BROKEN, command], capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert "ZeroDivisionError: a mistake of ours" in done.stderr
