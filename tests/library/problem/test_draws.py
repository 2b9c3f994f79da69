"""Random numbers of a model or a loss: fixed for each batch and draw, averaged over draws."""

import copy
import random
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from cases import classification, seeded, tiny_mlp
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from landscape import Problem
from landscape.errors import InputError, Remark
from landscape.hessian.operator import CurvatureOperator

EXACT = {"device": "cpu", "dtype": "float64"}


class Noisy(nn.Module):
    """Multiplies its inputs by noise that `draw` returns."""

    def __init__(self, draw=None):
        super().__init__()
        self.net = tiny_mlp()
        self.draw = draw

    def forward(self, x):
        return self.net(x * (1 + self.noise(x)))

    def noise(self, x):
        return torch.randn_like(x)


class FromNumpy(Noisy):
    def noise(self, x):
        return torch.from_numpy(np.random.standard_normal(x.shape)).to(x)


class FromPython(Noisy):
    def noise(self, x):
        return random.random()


class FromItsOwn(Noisy):
    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(5)

    def noise(self, x):
        return torch.randn(x.shape, generator=self.generator, dtype=x.dtype)


class FromNumpysNew(Noisy):
    def __init__(self):
        super().__init__()
        self.generator = np.random.default_rng(3)

    def noise(self, x):
        return torch.from_numpy(self.generator.standard_normal(x.shape)).to(x)


class Encoder(Noisy):
    """A mean and a standard deviation, sampled by the reparametrization trick."""

    def forward(self, x):
        mean, log_scale, rest = self.net(x).split(1, dim=1)
        return torch.cat([mean + log_scale.exp() * torch.randn_like(mean), rest, mean], 1)


def noisy_loss(outputs, targets):
    return F.cross_entropy(outputs * (1 + torch.rand_like(outputs)), targets)


MODELS = (Noisy, FromNumpy, FromPython, FromItsOwn, FromNumpysNew, Encoder)


def opened(build=Noisy, loss=None, **options):
    options = {"batch_size": 7, **EXACT, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Remark)
        return Problem(build(), classification(), loss, **options)


def losses_of_batches(problem):
    """The losses of all batches as functions of w, with the same random numbers at every w."""
    passes = problem.passes
    with passes.at(None) as module:  # whose own generators are seeded
        pass

    def loss(batch, w):
        weights = dict(zip(problem.spec.names, problem.spec.views(w), strict=True))

        def model(x):
            return functional_call(module, weights, (x,))

        return passes.forward(batch, model)[1]

    return [partial(loss, batch) for batch in passes.batches]


def dense_hessian_with_draws(problem):
    """By torch.func on single batches; the random numbers are those that each pass seeds."""

    def mean(w):
        parts = zip(problem.passes.sizes, losses_of_batches(problem), strict=True)
        return sum(size * loss(w) for size, loss in parts) / problem.num_examples

    rows = []
    w = problem.weights.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(mean(w), w, create_graph=True)
    for entry in gradient:
        rows.append(torch.autograd.grad(entry, w, retain_graph=True)[0])
    return torch.stack(rows)


@pytest.mark.parametrize("build", MODELS)
def test_one_fixed_draw_is_measured_and_said(build):
    with pytest.warns(Remark, match="draws random numbers; one fixed draw is measured"):
        problem = Problem(build(), classification(), batch_size=7, **EXACT)
    again = opened(build)
    random.random(), np.random.random(), torch.rand(1)
    assert problem.loss() == problem.loss() == again.loss()
    assert problem.gradient().loss == pytest.approx(problem.loss(), rel=1e-13)


@pytest.mark.parametrize("build", MODELS)
@pytest.mark.parametrize("graph_bytes", [0, 1 << 30])
def test_products_are_of_the_draw_that_the_loss_is_of(build, graph_bytes):
    problem = opened(build)
    operator = CurvatureOperator(problem, graph_bytes=graph_bytes)
    eye = torch.eye(operator.size, dtype=torch.float64)
    matrix = torch.stack([operator.matvec(e) for e in eye])
    torch.testing.assert_close(matrix, matrix.T, rtol=1e-10, atol=1e-13)
    expected = dense_hessian_with_draws(problem)
    torch.testing.assert_close(matrix, expected, rtol=1e-9, atol=1e-12)
    assert operator.num_retained == (3 if graph_bytes else 0)


