"""What is read off outliers and quadratures."""

import numpy as np
import pytest
from scipy.linalg import eigh_tridiagonal

from landscape.results.spectral_density import (
    band,
    kernel_width,
    mass_below,
    mass_below_near_zero,
    mass_below_zero,
    mass_near_zero,
    mean,
    near_zero_width,
    smoothed,
)
from landscape.results.spectrum import Density

SIZE = 400


def gauss(values, num_nodes):
    """The Gauss quadrature of equal masses at values, by the Lanczos recurrence on the diagonal
    matrix of them."""
    basis, alphas, betas = [np.full(len(values), len(values) ** -0.5)], [], []
    for _ in range(num_nodes):
        v = values * basis[-1]
        alphas.append(v @ basis[-1])
        for _ in range(2):
            v = v - np.array(basis).T @ (np.array(basis) @ v)
        betas.append(np.linalg.norm(v))
        basis.append(v / betas[-1])
    nodes, vectors = np.linalg.eigh(
        np.diag(alphas) + np.diag(betas[:-1], 1) + np.diag(betas[:-1], -1)
    )
    return nodes, vectors[0] ** 2


def density_of(values, *, num_known=0, num_nodes=12, num_probes=3, noise_floor=0.0):
    """A density whose probes all see the values that are not known, in equal shares."""
    values = np.sort(values)
    known, rest = values[len(values) - num_known :], values[: len(values) - num_known]
    nodes, weights = gauss(rest, num_nodes)
    return Density(
        outliers=known,
        outlier_residuals=np.zeros(num_known),
        nodes=np.tile(nodes, (num_probes, 1)),
        weights=np.tile(weights * len(rest) / len(values), (num_probes, 1)),
        num_matvecs=num_nodes * num_probes,
        num_parameters=len(values),
        noise_floor=noise_floor,
    )


@pytest.fixture
def values():
    return np.concatenate([np.random.default_rng(0).normal(0.1, 0.5, SIZE - 3), [4.0, 6.0, 9.0]])


@pytest.mark.parametrize("num_known", [0, 3])
@pytest.mark.parametrize("width", [None, 0.3])
def test_the_smoothed_density_integrates_to_one_and_has_the_mean_of_the_eigenvalues(
    values, num_known, width
):
    density = density_of(values, num_known=num_known)
    x = np.linspace(-15, 25, 8001)
    curve = smoothed(density, x, width)
    assert np.trapezoid(curve, x) == pytest.approx(1.0, abs=1e-9)
    assert np.trapezoid(curve * x, x) == pytest.approx(values.mean(), abs=1e-9)
    assert mean(density) == pytest.approx(values.mean(), abs=1e-12)


def test_the_smoothed_density_is_that_of_the_eigenvalues_where_the_kernel_hides_the_nodes(values):
    x, width = np.linspace(-2, 10, 60), 0.8
    exact = np.exp(-0.5 * ((x[:, None] - values) / width) ** 2).mean(1) / (
        width * np.sqrt(2 * np.pi)
    )
    np.testing.assert_allclose(
        smoothed(density_of(values, num_known=3), x, width), exact, atol=1e-6
    )


def test_a_wider_spectrum_has_a_wider_kernel_and_more_nodes_a_narrower_one(values):
    narrow = kernel_width(density_of(values, num_known=3, num_nodes=24))
    assert narrow < kernel_width(density_of(values, num_known=3))
    assert kernel_width(density_of(10 * values, num_known=3)) == pytest.approx(
        10 * kernel_width(density_of(values, num_known=3))
    )


def random_probes(number, seed=0):
    generator = np.random.default_rng(seed)
    nodes = np.sort(generator.normal(size=(number, 8)), axis=1)
    weights = generator.dirichlet(np.ones(8), size=number) * (1 - 1 / SIZE)
    return Density(np.array([5.0]), np.zeros(1), nodes, weights, 8 * number, SIZE)


def test_the_band_is_that_of_the_mean_of_the_probes():
    density, x = random_probes(60), np.linspace(-2, 2, 5)
    low, high = band(density, x, 0.5)
    curves = np.array([smoothed(random_probe(density, i), x, 0.5) for i in range(60)])
    expected = 2 * 1.96 * curves.std(0, ddof=1) / np.sqrt(60)
    np.testing.assert_allclose(high - low, expected, rtol=0.03)
    assert ((low < smoothed(density, x, 0.5)) & (smoothed(density, x, 0.5) < high)).all()


@pytest.mark.parametrize("number", [3, 5, 20])
def test_the_band_holds_the_expectation_of_the_probes_as_often_as_it_says(number):
    expected = (1 - 1 / SIZE) / np.sqrt(
        2 * np.pi * 1.25
    )  # standard normal nodes under a kernel of width 0.5, at 0
    bands = [band(random_probes(number, seed), np.zeros(1), 0.5) for seed in range(500)]
    share = np.mean([low[0] <= expected <= high[0] for low, high in bands])
    assert abs(share - 0.95) < 4 * np.sqrt(0.05 * 0.95 / 500)


def test_the_band_is_not_below_zero():
    low, _ = band(random_probes(3), np.linspace(-4, 4, 50), 0.1)
    assert low.min() >= 0


def random_probe(density, index):
    rows = slice(index, index + 1)
    return Density(
        density.outliers, np.zeros(1), density.nodes[rows], density.weights[rows], 8, SIZE
    )


