"""`landscape compare` as a user runs it: what it writes, takes again and refuses."""

import csv
import json
import resource

import pytest

from landscape.io.store import read_result

QUICK = ("--quick", "--samples", 60, "--grid", 3, "--rho", "0.05")


@pytest.fixture(scope="module")
def other(run, tmp_path_factory):
    """A checkpoint of the same model and data, trained with SGD."""
    folder = tmp_path_factory.mktemp("other") / "plain"
    assert (
        run(
            "train", "--optim", "sgd", "--model-arg", "width=8", "--epochs", 1, "--out", folder
        ).code
        == 0
    )
    return folder / "checkpoint.pt"


@pytest.fixture(scope="module")
def compared(run, checkpoint, other, tmp_path_factory):
    """The answer of a comparison, and its folder."""
    out = tmp_path_factory.mktemp("compared") / "report"
    answer = run(
        "compare",
        other,
        checkpoint,
        *QUICK,
        "--labels",
        "sgd",
        "--labels",
        "sam",
        "--out",
        out,
        "--json",
    )
    assert answer.code == 0, answer.err
    return answer, out


def _words(checkpoint, other, out, *more):
    return (
        "compare",
        other,
        checkpoint,
        *QUICK,
        "--labels",
        "sgd",
        "--labels",
        "sam",
        "--out",
        out,
        *more,
    )


def test_every_format_and_every_result_is_written(compared):
    _, out = compared
    assert {path.name for path in out.iterdir()} == {
        *("index.html", "report.json", "table.csv", "table.md", "table.tex", "figures", "results"),
    }
    kinds = ("sharpness.h5", "sharpness.npz", "spectrum.h5", "line.h5", "plane.h5")
    assert {path.name for path in (out / "results").iterdir()} == {
        f"{n}.{k}" for n in ("sgd", "sam") for k in kinds
    }
    names = (
        "surfaces.png",
        "contours.svg",
        "profiles.svg",
        "densities.svg",
        "sharpness.svg",
        "differences.svg",
    )
    assert {path.name for path in (out / "figures").iterdir()} == {*names, "training.svg"}


def test_json_on_stdout_is_that_of_the_file(compared):
    answer, out = compared
    assert answer.json == json.loads((out / "report.json").read_text())
    assert answer.json["complete"]
    assert [each["name"] for each in answer.json["checkpoints"]] == ["sgd", "sam"]


def test_the_table_has_the_numbers_of_the_single_commands(run, compared, checkpoint, other):
    found = compared[0].json["checkpoints"]
    for path, each in zip((other, checkpoint), found, strict=True):
        numbers = {key: number["value"] for key, number in each["quantities"].items()}
        options = ("--samples", 60, "--rho", 0.05, "--measures", "asc,first_order")
        sharpness = run("sharpness", path, *options, "--json").json
        for key, name in (
            ("train_loss", "loss"),
            ("test_loss", "test_loss"),
            ("test_accuracy", "test_accuracy"),
        ):
            assert numbers[key] == pytest.approx(sharpness[name])
        assert numbers["generalization_gap"] == pytest.approx(sharpness["generalization_gap"])
        assert numbers["sharpness_asc"] == pytest.approx(sharpness["measures"][0]["sharpness"])
        hessian = run("hessian", path, "--samples", 60, "--trace", "--json").json
        assert numbers["lambda_max"] == pytest.approx(hessian["lambda_max"], rel=1e-3)
        assert numbers["absolute_ratio"] == pytest.approx(hessian["absolute_ratio"], rel=1e-2)
        assert (
            abs(numbers["trace"] - hessian["trace"]["value"])
            <= 5 * each["quantities"]["trace"]["error"]
        )


def test_planes_are_on_the_same_noise_and_range_and_carry_the_centre(compared):
    _, out = compared
    planes = [read_result(out / "results" / f"{name}.plane.h5") for name in ("sgd", "sam")]
    assert planes[0].x.tolist() == planes[1].x.tolist() == [-1, 0, 1]
    assert {plane.normalization for plane in planes} == {"filter"}
    assert {plane.provenance.settings["seed"] for plane in planes} == {0}
    for plane, each in zip(planes, compared[0].json["checkpoints"], strict=True):
        assert plane.loss["train"][1, 1] == pytest.approx(each["quantities"]["train_loss"]["value"])


