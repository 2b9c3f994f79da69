import pytest
import torch

from landscape.errors import InputError
from landscape.training.augmentation import AUGMENTATIONS, HOLE, PADDING, get_augmentation

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
    is_mirrored = torch.tensor(
        [torch.equal(a.flip(2), b) for a, b in zip(IMAGES, images, strict=True)]
    )
    assert (is_kept ^ is_mirrored).all()
    assert abs(int(is_mirrored.sum()) - 200) < 4 * 10  # four standard deviations of 400 fair coins


LARGE = torch.arange(1.0, 1 + 300 * 2 * 17 * 20).view(300, 2, 17, 20)


def holes(images):
    """Where images of no zeros have zeros (N, H, W); the same in every channel."""
    is_zero = images == 0
    assert (is_zero == is_zero[:, :1]).all()
    return is_zero[:, 0]


def test_cutout_removes_the_square_around_a_centre_clipped_at_the_edges():
    half = HOLE // 2
    cells = [(y, x) for y in range(17) for x in range(20)]
    squares = torch.zeros(len(cells), 17, 20, dtype=torch.bool)
    for square, (y, x) in zip(squares, cells, strict=True):
        square[max(0, y - half) : y + half, max(0, x - half) : x + half] = True
    for hole in holes(augmented("cutout", LARGE)):
        assert (squares == hole).all(dim=(1, 2)).sum() == 1


def test_cutout_leaves_the_other_pixels():
    images = augmented("cutout", LARGE)
    assert torch.equal(images[images != 0], LARGE[images != 0])


def test_centres_of_cutout_are_uniform():
    shares = holes(augmented("cutout", torch.ones(4000, 1, 32, 32))).float().mean(dim=0)
    near = (
        torch.tensor([min(y + 8, 31) - max(y - 7, 0) + 1 for y in range(32)]) / 32
    )  # centres whose hole has pixel y
    expected = near[:, None] * near
    standard_error = (expected * (1 - expected) / 4000).sqrt()
    assert ((shares - expected).abs() < 5 * standard_error).all()


@pytest.mark.parametrize("shape", [(16, 32), (32, 16), (8, 8)])
def test_images_that_cutout_would_mostly_remove_are_refused(shape):
    with pytest.raises(InputError, match=f"more than 16x16 pixels, got {shape[0]}x{shape[1]}"):
        augmented("cutout", torch.ones(1, 1, *shape))


@pytest.mark.parametrize(
    "parts", [["crop", "flip", "cutout"], ["cutout", "crop"], ["flip", "cutout"]]
)
def test_parts_are_applied_in_the_order_of_the_name(parts):
    generator = torch.Generator().manual_seed(3)
    expected = LARGE
    for part in parts:
        expected = AUGMENTATIONS[part](expected, generator)
    assert torch.equal(augmented("-".join(parts), LARGE, seed=3), expected)


@pytest.mark.parametrize("name", ["crop", "flip", "cutout", "crop-flip-cutout"])
def test_same_seed_gives_the_same_images_and_another_seed_others(name):
    first, again, other = (augmented(name, LARGE, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_inputs_and_global_random_state_are_not_changed(name):
    images, state = LARGE.clone(), torch.get_rng_state()
    augmented(name, images)
    assert torch.equal(images, LARGE)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["crop", "flip", "cutout", "crop-flip-cutout"])
def test_shape_and_dtype_are_kept(name):
    images = augmented(name, LARGE.double()[:3])
    assert images.shape == (3, 2, 17, 20)
    assert images.dtype == torch.float64


@pytest.mark.parametrize(
    "inputs", [torch.zeros(3, 4), (torch.zeros(1, 1, 2, 2),), torch.zeros(2, 5, 5)]
)
@pytest.mark.parametrize("name", ["crop", "flip", "cutout", "crop-flip"])
def test_inputs_that_are_not_images_are_refused(name, inputs):
    with pytest.raises(InputError, match="need images of shape"):
        augmented(name, inputs)


@pytest.mark.parametrize("name", ["rotate", "crop-rotate", "crop-crop", "none-crop", "crop-", ""])
def test_unknown_augmentation_is_refused_with_the_known_names(name):
    with pytest.raises(
        InputError,
        match=f"one of none and crop, flip, cutout, or some joined by dashes, got '{name}'",
    ):
        get_augmentation(name)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_device_does_not_change_the_numbers():
    name = "crop-flip-cutout"
    assert torch.equal(augmented(name, LARGE.cuda()).cpu(), augmented(name, LARGE))
