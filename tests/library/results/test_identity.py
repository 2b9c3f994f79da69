"""Whether a stored result is the one that is asked for."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from landscape.errors import StoreError
from landscape.results.identity import (
    first_difference,
    item_traits,
    require_same,
    require_unchanged,
)


def test_the_first_of_several_differences_is_the_one_that_is_named():
    assert first_difference([("a", 1, 1), ("b", 1, 2), ("c", 1, 3)]) == ("b", 1, 2)
    assert first_difference([("a", 1, 1)]) is None


def test_traits_are_attributes_or_items_in_the_order_of_their_names():
    there, here = SimpleNamespace(a=1, b=2), SimpleNamespace(a=1, b=3)
    assert list(item_traits(vars(there), vars(here), ("b", "a"))) == [("b", 2, 3), ("a", 1, 1)]
    assert list(item_traits(vars(there), {}, ("b", "c"), default=0, prefix="plan: ")) == [
        ("plan: b", 2, 0),
        ("plan: c", 0, 0),
    ]


def test_a_result_of_another_class_is_refused_before_its_traits_are_read():
    with pytest.raises(StoreError, match="the stored result is a int, not a text"):
        require_unchanged(1, str, "a text", (1 / 0 for _ in range(1)))
    with pytest.raises(StoreError, match="the stored text has another x: 1 in the file, 2 now"):
        require_unchanged("", str, "a text", [("x", 1, 2)])
    require_unchanged("", str, "a text", [("x", 1, 1)])


def test_a_resumed_task_names_the_file_that_is_of_something_else():
    with pytest.raises(StoreError, match=r"resumed report must have the x of a\.h5: 1 there, 2"):
        require_same(Path("a.h5"), [("x", 1, 2)], hint="", task="report")
    require_same(Path("a.h5"), [("x", 1, 1)], hint="")