def test_differences_are_those_of_landscape_sharpness(run, compared, checkpoint, other):
    found = {each["name"]: each for each in compared[0].json["differences"]}
    options = ("--samples", 60, "--rho", 0.05, "--measures", "avg", "--num-directions", 3)
    expected = run("sharpness", other, checkpoint, *options, "--json").json["differences"][0]
    for key in ("value", "low", "high"):
        assert found["avg"][key] == pytest.approx(expected[key])
    assert found["avg"]["verdict"] == expected["verdict"]
    assert found["test_loss"]["first"] == "sam"


def test_the_csv_has_a_row_for_each_quantity_of_each_checkpoint(compared):
    answer, out = compared
    rows = list(csv.DictReader((out / "table.csv").open()))
    first = answer.json["checkpoints"][0]["quantities"]
    assert [row["quantity"] for row in rows[::2]] == list(first)
    assert float(rows[0]["value"]) == first["train_loss"]["value"]


def test_finished_results_are_taken_and_give_the_same_report(run, compared, checkpoint, other):
    answer, out = compared
    before = {path: path.stat().st_mtime_ns for path in (out / "results").iterdir()}
    again = run(*_words(checkpoint, other, out, "--resume", "--json"))
    assert again.code == 0, again.err
    assert {path: path.stat().st_mtime_ns for path in (out / "results").iterdir()} == before
    changing = ("created", "command")
    assert {k: v for k, v in again.json.items() if k not in changing} == {
        k: v for k, v in answer.json.items() if k not in changing
    }


@pytest.mark.slow
def test_a_result_that_is_lost_is_measured_again_alone(run, compared, checkpoint, other):
    answer, out = compared
    lost = out / "results" / "sam.spectrum.h5"
    before = {path: path.stat().st_mtime_ns for path in (out / "results").iterdir() if path != lost}
    lost.unlink()
    again = run(*_words(checkpoint, other, out, "--resume", "--json"))
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert again.json["checkpoints"] == answer.json["checkpoints"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--seed", 1), "must have the seed of"),
        (("--rho", "0.1"), "must have the rhos of"),
        (("--grid", 5), "must have the grid of"),
        (("--samples", 50), "must have the samples of"),
        (("--dtype", "float64"), "must have the dtype of"),
        (("--batchnorm", "batch"), "must have the batch normalization of"),
    ],
)
def test_results_of_something_else_are_refused(run, compared, checkpoint, other, change, message):
    answer = run(*_words(checkpoint, other, compared[1], "--resume", *change))
    assert answer.code == 1
    assert message in answer.err


def test_results_of_another_checkpoint_are_refused(run, compared, checkpoint, other):
    answer = run(*_words(other, checkpoint, compared[1], "--resume"))
    assert answer.code == 1
    assert "must have the weights of" in answer.err


@pytest.mark.slow
def test_results_on_data_that_have_changed_since_are_refused(run, checkpoint, tmp_path):
    source = (
        "import torch\n"
        "def data(): return (torch.full((60, 64), {value}), torch.arange(60) % 10), None\n"
    )
    file = tmp_path / "mine.py"
    words = (
        "compare",
        checkpoint,
        "--data",
        f"{file}:data",
        "--quick",
        "--samples",
        40,
        "--grid",
        3,
    )
    file.write_text(source.format(value=0.5))
    assert run(*words, "--out", tmp_path / "report").code == 0
    file.write_text(source.format(value=0.25))
    answer = run(*words, "--out", tmp_path / "report", "--resume")
    assert answer.code == 1
    assert "must have the train examples of" in answer.err


