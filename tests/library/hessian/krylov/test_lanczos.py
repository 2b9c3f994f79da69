import numpy as np
import pytest
import torch
from cases import symmetric_with_spectrum

from landscape.errors import InputError, LandscapeError
from landscape.hessian.krylov.goal import noise_floor
from landscape.hessian.krylov.lanczos import lanczos
from landscape.hessian.operator import MatrixOperator

SPECTRA = {
    "spread": np.linspace(-3, 10, 120).tolist(),
    "outliers": [50.0, 40.0, 30.0, 20.0, 10.0, *np.linspace(-0.5, 0.5, 114).tolist(), -4.0],
    "cluster": [1.0, 0.99, 0.98, 0.97, 0.96, *np.linspace(0, 0.5, 95).tolist()],
    "repeated": [2.0, 2.0, 2.0, 1.0, -1.0, -1.0],
    "plus and minus": [1.0, -0.999, *np.linspace(-0.5, 0.5, 60).tolist()],
    "low rank": [3.0, 1.0, *[0.0] * 40],
    "negative": (-np.linspace(1, 5, 30)).tolist(),
    "zero": [0.0] * 12,
}


def _operator(name):
    return MatrixOperator(symmetric_with_spectrum(SPECTRA[name]))


@pytest.mark.parametrize("name", [name for name in SPECTRA if name != "repeated"])
def test_both_ends_of_a_chosen_spectrum_are_found(name):
    values = np.sort(SPECTRA[name])
    k = 2 if name == "low rank" else 5
    found = lanczos(_operator(name), top_k=k, bottom_k=2)
    scale = max(1.0, np.abs(values).max())
    np.testing.assert_allclose(found.eigenvalues, values[::-1][:k], atol=1e-8 * scale)
    np.testing.assert_allclose(found.bottom_eigenvalues, values[:2], atol=1e-8 * scale)
    assert found.converged


def test_repeated_eigenvalues_are_found_when_the_space_is_exhausted():
    found = lanczos(_operator("repeated"), top_k=4, bottom_k=2)
    np.testing.assert_allclose(found.eigenvalues, [2.0, 2.0, 2.0, 1.0], atol=1e-10)
    np.testing.assert_allclose(found.bottom_eigenvalues, [-1.0, -1.0], atol=1e-10)


@pytest.mark.parametrize("name", SPECTRA)
def test_an_eigenvalue_lies_within_each_residual(name):
    values = np.array(SPECTRA[name])
    found = lanczos(_operator(name), top_k=3, bottom_k=1, tolerance=1e-2)
    for theta, r in zip(
        [*found.eigenvalues, *found.bottom_eigenvalues],
        [*found.residuals, *found.bottom_residuals],
        strict=True,
    ):
        assert np.abs(values - theta).min() <= r + 1e-12 * max(1.0, np.abs(values).max())


def test_vectors_are_orthonormal_and_belong_to_the_values():
    operator = _operator("outliers")
    found = lanczos(operator, top_k=5, bottom_k=1)
    torch.testing.assert_close(
        found.vectors @ found.vectors.T, torch.eye(6).double(), atol=1e-8, rtol=0
    )
    np.testing.assert_allclose(
        torch.einsum(
            "ip,ip->i", found.vectors, torch.stack([operator.matvec(v) for v in found.vectors])
        ),
        [*found.eigenvalues, *found.bottom_eigenvalues],
        rtol=1e-12,
    )


def test_no_value_is_found_twice_in_a_long_run():
    values = [10.0, 5.0, 3.0, 2.0, 1.5, *np.linspace(-1, 1, 395).tolist()]
    found = lanczos(
        MatrixOperator(symmetric_with_spectrum(values)), top_k=5, bottom_k=5, tolerance=1e-12
    )
    np.testing.assert_allclose(found.eigenvalues, values[:5], rtol=1e-9)
    assert len(set(np.round(found.bottom_eigenvalues, 6))) == 5


def test_a_tighter_tolerance_gives_smaller_residuals_for_more_products():
    loose, tight = (lanczos(_operator("spread"), top_k=2, tolerance=t) for t in (1e-2, 1e-8))
    assert tight.residuals.max() < loose.residuals.max()
    assert tight.num_matvecs > loose.num_matvecs


