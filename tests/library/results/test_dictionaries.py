"""Results as dictionaries."""

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from landscape.io.store import read_result

FOLDER = Path(__file__).resolve().parents[2] / "written_by_0_1"
FILES = sorted(path for path in FOLDER.glob("*.h5") if path.name != "li2018.h5")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_result_is_a_dictionary_that_json_can_hold(path):
    result = read_result(path)
    found = result.as_dict()
    assert json.loads(json.dumps(found)).keys() == found.keys()
    assert {field.name for field in fields(result)} - found.keys() <= {"vectors"}


def test_dictionary_has_the_numbers_that_attributes_give():
    spectrum = read_result(FOLDER / "spectrum.h5")
    found = spectrum.as_dict()
    np.testing.assert_array_equal(found["eigenvalues"], spectrum.eigenvalues)
    assert found["lambda_max"] == spectrum.lambda_max
    assert found["ratio_intervals"]["ratio"] == [
        spectrum.ratios["lambda_max / lambda_min"].low,
        spectrum.ratios["lambda_max / lambda_min"].high,
    ]
    assert found["provenance"]["weights_hash"] == spectrum.provenance.weights_hash


def test_measure_of_a_box_has_its_norm_as_a_word():
    (measure, *_) = read_result(FOLDER / "sharpness.h5").measures
    box = type(measure)(**{**vars(measure), "p": np.inf})
    assert box.as_dict()["p"] == "inf"
    assert box.as_dict()["error"] == box.error
