import math

import pytest

from landscape.conditions import Interval, Known, Quantity, judge, parse_condition
from landscape.errors import InputError
from landscape.results.sharpness_measures import MEASURES

ASC, LOSS, TOP = Quantity("asc", 0.05), Quantity("train_loss"), Quantity("lambda_max")


def value_of(expression, **known):
    """The interval of the left side of `expression < 1`, where the names have exact values."""
    exact = {Quantity(name): Known(Interval.exact(value)) for name, value in known.items()}
    exact[ASC] = Known(Interval.exact(0.5))
    return judge(parse_condition(f"{expression} < 1"), exact).operands[0].value


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("train_loss + 2 * 3", 8.0),
        ("-(train_loss - 4) / .5", 4.0),
        ("abs(-loss)", 2.0),
        ("+loss - -1", 3.0),
        ("asc@0.05", 0.5),
        ("2 * asc@0.05", 1.0),
        ("2 * asc@0.05 * 3", 3.0),
        ("asc@0.05 / 2", 0.25),
        ("1 / asc@0.05", 2.0),
        ("-asc@0.05", -0.5),
        ("1 - asc@0.05", 0.5),
        ("loss * asc@5e-2 + loss", 3.0),
        ("loss\n+ 1", 3.0),
    ],
)
def test_expressions_have_the_value_that_they_read_as(expression, value):
    assert value_of(expression, train_loss=2.0) == value


def test_names_are_those_that_are_computed():
    found = parse_condition("0 < loss < asc@0.05 + train_loss").quantities
    assert found == (LOSS, ASC)
    assert [str(quantity) for quantity in found] == ["train_loss", "asc@0.05"]


def test_every_measure_of_sharpness_may_be_named():
    for name in MEASURES:
        assert parse_condition(f"{name}@0.1 < 1").quantities == (Quantity(name, 0.1),)


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("lambda_max < ", "the condition cannot be read", 12),
        ("lambda_max <> 3", "the condition cannot be read", 11),
        ("(loss < 1", "was never closed", 0),
        ("", "it is empty", 0),
        ("loss", "must be a comparison", 0),
        ("loss < 1 and loss > 0", "must be a comparison", 0),
        ("loss == 1", "must compare by <", 8),
        ("loss < 1 != 2", "must compare by <", 12),
        ("loss < 2 ** 3", "may hold numbers", 7),
        ("loss < 'a'", "may hold numbers", 7),
        ("loss < True", "may hold numbers", 7),
        ("loss < 1j", "may hold numbers", 7),
        ("loss < max(1, 2)", "may hold numbers", 7),
        ("abs(loss, 1) < 2", "may hold numbers", 0),
        ("loss.real < 2", "may hold numbers", 0),
        ("1 < __import__('os').getpid()", "may hold numbers", 4),
        ("loss < 1e999", "must be finite", 7),
        ("loss < 1" + 180 * "0", None, None),
        ("0 < asc", "asc needs a radius, as in asc@0.05", 4),
        ("asc@0 < 1", "radius after @ must be a positive number", 4),
        ("asc@-1 < 1", "radius after @ must be a positive number", 4),
        ("asc@loss < 1", "radius after @ must be a positive number", 4),
        ("loss@0.05 < 1", "loss has no radius", 0),
        ("(asc + 1)@0.05 < 1", "before @ must be one of asc, avg", 1),
        ("1 < 2", "must name a quantity: the known ones are train_loss", 0),
        ("2 > lamda_max", "lamda_max is no known quantity: the nearest known are lambda_max", 4),
        ("2 > acs@1", "acs is no known quantity: the nearest known is asc", 4),
        ("2 > zzz", "zzz is no known quantity: the known ones are", 4),
        ("'é' < zzz", "may hold numbers", 0),
        ("loss < abs('é') + zzz", "may hold numbers", 11),
    ],
)
def test_what_is_no_condition_is_refused_at_its_place(text, message, place):
    if message is None:
        assert parse_condition(text)
        return
    with pytest.raises(InputError) as found:
        parse_condition(text)
    first, shown, caret = found.value.message.split("\n")
    assert message in first
    assert shown == f"  {text.strip()}"
    assert caret == " " * (2 + place) + "^"
    assert "'lambda_max < 50'" in found.value.hint


def test_the_place_counts_characters_and_not_bytes():
    with pytest.raises(InputError, match=r"(?s)zz is no known.*\n {9}\^"):
        parse_condition("ｌoss + zz < 1")  # a wide l, of three bytes, which Python reads as l


def test_a_condition_as_long_as_a_book_is_refused():
    with pytest.raises(InputError, match="at most 200 characters, got 5005"):
        parse_condition("-" * 5000 + "loss<1"[1:])


def test_the_deepest_nesting_that_fits_is_read():
    assert parse_condition("-" * 190 + "loss < 1")


@pytest.mark.parametrize(
    ("low", "high", "text", "verdict"),
    [
        (1, 2, "lambda_max < 3", "holds"),
        (1, 2, "lambda_max < 2", "undecided"),
        (1, 2, "lambda_max <= 2", "holds"),
        (1, 2, "lambda_max < 1", "fails"),
        (1, 2, "lambda_max <= 1", "undecided"),
        (1, 2, "lambda_max > 1.5", "undecided"),
        (1, 2, "lambda_max > 0.5", "holds"),
        (1, 2, "lambda_max >= 1", "holds"),
        (1, 2, "lambda_max > 2", "fails"),
        (2, 2, "lambda_max < 2", "fails"),
        (2, 2, "lambda_max <= 2", "holds"),
        (2, 2, "lambda_max >= 2", "holds"),
        (1, 2, "0 < lambda_max < 3", "holds"),
        (1, 2, "0 < lambda_max < 1.5", "undecided"),
        (1, 2, "1.5 < lambda_max < 1", "fails"),
        (1, 2, "3 > lambda_max > 0", "holds"),
        (1, math.inf, "lambda_max > 0", "holds"),
        (1, math.inf, "lambda_max < 1000", "undecided"),
    ],
)
def test_a_verdict_is_that_of_every_value_inside(low, high, text, verdict):
    found = judge(
        parse_condition(text), {TOP: Known(Interval((low + min(high, low + 1)) / 2, low, high))}
    )
    assert found.verdict == verdict


@pytest.mark.parametrize("text", ["loss < 1", "loss > 1", "loss - loss >= 0"])
def test_what_is_no_number_fails(text):
    found = judge(parse_condition(text), {LOSS: Known(Interval.exact(math.nan))})
    assert found.verdict == "fails"
    assert not found.passes(lenient=True)


def test_undecided_passes_where_that_lenient():
    found = judge(parse_condition("loss < 1"), {LOSS: Known(Interval(1.0, 0.5, 1.5))})
    assert not found.passes()
    assert found.passes(lenient=True)