def test_every_product_is_counted():
    class Counting(MatrixOperator):
        num_calls = 0

        def matvec(self, v):
            self.num_calls += 1
            return super().matvec(v)

    operator = Counting(symmetric_with_spectrum(SPECTRA["outliers"]))
    assert lanczos(operator, top_k=3, bottom_k=1).num_matvecs == operator.num_calls


def test_a_run_that_stops_at_its_limit_says_so():
    found = lanczos(_operator("spread"), top_k=5, bottom_k=1, max_matvecs=14)
    assert not found.converged
    assert found.num_matvecs == 14


def test_the_same_seed_gives_the_same_values_bit_for_bit():
    first, again = (lanczos(_operator("outliers"), top_k=3, seed=4).eigenvalues for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_the_global_generator_is_untouched():
    before = torch.get_rng_state()
    lanczos(_operator("outliers"), top_k=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_float32_products_with_a_float64_basis_are_accurate_to_1e6():
    matrix = symmetric_with_spectrum(SPECTRA["outliers"])
    found = lanczos(MatrixOperator(matrix.float()), top_k=5, bottom_k=1)
    np.testing.assert_allclose(found.eigenvalues, [50, 40, 30, 20, 10], rtol=1e-6)
    np.testing.assert_allclose(found.bottom_eigenvalues, [-4], rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"top_k": 0}, "top-k must be at least 1"),
        ({"top_k": 5, "bottom_k": 2}, "at most the number of parameters 6, got 5 \\+ 2"),
        ({"top_k": 3, "max_matvecs": 5}, "max-matvecs must be at least twice"),
        (
            {"top_k": 3, "bottom_k": 1, "which": "magnitude"},
            "bottom-k must be 0 where the largest in magnitude",
        ),
        (
            {"top_k": 3, "which": "smallest"},
            "which must be one of algebraic, magnitude, got 'smallest'",
        ),
        ({"top_k": 1, "num_check_matvecs": -1}, "second look must be at least 0, got -1"),
        ({"top_k": 1, "memory": 100}, "the vectors of a Lanczos run must fit into memory"),
        ({"top_k": 1, "tolerance": 0.0}, "tolerance must be a positive number"),
        ({"top_k": 1, "tolerance": float("nan")}, "tolerance must be a positive number"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        lanczos(_operator("repeated"), **arguments)


def test_a_product_that_is_not_finite_is_an_error():
    matrix = torch.eye(5, dtype=torch.float64)
    matrix[2, 2] = torch.nan
    with pytest.raises(LandscapeError, match="holds NaN or inf"):
        lanczos(MatrixOperator(matrix), top_k=1)


class _Rough(MatrixOperator):
    """Products whose rounding is larger than their dtype says."""

    def matvec(self, v):
        noise = torch.randn(
            len(v), generator=torch.Generator().manual_seed(int(1e6 * abs(float(v[0]))))
        )
        return super().matvec(v) + 1e-2 * noise.double()


def test_convergence_is_decided_by_the_true_residuals():
    found = lanczos(
        _Rough(symmetric_with_spectrum(SPECTRA["outliers"])), top_k=5, bottom_k=1, tolerance=1e-8
    )
    assert found.residuals.min() > 1e-3
    assert not found.converged


def test_rounding_ends_a_run_whose_tolerance_is_below_it():
    matrix = symmetric_with_spectrum(SPECTRA["outliers"]).float()
    found = lanczos(MatrixOperator(matrix), top_k=2, tolerance=1e-15)
    assert found.converged
    assert found.num_matvecs < 60
    assert found.noise_floor == pytest.approx(50 * 8 * 2**-23, rel=1e-3)


def test_bfloat16_is_not_called_converged_by_its_rounding():
    assert noise_floor(torch.bfloat16) <= 1e-3


@pytest.mark.parametrize(("top_k", "bottom_k"), [(1, 0), (5, 2), (12, 0), (8, 4), (3, 9)])
@pytest.mark.parametrize(
    "values", [[0.0] * 12, [1.0] * 12, [7.0] + [0.0] * 11, [-7.0] + [0.0] * 11, [2.0, -2.0] * 6]
)
def test_spectra_of_few_values_are_found_whole(values, top_k, bottom_k):
    found = lanczos(MatrixOperator(symmetric_with_spectrum(values)), top_k=top_k, bottom_k=bottom_k)
    np.testing.assert_allclose(found.eigenvalues, np.sort(values)[::-1][:top_k], atol=1e-8)
    np.testing.assert_allclose(found.bottom_eigenvalues, np.sort(values)[:bottom_k], atol=1e-8)
    assert found.converged


@pytest.mark.parametrize("values", [[3.0], [0.0], [2.0, -1.0], [2.0, 2.0]])
def test_the_smallest_matrices_are_solved(values):
    found = lanczos(MatrixOperator(symmetric_with_spectrum(values)), top_k=len(values))
    np.testing.assert_allclose(found.eigenvalues, values, atol=1e-12)


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("k", [1, 4, 6])
def test_the_largest_in_magnitude_come_from_both_ends(name, k):
    values = np.array(SPECTRA[name])
    found = lanczos(_operator(name), top_k=k, which="magnitude")
    chosen = values[np.argsort(-np.abs(values), kind="stable")[:k]]
    np.testing.assert_allclose(
        np.sort(np.abs(found.eigenvalues)),
        np.sort(np.abs(chosen)),
        atol=1e-8 * np.abs(values).max(),
    )
    assert (np.diff(found.eigenvalues) <= 0).all()
    assert found.bottom_eigenvalues.size == 0


def test_plus_and_minus_pairs_are_told_apart_in_magnitude():
    found = lanczos(_operator("plus and minus"), top_k=2, which="magnitude")
    np.testing.assert_allclose(found.eigenvalues, [1.0, -0.999], rtol=1e-8)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4])