@pytest.mark.slow
def test_data_are_read_once_for_all_results(run, checkpoint, other, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import pathlib, torch\n"
        "def data():\n"
        f"    with pathlib.Path({str(tmp_path / 'log')!r}).open('a') as log: print('read', "
        "file=log)\n"
        "    return (torch.rand(60, 64), torch.arange(60) % 10), (torch.rand(50, 64), "
        "torch.arange(50) % 10)\n"
    )
    words = (
        "--data",
        f"{file}:data",
        "--quick",
        "--samples",
        40,
        "--grid",
        3,
        "--out",
        tmp_path / "report",
    )
    answer = run("compare", other, checkpoint, *words)
    assert answer.code == 0, answer.err
    assert (tmp_path / "log").read_text().splitlines() == ["read"]
    line = read_result(next((tmp_path / "report" / "results").glob("*.line.h5")))
    assert line.provenance.num_examples == {"train": 40, "test": 40}


def test_a_report_is_not_replaced_without_being_asked(run, compared, checkpoint, other, tmp_path):
    answer = run(*_words(checkpoint, other, compared[1]))
    assert answer.code == 1
    assert "exists" in answer.err
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "x.plane.h5").touch()
    answer = run(*_words(checkpoint, other, tmp_path))
    assert (answer.code, f"{tmp_path} has results" in answer.err) == (1, True)


def test_no_time_gives_a_report_that_says_what_is_missing_and_how_to_go_on(
    run, checkpoint, other, tmp_path
):
    out = tmp_path / "report"
    answer = run("compare", other, checkpoint, *QUICK, "--minutes", 1e-6, "--out", out, "--json")
    assert answer.code == 1
    assert "--resume" in answer.err
    assert not answer.json["complete"]
    assert [each["missing"] for each in answer.json["checkpoints"]] == [
        ["sharpness", "spectrum", "line", "plane"]
    ] * 2
    assert "not reached in time" in (out / "index.html").read_text()


@pytest.mark.slow
def test_force_leaves_nothing_that_a_later_resume_would_take(run, checkpoint, tmp_path):
    out = tmp_path / "report"
    words = ("compare", checkpoint, *QUICK, "--out", out)
    assert run(*words, "--seed", 1).code == 0
    assert run(*words, "--force", "--minutes", 1e-6).code == 1
    assert list((out / "results").iterdir()) == []


def test_names_are_what_tells_the_paths_apart(run, checkpoint, other, tmp_path):
    answer = run(
        "compare",
        other,
        checkpoint,
        *QUICK,
        "--minutes",
        1e-6,
        "--out",
        tmp_path / "report",
        "--json",
    )
    names = [each["name"] for each in answer.json["checkpoints"]]
    assert names == ["plain", checkpoint.parent.name]


def test_the_terminal_shows_the_table_and_the_verdicts(run, compared, checkpoint, other):
    answer = run(*_words(checkpoint, other, compared[1], "--resume"))
    assert "lambda_max / lambda_min" in " ".join(answer.out.split())
    assert "sam minus sgd" in answer.out
    assert "BatchNorm stored, float32" in answer.out
    assert "index.html" in answer.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--labels", "a"), "there must be one --labels for each checkpoint, got 1 for 2"),
        (
            ("--labels", "a b", "--labels", "a-b"),
            "the names of checkpoints must differ in letters and digits",
        ),
        (("--range", "auto"), "--range must be the same for all checkpoints"),
        (("--rho", "a"), "--rho must be numbers"),
        (("--rho", "0"), "rho must be a positive number"),
        (("--p", "0.5"), "p must be at least 1"),
        (("--minutes", "0"), "the minutes that a run may take must be a positive number"),
        (("--force", "--resume"), "--force and --resume exclude each other"),
    ],
)
def test_bad_input_is_a_sentence(run, checkpoint, other, tmp_path, words, message):
    answer = run("compare", other, checkpoint, *QUICK, "--out", tmp_path / "report", *words)
    assert answer.code == 1
    assert message in " ".join(answer.err.split())


def test_checkpoints_must_be_there_and_different(run, checkpoint, tmp_path):
    out = tmp_path / "report"
    assert "must be different files" in run("compare", checkpoint, checkpoint, "--out", out).err
    assert "does not exist" in run("compare", checkpoint, tmp_path / "none.pt", "--out", out).err
    assert not out.exists()


def test_a_full_disk_is_said_of_the_file_that_did_not_fit(run, checkpoint, other, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
    try:
        answer = run(*_words(checkpoint, other, tmp_path / "r"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert answer.code == 1
    assert "sgd.sharpness.npz cannot be written: File too large." in answer.err
