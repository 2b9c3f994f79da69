"""`landscape assert` as a user and a CI job run it."""

import re

import pytest
from cases import ROOT

from landscape.conditions.quantities import ALIASES, PLAIN
from landscape.io.store import read_result
from landscape.results.sharpness_measures import MEASURES

QUICK = ("--samples", 120)


def test_conditions_that_hold_exit_with_zero_and_a_line_each(run, checkpoint):
    answer = run(
        "assert", checkpoint, "lambda_max < 1000", "0 < asc@0.05 < 10", "test_accuracy > 0", *QUICK
    )
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert [line.split()[0] for line in lines] == ["holds"] * 3
    assert re.search(
        r"lambda_max < 1000 +\(lambda_max = [\d.]+ ± [\d.e-]+, of a subset of 120", lines[0]
    )


def test_one_condition_that_fails_exits_with_one(run, checkpoint):
    answer = run("assert", checkpoint, "loss > 0", "loss > 1000")
    assert answer.code == 1
    assert [line.split()[0] for line in answer.out.splitlines()] == ["holds", "fails"]


def test_what_the_error_leaves_open_fails_unless_that_is_lenient(run, checkpoint):
    value = run("assert", checkpoint, "loss > 0", *QUICK, "--json").json["conditions"][0][
        "operands"
    ][0]["value"]
    strict = run("assert", checkpoint, f"loss < {value + 1e-6}", *QUICK)
    assert (strict.code, strict.out.split()[0]) == (1, "undecided")
    assert "--lenient lets it pass" in strict.err
    assert run("assert", checkpoint, f"loss < {value + 1e-6}", *QUICK, "--lenient").code == 0
    assert run("assert", checkpoint, "loss > 1000", *QUICK, "--lenient").code == 1


def test_json_has_the_keys_that_are_documented(run, checkpoint):
    answer = run("assert", checkpoint, "lambda_max < 1000", "loss > 1000", "--json")
    assert answer.code == 1
    found = answer.json
    assert list(found) == [
        "file",
        "kind",
        "loss_function",
        "passed",
        "lenient",
        "holds",
        "fails",
        "undecided",
        "conditions",
    ]
    assert (found["kind"], found["passed"], found["holds"], found["fails"], found["undecided"]) == (
        "checkpoint",
        False,
        1,
        1,
        0,
    )
    first = found["conditions"][0]
    assert list(first) == ["condition", "verdict", "passed", "operands", "quantities"]
    assert list(first["quantities"]["lambda_max"]) == ["value", "low", "high", "remark"]
    assert first["operands"][0] == {
        key: first["quantities"]["lambda_max"][key] for key in ("value", "low", "high")
    }
    assert first["operands"][1] == {"value": 1000.0, "low": 1000.0, "high": 1000.0}


def test_stored_results_say_the_same_as_the_checkpoint(run, checkpoint, tmp_path):
    path = tmp_path / "h.h5"
    assert run("hessian", checkpoint, "--top-k", 1, "--out", path).code == 0
    stored = run("assert", path, "lambda_max > 0", "--json").json
    computed = run("assert", checkpoint, "lambda_max > 0", "lambda_min < 0", "--json").json
    assert stored["kind"] == "spectrum"
    assert stored["conditions"][0]["quantities"] == computed["conditions"][0]["quantities"]
    assert read_result(path).lambda_max == stored["conditions"][0]["operands"][0]["value"]


def test_sharpness_is_what_landscape_sharpness_says(run, checkpoint):
    measured = run("sharpness", checkpoint, "--all", *QUICK, "--json").json["measures"]
    names = [f"{measure['name']}@0.05" for measure in measured]
    found = run("assert", checkpoint, *(f"{name} > -1" for name in names), *QUICK, "--json").json[
        "conditions"
    ]
    values = [condition["operands"][0]["value"] for condition in found]
    assert values == pytest.approx([measure["sharpness"] for measure in measured], rel=1e-6)


