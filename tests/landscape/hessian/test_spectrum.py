import numpy as np
import pytest
import torch
from cases import (
    DUMMY_DATA,
    Quadratic,
    classification,
    images,
    quadratic_loss,
    symmetric_with_spectrum,
    tiny_cnn,
    tiny_mlp,
)
from reference import dense_hessian

from landscape import Problem, hessian_spectrum
from landscape.errors import InputError


@pytest.mark.parametrize(("build", "data"), [(tiny_mlp, classification), (tiny_cnn, images)])
def test_the_spectrum_of_a_network_equals_the_dense_one(build, data):
    model, (x, y) = build(), data()
    expected = np.linalg.eigvalsh(dense_hessian(model, x, y).numpy())
    found = hessian_spectrum(Problem(model, (x, y), device="cpu", dtype="float64", batch_size=7), top_k=5, bottom_k=3)
    np.testing.assert_allclose(found.eigenvalues, expected[::-1][:5], atol=1e-8 * expected[-1])
    np.testing.assert_allclose(found.bottom_eigenvalues, expected[:3], atol=1e-8 * expected[-1])
    assert found.converged


def test_a_ragged_last_batch_does_not_change_the_spectrum():
    model, data = tiny_mlp(), classification(num_examples=17)
    whole, ragged = (
        hessian_spectrum(Problem(model, data, device="cpu", dtype="float64", batch_size=size)).eigenvalues
        for size in (17, 4)
    )
    np.testing.assert_allclose(ragged, whole, rtol=1e-9)


def _quadratic(spectrum):
    loss = quadratic_loss(symmetric_with_spectrum(spectrum), torch.zeros(len(spectrum)).double())
    return Problem(Quadratic(torch.ones(len(spectrum))), DUMMY_DATA, loss, device="cpu", dtype="float64")


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


def test_pyhessian_and_lanczos_agree_within_the_residuals():
    problem = Problem(tiny_mlp(), classification(), device="cpu", dtype="float64", batch_size=7)
    ours = hessian_spectrum(problem, top_k=3)
    theirs = hessian_spectrum(problem, top_k=3, engine="pyhessian", max_matvecs=6000)
    assert (np.abs(theirs.eigenvalues - ours.eigenvalues) <= theirs.residuals + ours.residuals).all()
    np.testing.assert_allclose(theirs.eigenvalues, ours.eigenvalues, rtol=1e-4)


def test_pyhessian_converges_where_the_eigenvalues_are_far_apart():
    found = hessian_spectrum(_quadratic([8.0, 4.0, 2.0, 1.0, 0.5, -0.25]), top_k=2, engine="pyhessian")
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
    vectors = hessian_spectrum(problem, top_k=1, engine="pyhessian", keep_vectors=True).vectors
    assert vectors.shape == (1, 68)
    place = problem.spec.names.index("unused")
    assert not vectors[0][problem.spec.weights[place].start : problem.spec.weights[place].stop].any()


def test_pyhessian_refuses_other_batchnorm_modes():
    problem = Problem(tiny_cnn(), images(), device="cpu", batchnorm="batch")
    with pytest.raises(InputError, match="stored batch-norm statistics only"):
        hessian_spectrum(problem, engine="pyhessian")


def test_an_unknown_engine_is_refused():
    with pytest.raises(InputError, match="engine must be one of lanczos, pyhessian"):
        hessian_spectrum(_quadratic([1.0, 2.0]), engine="arpack")
