"""SAM in loops that others write: accumulated gradients, loss scaling, sparse weights."""

import copy
import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD, SparseAdam

from landscape.errors import InputError, Remark
from landscape.optim import GSAM, SAM

A = np.array([[3.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 1.0]])
B = np.array([[1.0, -1.0, 0.2], [-1.0, 4.0, 0.0], [0.2, 0.0, 2.0]])
W0 = np.array([1.0, -2.0, 0.5])
RTOL = 1e-12

GENERATOR = torch.Generator().manual_seed(0)
INPUTS = torch.randn(64, 5, generator=GENERATOR)
TARGETS = (INPUTS[:, 0] > 0).long() + (INPUTS[:, 1] > 0).long()
WORDS = torch.randint(0, 50, (64, 3), generator=GENERATOR)


class Two(nn.Module):
    """A weight (3,) in two parts, of which the second may take no part in a loss."""

    def __init__(self):
        super().__init__()
        self.w, self.other = nn.Parameter(torch.from_numpy(W0.copy())), nn.Parameter(torch.ones(2))

    def add_gradient(self, matrix):
        loss = self.w @ torch.from_numpy(matrix) @ self.w / 2
        loss.backward()
        return loss


def stepped(optimizer, model, clear, *, earlier):
    """Weights after two steps, each after gradients of B that the loop has accumulated."""

    def closure():
        clear(optimizer)
        return model.add_gradient(A)

    for _ in range(2):
        if earlier:
            optimizer.zero_grad()
            model.add_gradient(B)
        optimizer.step(closure)
    return model.w.detach().numpy()


def nothing(optimizer):
    pass


CLEARED = {
    "none": lambda optimizer: optimizer.zero_grad(),
    "zeros": lambda optimizer: optimizer.zero_grad(set_to_none=False),
}


@pytest.mark.parametrize("rho", [0.0, 0.3])
@pytest.mark.filterwarnings("ignore::landscape.errors.Remark")
def test_accumulated_gradients_are_part_of_the_step(rho):
    model, expected = Two(), W0.copy()
    found = stepped(SAM(model.parameters(), SGD, rho=rho, lr=0.1), model, nothing, earlier=True)
    for _ in range(2):
        g = B @ expected + A @ expected
        e = rho * g / np.linalg.norm(g)
        expected = expected - 0.1 * (B @ expected + A @ (expected + e))
    np.testing.assert_allclose(found, expected, rtol=RTOL)


@pytest.mark.filterwarnings("ignore::landscape.errors.Remark")
def test_accumulated_gradients_are_part_of_each_of_several_ascent_steps():
    model = Two()
    model.other.grad = torch.full((2,), 2.0)  # of a weight that takes no part in the closure
    model.add_gradient(B)
    optimizer = SAM(model.parameters(), SGD, rho=0.3, lr=0.1, steps=2)
    optimizer.step(lambda: model.add_gradient(A))
    e = np.zeros(5)
    for _ in range(2):
        g = np.append(B @ W0 + A @ (W0 + e[:3]), [2.0, 2.0])
        e = e + 0.15 * g / np.linalg.norm(g)
    np.testing.assert_allclose(
        model.w.detach().numpy(), W0 - 0.1 * (B @ W0 + A @ (W0 + e[:3])), rtol=RTOL
    )
    np.testing.assert_allclose(model.other.detach().numpy(), 0.8, rtol=1e-6)


def test_accumulated_gradients_are_said_not_to_climb():
    model = Two()
    model.add_gradient(B)
    optimizer = SAM(model.parameters(), SGD, lr=0.1)
    with pytest.warns(Remark, match="a list of closures"):
        optimizer.step(lambda: model.add_gradient(A))


def test_a_closure_that_clears_some_gradients_is_refused_and_leaves_them():
    model = Two()
    model.add_gradient(B)
    model.other.grad = torch.full((2,), 2.0)
    before = model.w.grad.clone()

    def closure():
        model.w.grad = None
        return model.add_gradient(A)

    with pytest.raises(InputError, match="cleared those of 1 of 2 tensors"):
        SAM(model.parameters(), SGD, rho=0.3, lr=0.1).step(closure)
    assert torch.equal(model.w.grad, before)
    assert torch.equal(model.other.grad, torch.full((2,), 2.0))
    np.testing.assert_array_equal(model.w.detach().numpy(), W0)


def test_a_closure_that_unscales_its_gradients_is_refused_in_a_sentence():
    model = Two()
    optimizer = SAM(model.parameters(), SGD, rho=0.3, lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)

    def closure():
        optimizer.zero_grad()
        loss = (model.w**2).sum()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        return loss

    with pytest.raises(InputError, match=r"calls scaler\.unscale_"):
        optimizer.step(closure, scaler)
    np.testing.assert_array_equal(model.w.detach().numpy(), W0)


