import pytest
import torch
from torch import nn

from landscape.errors import InputError
from landscape.models import build_model
from landscape.models.wide_resnet import PreactivationBlock

# Name -> depth, widening factor and parameters with 10 classes; Zagoruyko & Komodakis (2016) round
# those of 16-8, 22-8 and 28-10 to 11.0, 17.2 and 36.5 million.
NETWORKS = {
    "wrn-16-4": (16, 4, 2_748_890),
    "wrn-16-8": (16, 8, 10_961_370),
    "wrn-22-8": (22, 8, 17_158_106),
    "wrn-28-10": (28, 10, 36_479_194),
}


def num_parameters_by_formula(depth, factor, num_classes):
    """Closed form: 3x3 convolutions, 1x1 shortcuts, two numbers a normalized channel, the
    classifier."""
    num_blocks = (depth - 4) // 6
    first, *others = stages = [16, 16 * factor, 32 * factor, 64 * factor]
    total = 27 * first + others[-1] * 2 + (others[-1] + 1) * num_classes
    for narrow, wide in zip(stages, others, strict=False):
        total += 9 * narrow * wide + 9 * wide * wide * (2 * num_blocks - 1) + narrow * wide
        total += 2 * narrow + 2 * wide * (2 * num_blocks - 1)
    return total


def zeroed(block):
    """Return the block with a branch that outputs zero, in evaluation mode."""
    nn.init.zeros_(block.conv2.weight)
    return block.eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_formula_gives_the_published_number_of_parameters(name):
    depth, factor, published = NETWORKS[name]
    assert num_parameters_by_formula(depth, factor, 10) == published


@pytest.mark.parametrize("num_classes", [10, 100])
@pytest.mark.parametrize("name", NETWORKS)
def test_number_of_parameters_is_that_of_the_formula(name, num_classes):
    depth, factor, _ = NETWORKS[name]
    with torch.device("meta"):
        model = build_model(name, num_classes=num_classes)
    assert sum(p.numel() for p in model.parameters()) == num_parameters_by_formula(
        depth, factor, num_classes
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_depth_counts_the_convolutions_of_the_longest_way(name):
    model = build_model(name, width=1)
    on_the_way = [
        m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)
    ]
    # The paper counts three shortcut convolutions too: d = 6n + 4.
    assert len(on_the_way) + 3 == NETWORKS[name][0]


def test_images_are_halved_twice_on_the_way_to_the_mean():
    model = build_model("wrn-16-4", width=1).eval()
    seen = []
    model.bn.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape))
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 10)
    assert seen == [(2, 16, 8, 8)]


def test_block_with_a_silent_branch_passes_its_input_on_unnormalized():
    x = torch.randn(2, 4, 6, 6)
    assert torch.equal(zeroed(PreactivationBlock(4, 4, 1, 0.0))(x), x)


def test_widening_shortcut_projects_the_activated_input():
    block, x = zeroed(PreactivationBlock(4, 6, 2, 0.0)), torch.randn(2, 4, 6, 6)
    activated = torch.relu(x / (1 + block.bn1.eps) ** 0.5)[:, :, ::2, ::2]
    expected = torch.einsum("oi,nihw->nohw", block.shortcut.weight[:, :, 0, 0], activated)
    # Two orders of summation in float32.
    torch.testing.assert_close(block(x), expected, rtol=1e-5, atol=1e-5)


def test_dropout_acts_in_training_only():
    block, x = PreactivationBlock(4, 4, 1, 0.5), torch.randn(2, 4, 6, 6)
    with torch.random.fork_rng():
        assert not torch.equal(block(x), block(x))
    block.eval()
    assert torch.equal(block(x), block(x))


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_dropout_that_is_no_probability_below_one_is_refused(dropout):
    with pytest.raises(InputError, match=rf"dropout must be in \[0, 1\), got {dropout}"):
        build_model("wrn-16-4", dropout=dropout)
