"""Models and losses that differentiate by inputs, or that hold networks of their own."""

from collections import OrderedDict, deque, namedtuple
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from cases import classification, seeded, tiny_mlp
from reference import dense_hessian, loss_of_vector
from torch import nn
from torch.func import functional_call, grad, jacrev, vmap
from torch.nn import functional as F

from landscape import Problem
from landscape.errors import InputError
from landscape.hessian.operator import CurvatureOperator

EXACT = {"device": "cpu", "dtype": "float64"}


def dense(problem, kind="hessian"):
    operator = CurvatureOperator(problem, kind=kind)
    return torch.stack([operator.matvec(e) for e in torch.eye(operator.size)])


def points(count=12):
    t = torch.linspace(0, 3, count)[:, None]
    return t, torch.zeros_like(t)


class Wave(nn.Module):
    """u'' + u, u and u' at 0, by the spellings of derived classes."""

    def __init__(self):
        super().__init__()
        self.net = seeded(lambda: nn.Sequential(nn.Linear(1, 5), nn.Tanh(), nn.Linear(5, 1)))

    def derivatives(self, t):
        u = self.net(t)
        (du,) = torch.autograd.grad(u.sum(), t, create_graph=True)
        (ddu,) = torch.autograd.grad(du.sum(), t, create_graph=True)
        return u, du, ddu


class Detached(Wave):
    def forward(self, t):
        with torch.enable_grad():
            u, _, ddu = self.derivatives(t.detach().requires_grad_())
            start = torch.zeros(1, 1, dtype=t.dtype, requires_grad=True)
            u0, du0, _ = self.derivatives(start)
        return ddu + u, u0, du0


class Flagging(Wave):
    """Sets a flag of the data themselves, and needs a gradient around it."""

    def forward(self, t):
        t.requires_grad_()
        u, _, ddu = self.derivatives(t)
        start = t.new_zeros(1, 1, requires_grad=True)
        u0, du0, _ = self.derivatives(start)
        return ddu + u, u0, du0


class InItsLoss(Wave):
    def forward(self, t):
        t = t.detach().clone().requires_grad_()
        start = torch.zeros(1, 1, dtype=t.dtype, requires_grad=True)
        return t, self.net(t), start, self.net(start)


def loss_of_outputs(outputs, targets):
    t, u, start, u0 = outputs
    (du,) = torch.autograd.grad(u.sum(), t, create_graph=True)
    (ddu,) = torch.autograd.grad(du.sum(), t, create_graph=True)
    (du0,) = torch.autograd.grad(u0.sum(), start, create_graph=True)
    return wave_loss((ddu + u, u0, du0), targets)


class ByFunctions(Wave):
    def forward(self, t):
        def u(s):
            return self.net(s[None]).squeeze()

        def du(s):
            return grad(u)(s).squeeze()

        start = t.new_zeros(1)
        return vmap(lambda s: grad(du)(s))(t) + self.net(t), u(start), du(start)


class ByJacobians(Wave):
    def forward(self, t):
        def u(s):
            return self.net(s[None])[0, 0]

        ddu = vmap(jacrev(jacrev(u)))(t)[..., 0]
        start = t.new_zeros(1)
        return ddu + self.net(t), u(start), jacrev(u)(start)


def wave_loss(outputs, targets):
    residual, u0, du0 = outputs
    return (residual - targets).pow(2).mean() + u0.pow(2).mean() + (du0 - 1).pow(2).mean()


SPELLINGS = {
    "detached": (Detached, wave_loss),
    "flagging": (Flagging, wave_loss),
    "loss": (InItsLoss, loss_of_outputs),
    "functions": (ByFunctions, wave_loss),
    "jacobians": (ByJacobians, wave_loss),
}


def closed_form(w):
    """u = b2 + w2 tanh(w1 t + b1): its derivatives written down."""
    t = points()[0].double()
    w1, b1, w2, b2 = w[:5], w[5:10], w[10:15], w[15]

    def all_of(t):
        h = torch.tanh(t * w1 + b1)
        u = h @ w2 + b2
        du = ((1 - h**2) * w1) @ w2
        ddu = (-2 * h * (1 - h**2) * w1**2) @ w2
        return u, du, ddu

    u, _, ddu = all_of(t)
    u0, du0, _ = all_of(t[:1] * 0)
    return (ddu + u).pow(2).mean() + u0.pow(2).mean() + (du0 - 1).pow(2).mean()


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize("count", [1, None])
def test_a_network_of_a_differential_equation_has_its_loss_and_curvature(name, count):
    build, loss = SPELLINGS[name]
    problem = Problem(build(), points(), loss, points_per_pass=count, **EXACT)
    w = problem.weights
    stack = torch.stack([w, 0.5 * w, -w])
    found = [value.loss for value in problem.evaluate_many(stack)]
    assert found == pytest.approx([float(closed_form(w)) for w in stack], rel=1e-12)
    for _ in range(2):
        torch.testing.assert_close(problem.gradient().vector, torch.func.grad(closed_form)(w))
        assert problem.loss() == pytest.approx(float(closed_form(w)), rel=1e-12)
    expected = torch.func.hessian(closed_form)(w)
    torch.testing.assert_close(dense(problem), expected, rtol=1e-9, atol=1e-11)


