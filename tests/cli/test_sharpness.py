"""`landscape sharpness` as a user runs it: what it says, saves, compares and refuses."""

import dataclasses
import shutil

import pytest

from landscape.io.store import read_result
from landscape.results.sharpness import Sharpness, SharpnessComparison

QUICK = ("--samples", 120, "--num-directions", 2, "--steps", 2)


@pytest.fixture(scope="module")
def other(run, tmp_path_factory):
    """A checkpoint of the same model and data, trained with SGD."""
    folder = tmp_path_factory.mktemp("other")
    options = ("--optim", "sgd", "--model-arg", "width=8", "--epochs", 1)
    assert run("train", *options, "--out", folder).code == 0
    return folder / "checkpoint.pt"


@pytest.fixture
def sharpness(run, checkpoint):
    """Run the command on the checkpoint with --json; return what it says."""

    def call(*options):
        answer = run("sharpness", checkpoint, *QUICK, *options, "--json")
        assert answer.code == 0, answer.err
        return answer.json

    return call


def test_all_are_the_five_measures_each_with_its_settings(sharpness):
    found = sharpness("--all", "--rho", "0.05,0.1", "--max-gradients", 8)["measures"]
    names = ["asc", "avg", "max", "nstep", "first_order"]
    assert [(m["name"], m["rho"]) for m in found] == [
        (name, rho) for rho in (0.05, 0.1) for name in names
    ]
    assert {(m["p"], m["adaptive"], m["m"]) for m in found} == {(2.0, False, None)}
    assert [m["steps"] for m in found[:2]] == [1, 0]
    assert found[3]["steps"] == 2


def test_the_ball_is_as_asked(sharpness):
    found = sharpness("--measures", "asc", "--p", "inf", "--adaptive", "--m", 40)["measures"][0]
    assert (found["p"], found["adaptive"], found["m"]) == ("inf", True, 40)
    assert found["radius_share"] == pytest.approx(1)


def test_radii_on_a_logarithmic_scale(sharpness):
    found = sharpness("--measures", "first_order", "--rho", "0.01:0.16:3log")["measures"]
    assert [m["rho"] for m in found] == pytest.approx([0.01, 0.04, 0.16])
    assert found[2]["sharpness"] == pytest.approx(16 * found[0]["sharpness"])


def test_a_subset_has_an_error_and_says_what_it_leaves_out(run, checkpoint):
    answer = run("sharpness", checkpoint, *QUICK)
    assert "biased upwards" in answer.out
    assert "generalization gap x 10^3" in answer.out


def test_the_whole_set_has_no_error_from_data(run, checkpoint):
    found = run("sharpness", checkpoint, "--measures", "asc", "--json").json
    assert found["measures"][0]["data_error"] is None
    assert found["generalization_gap"] == found["test_loss"] - found["loss"]


def test_of_the_test_set_there_is_no_gap(sharpness):
    assert sharpness("--split", "test", "--measures", "asc")["generalization_gap"] is None


def test_two_checkpoints_are_compared_in_pairs(run, checkpoint, other, tmp_path):
    path = tmp_path / "both.h5"
    answer = run("sharpness", other, checkpoint, *QUICK, "--rho", 0.1, "--out", path, "--json")
    assert answer.code == 0, answer.err
    found = answer.json
    assert [len(each["measures"]) for each in found["checkpoints"]] == [4, 4]
    values = [each["measures"][0]["sharpness"] for each in found["checkpoints"]]
    assert found["differences"][0]["value"] == pytest.approx(values[1] - values[0])
    assert {d["verdict"] for d in found["differences"]} <= {
        "lower",
        "higher",
        "not distinguishable",
    }
    stored = read_result(path)
    assert isinstance(stored, SharpnessComparison)
    assert [each.loss for each in stored.checkpoints] == [
        each["loss"] for each in found["checkpoints"]
    ]
    assert stored.differences[0].value == found["differences"][0]["value"]


def test_the_tables_of_a_comparison(run, checkpoint, other):
    answer = run("sharpness", other, checkpoint, *QUICK)
    assert "minus" in answer.out
    assert "verdict" in answer.out


