"""Models that differentiate by themselves: their gradient has to be that of their loss."""

from __future__ import annotations

import pytest
import torch
from cases import classification, seeded
from reference import dense_hessian
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.utils.checkpoint import checkpoint

from landscape import Problem
from landscape.errors import InputError
from landscape.hessian.spectrum import hessian_spectrum
from landscape.problem import curvature

ALL = {"create_graph": True}


class Residual(nn.Module):
    """u'(t) + u(t), u' by a derivative that is taken in some way."""

    def __init__(self, derive, activation=nn.Tanh):
        super().__init__()
        self.derive = derive
        layers = (nn.Linear(1, 6), activation(), nn.Linear(6, 1))
        self.net = seeded(lambda: nn.Sequential(*layers))
        for layer in (self.net[0], self.net[2]):
            seeded(lambda layer=layer: layer.reset_parameters(), seed=1)

    def forward(self, t):
        with torch.enable_grad():
            t = t.detach().clone().requires_grad_()
            u = self.net(t)
            du = self.derive(self, u, t)
        return du + u


def slope(u, t, **options):
    return torch.autograd.grad(u.sum(), t, **options)[0]


PARTIAL = {
    "for training": lambda model, u, t: slope(u, t, create_graph=model.training, retain_graph=True),
    "for training alone": lambda model, u, t: slope(u, t, create_graph=model.training),
    "retained": lambda _, u, t: slope(u, t, retain_graph=True),
    "detached": lambda _, u, t: slope(u, t, **ALL).detach(),
    "a number": lambda _, u, t: slope(u, t, **ALL).mean().item(),
    "a tenth": lambda _, u, t: 0.9 * slope(u, t, **ALL) + 0.1 * slope(u, t, **ALL).detach(),
}


def problem_of(model, scale=1.0, dtype="float32", points=20):
    t = torch.linspace(-1, 1, points)[:, None]
    loss = lambda out, y: scale * nn.functional.mse_loss(out, y)  # noqa: E731
    return Problem(model, (t, torch.zeros_like(t)), loss, device="cpu", dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("how", PARTIAL)
def test_a_gradient_without_a_part_is_refused_with_what_to_write(how, dtype):
    problem = problem_of(Residual(PARTIAL[how]), dtype=dtype)
    with pytest.raises(InputError, match="is left out of it") as caught:
        problem.gradient()
    assert "create_graph=True" in caught.value.hint
    with pytest.raises(InputError, match="is left out of it"):
        problem.hessian_vector_product(torch.ones(problem.spec.size))


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e6])
@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU, nn.Hardtanh, nn.Softplus])
def test_a_whole_gradient_is_that_of_plain_torch(activation, scale):
    model = Residual(lambda _, u, t: slope(u, t, **ALL), activation)
    problem = problem_of(model, scale, "float64")
    t = torch.linspace(-1, 1, 20)[:, None].double()
    net = model.double().net

    def loss(weights):
        def u(at):
            return functional_call(net, weights, (at[None],)).squeeze()

        return scale * (vmap(grad(u))(t) + vmap(u)(t)[:, None]).square().mean()

    expected = grad(loss)({name: p.detach() for name, p in net.named_parameters()})
    expected = torch.cat([each.reshape(-1) for each in expected.values()])
    assert torch.allclose(problem.gradient().vector, expected, rtol=1e-9, atol=1e-12 * scale)
    single = problem_of(Residual(model.derive, activation), scale).gradient().vector
    assert torch.allclose(single, expected, rtol=1e-3, atol=1e-5 * scale)


def test_a_relu_at_its_kink_is_no_alarm():
    model = Residual(lambda _, u, t: slope(u, t, **ALL), nn.ReLU)
    with torch.no_grad():
        model.net[0].bias.zero_()
    assert torch.isfinite(problem_of(model, points=1).gradient().vector).all()
    assert torch.isfinite(problem_of(model, points=21).gradient().vector).all()


def test_a_loss_is_measured_whatever_its_gradient():
    t = torch.linspace(-1, 1, 20)[:, None].double()
    model = Residual(PARTIAL["retained"]).double()
    expected = model(t).square().mean().item()
    problem = problem_of(Residual(PARTIAL["retained"]), dtype="float64")
    assert problem.loss() == pytest.approx(expected, rel=1e-12)


