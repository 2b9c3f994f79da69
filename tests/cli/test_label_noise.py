import pytest
import torch

from landscape import read_result
from landscape.data import build_data
from landscape.data.label_noise import with_label_noise
from landscape.io.checkpoint import load_checkpoint
from landscape.problem.reading import as_data


@pytest.fixture(scope="module")
def noisy(run, tmp_path_factory):
    """The checkpoint of an mlp trained on digits with 40 % wrong labels."""
    folder = tmp_path_factory.mktemp("noisy")
    arguments = (
        "--label-noise",
        0.4,
        "--label-noise-seed",
        3,
        "--model-arg",
        "width=8",
        "--epochs",
        1,
    )
    answer = run("train", *arguments, "--out", folder)
    assert answer.code == 0, answer.err
    return folder / "checkpoint.pt"


def expected_hash(share, seed):
    inputs, targets = build_data("digits")[0]
    return as_data((inputs, with_label_noise(targets, share, num_classes=10, seed=seed))).hash


@pytest.fixture
def measured(run, noisy, tmp_path):
    """Run a command on the checkpoint; return the provenance of its result."""

    def call(command, *arguments):
        out = tmp_path / f"{command}.h5"
        answer = run(command, noisy, *arguments, "--out", out)
        assert answer.code == 0, answer.err
        return read_result(out).provenance

    return call


SMALL = {
    "surface": ("--grid", 2),
    "hessian": ("--top-k", 1, "--tolerance", 0.1),
    "sharpness": ("--measures", "first_order"),
}


@pytest.mark.parametrize("command", SMALL)
def test_measuring_sees_the_labels_that_training_saw(measured, noisy, command):
    origin = measured(command, *SMALL[command])
    assert origin.data_hash["train"] == expected_hash(0.4, 3)
    assert read_result(noisy.with_name("history.h5")).settings["train_data"] == expected_hash(
        0.4, 3
    )
    assert (origin.settings["label_noise"], origin.settings["label_noise_seed"]) == (0.4, 3)


@pytest.mark.parametrize("command", SMALL)
def test_zero_typed_measures_on_the_right_labels(measured, command):
    origin = measured(command, *SMALL[command], "--label-noise", 0)
    assert origin.data_hash["train"] == expected_hash(0, 0)
    assert origin.settings["label_noise"] == 0


def test_another_seed_typed_gives_other_wrong_labels(measured):
    origin = measured("sharpness", *SMALL["sharpness"], "--label-noise-seed", 5)
    assert origin.data_hash["train"] == expected_hash(0.4, 5)


def test_test_labels_are_right(measured):
    origin = measured("sharpness", *SMALL["sharpness"], "--split", "test")
    assert origin.data_hash["test"] == as_data(build_data("digits")[1]).hash


def test_other_data_typed_are_not_made_wrong(measured, tmp_path):
    (tmp_path / "other.py").write_text(
        "from landscape.data import build_data\ndef data(): return build_data('digits')\n"
    )
    origin = measured("sharpness", *SMALL["sharpness"], "--data", f"{tmp_path}/other.py:data")
    assert origin.data_hash["train"] == expected_hash(0, 0)


def test_a_checkpoint_from_before_label_noise_has_right_labels(run, noisy, tmp_path):
    content = torch.load(noisy, weights_only=True)
    for name in ("label_noise", "label_noise_seed"):
        del content["recipe"][name]
    torch.save(content, tmp_path / "old.pt")
    assert load_checkpoint(tmp_path / "old.pt").recipe.label_noise == 0
    assert run("sharpness", tmp_path / "old.pt", *SMALL["sharpness"]).code == 0


def test_training_is_not_continued_on_other_labels(run, noisy):
    arguments = (
        "--label-noise",
        0.2,
        "--label-noise-seed",
        3,
        "--model-arg",
        "width=8",
        "--epochs",
        2,
    )
    answer = run("train", *arguments, "--out", noisy.parent, "--resume")
    assert answer.code == 1
    assert "label-noise 0.4, not 0.2" in answer.err


def test_a_seed_of_no_noise_is_refused_in_training(run, tmp_path):
    answer = run("train", "--label-noise-seed", 7, "--out", tmp_path / "run")
    assert answer.code == 1
    assert "--label-noise-seed 7 is the seed of wrong labels, and there are none" in answer.err
    assert "Pass --label-noise" in answer.err


def test_a_seed_of_no_noise_is_refused_in_measuring(run, checkpoint):
    answer = run("sharpness", checkpoint, *SMALL["sharpness"], "--label-noise-seed", 7)
    assert answer.code == 1
    assert "--label-noise-seed 7 is the seed of wrong labels, and there are none" in answer.err


def test_a_share_of_zero_may_have_a_seed(run, tmp_path):
    words = ("--label-noise", 0, "--label-noise-seed", 7, "--model-arg", "width=4", "--epochs", 1)
    assert run("train", *words, "--out", tmp_path / "run").code == 0


def test_labels_that_are_no_classes_are_refused(run, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "def model(): return torch.nn.Linear(2, 1)\n"
        "def data(): return (torch.ones(4, 2), torch.ones(4, 1)), None\n"
    )
    words = [
        word for name in ("model", "data") for word in (f"--{name}", f"{tmp_path}/mine.py:{name}")
    ]
    answer = run("train", *words, "--loss", "mse", "--label-noise", 0.5, "--out", tmp_path / "run")
    assert answer.code == 1
    assert "label noise needs class numbers (N,), got (4, 1) of float32" in answer.err


@pytest.mark.parametrize("share", ["-0.1", "1.1", "many"])
def test_a_share_out_of_range_is_wrong_usage(run, share):
    assert run("train", f"--label-noise={share}").code == 2
