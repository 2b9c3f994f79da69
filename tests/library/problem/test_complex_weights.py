"""Complex weights, buffers and data, compared with pairs of real numbers in float64."""

from __future__ import annotations

import copy

import pytest
import torch
from cases import classification, seeded
from torch import nn

from landscape.directions.plane import random_directions
from landscape.errors import InputError
from landscape.hessian.operator import CurvatureOperator
from landscape.hessian.spectrum import hessian_spectrum
from landscape.optim.family import build_optimizer
from landscape.problem.problem import Problem


class Spectral(nn.Module):
    """A real layer with an odd number of weights, then complex ones: weight, bias and a buffer."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(5, 3)
        self.odd = nn.Parameter(torch.randn(1))
        self.kernel = nn.Parameter(torch.randn(3, 4, dtype=torch.cfloat))
        self.bias = nn.Parameter(torch.randn(4, dtype=torch.cfloat))
        self.register_buffer("turn", torch.polar(torch.ones(4), torch.arange(4.0)))

    def hidden(self, x):
        h = torch.fft.fft(torch.tanh(self.first(x.real)) * self.odd)
        return (h @ self.kernel + self.bias) * self.turn

    def forward(self, x):
        return self.hidden(x).tanh().abs()[:, :3]


class ComplexOutputs(Spectral):
    """The same up to its outputs, which stay complex."""

    def forward(self, x):
        return self.hidden(x)


def size_of_outputs(outputs, targets):
    """A real loss of complex outputs that is not quadratic."""
    return (outputs.abs() ** 3).mean() + outputs.imag.sin().mean()


CASES = [(Spectral, nn.functional.cross_entropy), (ComplexOutputs, size_of_outputs)]


def loss_of_pairs(model, data, criterion):
    """Return the float64 loss as a function of real numbers alone, and the flat weights."""
    model = copy.deepcopy(model).eval()
    model._apply(lambda t: t.to(torch.complex128 if t.is_complex() else torch.float64))
    parameters = dict(model.named_parameters())
    pairs = [torch.view_as_real(p) if p.is_complex() else p for p in parameters.values()]
    sizes = [p.numel() for p in pairs]

    def loss(w):
        parts = [part.view(p.shape) for part, p in zip(w.split(sizes), pairs, strict=True)]
        values = {
            name: torch.complex(part[..., 0], part[..., 1]) if p.is_complex() else part
            for (name, p), part in zip(parameters.items(), parts, strict=True)
        }
        outputs = torch.func.functional_call(model, values, (data[0].double(),))
        return criterion(outputs, data[1])

    return loss, torch.cat([p.detach().reshape(-1) for p in pairs])


@pytest.mark.parametrize(("kind", "criterion"), CASES)
def test_loss_gradient_and_hessian_are_those_of_real_pairs(kind, criterion):
    model, data = seeded(kind), classification()
    loss, w = loss_of_pairs(model, data, criterion)
    problem = Problem(model, data, criterion, dtype="float64", batch_size=7, device="cpu")
    assert torch.equal(problem.weights, w)
    assert problem.loss() == pytest.approx(float(loss(w)), rel=1e-13)
    torch.testing.assert_close(problem.gradient().vector, torch.func.grad(loss)(w))
    dense = torch.func.hessian(loss)(w)
    operator = CurvatureOperator(problem)
    found = torch.stack([operator.matvec(row) for row in torch.eye(len(w), dtype=torch.float64)])
    torch.testing.assert_close(found, dense, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(found, found.T, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("kind", "criterion"), CASES)
def test_eigenvalues_in_float32_have_intervals_with_those_of_real_pairs(kind, criterion):
    model, data = seeded(kind), classification()
    loss, w = loss_of_pairs(model, data, criterion)
    true = torch.linalg.eigvalsh(torch.func.hessian(loss)(w))
    found = hessian_spectrum(Problem(model, data, criterion, batch_size=7, device="cpu"), top_k=1)
    assert found.rounding.size
    assert abs(found.eigenvalues[0] - float(true[-1])) <= found.half_widths[0][0] + 1e-12


@pytest.mark.parametrize(("kind", "criterion"), CASES)
@pytest.mark.parametrize("curvature", ["ggn", "fisher"])
def test_approximations_of_the_hessian_are_those_of_real_pairs(kind, criterion, curvature):
    model, data = seeded(kind), classification(6)
    if curvature == "fisher" and criterion is size_of_outputs:
        pytest.skip("this loss has no losses of single examples")

    found = []

    def note(out, _):
        found.append(torch.view_as_real(out + 0j))
        return out.abs().sum()

    noting, w = loss_of_pairs(model, data, note)

    def outputs(w):
        noting(w)
        return found.pop()

    def on_pairs(pairs, targets):
        out = torch.complex(pairs[..., 0], pairs[..., 1])
        return criterion(out.real if kind is Spectral else out, targets)

    if curvature == "ggn":
        jacobian = torch.func.jacrev(outputs)(w).flatten(0, -2)
        at = outputs(w).detach()
        bent = torch.func.hessian(lambda flat: on_pairs(flat.view(at.shape), data[1]))(at.flatten())
        expected = jacobian.T @ bent @ jacobian
    else:
        losses = [(data[0][i : i + 1], data[1][i : i + 1]) for i in range(6)]
        each = [torch.func.grad(loss_of_pairs(model, one, criterion)[0])(w) for one in losses]
        expected = sum(torch.outer(g, g) for g in each) / 6
    problem = Problem(model, data, criterion, dtype="float64", device="cpu")
    operator = CurvatureOperator(problem, kind=curvature)
    found = torch.stack([operator.matvec(row) for row in torch.eye(len(w), dtype=torch.float64)])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


def test_several_points_a_pass_and_one_point_agree_at_other_weights():
    model, data = seeded(Spectral), classification()
    loss, w = loss_of_pairs(model, data, nn.functional.cross_entropy)
    problem = Problem(model, data, dtype="float64", points_per_pass=3, device="cpu")
    steps = random_directions(1, w, problem.spec, normalization="none", seed=1)
    points = [w + t * steps[0] for t in (0.0, 0.1, -0.3)]
    expected = [float(loss(point)) for point in points]
    assert [e.loss for e in problem.evaluate_many(points)] == pytest.approx(expected, rel=1e-12)
    assert [problem.loss(point) for point in points] == pytest.approx(expected, rel=1e-12)
    assert problem.loss() == pytest.approx(float(loss(w)), rel=1e-12)


def test_a_filter_of_complex_numbers_is_scaled_to_its_own_norm():
    problem = Problem(seeded(Spectral), classification(), device="cpu")
    (d,) = random_directions(1, problem.weights, problem.spec, normalization="filter", seed=0)
    parts = dict(zip(problem.spec.names, problem.spec.views(d), strict=True))
    own = dict(zip(problem.spec.names, problem.spec.views(problem.weights), strict=True))
    norms = torch.linalg.vector_norm(parts["kernel"], dim=(1, 2))
    torch.testing.assert_close(norms, torch.linalg.vector_norm(own["kernel"], dim=(1, 2)))
    assert not parts["bias"].any()


def test_dtypes_of_complex_tensors_follow_the_dtype_of_the_evaluation():
    data = classification()
    for dtype, wanted in [
        ("float32", torch.complex64),
        ("float64", torch.complex128),
        ("bfloat16", torch.complex64),
    ]:
        module = Problem(
            seeded(ComplexOutputs), (data[0] + 0j, data[1]), real_part, dtype=dtype, device="cpu"
        )
        assert module.buffers[0].dtype == wanted
        assert module.data.inputs.dtype == wanted
        assert module.copy_module().kernel.dtype == wanted
    double = Problem(seeded(Spectral), data, device="cpu").in_dtype()
    loss, w = loss_of_pairs(seeded(Spectral), data, nn.functional.cross_entropy)
    # The angles of the buffer were computed in float32.
    assert double.loss() == pytest.approx(float(loss(w)), rel=1e-12)


def real_part(outputs, targets):
    return outputs.real.float().square().mean()


def test_a_complex_loss_is_refused_in_one_sentence():
    def loss(outputs, targets):
        return nn.functional.cross_entropy(outputs, targets) * (1 + 0j)

    with pytest.raises(
        InputError, match=r"a scalar tensor of a real number.* got a tensor \(\) of complex64"
    ):
        Problem(nn.Linear(5, 3), classification(), loss, device="cpu")


def test_sam_refuses_complex_weights():
    with pytest.raises(InputError, match="SAM needs real weights"):
        build_optimizer("sam", seeded(Spectral), lr=0.1)
