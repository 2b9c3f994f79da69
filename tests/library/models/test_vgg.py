from itertools import pairwise

import pytest
import torch
from torch import nn

from landscape.models import build_model

# Simonyan & Zisserman (2015), Table 1, column D; M is a pooling.
CONFIGURATION = [
    64,
    64,
    "M",
    128,
    128,
    "M",
    256,
    256,
    256,
    "M",
    512,
    512,
    512,
    "M",
    512,
    512,
    512,
    "M",
]


def num_parameters_by_formula(num_classes):
    """Closed form: a convolution has nine weights a pair of channels, a bias, and two numbers of
    its normalization."""
    channels = [3, *(entry for entry in CONFIGURATION if entry != "M")]
    convolutions = sum((9 * i + 1 + 2) * o for i, o in pairwise(channels))
    return convolutions + 513 * num_classes


def test_formula_gives_the_known_number_of_parameters():
    assert num_parameters_by_formula(10) == 14_728_266


@pytest.mark.parametrize("num_classes", [10, 100])
def test_number_of_parameters_is_that_of_the_formula(num_classes):
    with torch.device("meta"):
        model = build_model("vgg16", num_classes=num_classes)
    assert sum(p.numel() for p in model.parameters()) == num_parameters_by_formula(num_classes)


def test_layers_are_those_of_configuration_d():
    with torch.device("meta"):
        layers = build_model("vgg16").features
    shown = [m for m in layers if isinstance(m, (nn.Conv2d, nn.MaxPool2d))]
    assert ["M" if isinstance(m, nn.MaxPool2d) else m.out_channels for m in shown] == CONFIGURATION


def test_every_convolution_is_normalized_and_rectified():
    layers = list(build_model("vgg16", width=1).features)
    after = [
        (type(layers[i + 1]), type(layers[i + 2]))
        for i, m in enumerate(layers)
        if isinstance(m, nn.Conv2d)
    ]
    assert after == [(nn.BatchNorm2d, nn.ReLU)] * 13


@pytest.mark.parametrize("side", [32, 64])
def test_images_from_32_pixels_give_one_logit_a_class(side):
    assert build_model("vgg16", width=1).eval()(torch.rand(2, 3, side, side)).shape == (2, 10)