def test_data_that_require_a_gradient_can_be_differentiated_by():
    class Direct(Wave):
        def forward(self, t):
            u, _, ddu = self.derivatives(t)
            return ddu + u, u[:1], u[:1]

    def loss(outputs, targets):
        return (outputs[0] - targets).pow(2).mean()

    def by_hand(w):
        t = points()[0].double()
        h = torch.tanh(t * w[:5] + w[5:10])
        u, ddu = h @ w[10:15] + w[15], (-2 * h * (1 - h**2) * w[:5] ** 2) @ w[10:15]
        return (ddu + u).pow(2).mean()

    t, y = points()
    problem = Problem(Direct(), (t.requires_grad_(), y), loss, batch_size=5, **EXACT)
    w = problem.weights
    for _ in range(2):
        assert problem.loss() == pytest.approx(float(by_hand(w)), rel=1e-12)
        torch.testing.assert_close(problem.gradient().vector, torch.func.grad(by_hand)(w))


def test_the_flags_of_the_users_data_stay():
    t, y = points()
    Problem(Flagging(), (t, y), wave_loss, device="cpu").gradient()
    assert not t.requires_grad


class Branching(nn.Module):
    """Computes something else where no gradient is wanted."""

    def __init__(self):
        super().__init__()
        self.net = tiny_mlp()

    def forward(self, x):
        return self.net(x) * (2.0 if torch.is_grad_enabled() else 1.0)


def test_loss_and_gradient_are_of_one_function():
    problem = Problem(Branching(), classification(), **EXACT)
    assert problem.loss() == pytest.approx(problem.gradient().loss, rel=1e-12)


class Perceptual(nn.Module):
    """The distance of features that a network of its own computes."""

    def __init__(self):
        super().__init__()
        self.features = seeded(lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh()), 7)

    def forward(self, outputs, targets):
        wanted = F.one_hot(targets, 3).to(outputs)
        return F.mse_loss(self.features(outputs), self.features(wanted))


class PlainPerceptual:
    def __init__(self):
        self.features = [Perceptual()]

    def __call__(self, outputs, targets):
        return self.features[0](outputs, targets)

    def method(self, outputs, targets):
        return self(outputs, targets)


def closure():
    network = Perceptual()
    return lambda outputs, targets: network(outputs, targets)


def with_network(outputs, targets, network=None):
    return network(outputs, targets)


_NETWORK = Perceptual()


def _features_of_the_file(outputs, targets):
    return _NETWORK(outputs, targets)


def of_the_file(outputs, targets):
    return _features_of_the_file(outputs, targets)


def with_default(outputs, targets, network=_NETWORK):
    return network(outputs, targets)


class Hiding(nn.Module):
    """Keeps its networks out of its own state dict."""

    def __init__(self):
        super().__init__()
        self.hidden = {"networks": [Perceptual()]}

    def forward(self, outputs, targets):
        return self.hidden["networks"][0](outputs, targets)


_IN_A_LIST, _IN_A_QUEUE = [_NETWORK, 1], deque([_NETWORK], maxlen=3)
_IN_A_MAPPING, _IN_A_NAMESPACE = OrderedDict(a=(_NETWORK,)), SimpleNamespace(network=_NETWORK)
_IN_A_NAMED_TUPLE = namedtuple("Networks", "first second")(None, _NETWORK)
_IN_A_PARTIAL = partial(with_default, network=_NETWORK)


LOSSES = {
    "list": lambda: lambda outputs, targets: _IN_A_LIST[0](outputs, targets),
    "queue": lambda: lambda outputs, targets: _IN_A_QUEUE[0](outputs, targets),
    "mapping": lambda: lambda outputs, targets: _IN_A_MAPPING["a"][0](outputs, targets),
    "namespace": lambda: lambda outputs, targets: _IN_A_NAMESPACE.network(outputs, targets),
    "named tuple": lambda: lambda outputs, targets: _IN_A_NAMED_TUPLE.second(outputs, targets),
    "partial of the file": lambda: lambda outputs, targets: _IN_A_PARTIAL(outputs, targets),
    "hidden": Hiding,
    "module": Perceptual,
    "object": PlainPerceptual,
    "method": lambda: PlainPerceptual().method,
    "closure": closure,
    "partial": lambda: partial(with_network, network=Perceptual()),
    "file": lambda: of_the_file,
    "default": lambda: with_default,
}


