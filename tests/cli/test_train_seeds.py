"""Several runs in one call."""

import re

import numpy as np
import pytest
import torch

from landscape import read_result
from landscape.io.checkpoint import load_checkpoint

SMALL = ("train", "--model-arg", "width=4", "--epochs", 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("seeds")


@pytest.fixture(scope="module")
def three(run, folder):
    answer = run(*SMALL, "--seeds", "0,2,5", "--out", folder / "sgd")
    assert answer.code == 0, answer.err
    return answer


def last(path, column):
    return getattr(read_result(path / "history.h5"), column)[-1]


def test_each_seed_has_a_folder_that_a_glob_finds(three, folder):
    found = sorted(path.parent.name for path in folder.glob("sgd-*/checkpoint.pt"))
    assert found == ["sgd-0", "sgd-2", "sgd-5"]


def test_each_run_is_that_of_its_seed_alone(run, three, folder):
    assert run(*SMALL, "--seed", 2, "--out", folder / "alone").code == 0
    first, second = (
        load_checkpoint(folder / name / "checkpoint.pt") for name in ("alone", "sgd-2")
    )
    assert first.training["settings"] == second.training["settings"]
    assert all(
        torch.equal(first.state_dict[key], second.state_dict[key]) for key in first.state_dict
    )


def test_the_table_has_a_row_a_seed_then_mean_and_sample_standard_deviation(three, folder):
    losses = [last(folder / f"sgd-{seed}", "test_loss") for seed in (0, 2, 5)]
    accuracies = [100 * last(folder / f"sgd-{seed}", "test_accuracy") for seed in (0, 2, 5)]
    rows = [re.findall(r"[\d.]+", line) for line in three.out.splitlines() if line[:1] == "│"]
    shown = np.array([[float(word) for word in row[-2:]] for row in rows])
    expected = [
        [*values, np.mean(values), np.std(values, ddof=1)] for values in (losses, accuracies)
    ]
    np.testing.assert_allclose(shown[:, 0], expected[0], rtol=1e-3)  # printed with four digits
    np.testing.assert_allclose(shown[:, 1], expected[1], atol=0.006)  # and two decimals


def test_json_has_a_run_a_seed_then_mean_and_sample_standard_deviation(run, three, folder):
    found = run(*SMALL, "--seeds", "0,2,5", "--out", folder / "sgd", "--resume", "--json").json
    losses = [last(folder / f"sgd-{seed}", "test_loss") for seed in (0, 2, 5)]
    assert [each["seed"] for each in found["runs"]] == [0, 2, 5]
    assert [each["test_loss"] for each in found["runs"]] == losses
    expected = {"mean": np.mean(losses), "deviation": np.std(losses, ddof=1), "count": 3}
    assert found["quantities"]["test_loss"] == pytest.approx(expected)


def test_resuming_goes_on_with_the_first_unfinished_run_and_leaves_the_others_alone(
    run, folder, monkeypatch
):
    import landscape_cli.train.run as train_run

    save, num_saved = train_run.save_checkpoint, 0

    def save_and_stop(*args):
        nonlocal num_saved
        save(*args)
        num_saved += 1
        if num_saved == 3:
            raise KeyboardInterrupt

    arguments = (*SMALL, "--seeds", "0,1", "--out", folder / "parts")
    monkeypatch.setattr(train_run, "save_checkpoint", save_and_stop)
    stopped = run(*arguments)
    assert stopped.code == 130
    monkeypatch.setattr(train_run, "save_checkpoint", save)
    before = (folder / "parts-0" / "checkpoint.pt").stat().st_mtime_ns
    assert run(*arguments, "--resume").code == 0
    assert (folder / "parts-0" / "checkpoint.pt").stat().st_mtime_ns == before
    assert len(read_result(folder / "parts-1" / "history.h5").epoch) == 2
    assert run(*SMALL, "--seed", 1, "--out", folder / "whole").code == 0
    assert last(folder / "parts-1", "test_loss") == last(folder / "whole", "test_loss")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--seeds", "0,1", "--seed", 0), "--seed and --seeds exclude each other"),
        (("--seeds", "0,1,0"), "--seeds must differ from each other, got 0,1,0"),
        (("--seeds", "0,one"), "--seeds must be whole numbers"),
        (("--seeds", "-1"), "--seeds must be whole numbers"),
        (("--seeds", "4294967296"), "--seeds must be whole numbers"),
        (("--seeds", "0,"), "--seeds must be whole numbers"),
    ],
)
def test_seeds_that_are_refused(run, tmp_path, arguments, message):
    answer = run(*SMALL, *arguments, "--out", tmp_path / "run")
    assert answer.code == 1
    assert message in answer.err
    assert list(tmp_path.iterdir()) == []


def test_one_folder_that_exists_stops_all_before_any_work(run, tmp_path):
    (tmp_path / "run-1").mkdir()
    (tmp_path / "run-1" / "checkpoint.pt").write_text("precious")
    answer = run(*SMALL, "--seeds", "0,1", "--out", tmp_path / "run")
    assert answer.code == 1
    assert "run-1/checkpoint.pt exists" in answer.err
    assert not (tmp_path / "run-0" / "checkpoint.pt").exists()