def test_groups_of_seeds(run, checkpoint, other, tmp_path):
    for name, source in (("a", other), ("b", checkpoint)):
        for seed in (9, 10):
            (tmp_path / f"{name}-{seed}").mkdir()
            shutil.copy(source, tmp_path / f"{name}-{seed}" / "checkpoint.pt")
    groups = [
        word for name in "ab" for word in ("--group", f"{name}={tmp_path}/{name}-*/checkpoint.pt")
    ]
    found = run("sharpness", *groups, *QUICK, "--measures", "asc", "--json").json
    assert found["group_of"] == ["a", "a", "b", "b"]
    assert [each["name"].split("/")[-2] for each in found["checkpoints"]] == [
        "a-9",
        "a-10",
        "b-9",
        "b-10",
    ]
    assert {(v["group"], v["count"]) for v in found["groups"]} == {("a", 2), ("b", 2)}
    difference = found["differences"][0]
    assert (difference["first"], difference["second"], difference["source"]) == ("b", "a", "seeds")
    assert difference["low"] == difference["high"] == pytest.approx(difference["value"])
    assert "a (2)" in run("sharpness", *groups, *QUICK, "--measures", "asc").out


def test_adaptive_sharpness_does_not_move_where_the_function_stays(sharpness):
    plain = sharpness("--measures", "asc", "--invariance")["rescaled"]
    assert [row["has_moved"] for row in plain] == [True]
    assert plain[0]["output_change"] < 1e-5
    adaptive = sharpness(
        "--measures", "asc", "--adaptive", "--eta", 0, "--rho", 0.5, "--invariance"
    )["rescaled"]
    assert [row["has_moved"] for row in adaptive] == [False]
    assert adaptive[0]["after"] == pytest.approx(adaptive[0]["before"], rel=1e-3)


def test_the_second_order_comes_from_a_hessian_file(run, checkpoint, sharpness, tmp_path):
    path = tmp_path / "h.h5"
    options = ("--samples", 120, "--top-k", 1, "--trace", "--out", path)
    assert run("hessian", checkpoint, *options).code == 0
    found, computed = (
        sharpness("--measures", "asc", "--hessian", path)["taylor"],
        sharpness("--taylor")["taylor"],
    )
    stored = read_result(path)
    assert (found["lambda_max"], found["trace"]) == (stored.lambda_max, stored.trace.value)
    assert found["lambda_max"] == pytest.approx(computed["lambda_max"], rel=1e-3)


def test_a_hessian_file_of_another_checkpoint_is_refused(run, checkpoint, other, tmp_path):
    path = tmp_path / "h.h5"
    assert run("hessian", other, "--samples", 120, "--top-k", 1, "--out", path).code == 0
    answer = run("sharpness", checkpoint, *QUICK, "--hessian", path)
    assert answer.code == 1
    assert "no --hessian file is of" in answer.err


def test_results_are_read_back(run, checkpoint, tmp_path):
    path = tmp_path / "s.h5"
    found = run("sharpness", checkpoint, *QUICK, "--invariance", "--out", path, "--json").json
    stored = read_result(path)
    assert isinstance(stored, Sharpness)
    assert [m.sharpness for m in stored.measures] == [m["sharpness"] for m in found["measures"]]
    assert [row.after for row in stored.rescaled] == [row["after"] for row in found["rescaled"]]
    assert stored.taylor.gradient_gain == found["taylor"]["gradient_gain"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--rho", "0"), "rho must be a positive number"),
        (("--rho", "0.1:0.5"), "--rho must be numbers or first:last:count"),
        (("--rho", "0.5:0.1:3"), "--rho must be numbers or first:last:count"),
        (("--p", "0.5"), "p must be at least 1"),
        (("--p", "two"), "--p must be a number or inf"),
        (("--m", "500"), "m must be from 1 to the 120 examples of the set, got 500"),
        (("--radius", "cube"), "radius must be one of path, sphere, ball"),
        (("--group", "a=nothing*"), "no file fits --group"),
        (("--group", "a"), "--group must be name=files"),
    ],
)
def test_bad_input_is_a_sentence(run, checkpoint, words, message):
    answer = run("sharpness", checkpoint, *QUICK, *words)
    assert answer.code == 1
    assert message in answer.err


def test_checkpoints_and_groups_exclude_each_other(run, checkpoint):
    answer = run("sharpness", checkpoint, "--group", f"a={checkpoint}", *QUICK)
    assert "needs checkpoints or groups of them, not both" in answer.err
    assert "needs checkpoints or groups" in run("sharpness").err


