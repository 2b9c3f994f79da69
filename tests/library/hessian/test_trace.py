"""The trace on chosen spectra, its interval over many seeds, and its rivals on a trained
network."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from cases import symmetric_with_spectrum
from scipy.stats import t as student_t
from spectra import hutch_plus_plus, hutchinson, krylov_space, trained_hessian, xtrace

from landscape.errors import InputError, NotFiniteError
from landscape.hessian.operator import MatrixOperator
from landscape.hessian.trace import DEFAULT_NUM_SAMPLES, FEWEST_SAMPLES, trace

MIXED = [20.0, 8.0, *np.linspace(-1, 2, 78).tolist()]


class Counting(MatrixOperator):
    num_calls = 0

    def matvec(self, v):
        self.num_calls += 1
        return super().matvec(v)


class Recording(MatrixOperator):
    first = None

    def matvec(self, v):
        self.first = v if self.first is None else self.first
        return super().matvec(v)


def operator_of(values):
    return Counting(symmetric_with_spectrum(values))


@pytest.mark.parametrize(
    "values", [MIXED, (-np.linspace(1, 5, 60)).tolist(), np.linspace(-1, 1.4, 90).tolist()], ids=str
)
@pytest.mark.parametrize("num_known", [0, 15])
def test_the_trace_is_found_within_four_standard_errors(values, num_known):
    operator = operator_of(values)
    space = krylov_space(operator, num_known, seed=3) if num_known else None
    found = trace(operator, subspace=space, num_samples=200)
    assert abs(found.value - sum(values)) < 4 * found.standard_error
    assert found.low < found.value < found.high


def test_the_standard_error_is_that_of_random_signs():
    matrix = symmetric_with_spectrum(np.linspace(-1, 2, 78).tolist())
    expected = math.sqrt(2 * float((matrix**2).sum() - (matrix.diagonal() ** 2).sum()) / 2000)
    found = trace(MatrixOperator(matrix), num_samples=2000, max_matvecs=2000).standard_error
    assert found == pytest.approx(
        expected, rel=0.06
    )  # 4 standard errors of a standard deviation of 2000 samples


def test_the_trace_of_a_diagonal_matrix_is_exact():
    found = trace(
        MatrixOperator(torch.diag(torch.tensor([3.0, -1.0, 5.0]).double())), num_samples=2
    )
    assert (found.value, found.standard_error) == (pytest.approx(7.0), 0.0)


def test_a_subspace_that_is_everything_gives_the_exact_trace_without_products():
    operator = operator_of(MIXED)
    space = krylov_space(operator, operator.size)
    operator.num_calls = 0
    found = trace(operator, subspace=space, relative_error=1e-9)
    assert found.value == pytest.approx(sum(MIXED), rel=1e-12)
    assert (found.low, found.high, found.standard_error) == (found.value, found.value, 0.0)
    assert operator.num_calls == found.num_samples == 0
    assert found.num_matvecs == operator.size
    assert found.converged


def test_the_products_are_the_samples_and_those_of_the_subspace():
    operator = operator_of(MIXED)
    space = krylov_space(operator, 10)
    operator.num_calls = 0
    found = trace(operator, subspace=space)
    assert operator.num_calls == found.num_samples == DEFAULT_NUM_SAMPLES
    assert found.num_matvecs == 10 + DEFAULT_NUM_SAMPLES


def test_it_stops_as_soon_as_the_interval_is_narrow_enough():
    found = trace(operator_of(MIXED), relative_error=0.1, max_matvecs=5000)
    assert found.converged
    assert (found.high - found.low) / 2 <= 0.1 * found.value
    before = trace(operator_of(MIXED), relative_error=1e-9, max_matvecs=found.num_samples - 1)
    assert (before.high - before.low) / 2 > 0.1 * before.value


def test_samples_that_agree_by_chance_do_not_stop_it():
    found = trace(MatrixOperator(torch.eye(9).double()), relative_error=0.5)
    assert found.num_samples == FEWEST_SAMPLES


def test_a_trace_of_zero_ends_at_the_limit_and_says_so():
    operator = operator_of(np.linspace(-1, 1, 50).tolist())
    found = trace(operator, relative_error=0.01, max_matvecs=60)
    assert operator.num_calls == found.num_samples == 60
    assert not found.converged
    assert found.low < 0 < found.high


def test_fewer_samples_than_were_asked_for_are_not_called_converged():
    assert not trace(operator_of(MIXED), num_samples=30, max_matvecs=29).converged
    assert trace(operator_of(MIXED), num_samples=30, max_matvecs=30).converged


def test_it_can_be_stopped_and_has_an_error_nevertheless():
    found = trace(operator_of(MIXED), num_samples=30, should_stop=lambda: True)
    assert found.num_samples == 2
    assert math.isfinite(found.standard_error)
    assert not found.converged


def test_one_seed_gives_one_trace_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    first, again, other = (
        trace(operator_of(MIXED), num_samples=5, seed=seed).value for seed in (4, 4, 5)
    )
    assert first == again != other
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("relative_error", [None, pytest.param(0.08, marks=pytest.mark.slow)])
def test_the_interval_holds_the_trace_as_often_as_it_says(relative_error):
    values = np.pad(1 / np.arange(1, 101), (0, 200))
    operator, true, runs = operator_of(values.tolist()), values.sum(), 300
    number = None if relative_error else 25
    found = [
        trace(operator, num_samples=number, relative_error=relative_error, seed=seed)
        for seed in range(runs)
    ]
    share = np.mean([run.low <= true <= run.high for run in found])
    assert share > 0.95 - 3 * math.sqrt(0.05 * 0.95 / runs)
    assert all(run.converged for run in found)


@pytest.mark.parametrize(("relative_error", "outside"), [(None, 0.05), (0.2, 0.025)])
def test_the_interval_is_students_with_half_the_error_probability_where_the_samples_decide(
    relative_error, outside
):
    found = trace(operator_of(MIXED), relative_error=relative_error)
    quantile = student_t.ppf(1 - outside / 2, found.num_samples - 1)
    assert found.high - found.value == pytest.approx(quantile * found.standard_error)
    assert found.value - found.low == pytest.approx(quantile * found.standard_error)


def test_signs_are_not_drawn_from_the_generator_that_a_lanczos_run_of_the_same_seed_starts_with():
    operator = Recording(torch.eye(20).double())
    trace(operator, num_samples=2, seed=5)
    generator = torch.Generator().manual_seed(5)
    same = torch.randint(2, (20,), generator=generator, dtype=torch.int8).double() * 2 - 1
    assert not torch.equal(operator.first, same)


@pytest.mark.slow
def test_on_a_trained_network_it_is_nearer_than_its_rivals_after_as_many_products():
    matrix = trained_hessian(width=12)
    operator, true, number = MatrixOperator(matrix), float(matrix.trace()), 99

    def ours(matrix, number, seed):
        space = krylov_space(operator, 60, seed)
        return trace(operator, subspace=space, num_samples=number - 60, seed=seed).value

    def error(way, num_seeds=60):
        return math.sqrt(
            np.mean([(way(matrix, number, seed) / true - 1) ** 2 for seed in range(num_seeds)])
        )

    signs = partial(xtrace, is_normalized=False)
    assert error(ours, 40) < min(error(way) for way in (hutchinson, hutch_plus_plus, xtrace, signs))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_samples": 1}, "at least 2 samples, got 1"),
        (
            {"num_samples": 5, "relative_error": 0.1},
            "a number of samples or a relative error, got both, 5 and 0.1",
        ),
        ({"relative_error": 0.0}, "must be a positive number, got 0"),
        ({"relative_error": math.nan}, "must be a positive number, got nan"),
        ({"max_matvecs": 1}, "must be at least 2, got 1"),
        ({"confidence": 1.0}, "between 0 and 1, got 1"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        trace(operator_of([1.0, 2.0]), **arguments)


def test_a_product_that_is_not_finite_is_an_error():
    with pytest.raises(NotFiniteError, match="holds NaN or inf"):
        trace(MatrixOperator(torch.full((3, 3), torch.nan)))
