"""What float32 does to losses, gradients and products, against dense float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import classification, images, seeded, tiny_cnn, tiny_mlp
from reference import dense_hessian, loss_of_vector
from torch import nn

from landscape import Problem, measure_sharpness
from landscape.ascent.ball import Ball
from landscape.directions.plane import Plane, random_directions
from landscape.hessian.parts import block_curvatures
from landscape.hessian.rounded import products_with
from landscape.hessian.spectrum import hessian_spectrum
from landscape.problem import rounding as rounding_module
from landscape.problem.rounding import Rounding, gradient_at, losses_at
from landscape.problem.weights import layers_of
from landscape.results.spectral_density import mass_below
from landscape.sharpness.second_order import measure_taylor
from landscape.surface.evaluate import evaluate_surface
from landscape.surface.grid import Axis


def plain_network(
    number: int, num_examples: int = 48
) -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    """Return one of many networks without shortcuts, shallow or deep, with small or large weights.

    Every second one is trained. Their largest eigenvalues are from 1e-1 to 1e5.
    """
    shapes = ((1, 8, 1.0), (4, 6, 2.0), (10, 5, 2.5), (20, 4, 2.2), (2, 8, 8.0), (7, 8, 8.0))
    activations = (nn.Tanh, nn.ReLU, nn.Softplus, nn.GELU)
    depth, width, gain = shapes[number % len(shapes)]
    activation = activations[number // len(shapes) % len(activations)]

    def build() -> nn.Module:
        layers = [nn.Linear(5, width), activation()]
        for _ in range(depth - 1):
            layers += [nn.Linear(width, width), activation()]
        return nn.Sequential(*layers, nn.Linear(width, 3))

    model, data = seeded(build, number), classification(num_examples, seed=number)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(gain)
    if number % 2:
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(100):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(data[0]), data[1]).backward()
            optimizer.step()
    return model, data


def misses(
    number: int, *, num_examples: int = 48, batch_size: int | None = None
) -> tuple[np.ndarray, float]:
    """Return which of the top five and of the least eigenvalue are outside their intervals."""
    model, data = plain_network(number, num_examples)
    found = hessian_spectrum(Problem(model, data, device="cpu", batch_size=batch_size))
    true = torch.linalg.eigvalsh(dense_hessian(model, *data)).flip(0).numpy()
    exact = np.append(true[:5], true[-1])
    values = np.append(found.eigenvalues, found.bottom_eigenvalues)
    assert found.rounding.size
    # The reference rounds too.
    reach = np.concatenate(found.half_widths) + 1e-13 * np.abs(true).max()
    return np.abs(values - exact) > reach, float(true[0])


@pytest.fixture
def on_a_share(monkeypatch):
    """Let no problem be so cheap that all of it is evaluated again."""
    monkeypatch.setattr(rounding_module, "_CHEAP", -1)


def test_the_error_of_a_product_is_its_distance_from_that_of_the_dense_float64_matrix():
    model, data = tiny_mlp(), classification()
    problem = Problem(model, data, device="cpu")
    v = torch.randn(3, problem.spec.size, generator=torch.Generator().manual_seed(0)).double()
    exact = v @ dense_hessian(model, *data)
    rounded = torch.stack([problem.hessian_vector_product(row) for row in v])
    found = Rounding(problem).of(products_with(v))
    assert found == pytest.approx((exact - rounded).norm(dim=1).numpy(), rel=1e-4)
    assert (found > 0).all()


def test_the_errors_of_loss_and_gradient_are_their_distances_from_float64():
    model, data = plain_network(3)
    problem = Problem(model, data, device="cpu")
    loss, w = loss_of_vector(model, *data)
    gradient = torch.func.grad(loss)(w)
    rounding = Rounding(problem)
    assert rounding.of(losses_at([None])) == pytest.approx(
        [abs(float(loss(w)) - problem.loss())], rel=1e-6
    )
    assert rounding.of(gradient_at()) == pytest.approx(
        [float((gradient - problem.gradient().vector).norm())], rel=1e-4
    )


def test_the_loss_at_a_perturbation_is_compared_with_the_exact_sum():
    model, data = tiny_mlp(), classification()
    problem = Problem(model, data, device="cpu")
    e = torch.full((problem.spec.size,), 1e-9, dtype=torch.float64)  # is lost in float32
    loss, w = loss_of_vector(model, *data)
    here = problem.loss()
    found = Rounding(problem).of(losses_at([e]))
    assert found == pytest.approx([abs(float(loss(w + e)) - here)], rel=1e-6)


@pytest.mark.parametrize("number", [0, 8, 15, 21])
def test_intervals_hold_the_dense_float64_eigenvalues(number):
    assert not misses(number)[0].any()


@pytest.mark.slow
def test_intervals_hold_on_a_hundred_problems_with_eigenvalues_up_to_1e5():
    found = [misses(number) for number in range(100)]
    assert sum(int(missed.sum()) for missed, _ in found) == 0
    largest = [size for _, size in found]
    assert min(largest) < 1
    assert max(largest) > 1e5


@pytest.mark.slow
def test_of_intervals_from_a_share_of_the_batches_95_percent_hold(on_a_share):
    missed = np.concatenate([misses(number, batch_size=6)[0] for number in range(100)])
    assert missed.mean() < 0.05


@pytest.mark.slow
def test_of_intervals_from_an_eighth_of_the_examples_95_percent_hold(on_a_share):
    missed = [misses(n, num_examples=384, batch_size=48)[0] for n in range(100)]
    assert np.concatenate(missed).mean() < 0.05


def sharpness_misses(number: int) -> list[bool]:
    """Return which measures at the weights of a network are outside their intervals."""
    model, data = plain_network(number, 512)
    loss, w = loss_of_vector(model, *data)
    gradient, rho, path = torch.func.grad(loss), 0.05, w
    g, here = gradient(w), float(loss(w))
    for _ in range(5):
        path = path + rho / 5 * gradient(path) / gradient(path).norm()
    exact = {
        "asc": float(loss(w + rho * g / g.norm())) - here,
        "nstep": float(loss(path)) - here,
        "first_order": rho * float(g.norm()),
    }
    problem = Problem(model, data, device="cpu", batch_size=32)
    found = measure_sharpness(problem, rho, measures=tuple(exact))
    rows = [(found[name, rho].sharpness, found[name, rho].rounding) for name in exact]
    rows += [(found.loss, found.loss_rounding), (found.gradient_norm, found.gradient_rounding)]
    true = [*exact.values(), here, float(g.norm())]
    pairs = zip(rows, true, strict=True)
    return [abs(value - expected) > error + 1e-13 * here for (value, error), expected in pairs]


@pytest.mark.slow
def test_of_the_intervals_of_sharpness_from_a_share_of_the_examples_95_percent_hold(on_a_share):
    assert np.mean([sharpness_misses(number) for number in range(100)]) < 0.05


def test_the_residual_alone_does_not_hold():
    model, data = plain_network(45)
    found = hessian_spectrum(Problem(model, data, device="cpu"))
    true = float(torch.linalg.eigvalsh(dense_hessian(model, *data))[-1])
    error = abs(found.eigenvalues[0] - true)
    assert max(found.residuals[0], found.noise_floor) < error < found.half_widths[0][0]


def test_the_interval_of_a_ratio_holds_that_of_the_dense_float64_eigenvalues():
    model, data = plain_network(45)
    found = hessian_spectrum(Problem(model, data, device="cpu"), tolerance=1e-9)
    true = torch.linalg.eigvalsh(dense_hessian(model, *data))
    exact = float(true[-1] / true[0])
    ratio, known = found.ratios["lambda_max / lambda_min"], replace(found, rounding=np.empty(0))
    alone = replace(known, bottom_rounding=np.empty(0)).ratios["lambda_max / lambda_min"]
    assert ratio.low <= exact <= ratio.high
    assert ratio.low < alone.low < exact < alone.high < ratio.high


def test_the_batch_with_the_largest_product_is_always_in_the_share(on_a_share):
    model, data = plain_network(45)
    problem = Problem(model, data, device="cpu", batch_size=6)
    hessian = dense_hessian(model, *data)
    v = torch.linalg.eigh(hessian).eigenvectors[:, -1:].mT
    error = float((v @ hessian - problem.hessian_vector_product(v[0])).norm())
    for seed in range(5):
        found = float(Rounding(problem, seed=seed).of(products_with(v))[0])
        assert error < found < 20 * error


def test_two_float64_runs_of_one_function_differ_by_less_than_their_rounding():
    model, data = plain_network(45)
    other = seeded(lambda: plain_network(45)[0])
    order = torch.tensor([2, 0, 3, 1])
    with torch.no_grad():  # the hidden units of the first layer in another order
        for name in ("weight", "bias"):
            getattr(other[0], name).copy_(getattr(model[0], name)[order])
        other[2].weight.copy_(model[2].weight[:, order])
    first, second = (
        hessian_spectrum(
            Problem(each, data, device="cpu", dtype="float64"), tolerance=1e-14, max_matvecs=2000
        )
        for each in (model, other)
    )
    difference = np.abs(first.eigenvalues - second.eigenvalues)
    assert (first.rounding > 0).all()
    assert (first.rounding < 1e-10 * first.eigenvalues[0]).all()
    assert (difference <= first.half_widths[0] + second.half_widths[0]).all()


def test_polished_values_have_the_rounding_of_float64():
    model, data = plain_network(45)
    problem = Problem(model, data, device="cpu")
    found, polished = (hessian_spectrum(problem, polish=is_so) for is_so in (False, True))
    true = float(torch.linalg.eigvalsh(dense_hessian(model, *data))[-1])
    assert polished.rounding == pytest.approx(2**-29 * found.rounding, rel=0.5)
    assert abs(polished.eigenvalues[0] - true) < polished.half_widths[0][0] < 1e-6 * true


@pytest.mark.parametrize("dtype", ["bfloat16"])
def test_a_lower_precision_is_measured_in_the_same_way(dtype):
    data = classification()
    true = torch.linalg.eigvalsh(dense_hessian(tiny_mlp(), *data)).flip(0).numpy()
    found = hessian_spectrum(Problem(tiny_mlp(), data, device="cpu", dtype=dtype), top_k=1)
    assert abs(found.eigenvalues[0] - true[0]) < found.half_widths[0][0]
    assert 1e-4 * true[0] < found.rounding[0] < true[0]


@pytest.mark.parametrize("batchnorm", ["stored", "batch", "recalibrate"])
def test_batch_normalization_is_compared_in_its_own_mode(batchnorm, on_a_share):
    problem = Problem(tiny_cnn(), images(24), device="cpu", batch_size=6, batchnorm=batchnorm)
    found = hessian_spectrum(problem, top_k=2)
    relative = found.rounding / found.eigenvalues
    assert ((relative > 0) & (relative < 1e-4)).all()


class OnlySingle(nn.Module):
    """A linear layer that refuses float64."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = seeded(lambda: nn.Linear(5, 3))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if inputs.dtype == torch.float64:
            raise RuntimeError("float32 only")
        return self.linear(inputs)


