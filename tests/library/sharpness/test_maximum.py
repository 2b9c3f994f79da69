import math
from itertools import product

import numpy as np
import pytest
import torch
from cases import (
    DUMMY_DATA,
    Quadratic,
    classification,
    quadratic_loss,
    seeded,
    symmetric_with_spectrum,
)
from reference import trust_region_value
from torch import nn

from landscape import Problem
from landscape.ascent.ball import Ball
from landscape.errors import NotFiniteError
from landscape.sharpness.maximum import TOLERANCE, maximise
from landscape.sharpness.quadratic_model import QuadraticModel, largest_in_ball
from landscape.sharpness.rises import Objective

SIZE = 20


def _numbers(seed, size=SIZE):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _eigenvectors(matrix):
    return torch.linalg.eigh(matrix).eigenvectors


def _objective(loss, size):
    """A loss of e alone: the weights are 0."""
    return Objective(
        Problem(
            Quadratic(torch.zeros(size).double()),
            DUMMY_DATA,
            lambda w, _: loss(w),
            device="cpu",
            dtype="float64",
        )
    )


def _quadratic(matrix, linear):
    return _objective(lambda w: quadratic_loss(matrix, linear)(w, None), len(linear))


def _mlp(dtype="float64", width=16):
    """A perceptron half trained on noise, and its data."""
    inputs, targets = classification(60)
    model = seeded(lambda: nn.Sequential(nn.Linear(5, width), nn.Tanh(), nn.Linear(width, 3)))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    return Problem(model, (inputs, targets), device="cpu", dtype=dtype)


def _norm(e, p, scaling=None):
    """||T^-1 e||_p, by numpy."""
    z = e.numpy() if scaling is None else e.numpy() / scaling.numpy()
    return np.linalg.norm(z, p)


DEFINITE = torch.linspace(0.1, 10, SIZE).tolist()
SADDLE = torch.linspace(-20, 3, SIZE).tolist()
CONCAVE = (-torch.logspace(-1, 1, SIZE)).tolist()
QUADRATICS = {
    "definite": (DEFINITE, 1.0, 1.0),
    "indefinite": (SADDLE, 1.0, 0.5),
    "indefinite, large ball": (SADDLE, 1.0, 5.0),
    "maximum inside": (CONCAVE, 0.05, 10.0),
    "concave, maximum on the surface": (CONCAVE, 1.0, 0.3),
    "zero gradient": (DEFINITE, 0.0, 1.0),
    "repeated top eigenvalue": ([10.0, 10.0, *DEFINITE[:-2]], 0.01, 1.0),
}


@pytest.mark.parametrize(("spectrum", "slope", "rho"), QUADRATICS.values(), ids=QUADRATICS)
def test_a_quadratic_has_its_trust_region_value(spectrum, slope, rho):
    matrix, linear = symmetric_with_spectrum(spectrum), slope * _numbers(1)
    found = maximise(_quadratic(matrix, linear), Ball(), rho)
    assert found.loss == pytest.approx(trust_region_value(matrix, linear, rho), rel=1e-5)
    assert found.converged


def test_the_hard_case_has_its_trust_region_value():
    matrix = symmetric_with_spectrum([5.0, *torch.linspace(-5, 4, SIZE - 1).tolist()])
    top = _eigenvectors(matrix)[:, -1]
    linear = _numbers(1) - top * (top @ _numbers(1))
    expected = trust_region_value(matrix, linear, 4.0)
    stuck = maximise(_quadratic(matrix, linear), Ball(), 4.0, max_gradients=20)
    assert stuck.loss < expected * (1 - 1e-3)  # what steps along gradients reach from 0
    assert maximise(_quadratic(matrix, linear), Ball(), 4.0).loss == pytest.approx(
        expected, rel=1e-5
    )


