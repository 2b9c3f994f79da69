"""Training examples that are held out."""

import numpy as np
import pytest
import torch

from landscape import read_result
from landscape.data import build_data
from landscape.data.subset import held_out
from landscape.io.checkpoint import load_checkpoint
from landscape.models import build_model
from landscape.problem.reading import as_data

SMALL = ("train", "--model-arg", "width=4", "--epochs", 2)
NAMES = ("validation_loss", "validation_accuracy")


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("validation")
    answer = run(*SMALL, "--validation", 0.2, "--validation-seed", 3, "--out", folder / "run")
    assert answer.code == 0, answer.err
    return folder / "run"


def parts():
    train, _ = build_data("digits")
    return held_out(as_data(train), 0.2, seed=3)


def test_training_runs_on_what_is_left(folder):
    checkpoint = load_checkpoint(folder / "checkpoint.pt")
    assert checkpoint.training["settings"]["train_data"] == parts()[0].hash


def test_loss_and_accuracy_are_those_of_the_held_out_examples(folder):
    _, out = parts()
    model = build_model("mlp", width=4)
    model.load_state_dict(load_checkpoint(folder / "checkpoint.pt").state_dict)
    with torch.no_grad():
        outputs = model.eval()(out.inputs)
    history = read_result(folder / "history.h5")
    assert history.validation_loss[-1] == pytest.approx(
        torch.nn.functional.cross_entropy(outputs, out.targets).item(), rel=1e-5
    )
    assert history.validation_accuracy[-1] == pytest.approx(
        (outputs.argmax(1) == out.targets).double().mean().item()
    )


def test_later_commands_take_what_was_trained_on_for_the_train_split(run, folder, tmp_path):
    out = tmp_path / "sharpness.h5"
    assert run("sharpness", folder / "checkpoint.pt", "--measures", "asc", "--out", out).code == 0
    assert read_result(out).provenance.num_examples == {"train": parts()[0].num_examples}


def test_label_noise_leaves_held_out_examples_as_they_are(run, folder, tmp_path):
    noisy = tmp_path / "noisy"
    options = (
        "--validation",
        0.2,
        "--validation-seed",
        3,
        "--label-noise",
        0.5,
        "--init",
        folder / "checkpoint.pt",
    )
    assert (
        run(
            *SMALL[:1], "--epochs", 1, "--lr", 0, "--weight-decay", 0, *options, "--out", noisy
        ).code
        == 0
    )
    before, after = (read_result(each / "history.h5") for each in (folder, noisy))
    assert [getattr(after, name)[-1] for name in NAMES] == [
        getattr(before, name)[-1] for name in NAMES
    ]
    assert after.train_loss[0] > before.train_loss[-1]


def test_the_summary_says_the_validation_accuracy(run, folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    answer = run(*SMALL, "--validation", 0.2, "--validation-seed", 3, "--out", folder, "--resume")
    accuracy = read_result(folder / "history.h5").validation_accuracy[-1]
    assert "validation accuracy" in answer.out
    assert f"{100 * accuracy:.2f} %" in answer.out


def test_nothing_is_recorded_where_nothing_is_held_out(trained):
    history = read_result(trained / "history.h5")
    assert all(np.isnan(getattr(history, name)).all() for name in NAMES)


def test_a_run_does_not_go_on_with_other_examples_held_out(run, folder):
    answer = run(*SMALL, "--validation", 0.1, "--validation-seed", 3, "--out", folder, "--resume")
    assert answer.code == 1
    assert "validation 0.2, not 0.1" in answer.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--validation", 1), "must be in (0, 1), got 1.0"),
        (
            ("--validation-seed", 1),
            "--validation-seed 1 is the seed of held-out examples, and there are none",
        ),
    ],
)
def test_a_validation_that_is_refused(run, tmp_path, options, message):
    answer = run(*SMALL, *options, "--out", tmp_path / "run")
    assert answer.code == 1
    assert message in answer.err
