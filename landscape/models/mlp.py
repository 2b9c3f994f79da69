"""Multilayer perceptron."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from landscape.errors import require_one_of
from landscape.models.initialization import check_at_least, he_initialized

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


def mlp(
    *,
    in_features: int = 64,
    width: int = 64,
    depth: int = 2,
    num_classes: int = 10,
    activation: str = "relu",
) -> nn.Module:
    """Build a multilayer perceptron that flattens its input; the defaults fit the digits.

    Args:
        in_features: Size of one flattened input.
        width: Units in each hidden layer.
        depth: Number of hidden layers; 0 is multinomial logistic regression.
        num_classes: Number of outputs.
        activation: "relu", "tanh" or "gelu"; the last two have a loss that is smooth in the
            weights.

    Returns:
        A model (N, ...) -> (N, num_classes), He initialized.

    Raises:
        InputError: If a size is too small or the activation unknown.
    """
    check_at_least(0, depth=depth)
    check_at_least(1, in_features=in_features, width=width, num_classes=num_classes)
    require_one_of("activation", activation, ACTIVATIONS)
    sizes = [in_features, *[width] * depth]
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), ACTIVATIONS[activation]()]
    model = nn.Sequential(*layers, nn.Linear(sizes[-1], num_classes))
    return he_initialized(model, nonlinearity="tanh" if activation == "tanh" else "relu")
