"""What conditions find in results files."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from surfaces import plane_surface

from landscape.conditions import Interval, Quantity
from landscape.conditions.from_file import command_for, look_up, stored_quantities
from landscape.errors import InputError
from landscape.io.store import write_result
from landscape.results.eigenvalue_history import CurvatureHistory
from landscape.results.history import make_history
from landscape.results.provenance import Provenance
from landscape.results.sharpness import Certificate, Measure, Sharpness
from landscape.results.spectrum import Spectrum, Trace
from landscape.results.surface import Directions

WHOLE = Provenance(num_examples={"train": 100, "test": 50}, settings={"samples": None})
SUBSET = replace(WHOLE, settings={"samples": 100})
SPECTRUM = Spectrum(
    np.array([5.0, 2.0]),
    np.array([0.1, 0.1]),
    np.array([-0.5]),
    np.array([0.05]),
    30,
    True,
    1e-4,
    1e-6,
    "lanczos",
    0.3,
    0.9,
    "train",
    WHOLE,
    trace=Trace(8.0, 0.5, 7.0, 9.0, 0.95, 50, 60),
    gradient_norm=0.2,
)
MEASURE = Measure("asc", 0.05, 0.4, 0.1, None, 2.0, False, 1, 1.0)
SHARPNESS = Sharpness(0.3, 0.9, 0.2, (MEASURE,), "train", WHOLE, test_loss=0.5, test_accuracy=0.8)


def intervals(result):
    """Name -> interval."""
    return {str(quantity): known.interval for quantity, known in stored_quantities(result).items()}


def test_a_spectrum_has_eigenvalues_ratio_and_trace():
    found = intervals(SPECTRUM)
    assert found["lambda_max"] == Interval(5.0, 4.9, 5.1)
    assert found["lambda_min"] == Interval(-0.5, -0.55, -0.45)
    assert found["lambda_ratio"].value == -10.0
    assert (found["lambda_ratio"].low, found["lambda_ratio"].high) == pytest.approx(
        (5.1 / -0.45, 4.9 / -0.55)
    )
    assert found["trace"] == Interval(8.0, 7.0, 9.0)
    assert found["train_loss"] == Interval.exact(0.3)
    assert found["gradient_norm"] == Interval.exact(0.2)


@pytest.mark.parametrize("change", [{"curvature": "ggn"}, {"which": "magnitude"}])
def test_other_values_than_the_extreme_ones_of_the_hessian_are_not_taken_for_them(change):
    assert "lambda_max" not in intervals(replace(SPECTRUM, **change))


def test_a_spectrum_that_did_not_converge_leaves_room_above():
    assert intervals(replace(SPECTRUM, converged=False))["lambda_max"] == Interval(
        5.0, 4.9, math.inf
    )


def test_sharpness_has_measures_and_the_generalization_gap():
    found = intervals(SHARPNESS)
    assert found["asc@0.05"] == Interval.exact(0.1)
    assert found["generalization_gap"] == Interval.exact(0.5 - 0.3)
    assert found["test_accuracy"] == Interval.exact(0.8)


def test_of_the_test_split_the_loss_is_a_test_loss():
    found = stored_quantities(replace(SHARPNESS, split="test", test_loss=None, test_accuracy=None))
    assert found[Quantity("test_loss")].interval.value == 0.3
    assert Quantity("train_loss") not in found
    assert found[Quantity("asc", 0.05)].remark == "of the test split"


def test_of_a_subset_the_loss_has_no_known_error_and_a_measure_its_own():
    sampled = replace(SHARPNESS, provenance=SUBSET, measures=(replace(MEASURE, data_error=0.01),))
    found = intervals(sampled)
    assert found["train_loss"] == Interval(0.3, -math.inf, math.inf)
    assert found["train_accuracy"].error == pytest.approx(
        0.075, abs=0.002
    )  # Wilson's of 90 in 100: .825 to .945
    assert found["asc@0.05"].error == pytest.approx(0.0196, abs=1e-4)


def test_a_surface_has_the_losses_of_its_centre():
    found = intervals(
        replace(
            plane_surface(), center_loss={"train": 1.5, "test": 2.0}, center_accuracy={"test": 0.5}
        )
    )
    assert found["generalization_gap"] == Interval.exact(0.5)
    assert found["test_accuracy"] == Interval.exact(0.5)


def test_a_history_has_its_last_epoch_and_no_gap_of_a_moving_network():
    rows = [
        {"epoch": i, "train_loss": 2.0 / i, "test_loss": 3.0 / i, "test_accuracy": 0.1 * i}
        for i in (1, 2)
    ]
    found = stored_quantities(make_history(rows, {}))
    assert {str(q): k.interval.value for q, k in found.items()} == {
        "train_loss": 1.0,
        "test_loss": 1.5,
        "test_accuracy": 0.2,
    }
    assert "as training saw it" in found[Quantity("train_loss")].remark


def test_a_curvature_history_has_its_last_finished_snapshot():
    column = np.array([[3.0], [4.0], [9.0]])
    history = CurvatureHistory(
        np.arange(3),
        column,
        column / 10,
        -column,
        column / 10,
        np.ones(3),
        np.array([True, True, False]),
        np.ones(3),
        np.ones(3),
        np.ones(3),
        np.array([True, True, False]),
        "train",
        WHOLE,
    )
    found = intervals(history)
    assert found["lambda_max"] == Interval.around(4.0, 0.4)
    assert found["lambda_min"] == Interval.around(-4.0, 0.4)


def test_a_certificate_proves_from_below():
    certificate = Certificate(
        np.zeros((1, 3)),
        np.array([0.1]),
        np.array([0.75]),
        0.25,
        2.0,
        False,
        0.0,
        "max",
        "train",
        WHOLE,
    )
    assert intervals(certificate)["max@0.1"] == Interval(0.5, 0.5, math.inf)


def test_directions_are_no_results_of_a_checkpoint():
    with pytest.raises(InputError, match="conditions are on a surface, a spectrum"):
        stored_quantities(Directions(np.zeros((1, 2)), ("x",), ("w",), ((2,),), "none"))


@pytest.mark.parametrize(
    ("quantity", "command"),
    [
        (
            Quantity("asc", 0.1),
            "`landscape.save(FILE, landscape.sharpness(problem, measures='asc', rho=0.1))`",
        ),
        (Quantity("trace"), "`landscape.save(FILE, landscape.hessian(problem, trace=True))`"),
        (Quantity("lambda_ratio"), "`landscape.save(FILE, landscape.hessian(problem))`"),
        (Quantity("generalization_gap"), "`landscape.save(FILE, landscape.sharpness(problem))`"),
    ],
)
def test_what_is_missing_is_said_with_the_command_that_writes_it(quantity, command):
    assert command_for(quantity) == command
    with pytest.raises(InputError, match=r"s\.h5 does not have .* it has lambda_max\.") as found:
        look_up(
            [quantity],
            {Quantity("lambda_max"): stored_quantities(SPECTRUM)[Quantity("lambda_max")]},
            "s.h5",
        )
    assert command in found.value.hint


def test_stored_results_are_judged_without_torch(tmp_path):
    write_result(tmp_path / "s.h5", SPECTRUM)
    code = (
        "import sys; from landscape_cli.app import app\n"
        "try: app(sys.argv[1:], standalone_mode=False)\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules"
    )
    words = ["assert", str(tmp_path / "s.h5"), "lambda_max < 50"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("holds")


def test_what_was_measured_of_rounding_is_in_the_intervals():
    rounding = {"rounding": np.array([0.25, 0.0]), "bottom_rounding": np.array([0.125])}
    spectrum = replace(SPECTRUM, loss_rounding=0.01, gradient_rounding=0.02, **rounding)
    found = intervals(spectrum)
    assert found["lambda_max"] == Interval.around(5.0, 0.1 + 0.25)
    assert found["lambda_min"] == Interval.around(-0.5, 0.05 + 0.125)
    assert found["train_loss"] == Interval.around(0.3, 0.01)
    assert found["gradient_norm"] == Interval.around(0.2, 0.02)
    measure = replace(MEASURE, rounding=0.03)
    found = intervals(replace(SHARPNESS, measures=(measure,), gradient_rounding=0.02))
    assert found["asc@0.05"] == Interval.around(0.1, 0.03)
    assert found["gradient_norm"] == Interval.around(0.2, 0.02)
