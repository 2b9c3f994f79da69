import json
import math
from pathlib import Path

import numpy as np
import pytest
from documented_keys import documented
from report_entries import detail, entry, spectrum

from landscape.report.document import Report
from landscape.report.entry import read_detail, write_detail
from landscape.report.measuring import MeasuringPlan
from landscape.report.report_rows import report_rows


def _report(*entries):
    return Report(entries, MeasuringPlan(), ["compare", "a.pt", "b.pt"], Path())


def _quantity(report, key):
    return report.as_json()["checkpoints"][0]["quantities"][key]


def test_the_summary_has_the_columns_of_table_1_and_a_row_a_checkpoint():
    table = _report(entry("sgd"), entry("sam")).summary()
    assert table.columns[1:5] == [
        "train loss",
        "train accuracy (%)",
        "test loss",
        "test accuracy (%)",
    ]
    assert table.columns[-1] == "|lambda_max / lambda_min|"
    assert [row[0] for row in table.rows] == ["sgd", "sam"]


def test_the_table_has_a_row_a_quantity_and_a_column_a_checkpoint():
    report = _report(entry("sgd"), entry("sam"))
    table = report.table()
    assert table.columns == ["quantity", "sgd", "sam"]
    assert [row[0] for row in table.rows] == [row.name for row in report_rows(report.rho)]


def test_the_error_of_the_test_loss_is_over_its_examples():
    found = _quantity(_report(entry(test_losses=(0.1, 0.2, 0.3, 0.4))), "test_loss")
    assert found["value"] == 0.25
    assert found["error"] == pytest.approx(np.std([0.1, 0.2, 0.3, 0.4], ddof=1) / 2)


def test_the_error_of_the_test_accuracy_is_binomial():
    assert _quantity(_report(entry()), "test_accuracy")["error"] == pytest.approx(
        math.sqrt(0.8 * 0.2 / 4)
    )


def test_the_whole_training_set_has_no_error():
    report = _report(entry())
    assert _quantity(report, "train_loss")["error"] is None
    assert _quantity(report, "train_accuracy")["error"] is None


def test_the_gap_is_test_minus_train():
    assert _quantity(_report(entry()), "generalization_gap")["value"] == pytest.approx(0.05)


def test_an_eigenvalue_has_its_residual_and_a_ratio_its_interval():
    report = _report(entry())
    assert _quantity(report, "lambda_max") == {
        "value": 8.0,
        "error": 0.5,
        "low": None,
        "high": None,
        "remark": "",
    }
    ratio = _quantity(report, "absolute_ratio")
    assert (ratio["value"], ratio["low"], ratio["high"]) == (4.0, 7.5 / 2.25, 8.5 / 1.75)


def test_a_ratio_whose_denominator_may_be_0_is_said_to_be_undefined():
    found = _quantity(_report(entry(spectrum=spectrum(bottom=-0.1))), "absolute_ratio")
    assert found["value"] is None
    assert "denominator" in found["remark"]


def test_eigenvalues_that_did_not_converge_are_marked():
    report = _report(entry(spectrum=spectrum(converged=False)))
    assert _quantity(report, "lambda_max")["remark"] == "not converged"
    assert "sgd: eigenvalues did not converge to 0.0001 in 30 products." in report.remarks()


def test_the_table_has_the_middle_radius_and_the_lower_of_two():
    assert _report(entry()).rho == 0.05


def test_differences_are_to_the_first_and_paired():
    first, second = (
        entry("sgd", rise=0.02),
        entry("sam", rise=0.01, test_losses=(0.0, 0.1, 0.2, 0.3)),
    )
    found = _report(first, second).as_json()["differences"]
    assert [(each["name"], each["rho"]) for each in found] == [
        ("test_loss", None),
        ("avg", 0.05),
        ("avg", 0.1),
    ]
    assert {(each["first"], each["second"], each["verdict"]) for each in found} == {
        ("sam", "sgd", "lower")
    }
    assert found[0]["value"] == pytest.approx(-0.1)
    assert found[1]["value"] == pytest.approx(-0.01 * 0.05)


