import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import classification, images, tiny_cnn, tiny_mlp
from reference import loss_of_vector

from landscape import Problem
from landscape.ascent.ball import Ball
from landscape.errors import InputError, NotFiniteError
from landscape.io.description import describe_file
from landscape.io.store import read_result, write_result
from landscape.sharpness.certificate import certify, check
from landscape.sharpness.maximum import maximise
from landscape.sharpness.rises import Objective

RHOS = (0.1, 0.3)


def _problem(model=None, data=None, **arguments):
    return Problem(
        model or tiny_mlp(),
        data or classification(),
        device="cpu",
        **{"dtype": "float64", **arguments},
    )


def _found(problem, **ball):
    """Perturbations that were found in float32."""
    around = Ball.around(problem.weights, **ball)
    return [(rho, maximise(Objective(problem), around, rho, max_gradients=10).e) for rho in RHOS]


def _certificate(**arguments):
    return certify(_problem(), _found(_problem(dtype="float32"), **arguments), **arguments)


BALLS = {
    "p = 2": {},
    "p = 1": {"p": 1.0},
    "p = 3": {"p": 3.0},
    "p = inf": {"p": math.inf},
    "adaptive": {"adaptive": True, "eta": 0.02},
}


@pytest.mark.parametrize("ball", BALLS.values(), ids=BALLS)
def test_a_certificate_holds_after_it_was_written_and_read(ball, tmp_path):
    write_result(tmp_path / "c.h5", _certificate(**ball))
    certificate = read_result(tmp_path / "c.h5")
    verdict = check(certificate, _problem())
    assert (verdict.holds, verdict.failure, verdict.hint) == (True, "", "")
    assert [each.rho for each in verdict.checks] == list(RHOS)
    assert all(each.norm <= each.rho for each in verdict.checks)


def test_the_claims_are_the_losses_of_the_model_itself():
    certificate = _certificate()
    loss, w = loss_of_vector(tiny_mlp(), *classification())
    assert certificate.loss == pytest.approx(float(loss(w)), rel=1e-12)
    for e, claimed in zip(certificate.perturbations, certificate.losses, strict=True):
        assert claimed == pytest.approx(float(loss(w + torch.from_numpy(e))), rel=1e-12)


def test_perturbations_are_in_the_ball_by_any_order_of_summation():
    certificate = _certificate()
    for e, rho in zip(certificate.perturbations, certificate.rho, strict=True):
        assert 0.99 * rho < math.sqrt(math.fsum(e**2)) < rho
        assert math.sqrt(sum(e[::-1] ** 2)) < rho


def test_the_largest_losses_in_a_scaled_ball_are_out_of_a_plain_one():
    certificate = replace(_certificate(p=math.inf), p=2.0)
    assert "outside its ball" in check(certificate, _problem()).failure


def _changed(array, value):
    changed = array.copy()
    changed.flat[-1] = value
    return changed


FORGERIES = {
    "e is longer": (lambda c: {"perturbations": c.perturbations * 1.001}, "outside its ball"),
    "e is another one": (
        lambda c: {"perturbations": -c.perturbations},
        "loss at rho 0.1 is not what is claimed",
    ),
    "one entry of e is another": (
        lambda c: {"perturbations": _changed(c.perturbations, 0.0)},
        "loss at rho 0.3 is not what is claimed",
    ),
    "e is NaN": (
        lambda c: {"perturbations": _changed(c.perturbations, math.nan)},
        "outside its ball",
    ),
    "the loss is higher": (
        lambda c: {"losses": c.losses * (1 + 1e-8)},
        "loss at rho 0.1 is not what is claimed",
    ),
    "the loss is NaN": (
        lambda c: {"losses": _changed(c.losses, math.nan)},
        "loss at rho 0.3 is not what is claimed",
    ),
    "the loss is infinite": (
        lambda c: {"losses": _changed(c.losses, math.inf)},
        "not what is claimed",
    ),
    "the loss at the weights is lower": (
        lambda c: {"loss": c.loss - 1e-6},
        "loss at the weights is not what",
    ),
    "rho is smaller": (lambda c: {"rho": c.rho * 0.999}, "outside its ball"),
    "rho is NaN": (lambda c: {"rho": _changed(c.rho, math.nan)}, "rho must be a positive number"),
    "rho is infinite": (
        lambda c: {"rho": _changed(c.rho, math.inf)},
        "rho must be a positive number",
    ),
    "rho is negative": (lambda c: {"rho": -c.rho}, "rho must be a positive number"),
    "p is smaller": (lambda c: {"p": 1.9}, "outside its ball"),
    "p is none": (lambda c: {"p": 0.5}, "p must be at least 1"),
    "p is NaN": (lambda c: {"p": math.nan}, "p must be at least 1"),
    "the ball is scaled": (lambda c: {"adaptive": True}, "outside its ball"),
    "eta is negative": (lambda c: {"adaptive": True, "eta": -1.0}, "eta must be"),
    "a loss is missing": (lambda c: {"losses": c.losses[:1]}, "one loss for each perturbation"),
    "losses are in a table": (
        lambda c: {"losses": c.losses[:, None]},
        "one loss for each perturbation",
    ),
    "rho is a number": (lambda c: {"rho": np.array(0.1)}, "one loss for each perturbation"),
    "the losses are words": (
        lambda c: {"losses": c.losses.astype("S")},
        "one loss for each perturbation",
    ),
    "nothing is claimed": (
        lambda c: {"losses": c.losses[:0], "rho": c.rho[:0], "perturbations": c.perturbations[:0]},
        "one loss for each perturbation",
    ),
}


