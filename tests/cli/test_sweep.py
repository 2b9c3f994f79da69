"""Studies: done, killed, resumed, summarised, refused."""

import csv
import io
import json
import signal
import time

import numpy as np
import pytest
from landscape_cli.app import app
from landscape_cli.sweep.command_table import CommandTable
from processes import fork_runs_of_studies, start_cli
from typer.main import get_command

from landscape import read_result
from landscape.errors import StoreError
from landscape.io.checkpoint import load_checkpoint
from landscape.runtime.files import locked

# The model stops in a step of the test's choice, and waits there for the test.
PLUGIN = """
import os, pathlib, time
from torch import nn
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        noise = nn.BatchNorm1d(8), nn.Dropout(0.2)
        self.layers = nn.Sequential(nn.Linear(64, 8), *noise, nn.Linear(8, 10))
        self.num_passes = 0
    def forward(self, x):
        self.num_passes += self.training
        if os.environ.get("PAUSE_AT") == str(self.num_passes):
            paused = pathlib.Path(os.environ["PAUSED"])
            paused.touch()
            while paused.exists():
                time.sleep(0.02)
        return self.layers(x.flatten(1))
def model(): return Model()
"""
STUDY = """
threads = 1
[train]
model = "{folder}/mine.py:model"
epochs = 2
validation = 0.2
[grid]
seeds = [0, 1]
[[variant]]
name = "SGD"
[[variant]]
name = "SAM"
optim = "sam"
rho = [0.1]
[measure.sharpness]
measure = ["asc"]
rho = 0.1
"""
TABLES = ("results.md", "results.tex", "results.csv", "settings.csv", "report.json")


@pytest.fixture(autouse=True, scope="module")
def _forked_runs():
    with pytest.MonkeyPatch.context() as patch:
        fork_runs_of_studies(patch)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "mine.py").write_text(PLUGIN)
    (folder / "study.toml").write_text(STUDY.format(folder=folder))
    return folder


def words(folder, name, *more):
    return (
        "sweep",
        folder / "study.toml",
        "--allow",
        f"{folder}/mine.py:model",
        "--out",
        folder / name,
        *more,
    )


@pytest.fixture(scope="module")
def whole(run, folder):
    """The study, done without interruption, two runs at a time."""
    answer = run(*words(folder, "whole", "--jobs", 2))
    assert answer.code == 0, answer.err + answer.out
    assert "4 of 4 runs are finished, 0 failed." in answer.out
    assert run(*words(folder, "whole", "--report")).code == 0
    return folder / "whole"


def paused(folder, arguments, num_passes):
    """Start a sweep and return it, and the file that keeps it waiting, where a run has come to a
    pass."""
    waits = folder / f"paused-{num_passes}"
    waits.unlink(missing_ok=True)
    process = start_cli(*arguments, PAUSE_AT=str(num_passes), PAUSED=str(waits))
    while not waits.exists():
        assert process.returncode is None, process.stderr.read()
        time.sleep(0.02)
    return process, waits


def kill_at(folder, name, num_passes):
    """Kill a sweep by SIGKILL where a run has come to a pass, and wait for the end of that run's
    process."""
    process, _ = paused(folder, words(folder, name), num_passes)
    process.kill()
    process.communicate()
    for run in (folder / name / "runs").iterdir():
        while is_locked(run / "checkpoint.pt"):
            time.sleep(0.02)


def is_locked(path):
    try:
        with locked(path):
            return False
    except StoreError:
        return True


# 9 steps per epoch on what is left of the digits: pass 12 is in epoch 2 of the first run, which has
# 9 left to do then, the second 18, and pass 25 is in epoch 2 of the third, SAM's.
@pytest.mark.slow
def test_a_sweep_killed_twice_and_resumed_gives_the_same_tables(run, folder, whole):
    kill_at(folder, "killed", 12)
    assert len(read_result(folder / "killed" / "runs" / "SGD_seed=0" / "history.h5").epoch) == 1
    kill_at(folder, "killed", 25)
    assert (
        len(read_result(folder / "killed" / "runs" / "SAM_rho=0.1_seed=0" / "history.h5").epoch)
        == 1
    )
    answer = run(*words(folder, "killed"))
    assert answer.code == 0, answer.err + answer.out
    assert "2 of 4 runs are finished, 2 to do." in answer.err
    assert run(*words(folder, "killed", "--report")).code == 0
    for name in TABLES:
        assert (folder / "killed" / "report" / name).read_text() == (
            whole / "report" / name
        ).read_text()


