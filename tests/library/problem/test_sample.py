import numpy as np
import pytest

from landscape.problem.sampling_error import Sample

GENERATOR = np.random.default_rng(0)
VALUES = GENERATOR.normal(size=80) + np.repeat([0.0, 3.0, 9.0, 1.0], 20)
NUM_RESAMPLES = 20_000
FIVE_ERRORS = 5 / np.sqrt(2 * NUM_RESAMPLES)  # of a standard deviation over so many resamples


def _bootstrap(values, sizes, classes, share):
    """Return the spread of weighted means of resamples, by class, as Rao & Wu (1988) scale it."""
    means = np.zeros(NUM_RESAMPLES)
    for number in np.unique(classes):
        members = np.flatnonzero(classes == number)
        count = len(members)
        drawn = members[GENERATOR.integers(count, size=(NUM_RESAMPLES, count))]
        ratios = (sizes * values)[drawn].sum(1) / sizes[drawn].sum(1)
        share_of_class = sizes[members].sum() / sizes.sum()
        means += share_of_class * (ratios - ratios.mean()) * np.sqrt(count / (count - 1))
    return means.std() * np.sqrt(1 - share)


@pytest.mark.parametrize("classes", [np.zeros(80), np.repeat([3, 1, 2, 7], 20)])
def test_the_error_is_the_bootstraps(classes):
    found = Sample(np.ones(80), 0.4, classes).error(VALUES)
    expected = _bootstrap(VALUES, np.ones(80), classes, 0.4)
    assert found == pytest.approx(expected, rel=FIVE_ERRORS)


def test_of_classes_only_the_spread_within_counts():
    classes = np.repeat([3, 1, 2, 7], 20)
    within = Sample(np.ones(80), 0.1, classes).error(VALUES)
    assert within < 0.5 * Sample(np.ones(80), 0.1).error(VALUES)


def test_units_of_unequal_sizes_have_the_error_of_a_ratio():
    sizes = np.array([10.0] * 150 + [3.0] * 50)
    values = GENERATOR.normal(size=200)
    expected = _bootstrap(values, sizes, np.zeros(200), 0.2)
    assert Sample(sizes, 0.2).error(values) == pytest.approx(expected, rel=0.03)


def test_all_there_is_has_no_error():
    assert Sample(np.ones(80), 1.0).error(VALUES) == 0


def test_a_class_with_one_unit_makes_it_a_plain_sample():
    classes = np.array([0] * 79 + [1])
    assert Sample(np.ones(80), 0.5, classes).error(VALUES) == Sample(np.ones(80), 0.5).error(VALUES)


@pytest.mark.parametrize("values", [np.ones(1), np.array([1.0, np.nan, 2.0])])
def test_what_cannot_be_known_is_nan(values):
    assert np.isnan(Sample(np.ones(len(values)), 0.5).error(values))
    assert np.isnan(Sample(np.ones(len(values)), 0.5).pooled_error(values))