def test_estimates_are_the_residual_squared_over_the_gap(tolerance):
    found = lanczos(_operator("outliers"), top_k=3, bottom_k=1, tolerance=tolerance)
    np.testing.assert_allclose(found.pairs.errors[:3], found.residuals**2 / 10, rtol=1e-2)
    np.testing.assert_allclose(found.pairs.errors[3:], found.bottom_residuals**2 / 3.5, rtol=0.2)


def test_an_estimate_is_never_larger_than_what_is_certified():
    found = lanczos(_operator("cluster"), top_k=5, bottom_k=5, tolerance=1e-2)
    pairs = found.pairs
    assert len(pairs.errors) == 10
    assert (pairs.errors <= pairs.residuals).all()


def _space(name="outliers", **options):
    return lanczos(_operator(name), top_k=3, bottom_k=1, **options).space


def _basis(space):
    """An orthonormal basis of what `remove` removes, (m, P)."""
    complement = torch.stack(
        [space.remove(v) for v in torch.eye(space.dimension, dtype=torch.float64)]
    )
    values, vectors = torch.linalg.eigh(
        torch.eye(space.dimension) - (complement + complement.T) / 2
    )
    return vectors[:, values > 0.5].T


@pytest.mark.parametrize("memory", [None, 120 * (9 * 8 + 4 * 30)], ids=["whole", "restarted"])
def test_the_space_is_one_on_which_the_matrix_has_the_projected_values(memory):
    space = _space(memory=memory)
    basis = _basis(space)
    assert space.size == len(basis) == len(space.projected)
    dense = basis @ symmetric_with_spectrum(SPECTRA["outliers"]) @ basis.T
    np.testing.assert_allclose(
        np.linalg.eigvalsh(space.projected), np.linalg.eigvalsh(dense), atol=1e-5
    )


def test_what_the_space_leaves_of_its_own_vectors_is_nothing():
    space = _space()
    assert space.remove(_basis(space)[0]).norm() < 1e-14


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_a_symmetric_matrix_is_symmetric_up_to_the_rounding_of_its_products(dtype, limit):
    matrix = symmetric_with_spectrum(SPECTRA["spread"]).to(dtype)
    assert lanczos(MatrixOperator(matrix), top_k=3).asymmetry < limit


@pytest.mark.parametrize("size", [1e-3, 1e-1])
def test_asymmetry_shows_an_antisymmetric_part(size):
    matrix = symmetric_with_spectrum(SPECTRA["spread"])
    noise = torch.randn(120, 120, generator=torch.Generator().manual_seed(1)).double()
    part = size * 10 * (noise - noise.T) / (noise - noise.T).abs().max()
    found = lanczos(MatrixOperator(matrix + part), top_k=3, max_matvecs=40)
    bound = 2 * float(torch.linalg.matrix_norm(part, 2)) / found.eigenvalues[0]
    assert bound / 20 < found.asymmetry < bound
    assert found.asymmetry > 1e-4  # far above the rounding in float32