def test_checkpoints_of_different_models_are_refused(run, checkpoint, tmp_path):
    options = ("--model-arg", "width=4", "--epochs", 1, "--out", tmp_path)
    assert run("train", *options).code == 0
    answer = run("sharpness", checkpoint, tmp_path / "checkpoint.pt", *QUICK)
    assert answer.code == 1
    assert "must be of the same model" in answer.err


def test_checkpoints_of_different_data_are_refused(run, checkpoint, tmp_path):
    options = ("--model-arg", "width=8", "--epochs", 1, "--label-noise", 0.2, "--out", tmp_path)
    assert run("train", *options).code == 0
    answer = run("sharpness", checkpoint, tmp_path / "checkpoint.pt", *QUICK)
    assert answer.code == 1
    assert "must be of the same data" in answer.err


def test_a_protocol_fixes_set_mode_and_ball(run, checkpoint):
    found = run("sharpness", checkpoint, "--protocol", "s001", "--json").json
    assert (found["protocol"], found["num_examples"], found["batchnorm"]) == (
        "s001",
        1437,
        "stored",
    )
    assert [(m["name"], m["rho"], m["p"], m["m"]) for m in found["measures"]] == [
        ("asc", 0.05, 2.0, None)
    ]
    assert found["generalization_gap"] is not None
    code = run("sharpness", checkpoint, "--protocol", "s003-code", "--json").json
    assert [(m["name"], m["rho"], m["adaptive"], m["m"]) for m in code["measures"]] == [
        ("first_order", 2.0, True, 128)
    ]
    assert code["batchnorm"] == "batch"


@pytest.mark.parametrize(
    "words",
    [("--p", "1"), ("--batchnorm", "batch"), ("--samples", "100"), ("--all",), ("--m", "8")],
)
def test_what_a_protocol_fixes_cannot_be_asked_for_beside_it(run, checkpoint, words):
    answer = run("sharpness", checkpoint, "--protocol", "foret", *words)
    assert answer.code == 1
    assert f"--protocol foret fixes {words[0]} too" in answer.err


def test_an_unknown_protocol_is_refused(run, checkpoint):
    assert (
        "a protocol must be one of s001, s003-text"
        in run("sharpness", checkpoint, "--protocol", "s002").err
    )


def test_max_is_certified_on_all_data_and_verified(run, checkpoint, other, tmp_path):
    path = tmp_path / "c.h5"
    options = (
        "--measures",
        "asc,max",
        "--rho",
        "0.1,0.2",
        "--max-gradients",
        10,
        "--certify",
        path,
    )
    answer = run("sharpness", checkpoint, *QUICK, *options)
    assert answer.code == 0, answer.err
    assert f"landscape verify {path}" in answer.err
    verdict = run("verify", path, checkpoint, "--json")
    assert verdict.code == 0
    assert verdict.json["holds"]
    assert [check["rho"] for check in verdict.json["checks"]] == [0.1, 0.2]
    assert all(check["found"] > verdict.json["found"] for check in verdict.json["checks"])
    refused = run("verify", path, other)
    assert refused.code == 1
    assert "the certificate is of other weights" in refused.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--measures", "asc"), "--certify is of max, which is not measured"),
        (("--all", "--m", 20), "--certify is of one perturbation, and --m has one for each batch"),
    ],
)
def test_what_cannot_be_certified_is_refused(run, checkpoint, tmp_path, words, message):
    answer = run("sharpness", checkpoint, *QUICK, *words, "--certify", tmp_path / "c.h5")
    assert answer.code == 1
    assert message in answer.err


def test_a_search_that_was_cut_short_is_said(run, checkpoint):
    answer = run("sharpness", checkpoint, *QUICK, "--measures", "max", "--max-gradients", 3)
    assert "max at rho = 0.05 ended after 3 gradients with a gap of" in answer.err


def test_where_rounding_exceeds_the_sharpness_the_summary_says_what_helps(capsys):
    from landscape_cli.sharpness.summary import show_sharpness
    from report_entries import sharpness as made_up

    found = made_up()
    show_sharpness(found, as_json=False)
    assert "--dtype float64" not in capsys.readouterr().out
    first, *others = found.measures
    first = dataclasses.replace(first, rounding=2 * abs(first.sharpness))
    show_sharpness(dataclasses.replace(found, measures=(first, *others)), as_json=False)
    said = " ".join(capsys.readouterr().out.split())
    assert "The rounding of float32 exceeds" in said
    assert "pass --dtype float64." in said
