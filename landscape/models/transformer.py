"""Transformer encoder that classifies time series."""

from __future__ import annotations

import math
from collections import OrderedDict
from itertools import pairwise

import torch
from torch import Tensor, nn

from landscape.errors import require, require_one_of
from landscape.models.initialization import Mean, check_at_least, check_dropout

READOUTS = ("flatten", "mean")

HEAD_WIDTHS = (512, 256, 128)
"""Hidden units of the perceptron that reads a flattened series."""

LONGEST_PERIOD = 10_000
"""Longest period of the sinusoids that encode a position, over 2 pi."""


class Positions(nn.Module):
    """Add a code to each time step."""

    codes: Tensor

    def __init__(self, length: int, d_model: int) -> None:
        super().__init__()
        self.register_buffer("codes", sinusoids(length, d_model), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, length, d_model) to the same shape."""
        return x + self.codes


def sinusoids(length: int, d_model: int) -> Tensor:
    """Return position codes (length, d_model): alternating sines and cosines of growing periods.

    Source:
        Vaswani et al. (2017), Attention Is All You Need, arXiv:1706.03762, Section 3.5.
    """
    position = torch.arange(length, dtype=torch.float64)[:, None]
    frequency = torch.exp(
        -math.log(LONGEST_PERIOD) / d_model * torch.arange(0, d_model, 2, dtype=torch.float64)
    )
    angle = position * frequency
    codes = torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)
    return codes[:, :d_model].float()


def transformer(
    *,
    d_model: int = 200,
    depth: int = 1,
    heads: int = 2,
    feedforward: int = 128,
    dropout: float = 0.1,
    readout: str = "flatten",
    num_classes: int = 5,
    length: int = 187,
    in_features: int = 1,
) -> nn.Module:
    """Build a transformer encoder for time series; the defaults fit the heartbeats of MIT-BIH.

    They give the 19.5 million parameters that Fainello, Pettenon & Venturi's attention model has by
    its code, of which 19.1 million read the flattened series; with "mean" 0.2 million are left.
    Their positions are added along the batch, here along time.

    Args:
        d_model: Features of a time step between layers.
        depth: Number of encoder layers.
        heads: Attention heads a layer; divides `d_model`.
        feedforward: Hidden units of a layer's perceptron.
        dropout: Share of activations that training sets to 0.
        readout: "flatten" (a perceptron with 512, 256 and 128 hidden units reads all time steps) or
            "mean" (a linear layer reads the mean over time).
        num_classes: Number of outputs.
        length: Time steps of a series.
        in_features: Values a time step.

    Returns:
        A model (N, length, in_features) -> (N, num_classes); the encoder's matrices by Glorot, all
        else as torch does. Glorot's embedding of one value a step would drown in the positions.

    Raises:
        InputError: If a size is too small, the heads do not divide `d_model`, the dropout is no
            probability below 1, or the readout is unknown.

    Source:
        Vaswani et al. (2017), Attention Is All You Need, arXiv:1706.03762, Section 3.1,
        normalization after addition.
    """
    check_at_least(1, d_model=d_model, depth=depth, heads=heads, feedforward=feedforward)
    check_at_least(1, num_classes=num_classes, length=length, in_features=in_features)
    check_dropout(dropout)
    require(
        d_model % heads == 0, f"heads must divide d_model, got {heads} heads for d_model {d_model}."
    )
    require_one_of("readout", readout, READOUTS)
    layer = nn.TransformerEncoderLayer(d_model, heads, feedforward, dropout, batch_first=True)
    if readout == "flatten":
        head = _flatten_head(length * d_model, num_classes)
    else:
        head = nn.Sequential(Mean(1), nn.Linear(d_model, num_classes))
    parts = {
        "embedding": nn.Linear(in_features, d_model),
        "positions": Positions(length, d_model),
        "dropout": nn.Dropout(dropout),
        "encoder": nn.TransformerEncoder(
            layer, depth, nn.LayerNorm(d_model), enable_nested_tensor=False
        ),
        "head": head,
    }
    # The encoder's layers are copies of one; drawn here, they start apart from each other.
    for parameter in parts["encoder"].parameters():
        if parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter)
    return nn.Sequential(OrderedDict(parts))


def _flatten_head(in_features: int, num_classes: int) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in pairwise([in_features, *HEAD_WIDTHS]):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(HEAD_WIDTHS[-1], num_classes))
