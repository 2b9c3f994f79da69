import os
import signal
import subprocess
import sys
import time

import pytest
from cases import ROOT, run_cli

COMMANDS = [
    "",
    "train",
    "surface",
    "hessian",
    "sharpness",
    "compare",
    "verify",
    "plot",
    "info",
    "convert",
    "audit-optimizer",
    "assert",
    "doctor",
    "data",
    "data list",
    "data fetch",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_imports_nothing_heavy(command):
    code = (
        "import sys; from landscape_cli.app import app\n"
        "try: app(sys.argv[1:], standalone_mode=False)\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'matplotlib', 'numpy', 'h5py', 'sklearn', 'pooch', 'requests'} & "
        "set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    words = command.split()
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--help" in done.stdout


def test_the_version_is_that_of_the_distribution():
    done = run_cli("--version")
    assert done.stdout.startswith("landscape 0.")


def test_shell_completion_completes_commands():
    environment = {
        **os.environ,
        "_LANDSCAPE_COMPLETE": "complete_bash",
        "COMP_WORDS": "landscape s",
        "COMP_CWORD": "1",
    }
    script = os.path.join(os.path.dirname(sys.executable), "landscape")
    done = subprocess.run([script], capture_output=True, text=True, env=environment, check=False)
    assert set(done.stdout.split()) == {"surface", "sharpness", "sweep"}


def test_the_reference_is_generated_from_the_application():
    typer = os.path.join(os.path.dirname(sys.executable), "typer")
    words = [
        "landscape_cli.app",
        "utils",
        "docs",
        "--name",
        "landscape",
        "--title",
        "Command-line reference",
    ]
    done = subprocess.run([typer, *words], capture_output=True, text=True, cwd=ROOT, check=True)
    assert (ROOT / "docs" / "cli.md").read_text().strip() == done.stdout.strip(), "run `make docs`"


def test_ctrl_c_keeps_what_was_computed_and_prints_the_command_that_resumes(checkpoint, tmp_path):
    out = tmp_path / "s.h5"
    words = ["surface", str(checkpoint), "--grid", "151", "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "landscape_cli", *words], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not out.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"landscape surface {checkpoint} --grid 151 --out {out} --resume" in err
    assert "Traceback" not in err
    from landscape import read_result

    stored = read_result(out)
    assert 0 < stored.done.sum() < stored.done.size


def test_help_shows_options_among_their_own_kind():
    shown = run_cli("train", "--help").stdout
    titles = ("Which model, data and loss", "Which optimizer", "How to train")
    places = [shown.index(title) for title in titles] + [len(shown)]
    for option, panel in (("--data-dir", 0), ("--rho ", 1), ("--batch-size", 2)):
        assert places[panel] < shown.index(option) < places[panel + 1]
