import numpy as np
import pytest
import torch
from cases import symmetric_with_spectrum

from landscape.hessian.krylov.lanczos import lanczos
from landscape.hessian.memory_plan import MemoryPlan
from landscape.hessian.operator import MatrixOperator

REST = np.linspace(-0.1, 0.5, 300).tolist()


def _find(values, **options):
    return lanczos(
        MatrixOperator(symmetric_with_spectrum([*values, *REST])), tolerance=1e-3, **options
    )


@pytest.mark.parametrize("copies", [2, 3, 5])
def test_copies_of_the_largest_eigenvalue_are_found(copies):
    values = [3.0] * copies + [2.5, 2.0, 1.5, 1.0]
    found = _find(values, top_k=5)
    np.testing.assert_allclose(found.eigenvalues, values[:5], rtol=1e-3)
    assert found.second_look.num_missed_top == copies - 1
    assert found.converged


@pytest.mark.parametrize("copies", [2, 3, 5])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_copies_are_accurate_at_the_default_tolerance(copies, sign):
    values = np.sort(sign * np.array([3.0] * copies + [2.5, 2.0, 1.5, 1.0, *REST]))
    found = lanczos(MatrixOperator(symmetric_with_spectrum(values.tolist())), top_k=5, bottom_k=3)
    np.testing.assert_allclose(found.eigenvalues, values[::-1][:5], atol=1e-8)
    np.testing.assert_allclose(found.bottom_eigenvalues, values[:3], atol=1e-8)


def test_without_a_second_look_they_are_missed():
    values = [3.0, 3.0, 2.5, 2.0, 1.5, 1.0]
    found = _find(values, top_k=5, num_check_matvecs=0)
    np.testing.assert_allclose(found.eigenvalues, [3.0, 2.5, 2.0, 1.5, 1.0], rtol=1e-3)
    assert found.second_look is None


@pytest.mark.parametrize("copies", [2, 3])
def test_copies_of_the_smallest_eigenvalue_are_found(copies):
    found = _find([*[-3.0] * copies, -2.0, -1.0, 4.0], top_k=1, bottom_k=3)
    np.testing.assert_allclose(
        found.bottom_eigenvalues, [*[-3.0] * copies, -2.0, -1.0][:3], rtol=1e-3
    )
    assert found.second_look.num_missed_bottom == copies - 1
    assert found.second_look.num_missed_top == 0


def test_copies_at_both_ends_are_found_together():
    found = _find([4.0, 4.0, 2.0, -3.0, -3.0, -2.0], top_k=2, bottom_k=2)
    np.testing.assert_allclose(found.eigenvalues, [4.0, 4.0], rtol=1e-3)
    np.testing.assert_allclose(found.bottom_eigenvalues, [-3.0, -3.0], rtol=1e-3)
    assert (found.second_look.num_missed_top, found.second_look.num_missed_bottom) == (1, 1)


def test_copies_among_the_largest_in_magnitude_are_found_at_both_ends():
    found = _find([3.0, 3.0, 2.0, 1.0, -2.5, -2.5, -1.5], top_k=5, which="magnitude")
    np.testing.assert_allclose(found.eigenvalues, [3.0, 3.0, 2.0, -2.5, -2.5], rtol=1e-3)
    assert (found.second_look.num_missed_top, found.second_look.num_missed_bottom) == (1, 1)


def test_vectors_of_copies_are_orthonormal_eigenvectors():
    values = [3.0, 3.0, 3.0, 2.0, 1.0]
    found = _find(values, top_k=4)
    np.testing.assert_allclose((found.vectors @ found.vectors.T).numpy(), np.eye(4), atol=1e-10)
    matrix = symmetric_with_spectrum([*values, *REST])
    residuals = (
        found.vectors @ matrix
        - found.vectors * found.vectors.new_tensor(found.eigenvalues)[:, None]
    ).norm(dim=1)
    np.testing.assert_allclose(found.residuals, residuals, atol=1e-12)


@pytest.mark.parametrize(
    "spectrum", [[1.0, 0.99, 0.98, 0.97, 0.96, 0.95], [5.0, 4.0, 3.0, 2.0, 1.0]]
)
@pytest.mark.parametrize("tolerance", [1e-2, 1e-8])
def test_nothing_is_missed_where_there_are_no_copies(spectrum, tolerance):
    matrix = symmetric_with_spectrum([*spectrum, *REST])
    look = lanczos(MatrixOperator(matrix), top_k=4, bottom_k=1, tolerance=tolerance).second_look
    assert (look.num_missed_top, look.num_missed_bottom, look.num_matvecs) == (0, 0, 12)


def test_its_ritz_values_lie_within_the_rest_of_the_spectrum():
    look = _find([3.0, 2.0, 1.0], top_k=2, bottom_k=1, num_check_matvecs=20).second_look
    assert 0.99 < look.largest <= 1.0 + 1e-6  # the third of the eigenvalues, from below
    assert look.smallest >= -0.1 - 1e-6
    assert look.num_matvecs == 20


def test_a_negative_spectrum_has_no_zeros_from_the_vectors_that_are_left_out():
    values = -np.linspace(1, 5, 30)
    look = lanczos(
        MatrixOperator(symmetric_with_spectrum(values.tolist())), top_k=2, bottom_k=2
    ).second_look
    assert look.num_missed_top == look.num_missed_bottom == 0
    assert look.largest < -1


def test_the_rounding_of_the_basis_is_no_eigenvalue():
    values = [-1.0] * 4 + [-2.0] * 10 + [-3.0] * 16
    plan = MemoryPlan(30, torch.device("cpu"), torch.float32, False, 30, 30, 20, 20, 0, 0)
    found = lanczos(
        MatrixOperator(symmetric_with_spectrum(values)), top_k=1, bottom_k=2, memory=plan
    )
    np.testing.assert_allclose(
        [*found.eigenvalues, *found.bottom_eigenvalues], [-1.0, -3.0, -3.0], rtol=1e-7
    )
    assert found.second_look.largest == pytest.approx(-1.0, abs=1e-6)
    assert found.second_look.num_missed_top == 0
    assert found.converged


def test_a_missed_copy_that_the_limit_leaves_out_is_not_called_converged():
    values = [3.0, 3.0, 2.5, 2.0, 1.5, 1.0]
    enough = _find(values, top_k=5, num_check_matvecs=0).num_matvecs
    found = _find(values, top_k=5, max_matvecs=enough + 9)
    assert found.num_matvecs <= enough + 9
    assert not found.converged


def test_the_complement_of_all_vectors_is_not_looked_at():
    found = lanczos(MatrixOperator(symmetric_with_spectrum([2.0, 2.0, 1.0])), top_k=2, bottom_k=1)
    np.testing.assert_allclose(
        [*found.eigenvalues, *found.bottom_eigenvalues], [2.0, 2.0, 1.0], rtol=1e-12
    )
    assert found.second_look is None


def test_a_run_that_has_not_converged_is_not_looked_at_again():
    assert _find([3.0, 2.0, 1.0], top_k=2, bottom_k=1, max_matvecs=9).second_look is None


def test_a_small_basis_finds_the_same_copies():
    values = [3.0, 3.0, 3.0, 2.8, 2.6, 2.4, 2.2]
    size = len(values) + len(REST)
    found = _find(values, top_k=5, memory=size * (8 * 10 + 4 * 30))
    assert "thick restart" in found.memory
    np.testing.assert_allclose(found.eigenvalues, values[:5], rtol=1e-6)
    assert found.second_look.num_missed_top == 2
