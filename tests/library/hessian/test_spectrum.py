import dataclasses

import numpy as np
import pytest
import torch
from cases import (
    DUMMY_DATA,
    Quadratic,
    classification,
    images,
    quadratic_loss,
    seeded,
    symmetric_with_spectrum,
    tiny_cnn,
    tiny_mlp,
)
from networks import NETWORKS, Reference, dense_curvature, network
from torch import nn
from torch.nn import functional as F

from landscape import Problem, hessian_spectrum
from landscape.errors import InputError, NotFiniteError
from landscape.hessian.operator import CurvatureOperator
from landscape.problem.curvature_graphs import CURVATURES

EXACT = {"device": "cpu", "dtype": "float64"}


def _assert_both_ends(found, values, precision=1e-8):
    """Whether all eigenvalues that were found are those of the ascending `values`, to a share of
    the largest."""
    top, bottom = len(found.eigenvalues), len(found.bottom_eigenvalues)
    scale = np.abs(values).max() or 1.0
    np.testing.assert_allclose(
        found.eigenvalues, values[::-1][:top], rtol=0, atol=precision * scale
    )
    np.testing.assert_allclose(
        found.bottom_eigenvalues, values[:bottom], rtol=0, atol=precision * scale
    )
    assert found.converged


@pytest.mark.parametrize("curvature", CURVATURES)
@pytest.mark.parametrize("name", NETWORKS)
def test_both_ends_of_a_network_are_those_of_its_dense_curvature(name, curvature):
    model, data = network(name)
    problem = Problem(model, data, batch_size=2 if name == "graphs" else 7, **EXACT)
    found = hessian_spectrum(
        problem, top_k=5, bottom_k=3 if curvature == "hessian" else 1, curvature=curvature
    )
    _assert_both_ends(found, np.linalg.eigvalsh(dense_curvature(model, data, curvature).numpy()))


def test_a_network_in_training_mode_has_the_spectrum_of_its_stored_statistics():
    model, (x, y) = tiny_cnn().train(), images()
    values = np.linalg.eigvalsh(Reference(model, x, y).hessian(batch_size=20).numpy())
    of_a_batch = np.linalg.eigvalsh(
        Reference(model, x, y, is_training=True).hessian(batch_size=20).numpy()
    )
    assert abs(of_a_batch[-1] / values[-1] - 1) > 0.1
    _assert_both_ends(hessian_spectrum(Problem(model, (x, y), **EXACT)), values)


def _relu_mlp():
    return nn.Sequential(
        nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3)
    )


def test_a_network_with_kinks_has_the_spectrum_of_second_derivatives_not_of_finite_differences():
    model, (x, y) = seeded(_relu_mlp), classification(60)
    reference = Reference(model, x, y)
    values, vectors = torch.linalg.eigh(reference.hessian(batch_size=60))
    _assert_both_ends(
        hessian_spectrum(Problem(model, (x, y), batch_size=7, **EXACT)), values.numpy()
    )
    step = 0.05 * vectors[:, -1]
    ahead, behind = (torch.func.grad(reference.loss)(reference.w + sign * step) for sign in (1, -1))
    assert abs(float(step @ (ahead - behind) / 2 / (step @ step)) / float(values[-1]) - 1) > 1e-2


def test_a_ragged_last_batch_does_not_change_the_spectrum():
    model, data = tiny_mlp(), classification(num_examples=17)
    whole, ragged = (
        hessian_spectrum(
            Problem(model, data, device="cpu", dtype="float64", batch_size=size)
        ).eigenvalues
        for size in (17, 4)
    )
    np.testing.assert_allclose(ragged, whole, rtol=1e-9)


def _quadratic(spectrum):
    loss = quadratic_loss(symmetric_with_spectrum(spectrum), torch.zeros(len(spectrum)).double())
    return Problem(
        Quadratic(torch.ones(len(spectrum))), DUMMY_DATA, loss, device="cpu", dtype="float64"
    )


CHOSEN = {
    "clusters": [
        3.0,
        3 - 1e-6,
        3 - 2e-6,
        2.0,
        2 - 1e-6,
        *np.linspace(-0.5, 0.5, 60).tolist(),
        -1 + 1e-6,
        -1.0,
    ],
    "repeated": [3.0, 3.0, 3.0, 2.0, 2.0, *np.linspace(-0.5, 0.5, 60).tolist(), -1.0, -1.0],
    "indefinite": [1.0, -0.999, *np.linspace(-0.5, 0.5, 60).tolist()],
    "zero": [0.0] * 12,
    "positive": np.linspace(1, 5, 40).tolist(),
    "negative": (-np.linspace(1, 5, 40)).tolist(),
    "rank two": [3.0, 1.0, *[0.0] * 40],
}


@pytest.mark.parametrize("name", CHOSEN)
def test_both_ends_of_a_chosen_spectrum_are_found_by_products_of_a_loss(name):
    _assert_both_ends(
        hessian_spectrum(_quadratic(CHOSEN[name]), top_k=4, bottom_k=2), np.sort(CHOSEN[name])
    )


