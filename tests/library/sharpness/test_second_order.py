import numpy as np
import pytest
import torch
from cases import (
    DUMMY_DATA,
    Quadratic,
    classification,
    quadratic_loss,
    symmetric_with_spectrum,
    tiny_mlp,
)

from landscape import Problem, hessian_spectrum, measure_sharpness
from landscape.ascent.ball import Ball
from landscape.errors import InputError
from landscape.sharpness.second_order import measure_taylor, top_eigenvector

SPECTRUM = [6.0, 3.0, 1.0, 0.5, -0.5, 2.0, 0.1, 0.0]
MATRIX = symmetric_with_spectrum(SPECTRUM)
LINEAR = torch.linspace(-1, 1, 8).double()
W0 = torch.linspace(0.5, -1, 8).double()
G = MATRIX @ W0 + LINEAR


def quadratic():
    return Problem(
        Quadratic(W0), DUMMY_DATA, quadratic_loss(MATRIX, LINEAR), device="cpu", dtype="float64"
    )


def test_a_quadratic_is_its_own_expansion():
    found = measure_taylor(quadratic(), Ball())
    assert found.gradient_gain == pytest.approx(float(G.norm()))
    assert found.ascent_curvature == pytest.approx(float(G @ MATRIX @ G / (G @ G)))
    assert found.lambda_max == pytest.approx(6.0)
    assert abs(found.trace - sum(SPECTRUM)) < 4 * found.trace_error


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, np.inf])
@pytest.mark.parametrize("adaptive", [False, True])
def test_asc_of_a_quadratic_is_predicted_exactly(p, adaptive):
    ball = Ball.around(W0, p=p, adaptive=adaptive)
    found = measure_taylor(quadratic(), ball)
    measured = measure_sharpness(
        quadratic(), [0.3], measures=["asc"], p=p, adaptive=adaptive
    ).measures[0]
    predicted = 0.3 * found.gradient_gain + 0.3**2 / 2 * found.ascent_curvature
    assert measured.sharpness == pytest.approx(predicted, rel=1e-10)


def test_in_an_adaptive_ball_the_curvature_is_that_of_scaled_coordinates():
    scale = torch.diag(W0.abs() + 0.01)
    scaled = scale @ MATRIX @ scale
    found = measure_taylor(quadratic(), Ball.around(W0, adaptive=True))
    assert found.lambda_max == pytest.approx(float(torch.linalg.eigvalsh(scaled)[-1]))
    assert abs(found.trace - float(scaled.trace())) < 4 * found.trace_error < 0.3 * found.trace


def test_only_a_round_ball_has_an_eigenvalue_and_a_trace():
    found = measure_taylor(quadratic(), Ball(p=3.0))
    assert (found.lambda_max, found.trace) == (None, None)


def test_avg_tends_to_the_trace_as_the_radius_falls():
    problem = Problem(tiny_mlp(), classification(40), device="cpu", dtype="float64")
    found = measure_taylor(problem, Ball())
    for rho in (0.02, 0.1):
        avg = measure_sharpness(problem, [rho], measures=["avg"], num_directions=400).measures[0]
        predicted = rho**2 * found.trace / (2 * problem.spec.size)
        allowed = 4 * np.hypot(
            avg.standard_error, rho**2 * found.trace_error / (2 * problem.spec.size)
        )
        assert abs(avg.sharpness - predicted) < allowed


def test_the_eigenvector_is_where_a_round_ball_rises_most():
    v = top_eigenvector(quadratic(), Ball())
    assert float(v @ MATRIX @ v / (v @ v)) == pytest.approx(6.0, rel=0.05)


def test_it_leads_through_the_scaled_ball():
    ball = Ball.around(W0, adaptive=True)
    e = top_eigenvector(quadratic(), ball)
    e = e / ball.norm(e)
    scale = torch.diag(W0.abs() + 0.01)
    assert float(e @ MATRIX @ e) == pytest.approx(
        float(torch.linalg.eigvalsh(scale @ MATRIX @ scale)[-1]), rel=0.05
    )


class TestFromASpectrum:
    def problem(self, seed=1):
        return Problem(tiny_mlp(), classification(40, seed=seed), device="cpu", dtype="float64")

    def test_eigenvalue_and_trace_are_taken_from_it(self):
        spectrum = hessian_spectrum(self.problem(), top_k=2, trace=True)
        found = measure_taylor(self.problem(), Ball(), spectrum)
        assert found.lambda_max == spectrum.lambda_max
        assert found.trace == spectrum.trace.value

    def test_other_data_are_refused(self):
        spectrum = hessian_spectrum(self.problem(seed=2), top_k=1)
        with pytest.raises(InputError, match="the spectrum must be of the same data"):
            measure_taylor(self.problem(), Ball(), spectrum)
