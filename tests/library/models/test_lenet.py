import pytest
import torch

from landscape.errors import InputError
from landscape.models.lenet import lenet


@pytest.mark.parametrize("image_size", [28, 32])
def test_number_of_parameters_is_the_61706_of_fully_connected_lenet5(image_size):
    assert sum(p.numel() for p in lenet(image_size=image_size).parameters()) == 61_706


@pytest.mark.parametrize(
    ("in_channels", "image_size"), [(1, 28), (3, 32), (1, 12), (1, 31), (3, 64)]
)
def test_images_of_the_stated_size_give_one_logit_a_class(in_channels, image_size):
    model = lenet(in_channels=in_channels, image_size=image_size, num_classes=7)
    assert model(torch.rand(2, in_channels, image_size, image_size)).shape == (2, 7)


def test_images_that_pooling_would_use_up_are_refused():
    with pytest.raises(InputError, match="image_size must be at least 12, got 11"):
        lenet(image_size=11)
