import csv
from dataclasses import replace

import numpy as np
import pytest
from surfaces import PROVENANCE, formula, line_surface, plane_surface

from landscape.errors import StoreError
from landscape.io.layouts import write_table
from landscape.results.eigenvalue_history import CurvatureHistory
from landscape.results.history import History
from landscape.results.sharpness import Difference, Measure, Sharpness, SharpnessComparison
from landscape.results.spectrum import Spectrum
from landscape.results.surface import Mark


def _columns(path, result):
    """Write a table, and read it with the standard library: name -> list of words."""
    write_table(path, result)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows] for name in rows[0]}


def _floats(words):
    return np.array(words, dtype=float)


def test_a_plane_has_a_row_for_each_point_done(tmp_path):
    surface = plane_surface(4, 3, left_out=(1, 5))
    columns = _columns(tmp_path / "s.csv", surface)
    assert list(columns) == ["x", "y", "loss_train", "loss_test", "accuracy_train", "lambda_max"]
    assert len(columns["x"]) == 10
    np.testing.assert_allclose(
        _floats(columns["loss_train"]),
        formula(_floats(columns["x"]), _floats(columns["y"])),
        rtol=1e-12,
    )


def test_numbers_read_back_as_they_were(tmp_path):
    surface = plane_surface(7, 5)
    surface.loss["train"].flat[:2] = [np.nan, -np.inf]
    found = _floats(_columns(tmp_path / "s.csv", surface)["loss_train"])
    np.testing.assert_array_equal(found, surface.loss["train"].reshape(-1))


def test_names_are_labels_that_no_spreadsheet_takes_for_formulas(tmp_path):
    surface = plane_surface(2, 2)
    poisoned = replace(surface, maps={"=1+1\x1b\udcff": -np.ones((2, 2))})
    columns = _columns(tmp_path / "s.csv", poisoned)
    assert columns[r"'=1+1\x1b\udcff"] == ["-1.0"] * 4


def test_several_lines_are_counted(tmp_path):
    columns = _columns(tmp_path / "s.csv", line_surface(3, left_out=(7,)))
    assert list(columns) == ["line", "x", "loss_train"]
    assert columns["line"] == ["0"] * 5 + ["1"] * 4 + ["2"] * 5
    expected = formula(_floats(columns["x"]), _floats(columns["line"]))
    np.testing.assert_allclose(_floats(columns["loss_train"]), expected, rtol=1e-12)


def test_a_standard_error_has_a_column(tmp_path):
    surface = replace(line_surface(), standard_error={"train": np.arange(5.0)})
    assert _columns(tmp_path / "s.csv", surface)["standard_error_train"] == [
        "0.0",
        "1.0",
        "2.0",
        "3.0",
        "4.0",
    ]


def test_a_spectrum_has_a_row_for_each_eigenvalue(tmp_path):
    top, bottom = np.array([3.0, 2.0]), np.array([-1.0])
    spectrum = Spectrum(
        top,
        top / 10,
        bottom,
        -bottom / 10,
        20,
        True,
        1e-4,
        1e-6,
        "lanczos",
        0.5,
        None,
        "train",
        PROVENANCE,
    )
    assert _columns(tmp_path / "h.csv", spectrum) == {
        "end": ["top", "top", "bottom"],
        "eigenvalue": ["3.0", "2.0", "-1.0"],
        "residual": ["0.3", "0.2", "0.1"],
    }


def test_sharpness_has_a_row_for_each_measure(tmp_path):
    measures = tuple(
        Measure("avg", rho, 0.6, 0.1, 0.01, 2.0, False, 5, None) for rho in (0.05, 0.1)
    )
    columns = _columns(tmp_path / "a.csv", Sharpness(0.5, 0.9, 0.1, measures, "train", PROVENANCE))
    assert columns["rho"] == ["0.05", "0.1"]
    assert columns["radius_share"] == ["", ""]


def test_a_comparison_has_a_row_for_each_measure_of_each_checkpoint(tmp_path):
    measures = tuple(
        Measure("avg", rho, 0.6, 0.1, 0.01, 2.0, False, 5, None) for rho in (0.05, 0.1)
    )
    results = tuple(
        Sharpness(0.5, 0.9, 0.1, each, "train", PROVENANCE) for each in (measures, measures[:1])
    )
    comparison = SharpnessComparison(("sgd", "sam"), results)
    columns = _columns(tmp_path / "a.csv", comparison)
    assert columns["checkpoint"] == ["sgd", "sgd", "sam"]
    assert columns["rho"] == ["0.05", "0.1", "0.05"]
    assert "group" not in columns
    groups = replace(comparison, group_of=("x", "y"))
    assert _columns(tmp_path / "b.csv", groups)["group"] == ["x", "x", "y"]