def test_a_direction_is_followed_to_both_ends():
    """The slope leads along w0, and the higher hill at w1 = -1.9 is narrow."""

    def loss(w):
        return w[0] / 10 + torch.exp(-1000 * (w[1] + 1.9) ** 2)

    ends = torch.zeros(50).double()
    ends[1] = 0.01
    assert maximise(_objective(loss, 50), Ball(), 1.9).loss < 0.2
    found = maximise(_objective(loss, 50), Ball(), 1.9, directions=[ends])
    assert found.loss > 0.99
    assert found.e[1] == pytest.approx(-1.9, abs=1e-2)


def test_a_direction_that_leads_nowhere_is_left_out():
    objective, scaling = (
        _quadratic(symmetric_with_spectrum(DEFINITE), _numbers(1)),
        torch.ones(SIZE).double(),
    )
    scaling[0] = 0
    nowhere = torch.zeros(SIZE).double()
    flat = nowhere.clone()
    flat[0] = 1.0
    found = maximise(objective, Ball(2.0, scaling), 1.0, directions=[nowhere, flat])
    assert found.loss == maximise(objective, Ball(2.0, scaling), 1.0).loss


def test_a_start_inside_the_ball_is_tried_as_it_is():
    def loss(w):
        return (w**2).sum() / 10 + torch.exp(-1000 * ((w - 0.1) ** 2).sum())

    start = torch.full((8,), 0.1).double()
    assert maximise(_objective(loss, 8), Ball(), 1.0).loss < 0.2
    assert maximise(_objective(loss, 8), Ball(), 1.0, [start]).loss > 1


def test_a_local_maximum_at_the_weights_is_the_answer():
    found = maximise(_quadratic(-torch.eye(4).double(), torch.zeros(4).double()), Ball(), 1.0)
    assert (found.loss, found.gap, found.converged) == (0.0, 0.0, True)
    assert not found.e.any()


def _small(seed, size=5):
    generator = torch.Generator().manual_seed(seed)
    spectrum = torch.rand(size, generator=generator).double() * 5 + 0.1
    scaling = torch.rand(size, generator=generator).double() + 0.2
    return symmetric_with_spectrum(spectrum.tolist(), seed), _numbers(seed, size), scaling


VERTICES = {
    1.0: torch.cat([torch.eye(5), -torch.eye(5)]).double(),
    math.inf: torch.tensor(list(product((-1.0, 1.0), repeat=5))).double(),
}


@pytest.mark.parametrize("is_scaled", [False, True])
@pytest.mark.parametrize("p", VERTICES)
@pytest.mark.parametrize("seed", range(3))
def test_a_convex_quadratic_is_largest_at_the_best_vertex(p, is_scaled, seed):
    """Every vertex can be a local maximum, so there are several random starts."""
    matrix, linear, scaling = _small(seed)
    scaling = scaling if is_scaled else torch.ones(5).double()
    vertices = VERTICES[p] * scaling
    values = 0.5 * ((vertices @ matrix) * vertices).sum(1) + vertices @ linear
    objective = _quadratic(matrix, linear)
    found = max(
        (maximise(objective, Ball(p, scaling), 1.0, seed=i) for i in range(12)),
        key=lambda found: found.loss,
    )
    assert found.loss == pytest.approx(float(values.max()), rel=1e-10)
    assert torch.allclose(found.e, vertices[values.argmax()], atol=1e-9)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, math.inf])
def test_no_point_of_a_dense_sample_of_the_ball_is_higher(p):
    matrix, linear, scaling = _small(4, size=3)
    matrix = matrix - 2.5 * torch.eye(3).double()
    z = torch.rand(200_000, 3, generator=torch.Generator().manual_seed(0)).double() * 2 - 1
    z = z[torch.linalg.vector_norm(z, p, dim=1) <= 1] * scaling
    best = float((0.5 * ((z @ matrix) * z).sum(1) + z @ linear).max())
    found = maximise(_quadratic(matrix, linear), Ball(p, scaling), 1.0)
    assert best <= found.loss < best + 0.06 * abs(best)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, math.inf])
