import json
import os
import signal
import subprocess
import sys
import time

from cases import ROOT
from processes import run_cli, start_cli

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


def test_help_imports_nothing_heavy():
    code = """if True:
        import contextlib, io, json, sys
        from landscape_cli.app import app
        heavy = {'torch', 'matplotlib', 'numpy', 'h5py', 'sklearn', 'pooch', 'requests'}
        for command in json.loads(sys.argv[1]):
            shown = io.StringIO()
            with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
                app([*command.split(), "--help"], standalone_mode=False)
            assert "--help" in shown.getvalue(), command
            assert not heavy & set(sys.modules), (command, heavy & set(sys.modules))
    """
    subprocess.run([sys.executable, "-c", code, json.dumps(COMMANDS)], check=True)


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
    process = start_cli("surface", checkpoint, "--grid", "151", "--out", out)
    deadline = time.monotonic() + 60
    while not out.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
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
