import itertools
import re

import numpy as np
import pytest
import torch
from cases import symmetric_with_spectrum

from landscape.errors import InputError
from landscape.hessian.krylov.lanczos import lanczos
from landscape.hessian.memory_plan import MemoryPlan, num_kept, plan_memory
from landscape.hessian.operator import MatrixOperator
from landscape.runtime.free_memory import free_memory

CPU = torch.device("cpu")
CUDA = torch.device("cuda")
P = 1000
VALUES = [10.0, 8.0, 6.0, 5.0, 4.0, *np.linspace(-1, 1, 395).tolist(), -2.0]


def _plan(vectors, itemsize, **options):
    """A plan for so many vectors of so many bytes a number, beside eleven in float64."""
    return plan_memory(P, device=CPU, wanted=6, budget=P * (11 * 8 + vectors * itemsize), **options)


def test_a_large_budget_keeps_all_vectors_in_float64():
    plan = _plan(600, 8)
    assert (plan.dtype, plan.vectors, plan.restarts) == (torch.float64, 494, False)


def test_float64_with_restarts_comes_before_float32_without_if_it_holds_128_vectors():
    plan = _plan(200, 8)
    assert (plan.dtype, plan.vectors, plan.restarts) == (torch.float64, 168, True)


def test_a_smaller_budget_takes_float32():
    plan = _plan(200, 4)
    assert (plan.dtype, plan.vectors) == (torch.float32, 168)


def test_a_small_budget_restarts_often():
    plan = _plan(60, 4)
    assert (plan.dtype, plan.vectors, plan.kept, plan.restarts) == (torch.float32, 44, 20, True)


def test_host_memory_is_used_where_the_device_has_too_little():
    plan = plan_memory(
        P, device=CUDA, wanted=6, budget=P * (11 * 8 + 60 * 4), host_budget=P * 4 * 600
    )
    assert (plan.dtype, plan.is_on_host, plan.vectors) == (torch.float32, True, 494)


def test_a_run_that_can_need_few_vectors_gets_few():
    plan = _plan(600, 8, max_matvecs=30, num_check_matvecs=0)
    assert (plan.vectors, plan.look_vectors, plan.restarts) == (24, 0, False)


def test_a_plan_stays_within_its_budget():
    for vectors, itemsize in itertools.product([40, 60, 100, 200, 600], [4, 8]):
        plan = _plan(vectors, itemsize)
        assert plan.num_bytes <= plan.budget, (vectors, itemsize)


def test_the_least_that_is_named_is_enough_and_less_is_refused():
    with pytest.raises(
        InputError, match=r"the least for 1000 parameters and 6 eigenvalues is .* may be used"
    ) as error:
        plan_memory(P, device=CPU, wanted=6, budget=P * 100)
    least = float(re.findall(r"is ([\d.]+) MiB", str(error.value))[0]) * (1 << 20)
    assert plan_memory(P, device=CPU, wanted=6, budget=int(1.01 * least)).restarts
    with pytest.raises(InputError, match="`memory`"):
        plan_memory(P, device=CPU, wanted=6, budget=int(0.99 * least))


def test_a_restart_keeps_more_than_is_wanted_and_leaves_room():
    for vectors in range(12, 60):
        for wanted in range(1, vectors // 2):
            assert wanted < num_kept(vectors, wanted) <= vectors - 5, (vectors, wanted)


@pytest.mark.parametrize(
    ("plan", "text"),
    [
        (
            _plan(600, 8),
            "in host memory, which is the device's: up to 494 vectors of 1000 float64 numbers; at "
            "most",
        ),
        (
            _plan(60, 4),
            "up to 44 vectors of 1000 float32 numbers, then a thick restart that keeps 20; at most",
        ),
        (
            plan_memory(P, device=CUDA, wanted=6, budget=P * 328, host_budget=P * 4 * 600),
            "in pinned host memory: up to 494 vectors of 1000 float32 numbers",
        ),
        (
            plan_memory(1 << 20, device=CUDA, wanted=6, budget=8 << 30, host_budget=0),
            "on cuda: up to 494 .* GiB of 8",
        ),
    ],
)
def test_a_plan_says_where_vectors_are_kept(plan, text):
    assert re.search(text, plan.describe())


def test_the_default_is_half_of_what_is_free():
    assert plan_memory(P, device=CPU, wanted=1).budget == pytest.approx(
        free_memory(CPU) / 2, rel=0.2
    )


def _forced(dtype, vectors, *, is_on_host=False):
    size = len(VALUES)
    return MemoryPlan(size, CPU, dtype, is_on_host, vectors, 400, num_kept(vectors, 6), 20, 0, 0)


@pytest.mark.parametrize(
    ("plan", "precision"),
    [
        (_forced(torch.float64, 400), 1e-9),
        (_forced(torch.float32, 400), 1e-9),
        (_forced(torch.float32, 400, is_on_host=True), 1e-9),
        (_forced(torch.float64, 25), 1e-9),
        (_forced(torch.float32, 25), 1e-9),
        (_forced(torch.float32, 17, is_on_host=True), 1e-9),
    ],
)
def test_every_place_gives_the_same_eigenvalues(plan, precision):
    found = lanczos(
        MatrixOperator(symmetric_with_spectrum(VALUES)),
        top_k=5,
        bottom_k=1,
        tolerance=1e-9,
        memory=plan,
    )
    np.testing.assert_allclose(found.eigenvalues, VALUES[:5], rtol=precision)
    np.testing.assert_allclose(found.bottom_eigenvalues, [-2.0], rtol=precision)
    assert found.converged
    assert found.space.size <= plan.vectors


def test_a_budget_in_bytes_makes_the_plan():
    found = lanczos(
        MatrixOperator(symmetric_with_spectrum(VALUES)),
        top_k=5,
        bottom_k=1,
        memory=len(VALUES) * (11 * 8 + 60 * 4),
    )
    assert "up to 44 vectors of 401 float32 numbers, then a thick restart" in found.memory
    np.testing.assert_allclose(found.eigenvalues, VALUES[:5], rtol=1e-8)


@pytest.mark.gpu
@pytest.mark.parametrize("is_on_host", [True, False])
@pytest.mark.parametrize("vectors", [400, 25])
def test_every_place_of_a_gpu_gives_the_same_eigenvalues(is_on_host, vectors):
    plan = MemoryPlan(len(VALUES), CUDA, torch.float32, is_on_host, vectors, 400, 20, 20, 0, 0)
    matrix = symmetric_with_spectrum(VALUES).cuda()
    found = lanczos(MatrixOperator(matrix), top_k=5, bottom_k=1, tolerance=1e-9, memory=plan)
    np.testing.assert_allclose(found.eigenvalues, VALUES[:5], rtol=1e-9)
