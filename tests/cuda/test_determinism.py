"""What a plan says of operations that torch has no deterministic kernels of."""

import warnings

import pytest
import torch
from torch import nn

from landscape import Problem
from landscape.hessian.operator import CurvatureOperator

pytestmark = pytest.mark.gpu
MESSAGE = "scatter_cuda_ does not have a deterministic implementation, but you set"


class Telling(torch.autograd.Function):
    """The identity; warns as torch does, where it is told to."""

    @staticmethod
    def forward(ctx, x, where):
        ctx.where = where
        if where == "forward":
            warnings.warn(MESSAGE, stacklevel=1)
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        if ctx.where == "backward":
            warnings.warn(MESSAGE, stacklevel=1)
        return 1 * g, None


class Model(nn.Linear):
    def __init__(self, where):
        super().__init__(3, 2)
        self.where = where

    def forward(self, x):
        return Telling.apply(super().forward(x), self.where)


def problem(where):
    torch.manual_seed(0)
    return Problem(Model(where), (torch.randn(6, 3), torch.arange(6) % 2), device="cuda")


@pytest.fixture(autouse=True)
def _workspace(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def test_yes_means_that_no_operation_warned():
    assert problem("nowhere").plan.deterministic == "yes"
    assert problem("forward").plan.deterministic == f"no: {MESSAGE}"


COMPUTATIONS = {
    "gradient": lambda problem: problem.gradient(),
    "product": lambda problem: problem.hessian_vector_product(torch.ones_like(problem.weights)),
    "operator": lambda problem: CurvatureOperator(problem).matvec(torch.ones_like(problem.weights)),
}


@pytest.mark.parametrize("name", COMPUTATIONS)
def test_operations_of_derivatives_count_once_they_ran(name):
    found = problem("backward")
    assert found.plan.deterministic == "yes"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        COMPUTATIONS[name](found)
    assert found.plan.deterministic == f"no: {MESSAGE}"


def test_other_warnings_are_shown():
    class Other(nn.Linear):
        def forward(self, x):
            warnings.warn("of the model", stacklevel=1)
            return super().forward(x)

    with pytest.warns(UserWarning, match="of the model"):
        Problem(Other(3, 2), (torch.randn(6, 3), torch.arange(6) % 2), device="cuda")
