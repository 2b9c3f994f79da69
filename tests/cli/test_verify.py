from dataclasses import replace

import numpy as np
import pytest
from cases import ROOT

from landscape.ascent.ball import Ball
from landscape.io.store import read_result, write_result
from landscape.problem.problem import Problem
from landscape.sharpness.certificate import certify
from landscape.sharpness.rises import Objective


@pytest.fixture(scope="session")
def certificate(checkpoint, tmp_path_factory):
    """A file that certifies one step of ascent from the checkpoint, at two radii."""
    from landscape_cli.options import ProblemOptions
    from landscape_cli.processes import open_checkpoint

    problem: Problem = open_checkpoint(
        checkpoint, ProblemOptions(dtype="float64"), ("train",)
    ).problems["train"]
    gradient = Objective(problem).gradient().vector
    found = [(rho, Ball().steepest(gradient, rho)) for rho in (0.05, 0.1)]
    path = tmp_path_factory.mktemp("certified") / "c.h5"
    write_result(path, certify(problem, found))
    return path


def test_a_certificate_that_holds_is_said_to(run, certificate, checkpoint):
    answer = run("verify", certificate, checkpoint)
    assert answer.code == 0, answer.err
    assert answer.out.count(": holds") == 2
    assert "of rho 0.05: loss" in answer.out
    assert "1437 train examples, float64, BatchNorm stored" in answer.out


def test_a_certificate_of_version_0_1_still_holds(run):
    folder = ROOT / "tests" / "written_by_0_1"
    answer = run("verify", folder / "certificate.h5", folder / "a.pt", "--device", "cpu")
    assert answer.code == 0, answer.err
    assert answer.out.count(": holds") == 2


def test_json_is_one_object(run, certificate, checkpoint):
    found, stored = run("verify", certificate, checkpoint, "--json").json, read_result(certificate)
    assert found["holds"] is True
    assert found["claimed"] == pytest.approx(found["found"], rel=1e-12)
    assert [row["claimed"] for row in found["checks"]] == stored.losses.tolist()
    assert [row["found"] for row in found["checks"]] == pytest.approx(
        stored.losses.tolist(), rel=1e-12
    )


def _forged(certificate, tmp_path, **changes):
    write_result(tmp_path / "forged.h5", replace(read_result(certificate), **changes))
    return tmp_path / "forged.h5"


def test_a_forged_loss_is_refused_with_a_sentence_and_a_hint(
    run, certificate, checkpoint, tmp_path
):
    losses = read_result(certificate).losses * np.array([1.0, 1.01])
    answer = run("verify", _forged(certificate, tmp_path, losses=losses), checkpoint)
    assert answer.code == 1
    assert "the loss at rho 0.1 is not what is claimed" in answer.err
    assert "Hint:" in answer.err
    assert (answer.out.count(": holds"), answer.out.count(": does not hold")) == (1, 1)


def test_json_says_why_a_certificate_does_not_hold(run, certificate, checkpoint, tmp_path):
    rho = read_result(certificate).rho / 2
    answer = run("verify", _forged(certificate, tmp_path, rho=rho), checkpoint, "--json")
    assert answer.code == 1
    assert answer.json["holds"] is False
    assert "outside its ball" in answer.json["failure"]
    assert "outside its ball" in answer.json["checks"][1]["failure"]


def test_another_checkpoint_is_refused(run, certificate, trained):
    answer = run("verify", certificate, trained / "snapshots" / "epoch-0001.pt")
    assert answer.code == 1
    assert "of other weights" in answer.err


def test_other_data_are_refused(run, certificate, checkpoint):
    answer = run("verify", certificate, checkpoint, "--label-noise", "0.1")
    assert answer.code == 1
    assert "of other data than this train split" in answer.err


def test_another_loss_is_refused(run, certificate, checkpoint, tmp_path):
    plugin = tmp_path / "plugin.py"
    plugin.write_text("def loss(outputs, targets):\n    return outputs.square().mean()\n")
    answer = run("verify", certificate, checkpoint, "--loss", f"{plugin}:loss")
    assert answer.code == 1
    assert "the loss at the weights is not what is claimed" in answer.err


def test_a_split_that_does_not_exist_is_refused(run, certificate, checkpoint, tmp_path):
    answer = run("verify", _forged(certificate, tmp_path, split="all"), checkpoint)
    assert answer.code == 2
    assert "split must be train or test, got 'all'" in answer.err


def test_a_file_without_a_certificate_is_refused(run, trained, checkpoint):
    answer = run("verify", trained / "history.h5", checkpoint)
    assert answer.code == 2
    assert "holds no certificate" in answer.err
    assert "--certify" in answer.err


def test_a_certificate_is_described(run, certificate):
    assert "certificates" in run("info", certificate).out
    assert run("info", certificate, "--json").json["kind"] == "certificate"
