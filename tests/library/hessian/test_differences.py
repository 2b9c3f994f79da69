"""Hessians of losses without a second derivative, against dense differences in float64."""

from __future__ import annotations

import copy

import pytest
import torch
from cases import classification, seeded, tiny_mlp
from reference import dense_hessian
from torch import nn
from torch.nn import functional as F

from landscape.errors import InputError
from landscape.hessian.differences import DifferenceOperator
from landscape.hessian.spectrum import hessian_spectrum
from landscape.problem.problem import Problem


class Bag(nn.Module):
    def __init__(self):
        super().__init__()
        self.bag = nn.EmbeddingBag(9, 4, mode="mean")
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.bag((10 * x.abs()).long().clamp(max=8))))


class Ctc(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(1, 4)

    def forward(self, x):
        return self.head(torch.tanh(x[..., None])).log_softmax(-1).transpose(0, 1)


def _ctc(outputs, targets):
    n = outputs.shape[1]
    labels = (targets[:, None] + 1).expand(n, 2)
    return F.ctc_loss(outputs, labels, torch.full((n,), 5), torch.full((n,), 2))


def _dense(model, data, loss, step=1e-5):
    """The Hessian by fourth-order differences of float64 gradients, weight by weight."""
    model = copy.deepcopy(model).double()
    parameters = list(model.parameters())
    start = nn.utils.parameters_to_vector(parameters).detach()

    def gradient(w):
        nn.utils.vector_to_parameters(w, parameters)
        found = torch.autograd.grad(loss(model(data[0].double()), data[1]), parameters)
        return torch.cat([g.reshape(-1) for g in found])

    rows = []
    for e in torch.eye(len(start), dtype=torch.float64) * step:
        near, far = (gradient(start + k * e) - gradient(start - k * e) for k in (1, 2))
        rows.append((8 * near - far) / (12 * step))
    matrix = torch.stack(rows)
    return (matrix + matrix.T) / 2


@pytest.mark.parametrize(("kind", "loss"), [(Bag, F.cross_entropy), (Ctc, _ctc)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_eigenvalues_lie_within_their_residuals(kind, loss, dtype):
    model, data = seeded(kind), classification()
    problem = Problem(model, data, loss, dtype=dtype, device="cpu")
    with pytest.raises(InputError, match="cannot be differentiated twice") as caught:
        hessian_spectrum(problem)
    assert "`products='differences'`" in caught.value.hint
    found = hessian_spectrum(problem, top_k=2, bottom_k=1, products="differences")
    exact = torch.linalg.eigvalsh(_dense(model, data, loss))
    assert found.products == "differences"
    assert found.converged
    assert found.is_certified
    assert (found.rounding > 0).all()
    # The reference itself is good to nine digits.
    allowed = found.half_widths[0] + 1e-8 * float(exact[-1])
    assert abs(found.eigenvalues[0] - float(exact[-1])) <= allowed[0]
    assert abs(found.eigenvalues[1] - float(exact[-2])) <= allowed[1]
    assert found.rounding.max() <= 1e-6 * found.eigenvalues[0]


def test_products_are_those_of_the_exact_hessian_and_the_error_covers_the_difference():
    model, data = tiny_mlp(), classification()
    exact = dense_hessian(model, *data)
    operator = DifferenceOperator(Problem(model, data, device="cpu"))
    for v in torch.eye(len(exact), dtype=torch.float64)[::7]:
        torch.testing.assert_close(operator.matvec(3 * v), 3 * exact @ v, rtol=1e-6, atol=1e-8)
    assert not operator.matvec(torch.zeros(len(exact))).any()


def test_kinks_are_refused():
    x, y = classification(num_examples=400)
    model = seeded(
        lambda: nn.Sequential(
            nn.Linear(5, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 3)
        )
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    with pytest.raises(InputError, match=r"must agree to 0\.001 of the product, they differ by"):
        hessian_spectrum(Problem(model, (x, y), device="cpu"), products="differences")


@pytest.mark.parametrize(
    "options", [{"curvature": "ggn"}, {"blocks": True}, {"polish": True}, {"engine": "pyhessian"}]
)
def test_differences_are_of_the_whole_hessian_alone(options):
    problem = Problem(tiny_mlp(), classification(), device="cpu")
    with pytest.raises(InputError, match="products of the whole Hessian"):
        hessian_spectrum(problem, products="differences", **options)
    with pytest.raises(InputError, match="products must be one of exact, differences"):
        hessian_spectrum(problem, products="fast")


def test_recalibrated_statistics_are_refused():
    problem = Problem(tiny_mlp(), classification(), batchnorm="recalibrate", device="cpu")
    with pytest.raises(InputError, match="recalibrated ones change with the weights"):
        DifferenceOperator(problem)