def test_a_scaled_quadratic_is_the_plain_one_in_scaled_coordinates(p):
    matrix, linear, scaling = _small(2)
    found = maximise(_quadratic(matrix, linear), Ball(p, scaling), 0.7)
    inner = matrix * scaling * scaling[:, None]
    plain = maximise(_quadratic(inner, scaling * linear), Ball(p), 0.7)
    assert found.loss == pytest.approx(plain.loss, rel=1e-9)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, math.inf])
@pytest.mark.parametrize(
    "spectrum", [DEFINITE, SADDLE, CONCAVE], ids=["definite", "indefinite", "concave"]
)
def test_the_ball_is_never_left(p, spectrum):
    scaling = _numbers(3).abs()
    scaling[:3] = 0
    seen = []
    matrix, linear = symmetric_with_spectrum(spectrum), _numbers(2)

    def loss(w):
        seen.append(w.detach().clone())
        return quadratic_loss(matrix, linear)(w, None)

    objective = _objective(loss, SIZE)
    del seen[:]
    found = maximise(
        objective, Ball(p, scaling), 0.3, [5 * scaling], directions=[scaling], max_gradients=60
    )
    assert len(seen) == found.num_gradients > 5
    for e in [*seen, found.e]:
        assert Ball(p, scaling).norm(e) <= 0.3
        assert _norm(e[3:], p, scaling[3:]) <= 0.3 * (1 + 1e-13)
        assert not e[:3].any()


def test_the_limit_on_gradients_is_kept_and_the_best_point_returned():
    matrix, linear = symmetric_with_spectrum(SADDLE), _numbers(1)
    whole = maximise(_quadratic(matrix, linear), Ball(), 5.0)
    for limit in (1, 2, 3, 10):
        values = []

        def loss(w, values=values):
            value = quadratic_loss(matrix, linear)(w, None)
            values.append(float(value.detach()))
            return value

        objective = _objective(loss, SIZE)
        del values[:]
        found = maximise(objective, Ball(), 5.0, max_gradients=limit)
        assert (len(values), found.num_gradients, found.converged) == (limit, limit, False)
        assert found.loss == max(values) < whole.loss


def test_a_gradient_that_is_known_is_not_computed_again():
    objective = _quadratic(symmetric_with_spectrum(DEFINITE), _numbers(1))
    anew = maximise(objective, Ball(), 1.0)
    known = maximise(objective, Ball(), 1.0, here=objective.gradient())
    assert (known.loss, known.num_gradients) == (anew.loss, anew.num_gradients - 1)


@pytest.mark.parametrize("p", [2.0, 3.0, math.inf])
def test_the_maximum_does_not_fall_with_the_radius(p):
    objective, before = Objective(_mlp()), []
    for rho in (0.01, 0.05, 0.2, 0.5):
        found = maximise(objective, Ball(p), rho, [found.e for found in before], max_gradients=60)
        assert all(found.loss >= smaller.loss for smaller in before)
        before.append(found)


def _projected_ascent(objective, ball, rho, num_steps):
    """Plain projected gradient ascent in the coordinates T^-1 e, p = 2, its step a tenth of the
    radius."""
    e = ball.steepest(objective.gradient().vector, rho)
    best = -math.inf
    for _ in range(num_steps):
        there = objective.gradient(e)
        best = max(best, there.loss)
        scaled = ball.scaling * there.vector
        z = e / ball.scaling + 0.1 * rho * scaled / scaled.norm()
        e = ball.scaling * z * min(1.0, rho / float(z.norm()))
    return best


@pytest.mark.parametrize("rho", [0.5, 2.0])
def test_the_adaptive_maximum_is_that_of_a_long_projected_ascent(rho):
    problem = _mlp()
    objective, ball = Objective(problem), Ball.around(problem.weights, adaptive=True)
    reference = _projected_ascent(objective, ball, rho, 500)
    base = problem.evaluate().loss
    assert maximise(objective, ball, rho).loss - base >= (reference - base) * (1 - 1e-5)


