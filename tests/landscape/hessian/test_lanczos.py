import numpy as np
import pytest
import torch
from cases import symmetric_with_spectrum

from landscape.errors import InputError, LandscapeError
from landscape.hessian.lanczos import lanczos, noise_floor
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
    np.testing.assert_allclose(found.top, values[::-1][:k], atol=1e-8 * scale)
    np.testing.assert_allclose(found.bottom, values[:2], atol=1e-8 * scale)
    assert found.converged


def test_repeated_eigenvalues_are_found_when_the_space_is_exhausted():
    found = lanczos(_operator("repeated"), top_k=4, bottom_k=2)
    np.testing.assert_allclose(found.top, [2.0, 2.0, 2.0, 1.0], atol=1e-10)
    np.testing.assert_allclose(found.bottom, [-1.0, -1.0], atol=1e-10)


@pytest.mark.parametrize("name", SPECTRA)
def test_an_eigenvalue_lies_within_each_residual(name):
    values = np.array(SPECTRA[name])
    found = lanczos(_operator(name), top_k=3, bottom_k=1, tolerance=1e-2)
    for theta, r in zip([*found.top, *found.bottom], [*found.top_residuals, *found.bottom_residuals], strict=True):
        assert np.abs(values - theta).min() <= r + 1e-12 * max(1.0, np.abs(values).max())


def test_vectors_are_orthonormal_and_belong_to_the_values():
    operator = _operator("outliers")
    found = lanczos(operator, top_k=5, bottom_k=1)
    torch.testing.assert_close(found.vectors @ found.vectors.T, torch.eye(6).double(), atol=1e-8, rtol=0)
    np.testing.assert_allclose(
        torch.einsum("ip,ip->i", found.vectors, torch.stack([operator.matvec(v) for v in found.vectors])),
        [*found.top, *found.bottom],
        rtol=1e-12,
    )


def test_no_value_is_found_twice_in_a_long_run():
    values = [10.0, 5.0, 3.0, 2.0, 1.5, *np.linspace(-1, 1, 395).tolist()]
    found = lanczos(MatrixOperator(symmetric_with_spectrum(values)), top_k=5, bottom_k=5, tolerance=1e-12)
    np.testing.assert_allclose(found.top, values[:5], rtol=1e-9)
    assert len(set(np.round(found.bottom, 6))) == 5


def test_a_tighter_tolerance_gives_smaller_residuals_for_more_products():
    loose, tight = (lanczos(_operator("spread"), top_k=2, tolerance=t) for t in (1e-2, 1e-8))
    assert tight.top_residuals.max() < loose.top_residuals.max()
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
    first, again = (lanczos(_operator("outliers"), top_k=3, seed=4).top for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_the_global_generator_is_untouched():
    before = torch.get_rng_state()
    lanczos(_operator("outliers"), top_k=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_float32_products_with_a_float64_basis_are_accurate_to_1e6():
    matrix = symmetric_with_spectrum(SPECTRA["outliers"])
    found = lanczos(MatrixOperator(matrix.float()), top_k=5, bottom_k=1)
    np.testing.assert_allclose(found.top, [50, 40, 30, 20, 10], rtol=1e-6)
    np.testing.assert_allclose(found.bottom, [-4], rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"top_k": 0}, "top-k must be at least 1"),
        ({"top_k": 5, "bottom_k": 2}, "at most the number of parameters 6, got 5 \\+ 2"),
        ({"top_k": 3, "max_matvecs": 5}, "max-matvecs must be at least twice"),
        ({"top_k": 1, "tolerance": 0.0}, "tol must be a positive number"),
        ({"top_k": 1, "tolerance": float("nan")}, "tol must be a positive number"),
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
        noise = torch.randn(len(v), generator=torch.Generator().manual_seed(int(1e6 * abs(float(v[0])))))
        return super().matvec(v) + 1e-2 * noise.double()


def test_convergence_is_decided_by_the_true_residuals():
    found = lanczos(_Rough(symmetric_with_spectrum(SPECTRA["outliers"])), top_k=5, bottom_k=1, tolerance=1e-8)
    assert found.top_residuals.min() > 1e-3
    assert not found.converged


def test_rounding_ends_a_run_whose_tolerance_is_below_it():
    matrix = symmetric_with_spectrum(SPECTRA["outliers"]).float()
    found = lanczos(MatrixOperator(matrix), top_k=2, tolerance=1e-15)
    assert found.converged
    assert found.num_matvecs < 60
    assert found.floor == pytest.approx(50 * 8 * 2**-23, rel=1e-3)


def test_bfloat16_is_not_called_converged_by_its_rounding():
    assert noise_floor(torch.bfloat16) <= 1e-3