@pytest.mark.parametrize("clear", CLEARED)
@pytest.mark.filterwarnings("error")
def test_gradients_that_the_closure_clears_are_no_part_of_the_step(clear):
    model, other = Two(), Two()
    found, expected = (
        stepped(SAM(each.parameters(), SGD, rho=0.3, lr=0.1), each, CLEARED[clear], earlier=earlier)
        for each, earlier in ((model, True), (other, False))
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.filterwarnings("error")
def test_gradients_that_a_step_left_are_no_part_of_the_next():
    model, other = Two(), Two()
    found, expected = (
        stepped(SAM(each.parameters(), SGD, rho=0.3, lr=0.1), each, clear, earlier=False)
        for each, clear in ((model, nothing), (other, CLEARED["none"]))
    )
    np.testing.assert_array_equal(found, expected)


def network(dtype=torch.float32):
    torch.manual_seed(0)
    layers = nn.Linear(5, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 3)
    return nn.Sequential(*layers).to(dtype)


def flat(model):
    return torch.cat([w.detach().reshape(-1) for w in model.parameters()])


def run(scaler, count=10, lost=()):
    model = network()
    optimizer = SAM(model.parameters(), SGD, rho=0.05, module=model, lr=0.1, momentum=0.9)
    for step in range(count):

        def closure(step=step):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(INPUTS), TARGETS)
            (scaler.scale(loss) * (math.inf if step in lost else 1.0)).backward()
            return loss

        scaler.step(optimizer, closure)
        scaler.update()
    return model, optimizer


def test_a_scaler_may_be_given_the_optimizer_and_its_closure():
    plain, _ = run(torch.amp.GradScaler("cpu", enabled=False))
    scaled, _ = run(torch.amp.GradScaler("cpu", init_scale=1024.0))
    assert torch.allclose(flat(plain), flat(scaled), rtol=0, atol=1e-6)
    assert torch.equal(plain[1].running_mean, scaled[1].running_mean)


def test_a_scaler_hears_of_gradients_that_overflow():
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    _, optimizer = run(scaler, count=4, lost=(1,))
    assert scaler.get_scale() == 512.0
    assert optimizer.skipped_steps == 1


def test_a_scaler_without_a_closure_is_told_what_to_call():
    model = network()
    optimizer = SAM(model.parameters(), SGD, lr=0.1)
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(F.cross_entropy(model(INPUTS), TARGETS)).backward()
    with pytest.raises(InputError, match="first_step"):
        scaler.step(optimizer)


@pytest.mark.parametrize(
    ("dtype", "share"), [(torch.bfloat16, "0.39 %"), (torch.float16, "0.049 %")]
)
def test_weights_too_coarse_for_an_ascent_are_warned_of(dtype, share):
    model = network(dtype)
    optimizer = SAM(model.parameters(), SGD, rho=0.05, module=model, lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(INPUTS.to(dtype)).float(), TARGETS)
        loss.backward()
        return loss

    with pytest.warns(Remark, match=f"rounded to {share} of their size") as said:
        optimizer.step(closure)
    assert len(said) == 1


def test_float32_weights_are_not_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(torch.amp.GradScaler("cpu", enabled=False), count=1)


def bag(*, sparse):
    torch.manual_seed(0)
    return nn.ModuleList([nn.EmbeddingBag(50, 4, sparse=sparse), nn.Linear(4, 3)])


def trained(model, optimizer):
    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(model[1](model[0](WORDS)), TARGETS)
        loss.backward()
        return loss

    for _ in range(5):
        optimizer.step(closure)
    return flat(model)


@pytest.mark.parametrize("options", [{}, {"steps": 2}, {"p": math.inf}, {"every": 2}, {"rho": 0.0}])
def test_sparse_gradients_do_what_dense_ones_do(options):
    sparse, dense = bag(sparse=True), bag(sparse=False)
    found, expected = (
        trained(model, SAM(model.parameters(), SGD, **{"rho": 0.05, **options}, lr=0.1))
        for model in (sparse, dense)
    )
    assert torch.allclose(found, expected, rtol=0, atol=1e-6)


def test_a_base_that_takes_sparse_gradients_only_is_given_them():
    table = nn.Embedding(50, 4, sparse=True)
    before = copy.deepcopy(table.weight.detach())
    optimizer = SAM(table.parameters(), SparseAdam, rho=0.05, lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = table(WORDS[:4]).square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    moved = (table.weight != before).any(1)
    assert set(moved.nonzero()[:, 0].tolist()) == set(WORDS[:4].flatten().tolist())


def test_a_variant_that_needs_dense_gradients_says_so():
    table = nn.Embedding(5, 2, sparse=True)
    optimizer = GSAM(table.parameters(), SGD, lr=0.1)
    with pytest.raises(InputError, match="GSAM needs dense gradients"):
        optimizer.step(lambda: table(torch.tensor([1])).sum().backward())
