"""Values, gradients and Hessians of replaced operations against torch's own, in float64."""

import pytest
import torch
from cases import seeded
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from landscape.problem.second_derivatives import CheapSecondDerivatives, Convolution, CrossEntropy

CONVOLUTIONS = {
    "plain": (nn.Conv2d(2, 3, 3), (2, 2, 5, 6)),
    "no bias": (nn.Conv2d(2, 3, 3, bias=False), (2, 2, 5, 5)),
    "strided and padded": (nn.Conv2d(2, 2, 3, stride=2, padding=1), (2, 2, 6, 5)),
    "unequal": (
        nn.Conv2d(2, 2, (3, 1), stride=(2, 1), padding=(0, 1), dilation=(1, 2)),
        (2, 2, 6, 5),
    ),
    "depthwise": (nn.Conv2d(4, 4, 3, groups=4, padding=1), (2, 4, 4, 4)),
    "reflected": (nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), (2, 2, 4, 4)),
    "same": (nn.Conv2d(2, 2, 3, padding="same"), (2, 2, 4, 4)),
    "one image": (nn.Conv2d(2, 2, 3), (2, 5, 5)),
    "one dimension": (nn.Conv1d(2, 3, 3, stride=2), (2, 2, 9)),
    "three dimensions": (nn.Conv3d(1, 2, 2, padding=1), (2, 1, 3, 3, 3)),
}
REPLACED = sorted(set(CONVOLUTIONS) - {"same", "one image"})


def function_of(layer, x):
    """A scalar of input and parameters with a full Hessian, and the point."""
    layer = layer.double().eval()
    named = dict(layer.named_parameters())
    x = torch.randn(x, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    point = torch.cat([x.reshape(-1), *(p.detach().reshape(-1) for p in named.values())])

    def function(vector):
        first, *parts = vector.split([x.numel(), *(p.numel() for p in named.values())])
        weights = {
            name: part.view(p.shape) for (name, p), part in zip(named.items(), parts, strict=True)
        }
        outputs = functional_call(layer, weights, (first.view(x.shape),))
        return (outputs.sin() * torch.arange(outputs.numel()).view(outputs.shape).cos()).sum()

    return function, point


def assert_same_function(layer, shape, *, rtol):
    function, point = function_of(layer, shape)
    expected = torch.autograd.functional.hessian(function, point)
    value = function(point)
    with CheapSecondDerivatives(is_full=True):
        assert float(function(point)) == pytest.approx(float(value), rel=rtol)
        found = torch.autograd.functional.hessian(function, point)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12 * float(expected.abs().max()))


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_convolution_has_torchs_hessian_in_input_and_weights(name):
    layer, shape = CONVOLUTIONS[name]
    assert_same_function(layer, shape, rtol=1e-14)


@pytest.mark.parametrize("name", REPLACED)
def test_a_convolution_is_replaced(name):
    layer, shape = CONVOLUTIONS[name]
    with CheapSecondDerivatives(is_full=True):
        outputs = layer.double()(torch.zeros(shape, dtype=torch.float64))
    assert outputs.grad_fn._forward_cls is Convolution


def test_a_convolution_has_torchs_value_bit_for_bit():
    layer, x = nn.Conv2d(3, 5, 3, stride=2, padding=1), torch.randn(4, 3, 9, 9)
    expected = layer(x)
    with CheapSecondDerivatives(is_full=True):
        assert torch.equal(layer(x), expected)


def with_statistics(layer):
    layer.running_mean.uniform_(-1, 1)
    layer.running_var.uniform_(0.5, 2)
    return layer


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: nn.BatchNorm2d(3), (2, 3, 2, 2)),
        (lambda: nn.BatchNorm1d(3), (4, 3)),
        (lambda: nn.BatchNorm1d(3, affine=False), (2, 3, 4)),
    ],
)
def test_evaluated_batch_normalization_has_torchs_hessian(layer, shape):
    assert_same_function(seeded(lambda: with_statistics(layer())), shape, rtol=1e-12)


def test_batch_normalization_in_training_stays_torchs_own():
    layer, x = nn.BatchNorm2d(3), torch.randn(4, 3, 2, 2)
    with CheapSecondDerivatives(is_full=True):
        assert "BatchNorm" in type(layer(x).grad_fn).__name__
    assert int(layer.num_batches_tracked) == 1


