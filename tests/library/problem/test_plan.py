from dataclasses import replace

import pytest
import torch
from cases import classification, images, tiny_cnn, tiny_mlp
from torch import nn

import landscape
from landscape import Problem
from landscape.errors import InputError
from landscape.problem.plan import deterministic

CUDA = torch.device("cuda")


def _tf32():
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("is_wanted", [True, False])
@pytest.mark.parametrize("before", ["highest", "high"])
def test_tf32_is_used_only_where_it_is_asked_for_and_put_back(before, is_wanted):
    at_first = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(before)
    try:
        outside = _tf32()
        with deterministic(CUDA, "tf32" if is_wanted else "float32"):
            assert _tf32() == (is_wanted, is_wanted)
        assert _tf32() == outside
        assert torch.get_float32_matmul_precision() == before
    finally:
        torch.set_float32_matmul_precision(at_first)


def _fail_deterministically():
    with deterministic(CUDA):
        assert torch.are_deterministic_algorithms_enabled()
        raise KeyError


def test_deterministic_algorithms_are_put_back_after_an_exception():
    memory = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), memory.fill_uninitialized_memory
    with pytest.raises(KeyError):
        _fail_deterministically()
    assert (
        torch.are_deterministic_algorithms_enabled(),
        memory.fill_uninitialized_memory,
    ) == before


def test_convolutions_on_the_cpu_have_batches_of_64():
    assert Problem(tiny_cnn(), images(), device="cpu").plan.batch_size == 64


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ()),
        ({"dtype": "float64"}, ()),
        ({"dtype": "tf32"}, ("tf32",)),
        ({"dtype": "bfloat16", "points_per_pass": 8}, ("bfloat16", "8 points per pass")),
        ({"is_compiled": True}, ("compiled",)),
    ],
)
def test_a_plan_names_what_is_not_plain(changes, expected):
    plan = replace(Problem(tiny_mlp(), classification(), device="cpu").plan, **changes)
    assert plan.deviations == expected
    assert plan.plain().deviations == ()


@pytest.mark.slow
def test_a_compiled_problem_has_the_values_of_the_plain_one():
    model, data = tiny_cnn(), images()
    compiled, plain = (
        Problem(model, data, device="cpu", batch_size=7, compile=flag) for flag in (True, False)
    )
    for scale in (1.0, 2.0, 1.0):
        assert compiled.loss(scale * plain.weights) == pytest.approx(
            plain.loss(scale * plain.weights), rel=1e-6
        )
    assert compiled.plan.is_compiled
    assert compiled.gradient().loss == plain.gradient().loss


def test_a_compiled_problem_takes_one_point_a_pass():
    problem = Problem(
        tiny_mlp(), classification(), device="cpu", compile=True, points_per_pass=None
    )
    assert problem.one_at_a_time == "the forward pass is compiled"
    with pytest.raises(
        InputError, match="a pass of 4 points is not possible: the forward pass is compiled"
    ):
        Problem(tiny_mlp(), classification(), device="cpu", compile=True, points_per_pass=4)


def test_a_model_that_cannot_be_compiled_is_refused(monkeypatch):
    from torch._dynamo.exc import Unsupported

    def fails(module, **options):
        def call(*args):
            raise Unsupported("no compiler")

        return call

    monkeypatch.setattr(torch, "compile", fails)
    problem = Problem(nn.Linear(5, 3), classification(), device="cpu", compile=True)
    with pytest.raises(InputError, match="the model cannot be compiled") as caught:
        problem.evaluate()
    assert "`compile`" in caught.value.hint


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_measured_does_not_depend_on_the_callers_autocast(dtype):
    def measured():
        problem = Problem(tiny_mlp(), classification(), dtype=dtype)
        measures = landscape.sharpness(problem, rho=0.05).measures
        return [
            problem.loss(),
            problem.loss(1.5 * problem.weights),
            *problem.gradient().vector.tolist(),
            landscape.hessian(problem, top_k=1).lambda_max,
            *[measure.sharpness for measure in measures],
            *landscape.surface(problem, grid=3).loss["train"].ravel(),
        ]

    expected = measured()
    with torch.autocast("cpu", torch.bfloat16):
        assert measured() == expected
