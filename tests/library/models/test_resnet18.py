import pytest
import torch
from torch import nn

from landscape.models import build_model
from landscape.models.resnet import ResidualBlock, projected_shortcut


def num_parameters_by_formula(num_classes):
    """Closed form: 3x3 convolutions, projections and two numbers a normalized channel, stage by
    stage."""
    total = 27 * 64 + 2 * 64 + 513 * num_classes
    total += 4 * (9 * 64 * 64 + 2 * 64)
    for channels in (128, 256, 512):
        narrow = channels // 2
        total += 9 * narrow * channels + 3 * 9 * channels**2 + 4 * 2 * channels
        total += narrow * channels + 2 * channels
    return total


def test_formula_gives_the_known_number_of_parameters():
    assert num_parameters_by_formula(10) == 11_173_962


@pytest.mark.parametrize("num_classes", [10, 100])
def test_number_of_parameters_is_that_of_the_formula(num_classes):
    with torch.device("meta"):
        model = build_model("resnet18", num_classes=num_classes)
    assert sum(p.numel() for p in model.parameters()) == num_parameters_by_formula(num_classes)


def test_eighteen_layers_lie_on_the_longest_way():
    layers = [
        m
        for m in build_model("resnet18", width=1).modules()
        if isinstance(m, (nn.Conv2d, nn.Linear))
    ]
    assert sum(not isinstance(m, nn.Conv2d) or m.kernel_size == (3, 3) for m in layers) == 18


def test_images_are_halved_three_times_and_not_by_the_stem():
    model = build_model("resnet18", width=2).eval()
    seen = []
    for part in (model.layer1, model.layer4):
        part.register_forward_hook(lambda _, __, outputs: seen.append(outputs.shape))
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 10)
    assert seen == [(2, 2, 32, 32), (2, 16, 4, 4)]


def test_block_with_a_silent_branch_passes_its_input_on():
    block, x = ResidualBlock(4, 4, 1, projected_shortcut).eval(), torch.rand(2, 4, 6, 6)
    nn.init.zeros_(block.bn2.weight)
    assert torch.equal(block(x), x)


def test_block_that_changes_the_shape_projects_its_input():
    block, x = ResidualBlock(4, 8, 2, projected_shortcut).eval(), torch.rand(2, 4, 6, 6)
    nn.init.zeros_(block.bn2.weight)
    projected = torch.einsum(
        "oi,nihw->nohw", block.shortcut[0].weight[:, :, 0, 0], x[:, :, ::2, ::2]
    )
    # Two orders of summation in float32.
    torch.testing.assert_close(
        block(x), torch.relu(projected / (1 + 1e-5) ** 0.5), rtol=1e-5, atol=1e-5
    )
