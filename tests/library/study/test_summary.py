"""Tables and choices, from results that were written by hand."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from report_entries import spectrum

from landscape.errors import StoreError
from landscape.io.store import write_result
from landscape.results.history import make_history
from landscape.study.definition import Study, StudyRun
from landscape.study.execute import Job, Stage
from landscape.study.presentation import (
    as_dict,
    numbers_table,
    settings_table,
)
from landscape.study.summary import ABSOLUTE_RATIO, Statistic, summarise

SEEDS = (0, 1, 2)


@pytest.fixture
def make(tmp_path):
    """Return a function of {(variant, rho): [(validation accuracy, validation loss, test accuracy)
    of each seed]}."""

    def call(found, *, num_finished=None, select=("rho",)):
        runs, jobs = [], []
        for (variant, rho), rows in found.items():
            for seed, (accuracy, loss, test) in zip(SEEDS, rows, strict=False):
                factors = {} if rho is None else {"rho": rho}
                run = StudyRun(
                    f"{variant}_{rho}_{seed}", variant, {**factors, "seed": seed}, factors
                )
                folder = tmp_path / "runs" / run.name
                row = {
                    "epoch": 1,
                    "validation_accuracy": accuracy,
                    "validation_loss": loss,
                    "test_accuracy": test,
                }
                write_result(
                    folder / "history.h5", make_history([{**row, "num_gradients": 12}], {})
                )
                if num_finished is None or len(runs) < num_finished:
                    record = {"train": run.train, "threads": 1, "stages": {"train": run.train}}
                    (folder / "run.json").write_text(json.dumps(record))
                runs.append(run)
                jobs.append(Job(run.name, folder, (Stage("train", run.train, ("train",)),), (), 1))
        return summarise(Study(tmp_path / "s.toml", tmp_path, tuple(runs), select=select), jobs)

    return call


@pytest.mark.parametrize(
    ("bottom", "expected"), [(-2.0, {"mean": 4.0, "deviation": 0.0}), (-0.1, None)]
)
def test_the_ratio_of_the_extreme_eigenvalues_is_there_unless_the_smaller_may_be_zero(
    tmp_path, bottom, expected
):
    runs = tuple(StudyRun(f"r{seed}", "", {"seed": seed}, {}) for seed in (0, 1))
    jobs = [
        Job(run.name, tmp_path / "runs" / run.name, (Stage("train", run.train, ("train",)),), (), 1)
        for run in runs
    ]
    for run, job in zip(runs, jobs, strict=True):
        write_result(
            job.folder / "history.h5", make_history([{"epoch": 1, "num_gradients": 1}], {})
        )
        write_result(job.folder / "hessian.h5", spectrum(top=8.0, bottom=bottom))
        record = {"train": run.train, "threads": 1, "stages": {"train": run.train}}
        (job.folder / "run.json").write_text(json.dumps(record))
    summary = summarise(Study(tmp_path / "s.toml", tmp_path, runs, measures={"hessian": {}}), jobs)
    found = as_dict(summary)["settings"][0]["quantities"].get("absolute_ratio")
    assert found == (expected and {**expected, "count": 2})


NAN = float("nan")
THREE = {
    ("SGD", None): [(0.90, 0.3, 0.80), (0.92, 0.3, 0.81), (0.97, 0.3, 0.85)],
    ("SAM", 0.05): [(0.91, 0.3, 0.99), (0.91, 0.3, 0.99), (0.91, 0.3, 0.99)],
    ("SAM", 0.1): [(0.93, 0.4, 0.50), (0.92, 0.4, 0.51), (0.91, 0.4, 0.52)],
}


def test_the_best_is_chosen_by_the_validation_split_and_not_by_the_test_set(make):
    summary = make(THREE)
    assert [
        (each.variant, each.factors.get("rho"), each.num_candidates) for each in summary.chosen
    ] == [
        ("SGD", None, 1),
        ("SAM", 0.1, 2),
    ]
    assert len(summary.settings) == 3


def test_between_equal_accuracies_the_loss_decides(make):
    tie = {
        ("SAM", rho): [(0.9, loss, 0.5)] * 3 for rho, loss in ((0.05, 0.4), (0.1, 0.2), (0.2, 0.3))
    }
    assert make(tie).chosen[0].factors == {"rho": 0.1}


def test_where_there_is_no_accuracy_the_loss_decides(make):
    losses = {("SAM", rho): [(NAN, loss, NAN)] * 3 for rho, loss in ((0.05, 0.4), (0.1, 0.2))}
    assert make(losses).chosen[0].factors == {"rho": 0.1}


def test_nothing_is_chosen_where_nothing_was_held_out(make):
    found = {("SAM", rho): [(NAN, NAN, 0.9)] * 3 for rho in (0.05, 0.1)}
    summary = make(found)
    assert summary.chosen == summary.settings
    assert summary.unchosen == ("rho",)
    assert "none is chosen, for no validation split was held out" in " ".join(
        settings_table("Results", summary.chosen, summary).notes
    )


def test_what_is_not_selected_is_not_chosen(make):
    assert len(make(THREE, select=("lr",)).chosen) == 3


def test_a_setting_without_some_seeds_is_chosen_only_where_all_are(make):
    rows = {("SAM", 0.05): THREE["SAM", 0.05], ("SAM", 0.1): [(1.0, 0.1, 1.0)] * 3}
    summary = make(rows, num_finished=5)
    assert summary.chosen[0].factors == {"rho": 0.05}
    assert "5 of 6 runs are finished" in " ".join(
        settings_table("Results", summary.chosen, summary).notes
    )


def test_means_and_deviations_are_numpys(make):
    summary = make(THREE)
    rows = list(csv.DictReader(io.StringIO(numbers_table(summary.settings, summary).as_csv())))
    for row, values in zip(rows, THREE.values(), strict=True):
        for name, column in (
            ("validation accuracy", 0),
            ("validation loss", 1),
            ("test accuracy", 2),
        ):
            expected = np.array(values)[:, column]
            assert float(row[f"{name} mean"]) == pytest.approx(expected.mean(), rel=1e-14)
            assert float(row[f"{name} sd"]) == pytest.approx(
                expected.std(ddof=1), rel=1e-12, abs=1e-15
            )
            assert row[f"{name} n"] == "3"


def test_the_tables_show_shares_in_percent(make):
    summary = make(THREE)
    table = settings_table("Results", summary.chosen, summary)
    table = (
        table if table.columns[0] == "variant" and "SAM" in table.columns else table.transposed()
    )
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["test accuracy (%)"] == ("82.0 ± 2.6", "51.0 ± 1.0")
    assert rows["rho"] == ("-", "0.1")
    assert rows["gradients"] == ("12", "12")
    assert "chosen by the mean accuracy on the validation split" in " ".join(table.notes)
    assert "chosen by" not in " ".join(settings_table("", summary.settings, summary).notes)


def test_tables_have_the_shape_of_papers_on_request(make):
    summary = make(THREE)
    table = settings_table("All", summary.settings, summary, layout="rows")
    assert table.columns == [
        "variant",
        "rho",
        "validation loss",
        "validation accuracy (%)",
        "test accuracy (%)",
        "gradients",
    ]
    assert [row[:2] for row in table.rows] == [["SGD", "-"], ["SAM", "0.05"], ["SAM", "0.1"]]
    assert table.rows[1][3] == "91.000 (n = 3)"
    assert "Number of seeds of each row: 3." in table.notes
    best = {(i, table.columns[j]) for i, j in table.bold}
    assert best == {
        (0, "validation accuracy (%)"),
        (0, "validation loss"),
        (1, "validation loss"),
        (1, "test accuracy (%)"),
    }
    assert r"\textbf{99.000 (n = 3)}" in table.as_latex()
    assert "**99.000 (n = 3)**" in table.as_markdown()


def test_sharpness_is_in_thousandths_and_with_the_symbols_of_papers(make):
    summary = make({("SGD", None): THREE["SGD", None]})
    (setting,) = summary.settings
    quantities = {
        "asc@0.05": Statistic(0.0123, 0.0004, 3),
        "generalization gap": Statistic(0.25, 0.0, 3),
        ABSOLUTE_RATIO: Statistic(5.0, 1.0, 3),
    }
    setting = replace(setting, quantities=quantities)
    table = settings_table("", [setting], summary, layout="rows")
    assert table.columns[1:3] == ["L^Asc - L, rho = 0.05 (x 10^3)", "generalization gap (x 10^3)"]
    assert table.rows[0][1:3] == ["12.30 ± 0.40", "250.00 (n = 3)"]
    head = r"$L^{\mathrm{Asc}} - L$, $\rho$ = 0.05 ($\times 10^{3}$) & generalization gap"
    assert head in table.as_latex()
    assert "hardly trained" in " ".join(table.notes)
    assert not table.bold  # of one setting nothing is the best


def test_json_has_numbers_and_null(make):
    found = json.loads(
        json.dumps(as_dict(make({("SGD", None): [(0.9, 0.3, 0.8)]})), allow_nan=False)
    )
    assert found["results"][0]["quantities"]["test_accuracy"] == {
        "mean": 0.8,
        "deviation": None,
        "count": 1,
    }


def test_a_study_without_a_finished_run_is_refused(make):
    with pytest.raises(StoreError, match=r"no run of .* is finished"):
        make(THREE, num_finished=0)