def test_a_stationary_point_is_told_by_its_gap():
    matrix, linear = symmetric_with_spectrum(DEFINITE), _numbers(1)
    found = maximise(_quadratic(matrix, linear), Ball(), 1.0)
    gradient = matrix @ found.e + linear
    gap = float(gradient.norm() - gradient @ found.e)
    assert found.gap == pytest.approx(gap / found.loss, abs=1e-12)
    assert found.gap <= TOLERANCE


@pytest.mark.parametrize("beyond", [math.nan, math.inf])
def test_where_the_loss_is_not_finite_there_is_no_maximum(beyond):
    """Beyond w0 = 1/2 it is NaN, or infinite; before, it is at most 1/2."""

    def loss(w):
        return w[0] + torch.where(w[0] > 0.5, beyond, 0.0)

    found = maximise(_objective(loss, 6), Ball(), 1.0)
    assert found.num_not_finite > 0
    assert 0.49 < found.loss <= 0.5


def test_a_loss_that_is_not_finite_at_the_weights_is_refused():
    with pytest.raises(NotFiniteError, match="the loss at these weights is nan in batch 1 of 1"):
        maximise(_objective(lambda w: torch.log(w.sum() - 1), 3), Ball(), 1.0)


def test_the_maximum_in_float32_is_that_in_float64():
    single, double = (
        maximise(Objective(_mlp(dtype)), Ball(), 0.3) for dtype in ("float32", "float64")
    )
    assert single.loss == pytest.approx(double.loss, rel=1e-5)
    assert _norm(single.e, 2) <= 0.3


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
def test_the_projection_is_nearer_than_any_other_point_of_the_ball(p):
    scaling, e = _numbers(6).abs() + 0.1, _numbers(7)
    found = Ball(p, scaling).project(e, 0.5)
    others = [
        0.5 * Ball(p, scaling).draw(SIZE, torch.Generator().manual_seed(i), e.device)
        for i in range(200)
    ]
    near = [0.99 * found + 0.01 * other for other in others]
    distance = float(((e - found) / scaling).norm())
    assert all(float(((e - other) / scaling).norm()) > distance for other in [*others, *near])


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, math.inf])
def test_a_point_inside_the_ball_is_its_own_projection(p):
    scaling = _numbers(6).abs()
    e = 0.4 * Ball(p, scaling).draw(SIZE, torch.Generator().manual_seed(0), scaling.device)
    assert torch.allclose(Ball(p, scaling).project(e, 0.5), e, rtol=1e-14, atol=0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shift", [0.0, 3.0, 6.0], ids=["definite", "indefinite", "negative"])
def test_a_small_quadratic_is_maximised_exactly(seed, shift):
    matrix, linear, _ = _small(seed)
    matrix = matrix - shift * torch.eye(5).double()
    x = torch.from_numpy(largest_in_ball(matrix.numpy(), linear.numpy(), 1.5))
    value = float(0.5 * x @ matrix @ x + linear @ x)
    assert float(x.norm()) <= 1.5 * (1 + 1e-12)
    assert value == pytest.approx(trust_region_value(matrix, linear, 1.5), rel=1e-12)


def test_a_small_quadratic_without_slope_is_largest_along_its_top_eigenvector():
    x = largest_in_ball(np.diag([1.0, 5.0]), np.zeros(2), 2.0)
    assert np.abs(x) == pytest.approx([0.0, 2.0])


def test_the_model_of_a_quadratic_gives_the_best_point_of_a_span_and_its_gradient():
    matrix, linear, _ = _small(3)
    model, points = QuadraticModel(linear), [_numbers(i, 5) for i in (10, 11, 12)]
    for z in points:
        model.add(z, matrix @ z + linear)
    found = model.largest(1.0)
    basis = torch.linalg.qr(torch.stack(points, 1)).Q
    expected = trust_region_value(basis.T @ matrix @ basis, basis.T @ linear, 1.0)
    assert float(0.5 * found.z @ matrix @ found.z + linear @ found.z) == pytest.approx(
        expected, rel=1e-10
    )
    assert torch.allclose(found.gradient, matrix @ found.z + linear, atol=1e-10)
