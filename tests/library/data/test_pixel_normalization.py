import numpy as np
import pytest
import torch

from landscape.data.normalization import Normalization, as_examples

CHANNELS = Normalization((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))


@pytest.mark.parametrize("num_images", [0, 1, 300])
def test_each_channel_has_its_mean_subtracted_and_is_divided_by_its_std(num_images):
    images = np.random.default_rng(0).integers(0, 256, (num_images, 3, 4, 5), dtype=np.uint8)
    mean, std = (np.array(s).reshape(3, 1, 1) for s in (CHANNELS.mean, CHANNELS.std))
    expected = torch.from_numpy((images / 255 - mean) / std).float()
    # Three roundings of values below 2.
    inputs, _ = as_examples(images, [0] * num_images, CHANNELS)
    torch.testing.assert_close(inputs, expected, rtol=0, atol=1e-6)


def test_white_pixel_becomes_one_before_normalization():
    images = np.full((1, 1, 2, 2), 16, dtype=np.uint8)
    inputs, _ = as_examples(images, [0], Normalization((0.0,), (1.0,)), white=16)
    assert (inputs == 1).all()


def test_images_are_left_as_they_were():
    images = np.full((1, 3, 2, 2), 7, dtype=np.uint8)
    as_examples(images, [0], CHANNELS)
    assert (images == 7).all()


def test_labels_become_int64():
    _, targets = as_examples(np.zeros((2, 3, 1, 1), np.uint8), np.array([1, 2], np.uint8), CHANNELS)
    assert torch.equal(targets, torch.tensor([1, 2]))
