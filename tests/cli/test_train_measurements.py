import numpy as np
import pytest

from landscape import read_result

WORDS = (
    "train",
    "--model-arg",
    "width=8",
    "--epochs",
    2,
    "--ema",
    0.9,
    "--asc-samples",
    100,
    "--optim",
    "sam",
)


@pytest.fixture(scope="module")
def measured(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured") / "run"
    answer = run(*WORDS, "--out", folder)
    assert answer.code == 0, answer.err
    return folder


@pytest.mark.parametrize(
    ("name", "column"), [("checkpoint.pt", "test_loss"), ("checkpoint-ema.pt", "ema_test_loss")]
)
def test_other_commands_find_the_test_loss_of_both_checkpoints(run, measured, name, column):
    answer = run(
        "sharpness", measured / name, "--split", "test", "--measures", "first_order", "--json"
    )
    assert answer.code == 0, answer.err
    expected = getattr(read_result(measured / "history.h5"), column)[-1]
    assert answer.json["loss"] == pytest.approx(
        expected, rel=1e-6
    )  # float32 in batches of another size


def test_json_has_the_files_and_the_last_row_of_the_history(run, measured):
    answer = run(*WORDS, "--out", measured, "--resume", "--json")
    found, history = answer.json, read_result(measured / "history.h5")
    assert found["out"] == str(measured)
    assert [found["checkpoint"], found["ema_checkpoint"], found["history"]] == [
        str(measured / name) for name in ("checkpoint.pt", "checkpoint-ema.pt", "history.h5")
    ]
    for name in (
        "train_loss",
        "train_accuracy",
        "test_loss",
        "test_accuracy",
        "ema_test_loss",
        "ascent_sharpness",
    ):
        assert found[name] == getattr(history, name)[-1], name
    assert found["validation_loss"] is None
    assert (found["epochs"], found["num_gradients"]) == (
        history.epoch[-1],
        history.num_gradients.sum(),
    )


def test_the_last_ascent_sharpness_is_that_of_the_checkpoint(run, measured):
    words = ("--samples", 100, "--measures", "asc", "--rho", 0.05, "--json")
    answer = run("sharpness", measured / "checkpoint.pt", *words)
    history = read_result(measured / "history.h5")
    assert np.isfinite(history.ascent_sharpness).all()
    assert answer.json["measures"][0]["sharpness"] == pytest.approx(
        history.ascent_sharpness[-1], rel=1e-3
    )


@pytest.mark.parametrize(
    ("words", "rho"), [(("sam", "--rho", 0.3), 0.3), (("sam", "--rho", 0), 0.05), (("sgd",), 0.05)]
)
def test_the_history_records_the_radius_of_its_sharpness(run, tmp_path, words, rho):
    answer = run(
        "train", "--model-arg", "width=4", "--epochs", 1, "--out", tmp_path, "--optim", *words
    )
    assert answer.code == 0, answer.err
    assert read_result(tmp_path / "history.h5").settings["sharpness_rho"] == rho


def test_a_run_with_force_leaves_no_averaged_weights_of_the_earlier_one(run, tmp_path):
    words = ("train", "--model-arg", "width=4", "--epochs", 1, "--out", tmp_path)
    assert run(*words, "--ema", 0.9).code == 0
    assert run(*words, "--force").code == 0
    assert not (tmp_path / "checkpoint-ema.pt").exists()