def test_a_single_probe_has_a_band_of_no_width_and_no_standard_error():
    density, x = random_probes(1), np.linspace(-2, 2, 5)
    low, high = band(density, x)
    np.testing.assert_allclose(low, high)
    assert mass_below(density, 0.0).standard_error is None


@pytest.mark.parametrize("num_known", [0, 3])
@pytest.mark.parametrize("value", [-0.4, 0.05, 0.3, 5.0, 20.0])
def test_the_true_mass_below_a_value_is_within_the_bounds(values, value, num_known):
    mass = mass_below(density_of(values, num_known=num_known), value)
    assert mass.low - 1e-9 <= (values < value).mean() <= mass.high + 1e-9
    assert mass.value == pytest.approx((mass.low + mass.high) / 2)


def test_more_nodes_bring_the_bounds_together(values):
    few, many = (mass_below(density_of(values, num_nodes=number), 0.1) for number in (6, 30))
    assert many.high - many.low < 0.5 * (few.high - few.low)


def test_eigenvalues_at_zero_are_near_it_and_not_below(values):
    values = np.concatenate([np.zeros(300), np.linspace(0.2, 3, 100)])
    density = density_of(values, num_nodes=30)
    near = mass_near_zero(density)
    assert near.low <= 0.75 <= near.high
    assert near.high - near.low < 0.01
    assert mass_below_near_zero(density).high < 0.005


def test_rounding_is_not_below_zero():
    values = np.concatenate([np.full(50, -1e-4), np.linspace(0.5, 1, 50)])
    density = density_of(values, num_nodes=20, noise_floor=0.1)
    assert near_zero_width(density) == 0.1
    assert mass_below_near_zero(density).value < 0.01
    assert mass_near_zero(density).value == pytest.approx(0.5, abs=0.01)


def test_what_is_below_near_and_above_zero_is_everything(values):
    density = density_of(values, num_known=3)
    up_to = mass_below(density, near_zero_width(density)).value
    assert mass_below_near_zero(density).value + mass_near_zero(density).value == pytest.approx(
        up_to
    )


def test_the_standard_error_is_that_of_the_mean_over_the_probes():
    density = random_probes(7)
    each = [mass_below(random_probe(density, i), 0.2).value for i in range(7)]
    found = mass_below(density, 0.2)
    assert found.value == pytest.approx(np.mean(each))
    assert found.standard_error == pytest.approx(np.std(each, ddof=1) / np.sqrt(7))


def test_exhausted_quadratures_are_counted_and_not_bounded():
    nodes, weights = np.array([[-1.0, 0.0, 2.0, np.nan]]), np.array([[0.2, 0.3, 0.5, 0.0]])
    mass = mass_below(Density(np.empty(0), np.empty(0), nodes, weights, 3, 50), 1.0)
    assert (mass.low, mass.high) == (pytest.approx(0.5), pytest.approx(0.5))


def test_known_eigenvalues_alone_are_a_density():
    known = np.array([3.0, 1.0, -1.0, 0.0])
    density = Density(known, np.zeros(4), np.empty((0, 0)), np.empty((0, 0)), 0, 4)
    x = np.linspace(-9, 11, 4001)
    assert np.trapezoid(smoothed(density, x), x) == pytest.approx(1.0)
    assert mean(density) == 0.75
    assert mass_below_near_zero(density).value == mass_near_zero(density).value == 0.25


@pytest.mark.parametrize("num_probes", [1, 3, 5])
@pytest.mark.parametrize("value", [-0.02, 0.0, 0.3])
def test_the_true_mass_is_within_the_interval_of_random_probes(num_probes, value):
    generator = np.random.default_rng(3)
    eigenvalues = np.concatenate([generator.normal(0, 0.05, 300), generator.exponential(1, 100)])
    true, inside = (eigenvalues < value).mean(), 0
    for _ in range(60):
        nodes, weights = [], []
        for _ in range(num_probes):
            v = generator.standard_normal(len(eigenvalues))
            rule = quadrature(eigenvalues, v**2 / (v @ v), 12)
            nodes.append(rule[0])
            weights.append(rule[1])
        density = Density(
            np.empty(0), np.empty(0), np.array(nodes), np.array(weights), 0, len(eigenvalues)
        )
        mass = mass_below(density, value)
        inside += mass.at_least <= true <= mass.at_most
    assert inside >= 0.95 * 60


def quadrature(values, weights, count):
    """The Gauss quadrature of so many nodes of a measure, by Lanczos on its diagonal matrix."""
    q, before, beta = np.sqrt(weights), np.zeros(len(values)), 0.0
    basis, diagonal, beside = [q], [], []
    for _ in range(count):
        r = values * q - beta * before
        diagonal.append(q @ r)
        for _ in range(2):
            r = r - np.array(basis).T @ (np.array(basis) @ r)
        beta = np.linalg.norm(r)
        before, q = q, r / beta
        basis.append(q)
        beside.append(beta)
    nodes, vectors = eigh_tridiagonal(diagonal, beside[:-1])
    return nodes, vectors[0] ** 2


def test_negative_eigenvalues_near_zero_are_below_zero_and_not_below_near_zero():
    values = np.concatenate([np.full(30, -2e-3), np.linspace(0.5, 1, 70)])
    density = density_of(values, num_nodes=20)
    assert mass_below_near_zero(density).at_most < 0.3
    below = mass_below_zero(density)
    assert below.at_least <= 0.3 <= below.at_most
    assert below.value == pytest.approx(0.3, abs=0.05)
