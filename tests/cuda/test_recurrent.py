"""Recurrent networks on a CUDA device: cuDNN's layers have no gradient in evaluation mode."""

import pytest
import torch
from torch import nn

from landscape import Problem

pytestmark = pytest.mark.gpu


class Recurrent(nn.Module):
    """A recurrent layer and a linear one; notes whether cuDNN was on in its passes."""

    def __init__(self, layer):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.head = layer(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x):
        cudnn_was_on.append(torch.backends.cudnn.enabled)
        return self.head(self.layer(x)[0][:, -1])


cudnn_was_on = []


def problem(device, layer):
    torch.manual_seed(1)
    data = torch.randn(12, 5, 3), torch.arange(12) % 2
    return Problem(Recurrent(layer), data, device=device, dtype="float64")


@pytest.mark.parametrize("layer", [nn.RNN, nn.GRU, nn.LSTM])
def test_gradients_and_products_are_those_of_the_cpu(layer):
    on_cpu, on_gpu = problem("cpu", layer), problem("cuda", layer)
    gradients = [each.gradient().vector.cpu() for each in (on_cpu, on_gpu)]
    torch.testing.assert_close(gradients[1], gradients[0])
    v = torch.ones_like(on_cpu.weights)
    products = [each.hessian_vector_product(v.to(each.device)).cpu() for each in (on_cpu, on_gpu)]
    torch.testing.assert_close(products[1], products[0])


@pytest.mark.parametrize("setting", [True, False])
def test_cudnn_is_off_where_a_gradient_is_taken_only_and_stays_as_the_user_set_it(setting):
    on_gpu = problem("cuda", nn.GRU)
    with torch.backends.cudnn.flags(enabled=setting):
        for compute, expected in ((on_gpu.loss, setting), (on_gpu.gradient, False)):
            cudnn_was_on.clear()
            compute()
            assert set(cudnn_was_on) == {expected}
            assert torch.backends.cudnn.enabled == setting


def test_convolutions_are_differentiated_by_cudnn():
    class Convolution(nn.Conv1d):
        def forward(self, x):
            cudnn_was_on.append(torch.backends.cudnn.enabled)
            return super().forward(x).mean(2)

    cudnn_was_on.clear()
    data = torch.randn(4, 3, 5), torch.arange(4) % 2
    Problem(Convolution(3, 2, 3), data, device="cuda").gradient()
    assert set(cudnn_was_on) == {True}
