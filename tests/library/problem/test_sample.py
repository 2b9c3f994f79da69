import numpy as np
import pytest

from landscape.problem.sampling_error import Sample, error_from_batches, error_of_mean

VALUES = np.random.default_rng(0).normal(size=80) + np.repeat([0.0, 3.0, 9.0, 1.0], 20)
MANY = {"num_resamples": 20_000}


def test_a_plain_sample_has_the_error_of_its_mean():
    found = Sample(np.ones(80), 80 / 200).error(VALUES, **MANY)
    assert found == pytest.approx(error_of_mean(VALUES, 200), rel=0.03)


def test_of_classes_only_the_spread_within_counts():
    classes = np.repeat([3, 1, 2, 7], 20)
    found = Sample(np.ones(80), 0.1, classes).error(VALUES, **MANY)
    assert found == pytest.approx(error_of_mean(VALUES, 800, classes), rel=0.03)
    assert found < 0.5 * Sample(np.ones(80), 0.1).error(VALUES, **MANY)


def test_batches_count_by_their_size():
    sizes = np.array([10.0] * 7 + [3.0])
    means = np.random.default_rng(1).normal(size=8)
    found = Sample(sizes, 0.2).error(means, **MANY)
    assert found == pytest.approx(error_from_batches(means, sizes, int(sizes.sum() * 5)), rel=0.3)


def test_all_there_is_has_no_error():
    assert Sample(np.ones(80), 1.0).error(VALUES) == 0


def test_a_class_with_one_unit_makes_it_a_plain_sample():
    classes = np.array([0] * 79 + [1])
    assert Sample(np.ones(80), 0.5, classes).error(VALUES) == Sample(np.ones(80), 0.5).error(VALUES)


def test_resamples_repeat_by_their_seed():
    sample = Sample(np.ones(80), 0.5)
    assert (
        sample.error(VALUES, seed=3) == sample.error(VALUES, seed=3) != sample.error(VALUES, seed=4)
    )


@pytest.mark.parametrize("values", [np.ones(1), np.array([1.0, np.nan, 2.0])])
def test_what_cannot_be_known_is_nan(values):
    assert np.isnan(Sample(np.ones(len(values)), 0.5).error(values))
