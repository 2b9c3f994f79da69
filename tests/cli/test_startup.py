import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
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
    "animate",
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


@pytest.mark.slow
def test_digits_are_measured_without_importing_scikit_learn(tmp_path):
    code = """if True:
        import sys
        from landscape_cli.app import app
        for words in sys.argv[1:]:
            app(words.split(), standalone_mode=False)
        slow = {'sklearn', 'scipy.stats', 'scipy.optimize', 'scipy.ndimage', 'matplotlib'}
        assert not slow & set(sys.modules), slow & set(sys.modules)
    """
    trained = tmp_path / "checkpoint.pt"
    words = [f"train --epochs 1 --out {tmp_path}", f"surface {trained} --grid 3 --quiet"]
    words += [f"hessian {trained} --top-k 1 --quiet", f"sharpness {trained} --quiet"]
    subprocess.run([sys.executable, "-c", code, *words], check=True)


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
    titles = ("Options", "Which optimizer", "How to train", "Which model, data and loss")
    places = [shown.index(f"─ {title} ") for title in titles] + [len(shown)]
    for option, panel in (("--rho ", 0), ("--base ", 1), ("--batch-size", 2), ("--data-dir", 3)):
        assert places[panel] < shown.index(option) < places[panel + 1]


def test_help_shows_a_few_everyday_options_first_and_every_option_once():
    for name in ("train", "surface", "hessian", "sharpness", "compare", "verify", "doctor"):
        shown = run_cli(name, "--help").stdout
        panels = re.split("╭─ (.+?) ─+╮", shown)
        options = {
            title: re.findall("^│ (?:\\* +)?(--[a-z0-9-]+)", text, re.MULTILINE)
            for title, text in zip(panels[1::2], panels[2::2], strict=True)
        }
        assert 5 <= len(set(options["Options"]) - {"--help"}) <= 8, name
        every = [option for found in options.values() for option in found]
        assert len(every) == len(set(every))