perceptual_reference = Perceptual().double()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_networks_of_a_loss_are_constants_in_the_dtype_of_the_model(name, dtype):
    x, y = classification()
    criterion = LOSSES[name]()
    problem = Problem(tiny_mlp(), (x, y), criterion, device="cpu", dtype=dtype, batch_size=7)
    loss, w = loss_of_vector(tiny_mlp(), x, y, perceptual_reference)
    digits = {"rel": 1e-5} if dtype == "float32" else {"rel": 1e-12}
    assert problem.loss() == pytest.approx(float(loss(w)), **digits)
    assert problem.in_dtype().loss() == pytest.approx(float(loss(w)), rel=1e-12)
    if dtype == "float64":
        expected = dense_hessian(tiny_mlp(), x, y, perceptual_reference)
        torch.testing.assert_close(dense(problem), expected, rtol=1e-9, atol=1e-12)
    for network in (criterion, _NETWORK):
        if isinstance(network, nn.Module):
            weights = list(network.parameters())
            assert all(w.dtype == torch.float32 and w.requires_grad for w in weights)
            assert all(w.grad is None for w in weights)


@pytest.mark.parametrize(
    "criterion",
    [
        lambda weight: nn.CrossEntropyLoss(weight=weight),
        lambda weight: partial(F.cross_entropy, weight=weight),
        lambda weight: lambda o, t: F.cross_entropy(o, t, weight=weight),
    ],
    ids=["module", "partial", "closure"],
)
def test_class_weights_have_the_dtype_of_the_model(criterion):
    x, y = classification()
    weight = torch.tensor([1.0, 2.0, 0.5])
    loss = criterion(weight)
    problem = Problem(tiny_mlp(), (x, y), loss, **EXACT)
    reference, w = loss_of_vector(
        tiny_mlp(), x, y, partial(F.cross_entropy, weight=weight.double())
    )
    assert problem.loss() == pytest.approx(float(reference(w)), rel=1e-13)
    assert weight.dtype == torch.float32


def test_a_loss_that_reads_the_weights_of_the_model_is_refused():
    model = tiny_mlp()

    def decayed(outputs, targets):
        return F.cross_entropy(outputs, targets) + sum(w.pow(2).sum() for w in model.parameters())

    with pytest.raises(InputError, match="the loss computes with weights of the model"):
        Problem(model, classification(), decayed, device="cpu")
    weights = list(model.parameters())

    def listed(outputs, targets):
        return F.cross_entropy(outputs, targets) + weights[0].pow(2).sum()

    with pytest.raises(InputError, match="the loss computes with weights of the model"):
        Problem(model, classification(), listed, device="cpu")


def test_a_method_of_the_model_is_a_loss_where_it_needs_no_weights():
    class WithLoss(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = tiny_mlp()

        def forward(self, x):
            return self.net(x)

        def criterion(self, outputs, targets):
            return F.cross_entropy(outputs, targets)

    model = WithLoss()
    problem = Problem(model, classification(), model.criterion, device="cpu")
    assert problem.loss() == Problem(model, classification(), device="cpu").loss()


def test_a_random_network_of_a_loss_is_drawn_anew_for_each_batch_but_fixed():
    class Dropping(Perceptual):
        def forward(self, outputs, targets):
            return super().forward(F.dropout(outputs, 0.5), targets)

    with pytest.warns(UserWarning, match="draws random numbers"):
        problem = Problem(tiny_mlp(), classification(), Dropping(), batch_size=7, **EXACT)
    assert problem.loss() == problem.loss() == pytest.approx(problem.gradient().loss, rel=1e-13)


def test_functional_calls_inside_of_a_model_are_no_foreign_parameters():
    class Inner(nn.Module):
        """One step of gradient descent inside of the model."""

        def __init__(self):
            super().__init__()
            self.net = tiny_mlp()

        def forward(self, x):
            with torch.enable_grad():
                weights = dict(self.net.named_parameters())
                total = functional_call(self.net, weights, (x,)).pow(2).mean()
                steps = torch.autograd.grad(total, list(weights.values()), create_graph=True)
                moved = {
                    name: w - 0.1 * step
                    for (name, w), step in zip(weights.items(), steps, strict=True)
                }
                return functional_call(self.net, moved, (x,))

    x, y = classification()
    problem = Problem(Inner(), (x, y), **EXACT)
    net, shapes = tiny_mlp().double(), [w.shape for w in tiny_mlp().parameters()]

    def outputs(w):
        parts = w.split([shape.numel() for shape in shapes])
        named = dict(
            zip(
                [name for name, _ in net.named_parameters()],
                [part.view(shape) for part, shape in zip(parts, shapes, strict=True)],
                strict=True,
            )
        )
        return functional_call(net, named, (x.double(),))

    def loss(w):
        moved = w - 0.1 * torch.func.grad(lambda v: outputs(v).pow(2).mean())(w)
        return F.cross_entropy(outputs(moved), y)

    w = problem.weights
    assert problem.loss() == pytest.approx(float(loss(w)), rel=1e-12)
    torch.testing.assert_close(dense(problem), torch.func.hessian(loss)(w), rtol=1e-8, atol=1e-10)