def test_asymmetry_is_seen_across_restarts():
    matrix = symmetric_with_spectrum(SPECTRA["spread"])
    found = lanczos(MatrixOperator(matrix), top_k=3, memory=120 * (8 * 8 + 4 * 30), tolerance=1e-6)
    assert "thick restart" in found.memory
    assert found.asymmetry < 1e-6
    matrix[3, 7] += 1.0
    found = lanczos(MatrixOperator(matrix), top_k=3, memory=120 * (8 * 8 + 4 * 30), max_matvecs=60)
    assert found.asymmetry > 1e-3


class _StopAfter:
    """Says stop at a number of calls, and keeps what it was asked."""

    def __init__(self, number):
        self.number, self.asked = number, []

    def __call__(self, num_matvecs):
        self.asked.append(num_matvecs)
        return len(self.asked) > self.number


@pytest.mark.parametrize("number", [6, 11])
def test_a_run_that_is_told_to_stop_certifies_what_it_has(number):
    found = lanczos(_operator("spread"), top_k=5, bottom_k=1, should_stop=_StopAfter(number))
    assert found.num_matvecs == number + 6
    assert not found.converged
    assert found.second_look is None
    values = np.array(SPECTRA["spread"])
    for theta, r in zip(found.eigenvalues, found.residuals, strict=True):
        assert np.abs(values - theta).min() <= r


def test_it_asks_whether_there_is_time_for_the_certificates_too():
    should_stop = _StopAfter(9)
    lanczos(_operator("spread"), top_k=5, bottom_k=1, should_stop=should_stop)
    assert should_stop.asked == [7] * 10


def test_a_run_makes_as_many_products_as_eigenvalues_even_if_told_to_stop():
    found = lanczos(_operator("spread"), top_k=5, bottom_k=1, should_stop=lambda num_matvecs: True)
    assert found.num_matvecs == 12
    assert len(found.eigenvalues) == 5


def test_a_stop_before_the_second_look_leaves_what_was_found():
    whole = lanczos(_operator("outliers"), top_k=5, bottom_k=1)
    first = whole.num_matvecs - whole.second_look.num_matvecs
    found = lanczos(_operator("outliers"), top_k=5, bottom_k=1, should_stop=_StopAfter(first - 6))
    np.testing.assert_array_equal(found.eigenvalues, whole.eigenvalues)
    assert found.num_matvecs == first
    assert found.second_look is None


def test_a_start_near_the_eigenvectors_saves_products():
    cold = lanczos(_operator("outliers"), top_k=5, bottom_k=1, num_check_matvecs=0)
    nudge = 1e-3 * symmetric_with_spectrum(np.linspace(-1, 1, 120).tolist(), seed=1)
    nearby = MatrixOperator(symmetric_with_spectrum(SPECTRA["outliers"]) + nudge)
    again = lanczos(nearby, top_k=5, bottom_k=1, tolerance=1e-4, num_check_matvecs=0)
    warm = lanczos(
        nearby,
        top_k=5,
        bottom_k=1,
        tolerance=1e-4,
        start=7 * cold.vectors.sum(0),
        num_check_matvecs=0,
    )
    np.testing.assert_allclose(warm.eigenvalues, again.eigenvalues, rtol=1e-4)
    assert warm.num_matvecs < again.num_matvecs


def test_a_start_that_is_an_eigenvector_hides_nothing():
    vectors = lanczos(_operator("outliers"), top_k=5).vectors
    found = lanczos(_operator("outliers"), top_k=5, start=vectors[2])
    np.testing.assert_allclose(found.eigenvalues, [50, 40, 30, 20, 10], rtol=1e-8)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (torch.zeros(6), "a start vector must have a positive length, got 0"),
        (torch.full((6,), torch.nan), "a start vector must have a positive length, got nan"),
        (torch.ones(5), r"a start vector must have 6 entries, got \(5,\)"),
    ],
)
def test_a_start_that_is_no_direction_is_refused(start, message):
    with pytest.raises(InputError, match=message):
        lanczos(_operator("repeated"), top_k=1, start=start)