def test_differences_are_said_to_be_left_out(tmp_path):
    one = Sharpness(0.5, 0.9, 0.1, (), "train", PROVENANCE)
    difference = Difference(
        "avg", 0.05, "a", "b", 0.1, -0.1, 0.3, 0.95, "not distinguishable", "data"
    )
    comparison = SharpnessComparison(("a", "b"), (one, one), (difference,))
    assert write_table(tmp_path / "a.csv", comparison) == (
        "Its 1 differences are left out: they are no measures.",
    )


def test_a_history_has_a_row_for_each_epoch(tmp_path):
    columns = _columns(tmp_path / "h.csv", History(*(np.arange(3.0) + i for i in range(10))))
    assert columns["epoch"] == ["0.0", "1.0", "2.0"]
    assert columns["learning_rate"] == ["1.0", "2.0", "3.0"]
    assert columns["ema_test_loss"] == ["nan"] * 3


def test_marks_are_said_to_be_left_out(tmp_path):
    assert write_table(tmp_path / "s.csv", plane_surface()) == ()
    marked = replace(plane_surface(), marks=(Mark("b", "checkpoint", (1.0, 0.0)),))
    assert "1 marks are left out" in write_table(tmp_path / "s.csv", marked)[0]


def test_a_full_disk_leaves_the_old_file(tmp_path, full_disk):
    (tmp_path / "s.csv").write_text("old")
    with full_disk, pytest.raises(StoreError, match="No space left"):
        write_table(tmp_path / "s.csv", plane_surface())
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("s.csv", "old")]


def test_what_is_known_of_eigenvalues_has_columns(tmp_path):
    spectrum = Spectrum(
        np.array([3.0]),
        np.array([1e-6]),
        np.array([-1.0]),
        np.array([1e-3]),
        20,
        True,
        1e-4,
        1e-6,
        "lanczos",
        0.5,
        None,
        "train",
        PROVENANCE,
        estimates=np.array([1e-9]),
        bottom_estimates=np.array([1e-5]),
        gradient_overlaps=np.array([0.5, 0.25]),
        layer_shares={"w": np.array([1.0, 0.75]), "b": np.array([0.0, 0.25])},
    )
    columns = _columns(tmp_path / "h.csv", spectrum)
    assert columns["estimate"] == ["1e-09", "1e-05"]
    assert columns["gradient_overlap"] == ["0.5", "0.25"]
    assert (columns["share_w"], columns["share_b"]) == (["1.0", "0.75"], ["0.0", "0.25"])


def test_curvature_along_a_run_has_a_row_for_each_snapshot_that_is_done(tmp_path):
    top, bottom = (
        np.array([[5.0, 4.0], [7.0, 6.0], [np.nan, np.nan]]),
        np.array([[-1.0], [-2.0], [np.nan]]),
    )
    rest = (
        np.array([20, 16, 0]),
        np.ones(3, bool),
        np.ones(3),
        np.full(3, 0.1),
        np.array([np.nan, 0.5, np.nan]),
    )
    history = CurvatureHistory(
        np.array([0.0, 5.0, 10.0]),
        top,
        top / 8,
        bottom,
        bottom / -8,
        *rest,
        np.array([True, True, False]),
        "train",
        PROVENANCE,
    )
    assert _columns(tmp_path / "c.csv", history) == {
        "epoch": ["0.0", "5.0"], "learning_rate": ["0.1", "0.1"], "loss": ["1.0", "1.0"],
        "converged": ["True", "True"], "num_matvecs": ["20", "16"], "overlaps": ["nan", "0.5"],
        "lambda_top_1": ["5.0", "7.0"], "lambda_top_2": ["4.0", "6.0"],
        "residual_top_1": ["0.625", "0.875"], "residual_top_2": ["0.5", "0.75"],
        "lambda_bottom_1": ["-1.0", "-2.0"], "residual_bottom_1": ["0.125", "0.25"],
    }  # fmt: skip