def test_the_table_is_of_what_the_runs_have_saved(whole):
    rows = list(csv.DictReader(io.StringIO((whole / "report" / "results.csv").read_text())))
    assert [row["variant"] for row in rows] == ["SGD", "SAM"]
    for row, name in zip(rows, ("SGD_seed={}", "SAM_rho=0.1_seed={}"), strict=True):
        runs = [whole / "runs" / name.format(seed) for seed in (0, 1)]
        for column in ("validation_accuracy", "test_loss"):
            values = [getattr(read_result(each / "history.h5"), column)[-1] for each in runs]
            assert float(row[f"{column.replace('_', ' ')} mean"]) == pytest.approx(
                np.mean(values), rel=1e-12
            )
            assert float(row[f"{column.replace('_', ' ')} sd"]) == pytest.approx(
                np.std(values, ddof=1), rel=1e-12
            )
        rises = [read_result(each / "sharpness.h5").measures[0].sharpness for each in runs]
        assert float(row["asc@0.1 mean"]) == pytest.approx(np.mean(rises), rel=1e-12)


def test_a_run_of_a_study_is_that_of_the_command(run, folder, whole, tmp_path):
    options = (
        "--model",
        f"{folder}/mine.py:model",
        "--epochs",
        2,
        "--validation",
        0.2,
        "--seed",
        1,
    )
    assert run("train", *options, "--out", tmp_path / "alone").code == 0
    first, second = (
        read_result(each / "history.h5")
        for each in (tmp_path / "alone", whole / "runs" / "SGD_seed=1")
    )
    assert first.test_loss.tolist() == second.test_loss.tolist()


def test_the_report_has_figures_and_tables(whole):
    found = {path.name for path in (whole / "report").iterdir()}
    figures = {
        f"{name}.png" for name in ("accuracy", "accuracy-gradients", "first-order-sharpness")
    }
    assert figures | set(TABLES) <= found


def test_json_has_the_report(run, folder, whole):
    answer = run(*words(folder, "whole", "--report", "--json"))
    assert answer.json == json.loads((whole / "report" / "report.json").read_text())


def test_what_is_finished_is_not_done_again(run, folder, whole):
    before = {
        path: path.stat().st_mtime_ns for path in (whole / "runs").rglob("*") if path.is_file()
    }
    answer = run(*words(folder, "whole"))
    assert (answer.code, "4 of 4 runs are finished, 0 to do." in answer.err) == (0, True)
    after = {
        path: path.stat().st_mtime_ns for path in (whole / "runs").rglob("*") if path.is_file()
    }
    assert after == before


def test_the_dry_run_says_state_and_cost_and_begins_nothing(run, folder, tmp_path):
    answer = run(*words(folder, "dry", "--dry-run", "--json"))
    rows = answer.json["runs"]
    assert [row["num_gradients"] for row in rows] == [18, 18, 36, 36]
    assert {row["state"] for row in rows} == {"to do"}
    assert answer.json["seconds"] == pytest.approx(sum(row["seconds"] for row in rows))
    assert not (folder / "dry").exists()


def test_the_dry_run_shows_the_runs_where_data_are_missing(run, tmp_path):
    (tmp_path / "study.toml").write_text(
        '[train]\ndata = "cifar10"\nmodel = "lenet"\ndata-dir = "nowhere"\n'
    )
    answer = run("sweep", tmp_path / "study.toml", "--dry-run")
    assert answer.code == 0, answer.err
    assert "seed=0" in answer.out
    assert "Not counted: " in answer.out
    assert "nowhere" in answer.out


def test_the_dry_run_counts_finished_runs_as_done(run, folder, whole):
    answer = run(*words(folder, "whole", "--dry-run", "--json")).json
    assert {row["state"] for row in answer["runs"]} == {"finished"}
    assert (answer["num_left"], answer["num_gradients"], answer["seconds"]) == (0, 0, 0)


def test_two_sweeps_on_one_folder_exclude_each_other(run, folder):
    with locked(folder / "busy" / "study"):
        answer = run(*words(folder, "busy"))
    assert answer.code == 1
    assert "is being written by another process" in answer.err
    assert not (folder / "busy" / "runs").exists()


def write(tmp_path, text):
    path = tmp_path / "study.toml"
    path.write_text(f'out = "{tmp_path}/out"\n{text}')
    return path


