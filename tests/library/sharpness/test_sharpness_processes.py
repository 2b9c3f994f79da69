"""Sharpness by two real processes, compared with that of one."""

import pytest
import torch
from processes import run_two
from sharpness_processes import main, measures
from torch import distributed

pytestmark = pytest.mark.skipif(
    not distributed.is_available(), reason="torch was built without torch.distributed"
)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each process measured."""
    folder = tmp_path_factory.mktemp("ranks")
    run_two(main, folder)
    return [torch.load(folder / f"rank-{rank}.pt") for rank in (0, 1)]


@pytest.fixture(scope="module")
def expected():
    """What one process measures."""
    return measures()


def numbers(record):
    """The numbers of a record or a list."""
    values = record.values() if isinstance(record, dict) else record
    return [value for value in values if isinstance(value, int | float)]


def test_both_processes_have_the_same_numbers(found):
    assert found[0] == found[1]


def test_they_are_those_of_one_process_up_to_rounding(found, expected):
    for key, value in expected.items():
        records = value if isinstance(value, list) and isinstance(value[0], dict) else [value]
        others = found[0][key] if records is value else [found[0][key]]
        for record, other in zip(records, others, strict=True):
            assert numbers(other) == pytest.approx(numbers(record), rel=1e-6, abs=1e-9)


def test_losses_at_the_weights_are_those_of_one_process_bit_for_bit(found, expected):
    assert all(
        found[0][name, None, "here"][:2] == expected[name, None, "here"][:2]
        for name in ("mlp", "cnn")
    )