def test_where_a_model_has_no_float64_nothing_is_certified():
    found = hessian_spectrum(Problem(OnlySingle(), classification(), device="cpu"), top_k=2)
    assert found.converged
    assert not found.is_certified
    assert found.rounding.size == 0
    assert found.loss_rounding is None


def test_a_value_is_certified_if_its_rounding_is_within_the_tolerance():
    problem = Problem(*plain_network(45), device="cpu")
    assert hessian_spectrum(problem, tolerance=1e-3).is_certified
    fine = hessian_spectrum(problem, tolerance=5e-6, top_k=1, bottom_k=0)
    assert fine.converged
    assert not fine.is_certified


def rounded_hessian(problem: Problem) -> torch.Tensor:
    """Return the matrix (P, P) of the products as they are computed."""
    eye = torch.eye(problem.spec.size, dtype=torch.float64)
    return torch.stack([problem.hessian_vector_product(row) for row in eye])


@pytest.mark.parametrize("number", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 21))])
def test_the_rounding_of_trace_and_density_is_more_than_the_dense_matrices_differ_by(number):
    model, data = plain_network(number)
    problem = Problem(model, data, device="cpu")
    found = hessian_spectrum(problem, trace=True, density=True, num_probes=1)
    exact, rounded = dense_hessian(model, *data), rounded_hessian(problem)
    moved = torch.linalg.eigvalsh(exact) - torch.linalg.eigvalsh((rounded + rounded.mT) / 2)
    assert 0 < abs(float((exact - rounded).trace())) < found.trace.rounding
    assert 0 < float(moved.abs().max()) < found.density.rounding
    assert found.trace.low <= float(exact.trace()) <= found.trace.high
    assert found.trace.rounding < 1e-2 * abs(found.trace.value)


