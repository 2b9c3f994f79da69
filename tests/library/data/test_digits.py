import pytest
import torch
from sklearn.datasets import load_digits

from landscape.data.digits import digits


@pytest.fixture(scope="module")
def raw():
    return digits(normalization="none")


def test_split_has_1437_and_360_examples(raw):
    assert [len(targets) for _, targets in raw] == [1437, 360]


def test_inputs_are_one_channel_float32_images(raw):
    assert [(x.shape[1:], x.dtype) for x, _ in raw] == [((1, 8, 8), torch.float32)] * 2


def test_targets_are_int64(raw):
    assert [targets.dtype for _, targets in raw] == [torch.int64] * 2


def test_split_is_class_stratified(raw):
    (_, train), (_, test) = raw
    share = test.bincount() / (train.bincount() + test.bincount())
    # Every fifth example of about 180: within one example of a fifth.
    assert ((share - 0.2).abs() < 1 / 170).all()


def test_split_parts_make_up_the_whole_data_set(raw):
    images, labels = load_digits(return_X_y=True)
    rows = torch.cat([torch.cat([16 * x.flatten(1), y[:, None]], dim=1) for x, y in raw])
    expected = torch.cat([torch.tensor(images), torch.tensor(labels)[:, None]], dim=1).float()
    assert sorted(rows.tolist()) == sorted(expected.tolist())


def test_normalized_pixels_have_mean_zero_and_unit_variance():
    pixels = torch.cat([inputs for inputs, _ in digits()])
    # The constants are stated to four digits.
    assert (pixels.mean().item(), pixels.std().item()) == (
        pytest.approx(0, abs=5e-4),
        pytest.approx(1, abs=5e-4),
    )