def test_without_reorthogonalization_copies_of_the_largest_eigenvalue_would_be_found():
    values = [100.0, 10.0, 9.0, 8.0, 7.0, *np.linspace(-1, 1, 295).tolist()]
    copies = _ritz_values_of_the_bare_recurrence(symmetric_with_spectrum(values), 60)[-2:]
    np.testing.assert_allclose(copies, [100.0, 100.0], rtol=1e-8)
    found = hessian_spectrum(_quadratic(values), tolerance=1e-12, num_check_matvecs=0)
    assert found.num_matvecs >= 40
    _assert_both_ends(found, np.sort(values))


def _ritz_values_of_the_bare_recurrence(matrix, num_steps):
    """Lanczos by its three-term recurrence alone."""
    q, before, beta, alphas, betas = (
        torch.ones(len(matrix)).double() / len(matrix) ** 0.5,
        0.0,
        0.0,
        [],
        [],
    )
    for _ in range(num_steps):
        v = matrix @ q - beta * before
        alphas.append(float(v @ q))
        v = v - alphas[-1] * q
        beta = float(v.norm())
        betas.append(beta)
        before, q = q, v / beta
    return np.linalg.eigvalsh(np.diag(alphas) + np.diag(betas[:-1], 1) + np.diag(betas[:-1], -1))


FORCED = {  # bytes a number, vectors that fit, products, what the plan says of it
    "float64": (8, 240, 200, "up to 194 vectors of 400 float64 numbers; at most"),
    "float32": (4, 240, 200, "up to 194 vectors of 400 float32 numbers; at most"),
    "restarts": (
        4,
        60,
        500,
        "up to 44 vectors of 400 float32 numbers, then a thick restart that keeps 20; at most",
    ),
}


@pytest.mark.parametrize("name", FORCED)
def test_every_memory_plan_gives_the_same_spectrum(name):
    itemsize, vectors, max_matvecs, said = FORCED[name]
    values = np.sort([*np.linspace(-1, 1, 392), 1.1, 1.15, 1.2, 1.25, 1.3, 1.35, -1.1, -1.2])
    memory = 2 * 400 * (11 * 8 + vectors * itemsize)
    found = hessian_spectrum(
        _quadratic(values.tolist()), max_matvecs=max_matvecs, memory=memory, tolerance=1e-11
    )
    assert said in found.memory
    assert found.num_matvecs > 44 + 6 + 12  # the smallest basis has restarted
    _assert_both_ends(found, values)


def test_the_graphs_of_all_operators_of_a_run_stay_within_the_memory(monkeypatch):
    problem = Problem(tiny_mlp(), classification(2000), device="cpu", batch_size=100)
    memory = int(1.5 * CurvatureOperator(problem, graph_bytes=1 << 30).retained_bytes)
    made, make = [], CurvatureOperator.__init__

    def recording(self, *args, **kwargs):
        made.append(self)
        make(self, *args, **kwargs)

    monkeypatch.setattr(CurvatureOperator, "__init__", recording)
    hessian_spectrum(problem, top_k=1, polish=True, blocks=True, memory=memory)
    assert len(made) == 4  # the Hessian, in float64, and two layers
    assert 0 < sum(operator.retained_bytes for operator in made) <= memory


def test_ratios_are_signed_absolute_and_inverted():
    found = hessian_spectrum(_quadratic([8.0, 6.0, 4.0, 3.0, 2.0, 1.0, -0.5]))
    assert found.lambda_max == pytest.approx(8.0)
    assert found.lambda_min == pytest.approx(-0.5)
    assert found.ratio == pytest.approx(-16.0)
    assert found.absolute_ratio == pytest.approx(16.0)
    assert found.nonconvexity == pytest.approx(1 / 16)
    assert found.top_to_fifth == pytest.approx(4.0)


def test_a_ratio_over_zero_within_its_error_is_undefined():
    found = hessian_spectrum(_quadratic([8.0, 6.0, 4.0, 3.0, 2.0, 1.0, 0.0]))
    assert found.ratio is None
    assert found.absolute_ratio is None


def test_a_ratio_over_what_counts_as_rounding_is_undefined():
    found = hessian_spectrum(_quadratic([8.0, 6.0, 4.0, 3.0, 2.0, 1.0, -1e-5]))
    assert found.ratio == pytest.approx(-8e5)
    rough = dataclasses.replace(found, noise_floor=1e-4)
    assert rough.ratio is rough.absolute_ratio is None
    assert rough.nonconvexity is not None


def test_the_interval_of_a_ratio_holds_every_quotient_of_what_is_certified():
    found = hessian_spectrum(_quadratic([8.0, 6.0, 4.0, 3.0, 2.0, 1.0, -0.5]))
    rough = dataclasses.replace(found, residuals=np.full(5, 0.1), bottom_residuals=np.array([0.2]))
    signed, magnitude = (
        rough.ratios[name] for name in ("lambda_max / lambda_min", "|lambda_max / lambda_min|")
    )
    assert (signed.low, signed.high) == pytest.approx((-8.1 / 0.3, -7.9 / 0.7))
    assert (magnitude.low, magnitude.high) == pytest.approx((7.9 / 0.7, 8.1 / 0.3))