def test_what_is_not_full_is_constant_in_input_and_weights_but_not_in_the_gradient():
    layer, x = (
        nn.Conv2d(1, 2, 2).double(),
        torch.randn(2, 1, 3, 3, dtype=torch.float64, requires_grad=True),
    )
    with CheapSecondDerivatives(is_full=False):
        outputs = layer(x)
    u = torch.zeros_like(outputs, requires_grad=True)
    by_x, by_weight = torch.autograd.grad(outputs, (x, layer.weight), u, create_graph=True)
    direction = torch.randn_like(x)
    (pushed,) = torch.autograd.grad(by_x, u, direction, retain_graph=True)
    torch.testing.assert_close(pushed, layer(direction) - layer.bias.view(-1, 1, 1))
    assert torch.autograd.grad(by_x.sum() + by_weight.sum(), layer.weight, allow_unused=True) == (
        None,
    )


IGNORED = torch.tensor([1, -100, 0, 2, -100])
TARGETS = torch.tensor([1, 0, 0, 2, 1])
CROSS_ENTROPIES = {
    "plain": (TARGETS, {}),
    "smoothed": (TARGETS, {"label_smoothing": 0.2}),
    "ignored": (IGNORED, {"label_smoothing": 0.1}),
    "weighted": (TARGETS, {"weight": torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)}),
    "summed": (TARGETS, {"reduction": "sum"}),
    "another number ignored": (TARGETS, {"ignore_index": 2}),
    "shares": (torch.eye(5, 3, dtype=torch.float64) / 2 + 1 / 6, {"label_smoothing": 0.1}),
    "images": (torch.tensor([[0, 1, 2], [2, 2, 1]]), {}),
}
REPLACED_CROSS_ENTROPIES = ["ignored", "plain", "smoothed"]


def logits_of(targets):
    shape = (2, 3, 3) if targets.ndim == 2 and not targets.is_floating_point() else (5, 3)
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2


@pytest.mark.parametrize("name", CROSS_ENTROPIES)
def test_cross_entropy_has_torchs_value_gradient_and_hessian(name):
    targets, options = CROSS_ENTROPIES[name]
    logits = logits_of(targets)

    def function(x):
        loss = F.cross_entropy(x.sin(), targets, **options)
        return loss**2 + 3 * loss  # whose gradient by the loss depends on the logits

    value = function(logits)
    derivatives = torch.autograd.functional.jacobian, torch.autograd.functional.hessian
    expected = [derivative(function, logits) for derivative in derivatives]
    with CheapSecondDerivatives(is_full=True):
        assert torch.equal(function(logits), value)
        found = [derivative(function, logits) for derivative in derivatives]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", CROSS_ENTROPIES)
def test_cross_entropy_of_class_numbers_is_replaced(name):
    targets, options = CROSS_ENTROPIES[name]
    with CheapSecondDerivatives(is_full=True):
        loss = F.cross_entropy(logits_of(targets).requires_grad_(), targets, **options)
    is_replaced = getattr(loss.grad_fn, "_forward_cls", None) is CrossEntropy
    assert is_replaced == (name in REPLACED_CROSS_ENTROPIES)


def test_cross_entropy_has_torchs_third_derivative():
    point = logits_of(TARGETS)

    def squared_gradient(logits):
        """What a gradient penalty is."""
        (gradient,) = torch.autograd.grad(
            F.cross_entropy(logits, TARGETS), logits, create_graph=True
        )
        return (gradient**2).sum()

    expected = torch.autograd.functional.hessian(squared_gradient, point)
    with CheapSecondDerivatives(is_full=True):
        found = torch.autograd.functional.hessian(squared_gradient, point)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)


def test_cross_entropy_takes_targets_of_bytes():
    logits, targets = logits_of(TARGETS), TARGETS.byte()
    expected = torch.autograd.functional.hessian(lambda x: F.cross_entropy(x, targets), logits)
    with CheapSecondDerivatives(is_full=True):
        found = torch.autograd.functional.hessian(lambda x: F.cross_entropy(x, targets), logits)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)


def test_what_is_mapped_over_heads_stays_torchs_own():
    heads = torch.stack([logits_of(TARGETS), -logits_of(TARGETS)]).requires_grad_()
    with CheapSecondDerivatives(is_full=True):
        losses = torch.vmap(lambda logits: F.cross_entropy(logits, TARGETS))(heads)
    torch.testing.assert_close(
        losses, torch.stack([F.cross_entropy(logits, TARGETS) for logits in heads])
    )