def test_test_losses_that_differ_by_chance_are_not_told_apart():
    other = entry("sam", test_losses=(0.4, 0.3, 0.2, 0.1))
    found = _report(entry("sgd"), other).as_json()["differences"][0]
    assert found["verdict"] == "not distinguishable"
    assert found["low"] < 0 < found["high"]


def test_checkpoints_of_another_model_are_in_the_table_but_in_no_difference():
    other = entry("gcn", detail=detail(model="gcn"))
    report = _report(entry("sgd"), other)
    assert report.differences() == ()
    assert report.table().columns == ["quantity", "sgd", "gcn"]


def test_what_was_not_reached_is_a_dash_and_a_remark():
    report = _report(entry(detail=None, spectrum=None))
    assert {row[1] for row in report.table().rows} == {"–"}
    assert report.remarks() == ["sgd: sharpness, spectrum, line, plane not reached in time."]
    assert not report.is_complete


def test_a_remark_of_several_checkpoints_is_said_once():
    report = _report(entry("a", detail=detail(samples=5)), entry("b", detail=detail(samples=5)))
    assert sum("biased" in remark for remark in report.remarks()) == 1
    assert any(remark.startswith("a, b: extremes") for remark in report.remarks())


def test_the_csv_has_every_number_in_full():
    rows = _report(entry()).values_table().rows
    assert ["lambda_max", "sgd", "8.0", "0.5", "", "", ""] in rows
    assert [row[0] for row in rows] == [quantity.key for quantity in report_rows(0.05)]


def test_the_keys_of_the_json_are_those_that_are_documented():
    found = _report(entry("sgd"), entry("sam")).as_json()
    assert list(documented("landscape compare").contradictions(found)) == []


def test_the_json_has_no_word_that_json_lacks():
    text = json.dumps(
        Report([entry("a"), entry("b")], MeasuringPlan(p=math.inf)).as_json(), allow_nan=False
    )
    assert json.loads(text)["plan"]["p"] == "inf"


def test_what_differences_are_made_of_is_read_back(tmp_path):
    found = detail()
    write_detail(tmp_path / "d.npz", found)
    again = read_detail(tmp_path / "d.npz", found.measured.result)
    assert again.test_hash == "t"
    assert again.test_losses.tolist() == found.test_losses.tolist()
    for key, rises in found.measured.rises.items():
        assert again.measured.rises[key].directions.tolist() == rises.directions.tolist()


def test_a_damaged_file_of_that_counts_as_none(tmp_path):
    (tmp_path / "d.npz").write_bytes(b"PK\x03\x04 cut short")
    assert read_detail(tmp_path / "d.npz", detail().measured.result) is None
    assert read_detail(tmp_path / "none.npz", detail().measured.result) is None


def test_the_answer_names_the_lower_test_loss_and_one_checkpoint_has_its_own_sentence():
    lower = entry("sam", rise=0.02, test_losses=(0.05, 0.1, 0.2, 0.3))
    assert Report([entry("sgd", rise=0.02), lower], MeasuringPlan()).headline == (
        "sam and sgd cannot be told apart by any measure. The sharpest directions of sgd and sam "
        "are alike within their errors. The test loss of sam is lower than that of sgd."
    )
    alone = Report([entry()], MeasuringPlan()).headline
    assert alone.startswith("Random steps of length 0.05 change the train loss")
    others = entry("other", detail=detail(model="cnn"))
    assert Report([entry("sgd"), others], MeasuringPlan()).headline == ""


@pytest.mark.parametrize(
    ("top", "said"),
    [
        (4.0, "Sharpest direction of sam: 0.5x that of sgd (4 and 8). "),
        (8.5, "The sharpest directions of sgd and sam are alike within their errors. "),
        (0.1, ""),
    ],
)
def test_the_answer_compares_the_sharpest_directions_of_two(top, said):
    def sharpest(value, **fields):
        return entry(spectrum=spectrum(top=value, residuals=np.full(5, 0.5)), **fields)

    found = Report([sharpest(8.0, name="sgd"), sharpest(top, name="sam")], MeasuringPlan()).headline
    assert found == (
        f"sam and sgd cannot be told apart by any measure. {said}The test losses of sam and sgd "
        "cannot be told apart."
    )
