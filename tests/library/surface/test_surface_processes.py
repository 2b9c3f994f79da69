"""Surfaces by two real processes."""

import json

import numpy as np
import pytest
import torch
from processes import run_two
from surface_processes import CASES, main, surface

from landscape import read_result


def _run_two(case, folder):
    run_two(main, case, folder)
    surfaces = [read_result(folder / f"{rank}.h5") for rank in (0, 1)]
    return surfaces, [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("case", CASES)
def test_two_processes_compute_what_one_does_bit_for_bit(case, tmp_path, one_thread):
    expected, num_alone = surface(case)
    found, counts = _run_two(case, tmp_path)
    for each in found:
        np.testing.assert_array_equal(each.loss["train"], expected.loss["train"])
        np.testing.assert_array_equal(each.accuracy["train"], expected.accuracy["train"])
        np.testing.assert_array_equal(each.done, expected.done)
        assert each.deviations == expected.deviations
    assert (
        sum(each["count"] for each in counts) == num_alone + 1
    )  # the centre is each process's own
    assert min(each["count"] for each in counts) > 0.2 * num_alone


def test_a_stop_ends_both_processes_and_no_point_is_lost(tmp_path, one_thread):
    expected, _ = surface("grid")
    found, counts = _run_two("stopped", tmp_path)
    done = found[0].done
    assert 50 <= done.sum() < done.size
    np.testing.assert_array_equal(found[0].loss["train"][done], expected.loss["train"][done])
    assert sum(each["count"] for each in counts) == done.sum() + 2
