"""How results show themselves."""

import math
from html.parser import HTMLParser
from pathlib import Path

import pytest

from landscape import read_result
from landscape.errors import InputError
from landscape.results.display import Displayed, duration

FOLDER = Path(__file__).resolve().parents[2] / "written_by_0_1"
NAMES = ("surface", "refined", "spectrum", "along", "sharpness", "comparison", "history")


class _Texts(HTMLParser):
    """Collects what a page says."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_data(self, data):
        self.found.append(data)


@pytest.fixture(params=NAMES)
def result(request):
    return read_result(FOLDER / f"{request.param}.h5")


def test_a_repr_is_short_and_holds_the_first_numbers(result):
    assert isinstance(result, Displayed)
    assert len(repr(result)) < 400
    for label, text in result.summary()[:3]:
        assert f"{label}: {text}" in repr(result)


def test_a_table_holds_every_number_of_the_summary(result):
    name, *texts = _Texts(result._repr_html_()).found
    assert name == type(result).__name__
    assert list(zip(texts[::2], texts[1::2], strict=True)) == result.summary()


def test_a_result_draws_itself(result):
    assert result.plot() is not None


def test_a_spectrum_names_both_ends():
    spectrum = read_result(FOLDER / "spectrum.h5")
    assert f"lambda_max: {spectrum.eigenvalues[0]:.4f}" in repr(spectrum)
    assert f"lambda_min: {spectrum.bottom_eigenvalues[0]:.6f}" in repr(spectrum)


def test_sharpness_is_looked_up_by_measure_and_radius():
    sharpness = read_result(FOLDER / "sharpness.h5")
    for measure in sharpness.measures:
        assert sharpness[measure.name, measure.rho] is measure


def test_a_measure_that_is_not_there_is_an_error_that_lists_those_that_are():
    sharpness = read_result(FOLDER / "sharpness.h5")
    first = sharpness.measures[0]
    known = f"there are '{first.name}', {first.rho:g}"
    with pytest.raises(InputError, match=rf"no measure \('asc', 77\.0\); {known}"):
        sharpness["asc", 77.0]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0325, "0.0325 s"),
        (7.14, "7.14 s"),
        (99.4, "99.4 s"),
        (99.5, "2 min"),
        (1740, "29 min"),
        (2680, "45 min"),
        (3570, "1 h 0 min"),
        (9600, "2 h 40 min"),
        (180_000, "50 h 0 min"),
        (math.nan, "-"),
        (None, "-"),
    ],
)
def test_a_duration_is_in_words(seconds, words):
    assert duration(seconds) == words
