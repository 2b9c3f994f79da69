"""A problem is a function of the weights, whatever model and loss do besides computing."""

import collections
import dataclasses
import random
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from cases import classification, images, seeded, tiny_cnn, tiny_mlp
from reference import dense_hessian, loss_of_vector
from torch import nn
from torch.ao import quantization
from torch.nn import functional as F

from landscape import Problem
from landscape.errors import InputError, Remark
from landscape.hessian.operator import CurvatureOperator

EXACT = {"device": "cpu", "dtype": "float64"}


def dense(problem, kind="hessian"):
    operator = CurvatureOperator(problem, kind=kind)
    return torch.stack([operator.matvec(e) for e in torch.eye(operator.size)])


class Clean(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = tiny_mlp()

    def forward(self, x):
        return self.net((x - 0.5) / 0.25)


class InPlace(Clean):
    def forward(self, x):
        return self.net(x.sub_(0.5).div_(0.25))


class ThroughData(Clean):
    def forward(self, x):
        x.data.sub_(0.5)
        x.detach().div_(0.25)
        return self.net(x)


class ThroughNumpy(Clean):
    def forward(self, x):
        array = x.detach().numpy()
        array -= 0.5
        array /= 0.25
        return self.net(x)


class Nested(Clean):
    def forward(self, x):
        x["a"]["b"][0].sub_(0.5).div_(0.25)
        return self.net(x["a"]["b"][0])


@dataclasses.dataclass
class Held:
    x: torch.Tensor
    count: int = 0

    def to(self, device):
        return self


class InAnObject(Clean):
    def forward(self, held):
        held.x.sub_(0.5).div_(0.25)
        return self.net(held.x)


class Numbered(Clean):
    def forward(self, held):
        held.count += 1
        return self.net((held.x - 0.5) / 0.25 * held.count)


class Emptying(Clean):
    def forward(self, rows):
        last = rows.pop()
        return self.net((torch.stack([*rows, last]) - 0.5) / 0.25)


class Transposing(Clean):
    def forward(self, x):
        x.t_()
        return self.net((x.t() - 0.5) / 0.25)


def shifting_loss(outputs, targets):
    targets.add_(1).remainder_(3)
    return F.cross_entropy(outputs, targets)


def pair(x, y):
    return x, y


def batches_of(wrap, x, y):
    return [(wrap(x[i : i + 7]), y[i : i + 7]) for i in range(0, len(x), 7)]


IN_PLACE = {
    "tensors": (InPlace, pair),
    "data": (ThroughData, pair),
    "numpy": (ThroughNumpy, pair),
    "dataset": (InPlace, torch.utils.data.TensorDataset),
    "batches": (InPlace, partial(batches_of, lambda x: x)),
    "nested": (Nested, partial(batches_of, lambda x: {"x": {"a": {"b": (x, x[:1])}}})),
    "object": (InAnObject, partial(batches_of, Held)),
    "number": (Numbered, partial(batches_of, Held)),
    "list": (Emptying, partial(batches_of, lambda x: list(x.unbind()))),
    "shape": (Transposing, pair),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_a_model_that_changes_its_inputs_has_the_derivatives_of_one_that_does_not(name):
    build, wrap = IN_PLACE[name]
    x, y = classification()
    data = wrap(x.double(), y)
    with pytest.warns(Remark, match="changes its inputs in place; each pass gets a fresh copy"):
        problem = Problem(build(), data, batch_size=7, **EXACT)
    loss, w = loss_of_vector(Clean(), x, y)
    for _ in range(2):
        assert problem.loss() == pytest.approx(float(loss(w)), rel=1e-13)
        gradient = problem.gradient().vector
        torch.testing.assert_close(gradient, torch.func.grad(loss)(w), rtol=1e-11, atol=1e-13)
        expected = dense_hessian(Clean(), x, y)
        torch.testing.assert_close(dense(problem), expected, rtol=1e-10, atol=1e-12)
    assert torch.equal(x, classification()[0])


def test_the_hash_is_that_of_the_data_as_they_were_given():
    x, y = classification()
    with pytest.warns(Remark):
        problem = Problem(InPlace(), (x, y), device="cpu", batch_size=7)
    problem.loss()
    assert problem.data_hash == Problem(Clean(), (x, y), device="cpu").data_hash
    assert torch.equal(x, classification()[0])


def test_a_loss_that_changes_its_targets_is_that_of_the_targets_as_they_were_given():
    x, y = classification()
    with pytest.warns(Remark, match="changes its targets in place"):
        problem = Problem(tiny_mlp(), (x, y), shifting_loss, batch_size=7, **EXACT)
    loss, w = loss_of_vector(tiny_mlp(), x, (y + 1) % 3)
    for _ in range(2):
        assert problem.loss() == pytest.approx(float(loss(w)), rel=1e-13)
    for kind in ("hessian", "ggn"):
        expected = dense(Problem(tiny_mlp(), (x, (y + 1) % 3), batch_size=7, **EXACT), kind)
        torch.testing.assert_close(dense(problem, kind), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("points", [1, 4])
def test_a_stack_of_points_is_given_copies_too(points):
    x, y = classification()
    with pytest.warns(Remark):
        problem = Problem(InPlace(), (x, y), points_per_pass=points, **EXACT)
    loss, w = loss_of_vector(Clean(), x, y)
    stack = torch.stack([w, 2 * w, -w, w])
    found = [value.loss for value in problem.evaluate_many(stack)]
    assert found == pytest.approx([float(loss(w)) for w in stack], rel=1e-12)


class ChangesLargeInputs(Clean):
    def forward(self, x):
        return self.net(x.sub_(0.5).div_(0.25) if x[0, 0] > 100 else (x - 0.5) / 0.25)


def test_inputs_that_change_in_a_later_batch_are_an_error_and_not_a_number():
    x, y = classification()
    x[10, 0] = 101.0
    problem = Problem(ChangesLargeInputs(), (x, y), batch_size=5, device="cpu")
    with pytest.raises(InputError, match="changes some of its inputs or targets in place"):
        problem.loss()


class Keeping(nn.Module):
    """Adds what it kept of the last batch to its outputs, `weight` of it."""

    def __init__(self, weight=1.0):
        super().__init__()
        self.inner = tiny_mlp()
        self.weight = weight
        self.part = nn.Identity()
        self.part.kept = None

    def forward(self, x):
        y = self.inner(x)
        kept = 0 if self.part.kept is None else self.part.kept
        self.part.kept = y.detach().mean()
        return y + self.weight * kept * torch.arange(3)


class Appending(Keeping):
    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(1)
        return self.inner(x) * len(self.seen)


class InABuffer(Keeping):
    def __init__(self):
        super().__init__()
        self.register_buffer("memory", torch.zeros(3))

    def forward(self, x):
        y = self.inner(x) + self.memory
        self.memory.copy_(y.detach().mean(0))
        return y


class InANewBuffer(InABuffer):
    def forward(self, x):
        y = self.inner(x) + self.memory
        self.memory = y.detach().mean(0)
        return y


class Bank:
    def __init__(self):
        self.total = np.zeros(3)


class InAnObjectOfItsOwn(Keeping):
    def __init__(self):
        super().__init__()
        self.bank = Bank()

    def forward(self, x):
        y = self.inner(x) + torch.from_numpy(self.bank.total).to(x)
        self.bank.total += y.detach().mean(0).numpy()
        return y


class FirstInputs(Keeping):
    """Normalizes all inputs by the first that it sees."""

    def forward(self, x):
        if self.part.kept is None:
            self.part.kept = x.mean()
        return self.inner(x - self.part.kept)


STATEFUL = {
    "part.kept": Keeping,
    "seen": Appending,
    "memory": InABuffer,
    "bank.total": InAnObjectOfItsOwn,
}


@pytest.mark.parametrize("name", STATEFUL)
def test_state_that_changes_the_loss_is_refused_by_its_name(name):
    with pytest.raises(InputError, match=f"from call to call in {name}\\. Reset") as caught:
        Problem(STATEFUL[name](), classification(), device="cpu", batch_size=7)
    assert "Reset it at the start of forward" in caught.value.hint


@pytest.mark.parametrize(("build", "name"), [(InANewBuffer, "memory"), (FirstInputs, "part.kept")])
def test_state_is_found_where_only_another_order_of_batches_shows_it(build, name):
    with pytest.raises(InputError, match=f"keeps from call to call in {name}\\."):
        Problem(build(), classification(), device="cpu", batch_size=7)


class Recurrent(nn.Module):
    def __init__(self, resets):
        super().__init__()
        self.rnn, self.head = nn.GRU(2, 4, batch_first=True), nn.Linear(4, 1)
        self.hidden, self.resets, self.attention = None, resets, None

    def forward(self, x):
        hidden = None if self.resets else self.hidden
        out, hidden = self.rnn(x, hidden)
        self.hidden = hidden.detach()
        self.attention = out  # with its graph
        return self.head(out)


def series():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 12, 2, generator=generator)
    y = x.cumsum(1)[..., :1]
    return [(x[:, i : i + 4], y[:, i : i + 4]) for i in (0, 4, 8)]


def test_a_hidden_state_is_refused_and_what_is_merely_kept_is_not_accused():
    with pytest.raises(InputError, match="in hidden\\."):
        Problem(seeded(partial(Recurrent, False)), series(), F.mse_loss, device="cpu")


def test_what_is_kept_without_effect_is_put_back_after_each_pass():
    problem = Problem(seeded(partial(Recurrent, True)), series(), F.mse_loss, **EXACT)
    model = seeded(partial(Recurrent, True)).double()
    losses = [F.mse_loss(model(x.double()), y.double()) for x, y in series()]
    assert problem.loss() == pytest.approx(float(sum(losses)) / 3, rel=1e-13)
    expected = torch.autograd.grad(sum(losses) / 3, list(model.parameters()))
    torch.testing.assert_close(
        problem.gradient().vector, torch.cat([each.reshape(-1) for each in expected])
    )
    assert problem.loss() == pytest.approx(float(sum(losses)) / 3, rel=1e-13)
    assert problem.copy_module().attention is None


class CachingWeights(nn.Module):
    """Normalizes its weights once, in the first pass in evaluation mode."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(3, 5))
        self.cache = None

    def forward(self, x):
        if self.cache is None:
            self.cache = F.normalize(self.weight)
        return x @ self.cache.T


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_observers_of_quantization_are_to_be_frozen():
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)).train()
    model.qconfig = quantization.get_default_qat_qconfig("fbgemm")
    prepared = quantization.prepare_qat(model)
    prepared(classification()[0])  # an observer that has seen nothing has no scale
    with pytest.raises(InputError, match="min_val") as caught:
        Problem(prepared, classification(), device="cpu")
    assert "disable_observer" in caught.value.hint
    prepared.apply(quantization.disable_observer)
    assert Problem(prepared, classification(), device="cpu").loss() > 0


def test_a_cache_of_the_weights_follows_them():
    problem = Problem(CachingWeights(), classification(), batch_size=7, **EXACT)
    x, y = classification()

    def loss(w):
        return F.cross_entropy(x.double() @ F.normalize(w.view(3, 5)).T, y)

    w = torch.linspace(-1, 2, 15, dtype=torch.float64)
    assert problem.loss(w) == pytest.approx(float(loss(w)), rel=1e-13)
    assert problem.loss() == pytest.approx(float(loss(problem.weights)), rel=1e-13)
    torch.testing.assert_close(problem.gradient(w).vector, torch.func.grad(loss)(w))


class CountingLoss:
    def __init__(self, effect):
        self.effect, self.calls = effect, 0

    def __call__(self, outputs, targets):
        self.calls += 1
        return F.cross_entropy(outputs, targets) * (1 + self.effect * self.calls)


def test_a_loss_that_depends_on_its_own_state_is_refused_by_name():
    with pytest.raises(InputError, match=r"in loss function\.calls\."):
        Problem(tiny_mlp(), classification(), CountingLoss(0.1), device="cpu")
    count = 0

    def annealed(outputs, targets):
        nonlocal count
        count += 1
        return count * F.cross_entropy(outputs, targets)

    with pytest.raises(InputError, match=r"in loss function\.count\."):
        Problem(tiny_mlp(), classification(), annealed, device="cpu")


def test_a_loss_may_count_its_calls_for_its_user():
    loss = CountingLoss(0.0)
    problem = Problem(tiny_mlp(), classification(), loss, device="cpu")
    before = loss.calls
    problem.loss()
    assert loss.calls == before + 1


_CALLS = collections.Counter()


class Global(nn.Linear):
    def forward(self, x):
        _CALLS["model"] += 1
        return super().forward(x) * _CALLS["model"]


def test_state_outside_of_attributes_is_refused():
    with pytest.raises(InputError, match="no attribute of the model or the loss says why"):
        Problem(Global(5, 3), classification(), device="cpu")


def test_an_ordinary_model_leaves_no_remark_and_no_trace():
    for model, data in ((tiny_mlp(), classification()), (tiny_cnn(), images())):
        state, numpys, pythons = torch.get_rng_state(), np.random.get_state(), random.getstate()
        with warnings.catch_warnings():
            warnings.simplefilter("error", Remark)
            problem = Problem(model, data, device="cpu", batchnorm="batch", batch_size=7)
        habits = problem.passes.habits
        assert (habits.fresh, habits.state, habits.sources, habits.mode) == (
            None,
            None,
            None,
            "inference",
        )
        assert torch.equal(torch.get_rng_state(), state)
        assert str(np.random.get_state()) == str(numpys)
        assert random.getstate() == pythons


class Clipped(Clean):
    def forward(self, x):
        with torch.no_grad():
            self.net[0].bias.clamp_(-0.01, 0.01)
        return super().forward(x)


class ClippedThroughData(Clean):
    def forward(self, x):
        self.net[0].bias.data.clamp_(-0.01, 0.01)
        return super().forward(x)


class Replaced(Clean):
    def forward(self, x):
        self.net[0].bias.data = self.net[0].bias.data.clone()
        return super().forward(x)


@pytest.mark.parametrize("build", [Clipped, ClippedThroughData, Replaced])
def test_a_model_that_writes_to_its_weights_is_refused(build):
    with pytest.raises(InputError, match=r"writes to net\.0\.bias\.") as caught:
        Problem(build(), classification(), batch_size=7, **EXACT)
    assert "Compute new tensors" in caught.value.hint


class NonNegative(Clean):
    def __init__(self):
        super().__init__()
        self.net[0].bias.data.abs_()

    def forward(self, x):
        self.net[0].bias.data.clamp_(min=0)
        return super().forward(x)


class InABox(Clean):
    def __init__(self):
        super().__init__()
        self.net[0].bias.data.clamp_(-0.01, 0.01)

    def forward(self, x):
        self.net[0].bias.data.clamp_(-0.01, 0.01)
        return super().forward(x)


class OfLengthOne(Clean):
    def __init__(self):
        super().__init__()
        self.net[0].bias.data = F.normalize(self.net[0].bias.data, dim=0)

    def forward(self, x):
        bias = self.net[0].bias.data
        if not torch.isclose(bias.norm(), torch.ones_like(bias.norm())):
            bias.copy_(F.normalize(bias, dim=0))
        return super().forward(x)


@pytest.mark.parametrize("build", [NonNegative, InABox, OfLengthOne])
def test_a_model_that_holds_its_weights_where_they_are_is_refused(build):
    with pytest.raises(InputError, match=r"writes to net\.0\.bias\."):
        Problem(build(), classification(), batch_size=7, **EXACT)


class LimitsLargeWeights(Clean):
    def forward(self, x):
        if self.net[0].bias.abs().max() > 100:
            with torch.no_grad():
                self.net[0].bias.clamp_(-100, 100)
        return super().forward(x)


def test_weights_that_are_written_to_at_some_points_are_an_error_there():
    problem = Problem(LimitsLargeWeights(), classification(), **EXACT)
    problem.loss()
    with pytest.raises(InputError, match="must not change its weights when it is called"):
        problem.loss(1000 * torch.ones_like(problem.weights))


class Flattening(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.GRU(2, 4, batch_first=True), nn.Linear(4, 1)

    def forward(self, x):
        self.rnn.flatten_parameters()
        return self.head(self.rnn(x)[0])


def test_recurrent_weights_stay_where_points_are_written(monkeypatch):
    def elsewhere(self):  # as on CUDA
        for weight in self.parameters():
            weight.data = weight.data.clone()

    monkeypatch.setattr(nn.RNNBase, "flatten_parameters", elsewhere)
    problem = Problem(seeded(Flattening), series(), F.mse_loss, **EXACT)
    model = seeded(Flattening).double()
    w = torch.linspace(-1, 1, len(problem.weights), dtype=torch.float64)
    nn.utils.vector_to_parameters(w, model.parameters())
    losses = [F.mse_loss(model(x.double()), y.double()) for x, y in series()]
    assert problem.loss(w) == pytest.approx(float(sum(losses)) / 3, rel=1e-13)
    problem.copy_module()