def test_models_that_do_not_differentiate_pay_nothing(monkeypatch):
    monkeypatch.setattr(curvature, "require_whole_gradient", None)
    problem_of(nn.Linear(1, 1)).gradient()


def test_a_gradient_is_looked_at_once(monkeypatch):
    calls = []
    monkeypatch.setattr(curvature, "require_whole_gradient", calls.append)
    problem = problem_of(Residual(lambda _, u, t: slope(u, t, **ALL)))
    problem.gradient()
    problem.with_weights(problem.weights).gradient()
    problem.hessian_vector_product(problem.weights)
    assert len(calls) == 1


class Recomputing(nn.Module):
    """An MLP that recomputes its activations in the backward pass."""

    def __init__(self, *, use_reentrant):
        super().__init__()
        self.first = nn.Linear(5, 6)
        self.rest = nn.Sequential(nn.Tanh(), nn.Linear(6, 3))
        self.use_reentrant = use_reentrant

    def forward(self, x):
        return checkpoint(self.rest, self.first(x), use_reentrant=self.use_reentrant)


def test_reentrant_checkpointing_has_no_gradient_and_another_has_that_of_the_plain_model():
    data = classification()
    for use_reentrant in (True, False):
        model = seeded(lambda it=use_reentrant: Recomputing(use_reentrant=it))
        problem = Problem(model, data, device="cpu", dtype="float64")
        plain = nn.Sequential(model.first, *model.rest).double()
        loss = nn.functional.cross_entropy(plain(data[0].double()), data[1])
        assert problem.loss() == pytest.approx(loss.item(), rel=1e-12)
        if use_reentrant:
            for derivative in (problem.gradient, lambda p=problem: hessian_spectrum(p, top_k=1)):
                with pytest.raises(InputError, match="reentrant checkpointing"):
                    derivative()
        else:
            expected = torch.autograd.grad(loss, plain.parameters())
            found = problem.spec.views(problem.gradient().vector)
            for one, other in zip(found, expected, strict=True):
                torch.testing.assert_close(one, other)


def test_data_made_in_inference_mode_can_be_differentiated():
    with torch.inference_mode():
        x, y = (each.clone() for each in classification())
    model = seeded(lambda: nn.Linear(5, 3))
    found, expected = (
        Problem(model, data, device="cpu").gradient().vector for data in ((x, y), classification())
    )
    assert torch.equal(found, expected)


class Square(torch.autograd.Function):
    """x^2, whose backward pass may lose the derivative by x."""

    @staticmethod
    def forward(ctx, x, is_detached):
        ctx.save_for_backward(x)
        ctx.is_detached = is_detached
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * (x.detach() if ctx.is_detached else x) * g, None


class Squares(nn.Module):
    """Two layers with squares between them, torch's own where `is_detached` is None."""

    def __init__(self, *, is_detached=None):
        super().__init__()
        self.first, self.second = nn.Linear(5, 6), nn.Linear(6, 3)
        self.is_detached = is_detached

    def forward(self, x):
        h = self.first(x)
        return self.second(h * h if self.is_detached is None else Square.apply(h, self.is_detached))


def test_a_function_that_detaches_what_it_saved_is_refused_for_the_hessian_alone():
    data = classification()
    right, wrong = (
        Problem(seeded(lambda it=it: Squares(is_detached=it)), data, device="cpu", dtype="float64")
        for it in (False, True)
    )
    exact = dense_hessian(seeded(Squares), *data)
    largest = float(torch.linalg.eigvalsh(exact)[-1])
    assert hessian_spectrum(right, top_k=1).lambda_max == pytest.approx(largest, rel=1e-6)
    with pytest.raises(InputError, match="detaches what has a derivative"):
        hessian_spectrum(wrong, top_k=1)
    by_differences = hessian_spectrum(wrong, top_k=1, products="differences")
    assert by_differences.lambda_max == pytest.approx(largest, rel=1e-5)
    ggn = [hessian_spectrum(p, top_k=1, curvature="ggn").lambda_max for p in (right, wrong)]
    assert ggn[0] == pytest.approx(ggn[1], rel=1e-9)
    assert torch.equal(wrong.gradient().vector, right.gradient().vector)
