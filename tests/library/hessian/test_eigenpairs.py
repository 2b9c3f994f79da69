import numpy as np
import pytest
import torch
from cases import symmetric_with_spectrum

from landscape.errors import InputError
from landscape.hessian.eigenpairs import rayleigh_ritz
from landscape.hessian.krylov.lanczos import lanczos
from landscape.hessian.operator import MatrixOperator

VALUES = [50.0, 40.0, 30.0, 20.0, 10.0, *np.linspace(-0.5, 0.5, 114).tolist(), -4.0]
MATRIX = symmetric_with_spectrum(VALUES)


class _Counting(MatrixOperator):
    num_calls = 0

    def matvec(self, v):
        self.num_calls += 1
        return super().matvec(v)


def test_an_invariant_subspace_gives_its_eigenvalues_with_one_product_a_vector():
    operator = _Counting(MATRIX)
    eigenvectors = torch.linalg.eigh(MATRIX)[1][:, [0, 3, 119]]
    mixed = torch.randn(3, 3, generator=torch.Generator().manual_seed(0)).double() @ eigenvectors.mT
    found = rayleigh_ritz(operator, mixed)
    np.testing.assert_allclose(
        found.values, sorted([VALUES[0], *np.sort(VALUES)[[0, 3]]], reverse=True), rtol=1e-10
    )
    assert operator.num_calls == 3


def test_residuals_are_true_and_vectors_orthonormal():
    found = rayleigh_ritz(MatrixOperator(MATRIX), torch.eye(120, dtype=torch.float64)[:4])
    residuals = (
        found.vectors @ MATRIX - torch.from_numpy(found.values)[:, None] * found.vectors
    ).norm(dim=1)
    np.testing.assert_allclose(found.residuals, residuals, rtol=1e-12)
    np.testing.assert_allclose(found.values, np.linalg.eigvalsh(MATRIX[:4, :4])[::-1], rtol=1e-12)
    torch.testing.assert_close(found.vectors @ found.vectors.T, torch.eye(4).double())


def _polished(matrix=MATRIX, **options):
    return lanczos(MatrixOperator(matrix.float()), polish=MatrixOperator(matrix), **options)


def test_polishing_takes_float32_values_to_ten_digits():
    rough = lanczos(MatrixOperator(MATRIX.float()), top_k=5, bottom_k=1)
    fine = _polished(top_k=5, bottom_k=1, tolerance=1e-11)
    assert np.abs(rough.eigenvalues - VALUES[:5]).max() > 1e-7
    np.testing.assert_allclose(fine.eigenvalues, VALUES[:5], rtol=1e-10)
    np.testing.assert_allclose(fine.bottom_eigenvalues, [-4.0], rtol=1e-10)
    assert fine.converged


def test_polishing_sets_the_tolerance_of_the_precise_products():
    found = _polished(top_k=2)
    assert found.tolerance == 1e-8
    assert found.noise_floor < 1e-12


def test_polishing_uses_one_precise_product_an_eigenvalue():
    precise = _Counting(MATRIX)
    lanczos(MatrixOperator(MATRIX.float()), top_k=5, bottom_k=1, polish=precise)
    assert precise.num_calls == 6


def test_polished_residuals_are_those_of_the_precise_matrix():
    found = _polished(top_k=3, bottom_k=2)
    values = np.append(found.eigenvalues, found.bottom_eigenvalues)
    residuals = (found.vectors @ MATRIX - torch.from_numpy(values)[:, None] * found.vectors).norm(
        dim=1
    )
    np.testing.assert_allclose(
        np.append(found.residuals, found.bottom_residuals), residuals, rtol=1e-6
    )


def test_polishing_a_run_that_ended_early_does_not_make_it_converged():
    assert not _polished(top_k=5, bottom_k=1, max_matvecs=13).converged


def test_a_copy_that_a_second_look_finds_is_polished_too():
    values = [3.0, 3.0, 2.5, 2.0, 1.5, *np.linspace(-0.1, 0.5, 300).tolist()]
    found = _polished(symmetric_with_spectrum(values), top_k=3, tolerance=1e-6)
    np.testing.assert_allclose(found.eigenvalues, [3.0, 3.0, 2.5], rtol=1e-7)
    assert found.converged


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (torch.ones(2, 120), "the 2 vectors must be linearly independent"),
        (torch.ones(2, 5), r"must have the shape \(k, 120\), got \(2, 5\)"),
        (torch.zeros(1, 120), "must be linearly independent"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(vectors, message):
    with pytest.raises(InputError, match=message):
        rayleigh_ritz(MatrixOperator(MATRIX), vectors)