def test_pyhessian_and_lanczos_agree_within_the_residuals():
    problem = Problem(tiny_mlp(), classification(), device="cpu", dtype="float64", batch_size=7)
    ours = hessian_spectrum(problem, top_k=3)
    theirs = hessian_spectrum(problem, top_k=3, engine="pyhessian", max_matvecs=6000)
    assert (
        np.abs(theirs.eigenvalues - ours.eigenvalues) <= theirs.residuals + ours.residuals
    ).all()
    np.testing.assert_allclose(theirs.eigenvalues, ours.eigenvalues, rtol=1e-4)


def test_pyhessian_converges_where_the_eigenvalues_are_far_apart():
    found = hessian_spectrum(
        _quadratic([8.0, 4.0, 2.0, 1.0, 0.5, -0.25]), top_k=2, engine="pyhessian"
    )
    np.testing.assert_allclose(found.eigenvalues, [8.0, 4.0], rtol=1e-5)
    assert found.converged


def test_pyhessian_knows_nothing_of_the_bottom():
    found = hessian_spectrum(_quadratic([8.0, 4.0, -0.25]), top_k=1, engine="pyhessian")
    assert found.lambda_min is None
    assert found.ratio is None


def test_pyhessian_that_stops_early_is_not_called_converged():
    problem = _quadratic([1.0, -0.999, *np.linspace(-0.5, 0.5, 20).tolist()])
    assert not hessian_spectrum(problem, top_k=2, engine="pyhessian", tolerance=1e-3).converged


def test_pyhessian_leaves_problem_model_and_random_state_alone():
    model = tiny_cnn().train()
    problem = Problem(model, images(), device="cpu", batch_size=7)
    before, random_state = problem.loss(), torch.get_rng_state()
    hessian_spectrum(problem, top_k=1, engine="pyhessian", max_matvecs=10)
    assert problem.loss() == before
    assert torch.equal(torch.get_rng_state(), random_state)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_pyhessian_works_with_unused_parameters():
    model = tiny_mlp()
    model.register_parameter("unused", torch.nn.Parameter(torch.ones(2)))
    problem = Problem(model, classification(), device="cpu")
    vectors = hessian_spectrum(problem, top_k=1, engine="pyhessian", save_vectors=True).vectors
    assert vectors.shape == (1, 68)
    place = problem.spec.names.index("unused")
    assert not vectors[0][
        problem.spec.weights[place].start : problem.spec.weights[place].stop
    ].any()


def test_pyhessian_refuses_other_batchnorm_modes():
    problem = Problem(tiny_cnn(), images(), device="cpu", batchnorm="batch")
    with pytest.raises(InputError, match="stored batch-norm statistics only"):
        hessian_spectrum(problem, engine="pyhessian")


def test_an_unknown_engine_is_refused():
    with pytest.raises(InputError, match="engine must be one of lanczos, pyhessian"):
        hessian_spectrum(_quadratic([1.0, 2.0]), engine="arpack")


def test_more_eigenvalues_than_parameters_are_refused():
    with pytest.raises(
        InputError, match=r"at most the number of parameters 6, got 6 \+ 1"
    ) as caught:
        hessian_spectrum(_quadratic([1.0] * 6), top_k=6)
    assert caught.value.hint == "Ask for fewer eigenvalues."


def _ctc(outputs, targets):
    n = len(outputs)
    scores = outputs[None].expand(4, n, 3).log_softmax(-1)
    return F.ctc_loss(
        scores, torch.ones(n, 1, dtype=torch.int64), torch.full((n,), 4), torch.full((n,), 1)
    )


def test_a_loss_that_is_not_twice_differentiable_is_refused_with_the_operation():
    problem = Problem(tiny_mlp(), classification(), _ctc, device="cpu")
    with pytest.raises(
        InputError, match=r"cannot be differentiated twice: .*aten::_ctc_loss_backward"
    ) as caught:
        hessian_spectrum(problem)
    assert "Replace that operation" in caught.value.hint


def test_a_product_that_is_not_finite_is_refused_with_the_batch():
    x, y = classification(num_examples=38)
    x[17, 2] = torch.nan
    with pytest.raises(
        NotFiniteError, match="NaN or inf in batch 3 of 5, examples 16 to 23"
    ) as caught:
        hessian_spectrum(Problem(tiny_mlp(), (x, y), batch_size=8, device="cpu"))
    assert "`dtype='float64'`" in caught.value.hint


def test_too_little_memory_is_refused_with_what_is_needed():
    with pytest.raises(
        InputError, match="the least for 66 parameters and 6 eigenvalues is"
    ) as caught:
        hessian_spectrum(Problem(tiny_mlp(), classification(), device="cpu"), memory=1000)
    assert "`memory`" in caught.value.hint
