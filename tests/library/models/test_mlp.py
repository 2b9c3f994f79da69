import pytest
import torch
from torch import nn

from landscape.errors import InputError
from landscape.models.mlp import mlp


def test_default_has_the_parameters_of_two_hidden_layers_of_64():
    expected = (64 * 64 + 64) + (64 * 64 + 64) + (64 * 10 + 10)
    assert sum(p.numel() for p in mlp().parameters()) == expected


def test_images_are_flattened():
    model, images = mlp(), torch.rand(3, 1, 8, 8)
    assert torch.equal(model(images), model(images.reshape(3, 64)))


def test_output_is_the_composition_of_affine_maps_and_activations():
    model, x = mlp(depth=1, activation="tanh").double(), torch.rand(3, 64, dtype=torch.float64)
    w1, b1, w2, b2 = model.parameters()
    torch.testing.assert_close(model(x), torch.tanh(x @ w1.T + b1) @ w2.T + b2)


def test_depth_zero_is_affine():
    model, x = mlp(depth=0).double(), torch.rand(3, 64, dtype=torch.float64)
    weight, bias = model.parameters()
    torch.testing.assert_close(model(x), x @ weight.T + bias)


@pytest.mark.parametrize(
    ("activation", "gain"), [("relu", 2**0.5), ("tanh", 5 / 3), ("gelu", 2**0.5)]
)
def test_weights_are_he_initialized(activation, gain):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = mlp(in_features=400, width=400, depth=1, activation=activation)[1]
    assert isinstance(layer, nn.Linear)
    num_weights = layer.weight.numel()
    # The standard error of a normal sample's standard deviation is std / sqrt(2 n); 5 of them.
    assert layer.weight.std().item() == pytest.approx(gain / 20, rel=5 / (2 * num_weights) ** 0.5)


def test_biases_start_at_zero():
    assert all(not p.any() for name, p in mlp().named_parameters() if name.endswith("bias"))


def test_unknown_activation_is_refused():
    with pytest.raises(InputError, match="one of relu, tanh, gelu, got 'sine'"):
        mlp(activation="sine")


def test_negative_depth_is_refused():
    with pytest.raises(InputError, match="depth must be at least 0, got -1"):
        mlp(depth=-1)