@pytest.mark.parametrize("adaptive", [pytest.param(False, marks=pytest.mark.slow), True])
def test_the_rounding_of_a_prediction_is_more_than_the_dense_matrices_differ_by(adaptive):
    model, data = plain_network(3)
    problem = Problem(model, data, device="cpu")
    ball = Ball.around(problem.weights, adaptive=adaptive)
    scale = torch.ones(problem.spec.size) if ball.scaling is None else ball.scaling.double()
    exact, rounded = dense_hessian(model, *data), rounded_hessian(problem)
    exact, rounded = (scale[:, None] * matrix * scale for matrix in (exact, rounded))
    found = measure_taylor(problem, ball)
    v = torch.linalg.eigh((rounded + rounded.mT) / 2)[1][:, -1]
    assert 0 < abs(float((exact - rounded).trace())) < found.trace_rounding
    assert found.rounding == pytest.approx(float(((exact - rounded) @ v).norm()), rel=0.05)


def test_the_rounding_of_the_trace_of_a_layer_is_more_than_its_dense_blocks_differ_by():
    model, data = plain_network(0)
    problem = Problem(model, data, device="cpu")
    difference = dense_hessian(model, *data) - rounded_hessian(problem)
    layers, places = layers_of(problem.spec), problem.spec.views(torch.arange(problem.spec.size))
    for block in block_curvatures(problem):
        columns = torch.cat([places[tensor].flatten() for tensor in layers[block.name]])
        off = abs(float(difference[columns, columns].sum()))
        assert 0 < off < block.trace_rounding < 0.01 * abs(block.trace)