@pytest.mark.parametrize("kind", ["hessian", "ggn"])
def test_a_loss_draws_the_same_numbers_in_loss_and_curvature(kind):
    problem = opened(tiny_mlp, noisy_loss)
    operator = CurvatureOperator(problem, kind=kind)
    matrix = torch.stack([operator.matvec(e) for e in torch.eye(operator.size)])
    if kind == "hessian":
        expected = dense_hessian_with_draws(problem)
    else:
        expected = dense_ggn_with_draws(problem)
    torch.testing.assert_close(matrix, expected, rtol=1e-9, atol=1e-12)


def dense_ggn_with_draws(problem):
    module, total = problem.copy_module(), 0
    for batch in problem.batches:
        torch.manual_seed(0)
        outputs = []

        def loss_of(outputs, batch=batch):
            return problem.passes.forward(batch, lambda x: outputs)[1]

        def outputs_at(w, x=batch[0]):
            weights = dict(zip(problem.spec.names, problem.spec.views(w), strict=True))
            return functional_call(module, weights, (x,))

        outputs = outputs_at(problem.weights)
        inner = torch.autograd.functional.hessian(loss_of, outputs)
        jacobian = torch.autograd.functional.jacobian(outputs_at, problem.weights)
        size = outputs.numel()
        jacobian, inner = jacobian.reshape(size, -1), inner.reshape(size, size)
        total = total + len(outputs) / problem.num_examples * jacobian.T @ inner @ jacobian
    return total


@pytest.mark.parametrize("build", MODELS)
def test_the_gradient_is_that_of_the_loss(build):
    problem = opened(build)
    v = torch.randn(problem.spec.size, generator=torch.Generator().manual_seed(1)).double()
    step = 1e-5 * v
    ahead, behind = problem.loss(problem.weights + step), problem.loss(problem.weights - step)
    slope = float(problem.gradient().vector @ v)
    assert (ahead - behind) / 2e-5 == pytest.approx(slope, rel=1e-7)


@pytest.mark.parametrize("build", MODELS)
def test_several_draws_are_the_mean_of_single_ones_with_its_standard_error(build):
    problem = opened(build, draws=5)
    losses = [float(loss(problem.weights)) for loss in losses_of_batches(problem)]
    sizes = np.array([7, 7, 6])
    means = np.array(losses).reshape(5, 3) @ sizes / 20
    assert len(set(means)) == 5
    found = problem.evaluate()
    assert found.loss == pytest.approx(means.mean(), rel=1e-13)
    assert found.draws_error == pytest.approx(means.std(ddof=1) / np.sqrt(5), rel=1e-10)
    assert problem.plan.draws == 5
    assert means[0] == pytest.approx(opened(build).loss(), rel=1e-13)


def test_gradient_and_hessian_are_means_over_the_draws():
    problem = opened(draws=3)
    v = torch.randn(problem.spec.size, generator=torch.Generator().manual_seed(2)).double()
    expected = dense_hessian_with_draws(problem)
    torch.testing.assert_close(problem.hessian_vector_product(v), expected @ v)
    step = 1e-5 * v
    ahead, behind = problem.loss(problem.weights + step), problem.loss(problem.weights - step)
    assert (ahead - behind) / 2e-5 == pytest.approx(float(problem.gradient().vector @ v), rel=1e-7)


def test_the_standard_error_over_draws_is_right():
    """The loss is the mean of 20 standard normal numbers: the error of K draws is 1/sqrt(20 K)."""

    class Drawing(nn.Linear):
        def forward(self, x):
            return 0 * super().forward(x) + torch.randn(len(x), 1).to(x)

    errors = [
        opened(partial(Drawing, 5, 1), lambda o, t: o.mean(), draws=200, batch_size=size).evaluate()
        for size in (7, 20)
    ]
    for found in errors:
        expected = 1 / np.sqrt(20 * 200)
        # The standard deviation of 200 numbers is known to 5 %.
        assert found.draws_error == pytest.approx(expected, rel=0.2)
        assert abs(found.loss) < 4 * expected


