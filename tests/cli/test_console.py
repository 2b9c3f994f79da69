import io
import math
import signal

import pytest
from landscape_cli import console
from processes import fork_runs_of_studies, run_cli

from landscape.errors import InputError


@pytest.mark.parametrize("show", [console.number, console.percent])
@pytest.mark.parametrize("value", [None, math.nan])
def test_what_was_not_measured_is_a_dash(show, value):
    assert show(value) == "-"


def test_numbers_have_the_digits_asked_for_and_shares_are_percentages():
    assert (console.number(1 / 3, 3), console.percent(1 / 3), console.number(math.inf)) == (
        "0.333",
        "33.33 %",
        "inf",
    )


def test_a_training_without_a_test_set_or_classes_shows_dashes(run, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "def model(): return torch.nn.Linear(2, 1)\n"
        "def data(): return (torch.ones(4, 2), torch.ones(4, 1)), None\n"
    )
    parts = (f"--{part}={tmp_path}/mine.py:{part}" for part in ("model", "data"))
    answer = run("train", *parts, "--loss", "mse", "--epochs", 1, "--out", tmp_path / "run")
    assert answer.code == 0, answer.err
    assert "nan" not in answer.out
    assert answer.out.count(" - ") == 3  # train accuracy, test loss and test accuracy
    assert "top-5" not in answer.out


def test_a_repeated_sigterm_does_not_disturb_what_the_first_one_began():
    with console.StopSignals():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)


def test_a_second_ctrl_c_stops_at_once():
    with console.StopSignals() as signals:
        signals.wait_for_step()
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


COMMANDS = {
    "train": ("train", "--model", "mlp", "--model-arg", "width=8", "--epochs", 1),
    "hessian": ("hessian", "CKPT"),
    "surface": ("surface", "CKPT", "--grid", 3),
    "sharpness": ("sharpness", "CKPT"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_quiet_leaves_the_answer_alone_and_says_nothing_else(run, checkpoint, tmp_path, name):
    words = [checkpoint if word == "CKPT" else word for word in COMMANDS[name]]
    spoken, quiet = (
        run(*words, *more)
        for more in (["--out", tmp_path / "a"], ["--out", tmp_path / "b", "--quiet"])
    )
    assert (spoken.code, quiet.code) == (0, 0)
    assert quiet.err == ""
    assert quiet.out.splitlines()[0] == spoken.out.splitlines()[0] != ""


def test_remarks_are_made_unless_quiet(run, checkpoint):
    assert "Products: graphs of" in run("hessian", checkpoint, "--verbose").err
    assert run("hessian", checkpoint, "--verbose", "--quiet").err == ""


def test_quiet_does_not_hide_errors(run, tmp_path):
    answer = run("surface", tmp_path / "none.pt", "--quiet")
    assert answer.code == 1
    assert answer.err.startswith("Error: ")


@pytest.mark.slow
def test_runs_of_a_study_are_not_told_of_when_quiet(run, tmp_path, monkeypatch):
    fork_runs_of_studies(monkeypatch)
    (tmp_path / "study.toml").write_text(
        "[train]\nmodel_arg = {width = 4}\nepochs = 1\n[grid]\nseeds = [0]\n"
    )
    answer = run("sweep", tmp_path / "study.toml", "--out", tmp_path / "out", "-q")
    assert answer.code == 0
    assert answer.err == ""
    assert "1 of 1 runs are finished" in answer.out


@pytest.mark.slow
def test_asking_for_colours_does_not_put_progress_into_a_log(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    done = run_cli("surface", checkpoint, "--grid", 5, "--out", tmp_path / "out.h5")
    assert done.returncode == 0, done.stderr
    assert "ETA" not in done.stderr
    assert "\r" not in done.stderr


def test_a_table_in_a_pipe_is_not_wrapped(run, checkpoint, monkeypatch):
    def widest():
        lines = run("hessian", checkpoint, "--verbose").out.splitlines()
        return max(len(line) for line in lines if line[:1] in "┏┃│")

    wide = widest()
    monkeypatch.setenv("COLUMNS", "40")
    assert widest() <= 40 < wide


def test_a_command_that_saves_nothing_does_not_say_how_to_go_on(run, checkpoint, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("landscape.hessian.spectrum.lanczos", stopped)
    answer = run("hessian", checkpoint)
    assert answer.code == 130
    assert "--resume" not in answer.err
    assert "What was computed" not in answer.err


def test_an_error_and_its_hint_are_written_at_once(monkeypatch):
    # Memory that runs out between the two would have the sentence printed again.
    written = []
    stream = io.StringIO()
    monkeypatch.setattr(stream, "write", lambda text: written.append(text) or len(text))
    monkeypatch.setattr("sys.stderr", stream)
    console.show_error(InputError("one.\ntwo.", hint="three."))
    assert [text for text in written if text] == ["Error: one.\ntwo.\nHint: three.\n"]
