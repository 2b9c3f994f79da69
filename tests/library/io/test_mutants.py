"""No file that is not as it must be ends in anything but a sentence."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from mutants import changed_bytes, changed_hdf5, changed_value

from landscape.errors import LandscapeError
from landscape.io.checkpoint import Recipe, load_checkpoint, save_checkpoint
from landscape.io.description import describe_file
from landscape.io.layouts import convert, read_any
from landscape.io.store import read_result, write_result
from landscape.runtime.seal import check_seal, seal

OLD = sorted((Path(__file__).parents[2] / "written_by_0_1").glob("*.h5"))
FEW, MANY = 1, 40
AMOUNTS = pytest.mark.parametrize(
    "amount", [FEW, pytest.param(MANY, marks=pytest.mark.slow)], ids=["few", "many"]
)


def _outcome(function, *arguments):
    """Call a function; whatever it raises that is no sentence is the test's failure."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*arguments)
    except LandscapeError as exc:
        assert "\n" not in exc.message
        return None


def _look_at(path):
    """Read a file as the commands that compute nothing do."""
    describe_file(path)
    result, _ = read_any(path)
    assert repr(result)
    result.as_dict()
    _outcome(convert, path, path.with_suffix(".csv"), "csv")
    _outcome(convert, path, path.with_suffix(".li"), "li2018")


@AMOUNTS
def test_results_of_another_structure_are_refused_in_a_sentence(tmp_path, amount):
    path, rng = tmp_path / "r.h5", np.random.default_rng(0)
    for old in OLD:
        content = old.read_bytes()
        for _ in range(8 * amount):
            path.write_bytes(changed_hdf5(rng, content))
            seal(path)  # what was changed on purpose has a seal that holds
            _outcome(_look_at, path)
