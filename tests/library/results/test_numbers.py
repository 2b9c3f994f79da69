import pytest

from landscape.results.interval import Number


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (Number(14.8312, 0.027), "14.831 ± 0.027"),
        (Number(14.8312, 3.1), "14.8 ± 3.1"),
        (Number(1234.5, 456.0), "1230 ± 460"),
        (Number(-0.018311, 0.000088), "-0.018311 ± 0.000088"),
        (Number(98.61, 0.617), "98.61 ± 0.62"),
        (Number(0.07134, 0.0021), "0.0713 ± 0.0021"),
        (Number(98.61, 0.12), "98.61 ± 0.12"),
        (Number(1234.5, 56.7), "1234 ± 57"),
        (Number(1234.5, 567.8), "1230 ± 570"),
        (Number(0.5, 0.0997), "0.50 ± 0.10"),
        (Number(-0.083, 0.052), "-0.083 ± 0.052"),
        (Number(3.6e-5, 3.7e-6), "3.6e-05 ± 3.7e-06"),
    ],
)
def test_an_error_has_two_digits_and_the_number_as_many_as_it_leaves(number, text):
    assert number.text == text


def test_an_error_below_the_sixth_digit_leaves_six():
    assert Number(5.2819712345, 4.7e-6).text == "5.28197 ± 5e-06"


def test_a_number_below_its_error_is_0():
    assert Number(3.6e-10, 1e-7).text == "0 ± 1e-07"
    assert Number(0.0, 0.01).text == "0 ± 0.010"


@pytest.mark.parametrize("error", [None, 0.0, float("nan"), float("inf")])
def test_an_error_that_is_0_or_unknown_is_not_written(error):
    assert Number(0.8, error).text == "0.80000"


@pytest.mark.parametrize("error", [None, float("nan"), 1.0])
def test_an_infinite_number_is_written_without_its_error(error):
    infinity = float("inf")
    assert [Number(value, error).text for value in (infinity, -infinity)] == ["inf", "-inf"]


def test_a_number_without_an_error_has_five_digits():
    assert [Number(value).text for value in (0.0274011, 99.79123, 0.0, 2.5e-9, 3e7)] == [
        "0.027401",
        "99.791",
        "0.0000",
        "2.5e-09",
        "3e+07",
    ]


def test_an_interval_is_in_brackets_and_an_end_near_0_does_not_become_0():
    assert Number(14.8, low=14.71, high=14.93).text == "14.80 [14.71, 14.93]"
    assert Number(-0.48, low=-0.97, high=-0.004).text == "-0.480 [-0.970, -0.004]"


def test_what_is_not_known_is_a_dash():
    assert [Number().text, Number(float("nan"), 1.0).text, Number(1.0, 0.0).text] == [
        "–",
        "–",
        "1.0000",
    ]


def test_a_number_in_another_unit_has_its_error_in_it_too():
    assert Number(0.9861, 0.0062).times(100) == Number(98.61, 0.62)
    assert Number(2.0, low=1.0, high=3.0).times(1000) == Number(2000.0, low=1000.0, high=3000.0)