def test_a_history_can_be_asked(run, trained):
    answer = run("assert", trained / "history.h5", "test_accuracy >= 0", "loss < 100")
    assert answer.code == 0
    assert "as training saw it" in answer.out


def test_what_a_file_does_not_have_is_said_with_the_command_that_writes_it(run, trained):
    answer = run("assert", trained / "history.h5", "trace < 3")
    assert (answer.code, answer.out) == (2, "")
    assert "history.h5 does not have trace" in answer.err
    assert "landscape hessian CKPT --trace --out FILE" in answer.err


def test_options_of_a_computation_are_refused_on_a_stored_result(run, trained):
    answer = run("assert", trained / "history.h5", "loss < 3", "--samples", 10)
    assert answer.code == 2
    assert "--samples is of a computation, and" in answer.err


@pytest.mark.parametrize(
    ("file", "condition", "message"),
    [
        ("{checkpoint}", "lamda_max < 3", "the nearest known are lambda_max"),
        ("{checkpoint}", "loss <", "the condition cannot be read"),
        ("none.pt", "loss < 3", "checkpoint none.pt does not exist"),
        ("none.h5", "loss < 3", "none.h5 does not exist"),
        (".", "loss < 3", "is a folder"),
    ],
)
def test_bad_input_is_a_sentence(run, checkpoint, file, condition, message):
    answer = run("assert", file.format(checkpoint=checkpoint), condition)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err
    assert "Hint: " in answer.err


def test_a_bad_condition_is_found_before_anything_is_read(run):
    assert "zzz is no known quantity" in run("assert", "none.pt", "loss < 1", "zzz < 1").err


def test_the_place_of_a_mistake_is_shown_below_it(run, checkpoint):
    lines = run("assert", checkpoint, "loss + zzz < 1").err.splitlines()
    assert lines[1] == "  loss + zzz < 1"
    assert lines[2] == "         ^"


def test_data_without_a_test_split_have_no_test_loss(run, tmp_path):
    (tmp_path / "own.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def model(): return nn.Linear(3, 2)\n"
        "def data(): return (torch.eye(3), torch.tensor([0, 1, 0])), None\n"
    )
    words = ("--model", f"{tmp_path}/own.py:model", "--data", f"{tmp_path}/own.py:data")
    assert run("train", *words, "--epochs", 1, "--out", tmp_path / "run").code == 0
    path = tmp_path / "run" / "checkpoint.pt"
    assert run("assert", path, "loss > 0", *words).code == 0
    answer = run("assert", path, "test_loss > 0", *words)
    assert answer.code == 2
    assert "the data have no test split" in answer.err


def workflow():
    """The example for GitHub Actions; YAML reads its key `on` as true."""
    yaml = pytest.importorskip("yaml", reason="the extra dev is not installed")
    return yaml.safe_load((ROOT / "examples" / "github_actions.yml").read_text())


def test_the_workflow_example_has_a_job_that_asserts():
    (job,) = workflow()["jobs"].values()
    commands = [step.get("run", "") for step in job["steps"]]
    assert any(
        line.strip().startswith("landscape train")
        for text in commands
        for line in text.splitlines()
    )
    assert any("landscape assert" in text for text in commands)
    assert all(set(step) & {"run", "uses"} for step in job["steps"])
    assert not any(" | " in text for text in commands), (
        "a job's shell takes the exit code of the last in a pipe"
    )


def test_the_conditions_of_the_workflow_example_are_conditions(run, checkpoint):
    (job,) = workflow()["jobs"].values()
    text = "\n".join(step.get("run", "") for step in job["steps"])
    conditions = re.findall(r"'([^']*[<>][^']*)'", text)
    assert len(conditions) >= 3
    answer = run("assert", checkpoint, *conditions, "--json")
    assert [each["condition"] for each in answer.json["conditions"]] == conditions


def test_the_document_names_every_quantity():
    text = (ROOT / "docs" / "conditions.md").read_text()
    names = [*PLAIN, *ALIASES, *(f"{name}@0.05" for name in MEASURES)]
    assert [name for name in names if f"`{name}`" not in text] == []
