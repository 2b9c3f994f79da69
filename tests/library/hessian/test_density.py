"""The quadratures of chosen spectra, beside dense ones."""

import numpy as np
import pytest
import torch
from cases import symmetric_with_spectrum
from scipy.stats import wasserstein_distance
from spectra import trained_hessian

from landscape.errors import InputError, NotFiniteError
from landscape.hessian.density import density
from landscape.hessian.krylov.lanczos import lanczos
from landscape.hessian.operator import MatrixOperator
from landscape.results.spectral_density import mean

VALUES = np.concatenate([np.linspace(-1, 2, 146), [10.0, 20.0, 30.0, -5.0]])
NOTHING = {"outliers": np.empty(0), "residuals": np.empty(0), "vectors": torch.empty(0, 0)}


class Counting(MatrixOperator):
    num_calls = 0

    def matvec(self, v):
        self.num_calls += 1
        return super().matvec(v)


def operator_of(values, seed=0):
    return Counting(symmetric_with_spectrum(list(values), seed))


def known_pairs(matrix, num_top, num_bottom=0):
    values, vectors = np.linalg.eigh(matrix.numpy())
    chosen = [*range(len(values) - 1, len(values) - 1 - num_top, -1), *range(num_bottom)]
    return {
        "outliers": values[chosen],
        "residuals": np.zeros(len(chosen)),
        "vectors": torch.from_numpy(vectors[:, chosen].T.copy()),
    }


def distance(found, values):
    """Wasserstein-1, in units of the eigenvalues."""
    is_node = np.isfinite(found.nodes)
    masses = (found.weights / len(found.weights))[is_node]
    known = np.full(len(found.outliers), 1 / found.num_parameters)
    return wasserstein_distance(
        np.append(found.nodes[is_node], found.outliers),
        values,
        np.append(masses, known),
        np.ones(len(values)),
    )


class Recording(MatrixOperator):
    first = None

    def matvec(self, v):
        self.first = v if self.first is None else self.first
        return super().matvec(v)


def test_the_moments_of_a_probe_are_those_of_the_complement():
    matrix = symmetric_with_spectrum(VALUES.tolist())
    known, operator = known_pairs(matrix, 3, 1), Recording(matrix)
    found = density(operator, **known, num_probes=1, num_steps=5, seed=7)
    v = w = operator.first
    assert (known["vectors"] @ v).abs().max() < 1e-14
    assert v.norm() == pytest.approx(1.0)
    for power in range(1, 10):
        w = matrix @ w
        moment = float((found.weights * found.nodes**power).sum())
        assert moment == pytest.approx(float(v @ w) * 146 / 150, rel=1e-9)


def test_probes_share_nothing_with_the_run_of_the_same_seed_that_found_the_outliers():
    values = [
        100.0,
        80.0,
        60.0,
        *np.linspace(-0.05, 0.05, 300).tolist(),
        *np.linspace(5, 9, 300).tolist(),
    ]
    operator = operator_of(values)
    space = lanczos(operator, top_k=3, tolerance=1e-8, num_check_matvecs=0).space
    ritz = space.ritz()
    kept = np.flatnonzero(
        ritz.residuals < 0.1
    )  # one of them in the middle of the 300 near zero, of which it holds all
    assert ritz.values[kept].min() < 0.05
    vectors = torch.stack([space.vector(ritz.weights[:, index]) for index in kept])
    found = density(
        operator, outliers=ritz.values[kept], residuals=ritz.residuals[kept], vectors=vectors
    )
    near_zero = np.where(np.abs(found.nodes) < 0.1, found.weights, 0).sum(1)
    np.testing.assert_allclose(near_zero, 0.5, atol=0.1)


def test_the_weights_of_each_probe_and_the_outliers_have_mass_one():
    matrix = symmetric_with_spectrum(VALUES.tolist())
    found = density(MatrixOperator(matrix), **known_pairs(matrix, 3), num_probes=4, num_steps=12)
    np.testing.assert_allclose(found.weights.sum(1), 147 / 150, rtol=1e-12)
    assert found.nodes.shape == (4, 12)
    assert (np.diff(found.nodes) > 0).all()


def test_the_mean_of_the_density_is_the_trace_over_the_number_of_weights():
    matrix = symmetric_with_spectrum(VALUES.tolist())
    found = density(
        MatrixOperator(matrix), **known_pairs(matrix, 3, 1), num_probes=200, num_steps=3
    )
    means = (found.nodes * found.weights).sum(1)
    error = means.std(ddof=1) / np.sqrt(200)
    assert abs(mean(found) - VALUES.mean()) < 4 * error
    assert error < 0.02


