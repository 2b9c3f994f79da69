import pytest
import torch

from landscape.errors import InputError
from landscape.training.augmentation import AUGMENTATIONS, PADDING, get_augmentation

# Every pixel has a value of its own, so that an image tells where it was cut out of.
IMAGES = torch.arange(1.0, 1 + 400 * 2 * 5 * 7).view(400, 2, 5, 7)


def augmented(name, images=IMAGES, seed=0):
    return get_augmentation(name)(images, torch.Generator().manual_seed(seed))


def shifts(image):
    """Every padded and shifted version of an image (C, H, W), keyed by its offset."""
    height, width = image.shape[1:]
    padded = torch.zeros(image.shape[0], height + 2 * PADDING, width + 2 * PADDING)
    padded[:, PADDING : PADDING + height, PADDING : PADDING + width] = image
    span = range(2 * PADDING + 1)
    return {(y, x): padded[:, y : y + height, x : x + width] for y in span for x in span}


def offsets_of(images):
    found = []
    for before, after in zip(IMAGES, images, strict=True):
        matches = [offset for offset, image in shifts(before).items() if torch.equal(image, after)]
        assert matches
        found.append(matches[0])
    return found


def test_none_returns_the_inputs_themselves_whatever_they_are():
    inputs = {"anything": 1}
    assert augmented("none", inputs) is inputs


def test_crop_gives_a_shift_of_each_image_by_all_offsets():
    offsets = offsets_of(augmented("crop"))
    counts = [len({offset[i] for offset in offsets}) for i in (0, 1)]
    assert counts == [2 * PADDING + 1] * 2
    assert len(set(offsets)) > 60  # of 81, in 400 draws: rows and columns move independently


def test_flip_mirrors_about_half_of_the_images():
    images = augmented("flip")
    is_kept = torch.tensor([torch.equal(a, b) for a, b in zip(IMAGES, images, strict=True)])
    is_mirrored = torch.tensor([torch.equal(a.flip(2), b) for a, b in zip(IMAGES, images, strict=True)])
    assert (is_kept ^ is_mirrored).all()
    assert abs(int(is_mirrored.sum()) - 200) < 4 * 10  # four standard deviations of 400 fair coins


def test_crop_flip_is_a_flip_of_a_crop():
    generator = torch.Generator().manual_seed(3)
    expected = AUGMENTATIONS["flip"](AUGMENTATIONS["crop"](IMAGES, generator), generator)
    assert torch.equal(augmented("crop-flip", seed=3), expected)


@pytest.mark.parametrize("name", ["crop", "flip", "crop-flip"])
def test_same_seed_gives_the_same_images_and_another_seed_others(name):
    assert torch.equal(augmented(name, seed=1), augmented(name, seed=1))
    assert not torch.equal(augmented(name, seed=1), augmented(name, seed=2))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_inputs_and_global_random_state_are_not_changed(name):
    images, state = IMAGES.clone(), torch.get_rng_state()
    augmented(name, images)
    assert torch.equal(images, IMAGES)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["crop", "flip", "crop-flip"])
def test_shape_and_dtype_are_kept(name):
    images = augmented(name, IMAGES.double()[:3])
    assert images.shape == (3, 2, 5, 7)
    assert images.dtype == torch.float64


@pytest.mark.parametrize("inputs", [torch.zeros(3, 4), (torch.zeros(1, 1, 2, 2),), torch.zeros(2, 5, 5)])
@pytest.mark.parametrize("name", ["crop", "flip", "crop-flip"])
def test_inputs_that_are_not_images_are_refused(name, inputs):
    with pytest.raises(InputError, match="need images of shape"):
        augmented(name, inputs)


def test_unknown_augmentation_is_refused_with_the_known_names():
    with pytest.raises(InputError, match="none, crop, flip, crop-flip, got 'cutout'"):
        get_augmentation("cutout")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_device_does_not_change_the_numbers():
    assert torch.equal(augmented("crop-flip", IMAGES.cuda()).cpu(), augmented("crop-flip"))
