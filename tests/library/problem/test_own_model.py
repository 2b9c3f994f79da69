"""What a model holds besides its parameters: unregistered networks and tensors, moving buffers."""

import copy
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from cases import classification, seeded, tiny_mlp
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from landscape import Problem
from landscape.errors import InputError


def teacher():
    return seeded(lambda: nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)), seed=3)


EXACT = {"device": "cpu", "dtype": "float64"}


class Unregistered(nn.Module):
    """A network with a constant one that no `state_dict` knows of."""

    def __init__(self, hold, find):
        super().__init__()
        self.net = tiny_mlp()
        self.held = hold(teacher().requires_grad_(False))
        self.find = find

    def forward(self, x):
        return self.net(x) + self.find(self.held)(x)


HOLDERS = {
    "list": (lambda net: [net], lambda held: held[0]),
    "mapping": (lambda net: {"teacher": net}, lambda held: held["teacher"]),
    "namespace": (lambda net: SimpleNamespace(net=net), lambda held: held.net),
    "partial": (lambda net: partial(net), lambda held: held),
    "method": (lambda net: net.forward, lambda held: held),
    "tensors": (
        lambda net: [net[0].weight.detach().clone()],
        lambda held: lambda x: (x @ held[0].T)[:, :3],
    ),
}


@pytest.mark.parametrize("name", HOLDERS)
def test_networks_that_a_model_has_not_registered_are_evaluated_in_float64(name):
    model, (x, y) = Unregistered(*HOLDERS[name]), classification()
    own, held = tiny_mlp().double(), teacher().double()
    x64 = x.double()
    with torch.no_grad():
        constant = (x64 @ held[0].weight.T)[:, :3] if name == "tensors" else held(x64)
        expected = F.cross_entropy(own(x64) + constant, y).item()
    assert Problem(model, (x, y), **EXACT).loss() == pytest.approx(expected, rel=1e-14)
    assert Problem(model, (x, y), device="cpu").loss() == pytest.approx(expected, rel=1e-6)
    assert all(tensor.dtype == torch.float32 for tensor in model.state_dict().values())
    assert model.find(model.held)(x).dtype == torch.float32


def test_a_network_that_a_model_names_twice_stays_one():
    class Listed(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = tiny_mlp()
            self.parts = [self.net]

        def forward(self, x):
            return self.parts[0](x)

    data = classification()
    assert Problem(Listed(), data, **EXACT).loss() == Problem(tiny_mlp(), data, **EXACT).loss()


def test_a_tensor_of_another_dtype_than_the_weights_keeps_it():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.scale = tiny_mlp(), torch.tensor([1 / 3], dtype=torch.float64)

        def forward(self, x):
            return self.net(x).double() * self.scale

    x, y = classification()
    model = Scaled()
    expected = F.cross_entropy(model(x), y).item()
    assert Problem(model, (x, y), device="cpu").loss() == pytest.approx(expected, rel=1e-6)


class RunningCenter(nn.Module):
    """Running statistics that are no batch normalization of torch's."""

    def __init__(self):
        super().__init__()
        self.net = tiny_mlp()
        self.register_buffer("center", torch.zeros(5))

    def forward(self, x):
        if self.training:
            self.center.mul_(0.9).add_(x.detach().mean(0), alpha=0.1)
        return self.net(x - self.center)


def normalized():
    return nn.Sequential(
        parametrizations.spectral_norm(nn.Linear(5, 8)), nn.Tanh(), nn.Linear(8, 3)
    )


@pytest.mark.parametrize("build", [RunningCenter, normalized])
@pytest.mark.parametrize("batchnorm", ["stored", "batch", "recalibrate"])
def test_other_weights_come_with_the_buffers_that_training_moved(build, batchnorm):
    x, y = classification()
    first, second = seeded(build), seeded(build, seed=1).train()
    for _ in range(4):
        second(x)
    problem = Problem(first, (x, y), batchnorm=batchnorm, **EXACT)
    exact = copy.deepcopy(second).double().eval()
    expected = F.cross_entropy(exact(x.double()), y).item()
    assert problem.with_weights(second.state_dict()).loss() == pytest.approx(expected, rel=1e-12)
    with pytest.raises(InputError, match="need the buffers that moved with them"):
        problem.with_weights(problem.weights)


def test_weights_alone_do_where_buffers_are_constants():
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = tiny_mlp()
            self.register_buffer("shift", torch.ones(5))

        def forward(self, x):
            return F.dropout(self.net(x - self.shift), training=self.training)

    problem = Problem(Shifted(), classification(), **EXACT)
    w = 2 * problem.weights
    assert problem.with_weights(w).loss() == problem.loss(w)


@pytest.mark.filterwarnings("error:The .grad attribute")
@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize(
    "convert", [torch.jit.script, lambda net: torch.jit.trace(net, torch.ones(2, 5))]
)
def test_a_converted_network_is_copied_without_a_warning(convert):
    data = classification()
    problem = Problem(convert(tiny_mlp()), data, **EXACT)
    plain = Problem(tiny_mlp(), data, **EXACT)
    assert problem.in_dtype("float32").loss() == pytest.approx(plain.loss(), rel=1e-6)
    assert problem.gradient().vector.allclose(plain.gradient().vector, rtol=1e-13)