def test_no_eigenvalue_is_found_twice_in_a_long_run():
    found = density(operator_of(VALUES), **NOTHING, num_probes=1, num_steps=150)
    np.testing.assert_allclose(np.sort(found.nodes[0]), np.sort(VALUES), atol=1e-9)


def test_a_node_is_never_an_outlier_that_is_known():
    matrix = symmetric_with_spectrum(VALUES.tolist())
    found = density(MatrixOperator(matrix), **known_pairs(matrix, 3, 1), num_probes=2, num_steps=60)
    assert found.nodes.max() < 2 + 1e-9
    assert found.nodes.min() > -1 - 1e-9


def test_an_exhausted_space_has_fewer_nodes():
    values = [0.0] * 30 + [1.0] * 10 + [4.0]
    operator = operator_of(values)
    found = density(operator, **NOTHING, num_probes=2, num_steps=8)
    np.testing.assert_allclose(found.nodes[:, :3], [[0, 1, 4]] * 2, atol=1e-9)
    assert np.isnan(found.nodes[:, 3:]).all()
    np.testing.assert_allclose(found.weights.sum(1), 1.0)
    assert found.num_matvecs == operator.num_calls == 6


def test_known_eigenpairs_alone_need_no_products():
    matrix = symmetric_with_spectrum([3.0, 2.0, 1.0])
    operator = Counting(matrix)
    found = density(operator, **known_pairs(matrix, 3))
    assert operator.num_calls == found.num_matvecs == found.nodes.size == 0


def test_a_probe_that_was_cut_is_left_out():
    operator = operator_of(VALUES)
    found = density(
        operator,
        **NOTHING,
        num_probes=4,
        num_steps=10,
        should_stop=lambda: operator.num_calls == 25,
    )
    assert found.nodes.shape == (2, 10)
    assert found.num_matvecs == 25


def test_nodes_of_an_exhausted_probe_are_eigenvalues_where_the_next_one_was_cut():
    operator = operator_of([0.0] * 30 + [1.0] * 10 + [4.0])
    found = density(
        operator, **NOTHING, num_probes=2, num_steps=8, should_stop=lambda: operator.num_calls == 4
    )
    assert found.nodes.shape == (1, 8)
    assert np.isnan(found.nodes[0, 3:]).all()


def test_the_first_probe_is_kept_with_the_nodes_it_has():
    operator = operator_of(VALUES)
    found = density(
        operator, **NOTHING, num_probes=4, num_steps=10, should_stop=lambda: operator.num_calls == 6
    )
    assert found.nodes.shape == (1, 6)
    assert found.weights.sum() == pytest.approx(1.0)


def test_one_seed_gives_one_density_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    first, again, other = (
        density(operator_of(VALUES), **NOTHING, num_probes=1, num_steps=5, seed=seed).nodes
        for seed in (4, 4, 5)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
def test_on_a_trained_network_known_outliers_bring_the_density_nearer_after_as_many_products():
    matrix = trained_hessian(width=12)
    operator, values = MatrixOperator(matrix), np.linalg.eigvalsh(matrix.numpy())
    known = known_pairs(matrix, 12, 4)  # what 60 products find to 1e-3 of the largest and better
    plain = [
        distance(density(operator, **NOTHING, num_steps=40, seed=seed), values) for seed in range(8)
    ]
    ours = [
        distance(density(operator, **known, num_steps=28, seed=seed), values) for seed in range(8)
    ]
    assert np.mean(ours) < 0.85 * np.mean(plain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_probes": 0}, "at least 1 probe and 1 step, got 0 and 40"),
        ({"num_steps": 0}, "at least 1 probe and 1 step, got 5 and 0"),
        ({"outliers": np.ones(2)}, "got 2 outliers, 0 residuals"),
        (
            {"outliers": np.ones(1), "residuals": np.ones(1), "vectors": torch.ones(1, 4)},
            "a vector of 150 entries, got .* shape \\(1, 4\\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        density(operator_of(VALUES), **{**NOTHING, **change})


def test_a_product_that_is_not_finite_is_an_error():
    with pytest.raises(NotFiniteError, match="holds NaN or inf"):
        density(MatrixOperator(torch.full((3, 3), torch.nan)), **NOTHING)