def test_accuracy_and_errors_of_a_subset_are_means_over_draws():
    problem = opened(draws=4, num_population=60)
    losses = torch.stack(
        [
            F.cross_entropy(problem.passes.forward(batch)[0], batch[1], reduction="none")
            for batch in opened(draws=4, batch_size=20).passes.batches
        ]
    )
    found = opened(draws=4, num_population=60, batch_size=20).evaluate()
    means = losses.mean(0)
    of_sample = float(means.std() * (1 - 20 / 60) ** 0.5 / 20**0.5)
    of_draws = float(losses.mean(1).std() / 2)
    assert found.draws_error == pytest.approx(of_draws, rel=1e-9)
    assert found.standard_error == pytest.approx(np.hypot(of_sample, of_draws), rel=1e-9)
    correct = [
        (problem.passes.forward(batch)[0].argmax(1) == batch[1]).double().sum()
        for batch in problem.passes.batches
    ]
    assert problem.evaluate().accuracy == pytest.approx(float(sum(correct)) / 80)


def test_draws_of_a_model_that_draws_none_are_one():
    with pytest.warns(Remark, match="does not depend on random numbers"):
        problem = Problem(tiny_mlp(), classification(), draws=8, device="cpu")
    assert problem.plan.draws == 1
    assert problem.evaluate() == Problem(tiny_mlp(), classification(), device="cpu").evaluate()


def test_a_generator_that_model_and_loss_do_not_hold_is_refused():
    generator = torch.Generator().manual_seed(0)

    class Hidden(nn.Linear):
        def forward(self, x):
            return super().forward(x) + torch.randn(3, generator=_hidden[0])

    _hidden.append(generator)
    with pytest.raises(InputError, match="two passes over the same batch give different losses"):
        Problem(seeded(partial(Hidden, 5, 3)), classification(), device="cpu")


_hidden = []


class OfSomeBatches(nn.Linear):
    def forward(self, x):
        return super().forward(x + torch.randn_like(x) if x.max() > 100 else x)


def test_random_numbers_of_some_batches_are_an_error_and_not_a_number():
    x, y = classification()
    x[10, 0] = 101.0
    problem = Problem(OfSomeBatches(5, 3), (x, y), batch_size=5, device="cpu")
    with pytest.raises(InputError, match="draws random numbers for some batches"):
        problem.loss()


def test_the_users_own_generators_are_left_alone():
    model = FromItsOwn()
    before = copy.deepcopy(model.generator).get_state()
    states = torch.get_rng_state(), str(np.random.get_state()), random.getstate()
    opened(lambda: model, draws=2).gradient()
    assert torch.equal(model.generator.get_state(), before)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (str(np.random.get_state()), random.getstate()) == states[1:]


def test_a_model_that_draws_is_not_compiled():
    with pytest.raises(InputError, match="draws random numbers cannot be compiled"):
        Problem(Noisy(), classification(), device="cpu", compile=True)


class Dropping(Noisy):
    def forward(self, x):
        return F.dropout(self.net(x), 0.3) + torch.normal(0.0, 0.1, (len(x), 3)).to(x)


class Filling(Noisy):
    def noise(self, x):
        return torch.empty_like(x).normal_() * torch.bernoulli(torch.full_like(x, 0.4))


@pytest.mark.parametrize("build", [*MODELS, Dropping, Filling])
def test_the_draw_is_the_same_in_another_dtype(build):
    single = opened(build, dtype="float32", draws=2)
    for double in (opened(build, draws=2), single.in_dtype()):
        assert double.loss() == pytest.approx(single.loss(), rel=1e-5)
        torch.testing.assert_close(
            double.gradient().vector, single.gradient().vector.double(), rtol=1e-4, atol=1e-5
        )