def test_a_run_that_fails_is_listed_with_its_log_and_the_others_are_done(run, tmp_path):
    variants = '[[variant]]\nname = "bad"\nlr = 1e30\n[[variant]]\nname = "good"\n'
    text = f"[train]\nepochs = 1\nmodel_arg = {{width = 4}}\n{variants}"
    answer = run("sweep", write(tmp_path, text))
    log = tmp_path / "out" / "runs" / "bad_seed=0" / "run.log"
    assert answer.code == 1
    assert "failed bad_seed=0: training diverged in epoch 1" in answer.out
    assert str(log) in answer.out
    assert "training diverged" in log.read_text()
    assert "1 of 2 runs are finished, 1 failed." in answer.out


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_the_runs_in_mid_epoch_and_the_same_command_goes_on(
    run, folder, whole, number, code
):
    (folder / "one.toml").write_text(
        STUDY.format(folder=folder).replace("[0, 1]", "[0]").split("[[variant]]")[0]
    )
    out = folder / f"stopped-{code}"
    arguments = ("sweep", folder / "one.toml", "--allow", f"{folder}/mine.py:model", "--out", out)
    process, waits = paused(folder, arguments, 12)
    process.send_signal(number)
    while "Finishing the step" not in (out / "runs" / "seed=0" / "run.log").read_text():
        time.sleep(0.02)
    waits.unlink()
    _, err = process.communicate()
    assert process.returncode == code
    assert "1 are left. The same command goes on." in err
    state = load_checkpoint(out / "runs" / "seed=0" / "checkpoint.pt").training["state"]
    assert (state["epoch"], state["step"]) == (1, 3)
    assert run(*arguments).code == 0
    first, second = (
        read_result(each / "history.h5")
        for each in (out / "runs/seed=0", whole / "runs/SGD_seed=0")
    )
    assert first.test_loss.tolist() == second.test_loss.tolist()


@pytest.mark.slow
def test_the_runs_of_a_study_can_be_jobs_of_a_cluster(run, folder, whole):
    pytest.importorskip("submitit", reason="submitit, the extra slurm, is not installed")
    text = STUDY.format(folder=folder).replace("[0, 1]", "[0]").split("[[variant]]")[0]
    (folder / "queued.toml").write_text(f'{text}\n[slurm]\ncluster = "local"\ntimeout_min = 5\n')
    out = folder / "queued"
    answer = run(
        "sweep",
        folder / "queued.toml",
        "--allow",
        f"{folder}/mine.py:model",
        "--out",
        out,
        "--slurm",
    )
    assert answer.code == 0, answer.err + answer.out
    first, second = (
        read_result(each / "history.h5")
        for each in (out / "runs/seed=0", whole / "runs/SGD_seed=0")
    )
    assert first.test_loss.tolist() == second.test_loss.tolist()


def test_the_minutes_end_a_sweep_with_what_is_left(run, tmp_path):
    answer = run("sweep", write(tmp_path, "[grid]\nseeds = [0, 1]\n"), "--minutes", 1e-4)
    assert answer.code == 1
    assert "2 are left. The same command goes on." in answer.err


def test_options_that_a_study_may_set_are_those_of_the_commands():
    found = CommandTable(get_command(app)).options
    assert {"epochs", "optim", "rho", "validation", "model_arg"} <= found["train"].keys()
    assert found["train"]["model_arg"].is_repeatable
    assert found["hessian"]["trace"].is_flag
    assert all(
        found["train"][name].is_reserved for name in ("out", "resume", "seeds", "seed", "force")
    )
    assert all(options["json"].is_reserved for options in found.values())
    assert not found["train"]["every"].is_reserved
    assert not found["sharpness"]["seed"].is_reserved


SAM = '[[variant]]\nname = "SAM"\noptim = "sam"\n'


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "[train]\nepoch = 1\n",
            "line 3, [train]: keys must be options of landscape train",
            "The nearest is epochs.",
        ),
        (
            "[train]\nrho = 0.1\n",
            "run seed=0: rho can be set for sam",
            "Leave it out, or use the optimizer sam.",
        ),
        (
            f'[grid]\nrho = [0.1]\n{SAM}[[variant]]\nname = "SGD"\n',
            "run SGD_rho=0.1_seed=0: rho can be set for sam",
            "Leave it out",
        ),
        (
            f"{SAM}radius = 'sphere'\n",
            "run SAM_seed=0: radius is for several ascent steps",
            "Set 2 steps.",
        ),
        (
            '[train]\nepochs = "ten"\n',
            "run seed=0: Invalid value for '--epochs'",
            "landscape train --help",
        ),
        ('[train]\noptim = "adamm"\n', "run seed=0: an optimizer must be one of", ""),
        ('[train]\nmodel = "mpl"\n', "run seed=0: model must be one of", ""),
        (
            "[train]\nvalidation = 1\n",
            "run seed=0: the share of validation must be in (0, 1)",
            "For example 0.1.",
        ),
        ('[train]\nschedule = "cosin"\n', "run seed=0: a schedule must be one of", ""),
        (
            "[train]\nlast_fraction = 0.5\n",
            "run seed=0: a rho schedule and a last fraction are options of SAM",
            "",
        ),
        (
            "[measure.hessian]\ntop_k = 'x'\n",
            "[measure.hessian]: Invalid value for '--top-k'",
            "hessian --help",
        ),
        (
            '[train]\nmodel = "os:system"\n',
            "names code, os:system, and a file never chooses code",
            "--allow os:system",
        ),
    ],
)
def test_a_study_that_is_refused_before_anything_begins(run, tmp_path, text, message, hint):
    answer = run("sweep", write(tmp_path, text))
    assert answer.code == 1
    assert message in answer.err
    assert hint in answer.err
    assert not (tmp_path / "out").exists()