def test_the_interval_of_a_trace_is_wider_by_its_rounding():
    found = hessian_spectrum(Problem(*plain_network(3), device="cpu"), trace=True).trace
    of_samples = found.high - found.low - 2 * found.rounding
    student = 2.0095752371292397  # 49 degrees of freedom, 97.5 %
    assert of_samples == pytest.approx(2 * student * found.standard_error, rel=1e-6)


def test_a_share_of_eigenvalues_counts_their_rounding():
    problem = Problem(*plain_network(3), device="cpu")
    density = hessian_spectrum(problem, density=True, num_probes=1).density
    at = float(density.outliers[0]) + density.rounding / 2  # it may be on the other side
    known, without = mass_below(density, at), mass_below(replace(density, rounding=None), at)
    assert known.value == without.value
    assert known.low < without.low < known.low + 1.5 / problem.spec.size


@pytest.mark.parametrize("number", [3, 21])
def test_losses_of_a_surface_are_within_its_rounding_of_float64(number):
    model, data = plain_network(number)
    problem = Problem(model, data, device="cpu")
    w = problem.weights
    vectors = random_directions(2, w, problem.spec, seed=0, normalization="filter")
    axes = (Axis(-1.0, 1.0, 7), Axis(-1.0, 1.0, 7))
    found = evaluate_surface(problem, Plane(w, vectors), axes)
    loss, here = loss_of_vector(model, *data)
    x, y = (d.double() for d in vectors)
    exact = np.array([[float(loss(here + a * x + b * y)) for a in found.x] for b in found.y])
    errors = np.abs(found.loss["train"] - exact) / np.maximum(exact, float(loss(here)))
    assert (errors <= found.rounding["train"]).mean() >= 0.95
    assert 0 < found.rounding["train"] < 100 * errors.max()


def test_max_in_batches_has_the_relative_rounding_of_asc():
    problem = Problem(*plain_network(3), device="cpu")
    found = measure_sharpness(problem, 0.05, measures=("max", "asc"), m=12, max_gradients=5)
    asc, largest = found["asc", 0.05], found["max", 0.05]
    assert largest.rounding == pytest.approx(asc.rounding * largest.loss / asc.loss, rel=1e-4)
    alone = measure_sharpness(problem, 0.05, measures=("max",), m=12, max_gradients=5)
    assert alone["max", 0.05].rounding == pytest.approx(largest.rounding)