@pytest.mark.parametrize(("forge", "failure"), FORGERIES.values(), ids=FORGERIES)
def test_a_forged_certificate_is_refused(forge, failure):
    certificate = _certificate()
    verdict = check(replace(certificate, **forge(certificate)), _problem())
    assert not verdict.holds
    assert failure in verdict.failure
    assert verdict.hint


def test_what_is_wrong_is_told_of_the_perturbation_that_it_is_of():
    certificate = _certificate()
    verdict = check(replace(certificate, losses=_changed(certificate.losses, 9.0)), _problem())
    assert [bool(each.failure) for each in verdict.checks] == [False, True]
    assert verdict.checks[1].claimed == 9.0
    assert verdict.checks[1].found == pytest.approx(certificate.losses[1])


def _other_weights():
    model = tiny_mlp()
    with torch.no_grad():
        model[0].weight[0, 0] += 1e-6
    return _problem(model)


OTHERS = {
    "weights": (_other_weights, "other weights"),
    "data": (lambda: _problem(data=classification(seed=5)), "other data"),
    "fewer data": (lambda: _problem(data=classification(num_examples=19)), "other data"),
    "model": (lambda: _problem(torch.nn.Linear(5, 3)), "66 parameters, the model has 18"),
    "loss": (
        lambda: Problem(tiny_mlp(), classification(), _half, device="cpu", dtype="float64"),
        "at the weights",
    ),
}


def _half(outputs, targets):
    return torch.nn.functional.cross_entropy(outputs, targets) / 2


@pytest.mark.parametrize(("make", "failure"), OTHERS.values(), ids=OTHERS)
def test_a_certificate_of_something_else_is_refused(make, failure):
    verdict = check(_certificate(), make())
    assert failure in verdict.failure
    assert verdict.hint


def _normalized(batchnorm, **arguments):
    return _problem(tiny_cnn(), images(), batchnorm=batchnorm, **arguments)


def test_a_certificate_with_other_batch_statistics_is_refused():
    problem = _normalized("stored")
    certificate = certify(problem, [(0.1, torch.zeros(problem.spec.size))])
    assert check(certificate, problem).holds
    assert (
        "batch normalization stored, this is batch"
        in check(certificate, _normalized("batch")).failure
    )
    model = tiny_cnn()
    model[1].running_mean += 1e-3
    assert "other weights" in check(certificate, _problem(model, images())).failure


def test_where_batches_decide_the_statistics_their_size_is_compared():
    problem = _normalized("batch", batch_size=10)
    certificate = certify(problem, [(0.1, torch.zeros(problem.spec.size))])
    assert check(certificate, problem).holds
    assert "batches of 10" in check(certificate, _normalized("batch", batch_size=5)).failure


def test_the_batch_size_does_not_matter_otherwise():
    assert check(_certificate(), _problem(batch_size=3)).holds


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"dtype": "float32"}, "in float32"), ({"num_population": 40}, "20 examples out of more")],
)
def test_certificates_are_exact(arguments, message):
    problem = _problem(**arguments)
    with pytest.raises(InputError, match=message):
        certify(problem, [(0.1, torch.zeros(66))])
    with pytest.raises(InputError, match=message):
        check(_certificate(), problem)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([], "at least one"),
        ([(0.1, torch.full((66,), 0.1))], "norm 0.81.* is not in the ball"),
        ([(0.1, torch.full((66,), math.nan))], "is not in the ball"),
        ([(0.1, torch.zeros(65))], "flat vector of the model's 66"),
    ],
)
def test_what_is_no_perturbation_of_the_ball_is_not_certified(found, message):
    with pytest.raises(InputError, match=message):
        certify(_problem(), found)


def test_a_loss_that_is_not_finite_is_not_certified():
    def loss(outputs, targets):
        return torch.log(outputs.square().mean() - 1e3)

    with pytest.raises(NotFiniteError, match="finite losses"):
        certify(
            Problem(tiny_mlp(), classification(), loss, device="cpu", dtype="float64"),
            [(0.1, torch.zeros(66))],
        )


def test_a_certificate_is_described(tmp_path):
    certificate = _certificate(p=3.0)
    write_result(tmp_path / "c.h5", certificate)
    found = describe_file(tmp_path / "c.h5")
    assert (found["kind"], found["p"], found["num_parameters"]) == ("certificate", 3.0, 66)
    assert [row["rho"] for row in found["certificates"]] == list(RHOS)
    assert found["certificates"][1]["sharpness"] == certificate.losses[1] - certificate.loss
