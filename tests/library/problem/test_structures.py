"""Outputs and inputs in structures with names, and the Gauss-Newton matrix of losses of them."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from types import MappingProxyType, SimpleNamespace

import pytest
import torch
from cases import classification, seeded
from torch import nn

from landscape.errors import InputError
from landscape.hessian.operator import CurvatureOperator
from landscape.problem.problem import Problem
from landscape.problem.structures import map_tensors, tensors_in

Pair = namedtuple("Pair", "logits hidden")
Tokens = namedtuple("Tokens", "values mask")


@dataclass(frozen=True)
class Record:
    logits: torch.Tensor
    hidden: torch.Tensor
    note: str = "kept"


@dataclass(slots=True)
class Slots:
    logits: torch.Tensor
    hidden: torch.Tensor


class ModelOutput(OrderedDict):
    """A mapping whose items are attributes too, as in the transformers library."""

    def __init__(self, logits, hidden):
        super().__init__()
        self["logits"], self["hidden"] = logits, hidden

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        super().__setattr__(key, value)

    def __reduce__(self):
        return type(self), (self.logits, self.hidden)


class Plain:
    def __init__(self, logits, hidden):
        self.logits, self.hidden = logits, hidden


KINDS = [
    Pair,
    Record,
    Slots,
    ModelOutput,
    Plain,
    lambda logits, hidden: SimpleNamespace(logits=logits, more=[Pair(logits, hidden)]),
    lambda logits, hidden: torch.distributions.Categorical(logits=logits),
]


class Network(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.first, self.last, self.kind = nn.Linear(5, 4), nn.Linear(4, 3), kind

    def forward(self, x):
        hidden = torch.tanh(self.first(x))
        return self.kind(self.last(hidden), hidden)


def _network(kind):
    return seeded(lambda: Network(kind))


def _loss(outputs, targets):
    return nn.functional.cross_entropy(outputs.logits, targets)


def _dense(problem, kind):
    operator = CurvatureOperator(problem, kind=kind)
    rows = torch.eye(operator.size, dtype=torch.float64)
    return torch.stack([operator.matvec(row) for row in rows])


def _dense_gauss_newton():
    """J' H J of the logits, by torch.func in float64."""
    model, (x, y) = _network(Pair).double(), classification()
    parameters = dict(model.named_parameters())
    sizes = [p.numel() for p in parameters.values()]

    def logits(w):
        parts = zip(parameters.items(), w.split(sizes), strict=True)
        values = {name: part.view(p.shape) for (name, p), part in parts}
        return torch.func.functional_call(model, values, (x.double(),)).logits

    w = torch.cat([p.detach().reshape(-1) for p in parameters.values()])
    at = logits(w)
    jacobian = torch.func.jacrev(logits)(w).flatten(0, 1)
    curve = torch.func.hessian(lambda z: nn.functional.cross_entropy(z.view(at.shape), y))
    return jacobian.T @ curve(at.detach().flatten()) @ jacobian


@pytest.mark.parametrize("kind", KINDS)
def test_the_gauss_newton_matrix_keeps_the_type_of_the_outputs(kind):
    problem = Problem(_network(kind), classification(), _loss, dtype="float64", device="cpu")
    torch.testing.assert_close(_dense(problem, "ggn"), _dense_gauss_newton(), rtol=1e-9, atol=1e-12)


def test_structures_keep_their_types_and_what_is_not_a_tensor():
    one = torch.ones(2)
    for value in (Pair(one, "a"), Record(one, one), ModelOutput(one, one), OrderedDict(a=one)):
        doubled = map_tensors(lambda t: 2 * t, value)
        assert type(doubled) is type(value)
        assert torch.equal(tensors_in(doubled)[0], 2 * one)
        assert torch.equal(tensors_in(value)[0], one)
    assert map_tensors(lambda t: 2 * t, Record(one, one, "b")).note == "b"
    assert map_tensors(lambda t: 2 * t, MappingProxyType({"a": one}))["a"].tolist() == [2, 2]
    assert map_tensors(torch.neg, torch.Size([2, 3])) == (2, 3)


@pytest.mark.parametrize("as_batches", [False, True])
def test_a_named_tuple_of_inputs_is_one_argument(as_batches):
    class Masked(Network):
        def forward(self, tokens):
            return super().forward(tokens.values * tokens.mask).logits

    x, y = classification()
    whole = (Tokens(x, torch.ones_like(x)), y)
    data = [(Tokens(*(t[i : i + 5] for t in whole[0])), y[i : i + 5]) for i in (0, 5, 10, 15)]
    model = seeded(lambda: Masked(Pair))
    problem = Problem(model, data if as_batches else whole, dtype="float64", device="cpu")
    expected = nn.functional.cross_entropy(_network(Pair).double()(x.double()).logits, y)
    assert problem.loss() == pytest.approx(float(expected), rel=1e-12)
    assert tensors_in(problem.batches[0][0])[0].dtype == torch.float64


class OwnLoss(Network):
    def forward(self, x, y):
        logits = super().forward(x).logits
        return {"loss": nn.functional.cross_entropy(logits, y), "logits": logits}


def test_a_model_that_returns_its_own_loss_has_no_gauss_newton_matrix():
    x, y = classification()
    model = seeded(lambda: OwnLoss(Pair))
    problem = Problem(model, ((x, y), y), lambda out, _: out["loss"], device="cpu")
    with pytest.raises(InputError, match=r"linear in the model's outputs.*such as logits"):
        _dense(problem, "ggn")
    by_logits = Problem(
        model,
        ((x, y), y),
        lambda out, y: nn.functional.cross_entropy(out["logits"], y),
        dtype="float64",
        device="cpu",
    )
    torch.testing.assert_close(
        _dense(by_logits, "ggn"), _dense_gauss_newton(), rtol=1e-9, atol=1e-12
    )


def test_an_absolute_error_is_not_taken_for_a_linear_loss():
    x, _ = classification()
    problem = Problem(
        seeded(lambda: nn.Linear(5, 1)), (x, x[:, :1]), nn.functional.l1_loss, device="cpu"
    )
    assert not _dense(problem, "ggn").any()


def test_outputs_that_hide_their_tensors_have_no_gauss_newton_matrix():
    def hidden(logits, hidden):
        return lambda: logits

    problem = Problem(
        _network(hidden),
        classification(),
        lambda out, y: nn.functional.cross_entropy(out(), y),
        device="cpu",
    )
    with pytest.raises(InputError, match="by the model's outputs alone"):
        _dense(problem, "ggn")
