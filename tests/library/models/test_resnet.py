import pytest
import torch
from torch import nn

from landscape.models import build_model
from landscape.models.resnet import PaddedShortcut, ResidualBlock

# 10 classes, option A; He et al. (2016), Table 6, rounds them to 0.27, 0.85 and 1.7 million.
PUBLISHED_PARAMETERS = {"resnet20": 269_722, "resnet56": 853_018, "resnet110": 1_727_962}


def num_parameters(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", PUBLISHED_PARAMETERS)
def test_number_of_parameters_is_the_published_one(name):
    assert num_parameters(build_model(name)) == PUBLISHED_PARAMETERS[name]


@pytest.mark.parametrize("name", PUBLISHED_PARAMETERS)
def test_leaving_shortcuts_out_leaves_the_number_of_parameters(name):
    assert num_parameters(build_model(f"{name}-noshort")) == PUBLISHED_PARAMETERS[name]


@pytest.mark.parametrize("suffix", ["", "-noshort"])
@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_depth_counts_the_weight_layers(depth, suffix):
    model = build_model(f"resnet{depth}{suffix}", width=1)
    assert sum(isinstance(m, (nn.Conv2d, nn.Linear)) for m in model.modules()) == depth


def test_digit_images_fit_a_narrow_network():
    model = build_model("resnet20", in_channels=1, width=4)
    assert model(torch.rand(2, 1, 8, 8)).shape == (2, 10)


def zeroed(block):
    """Return the block with branches that output zero, in evaluation mode."""
    nn.init.zeros_(block.bn2.weight)
    return block.eval()


def test_block_with_a_silent_branch_passes_its_input_on():
    x = torch.rand(2, 4, 6, 6)
    assert torch.equal(zeroed(ResidualBlock(4, 4, 1, PaddedShortcut))(x), x)


def test_block_with_a_silent_branch_and_no_shortcut_is_zero():
    assert not zeroed(ResidualBlock(4, 4, 1, None))(torch.rand(2, 4, 6, 6)).any()


def test_widening_shortcut_takes_every_second_pixel_and_pads_with_zero_channels():
    x = torch.rand(2, 4, 6, 6)
    expected = torch.zeros(2, 8, 3, 3)
    expected[:, 2:6] = x[:, :, ::2, ::2]
    assert torch.equal(zeroed(ResidualBlock(4, 8, 2, PaddedShortcut))(x), expected)


def test_odd_widths_can_be_padded():
    assert build_model("resnet20", width=3)(torch.rand(2, 3, 8, 8)).shape == (2, 10)


def test_pair_with_the_same_weights_differs_only_by_the_shortcuts():
    with_shortcuts, without = (
        build_model("resnet20", width=2),
        build_model("resnet20-noshort", width=2),
    )
    without.load_state_dict(with_shortcuts.state_dict())
    x = torch.rand(2, 3, 8, 8)
    assert not torch.allclose(with_shortcuts.eval()(x), without.eval()(x))


@pytest.mark.parametrize("module", ["conv1", "layer2.0.conv2", "layer3.2.conv1"])
def test_convolutions_are_he_initialized(module):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weight = build_model("resnet20").get_parameter(f"{module}.weight")
    fan_in = weight[0].numel()
    # 5 standard errors of a normal sample's standard deviation.
    tolerance = 5 / (2 * weight.numel()) ** 0.5
    assert weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=tolerance)
