"""From a checkpoint to a problem, and what may not be opened."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from landscape.data import build_data
from landscape.data.subset import fixed_subset
from landscape.errors import CheckpointError, DataError, InputError, PluginError
from landscape.io.checkpoint import Recipe, save_checkpoint
from landscape.io.open import ProblemChoice, open_problem, open_problems
from landscape.io.recipe import ModelChoice, seeded_model, training_recipe
from landscape.models import build_model
from landscape.problem.problem import Problem


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(1)
    return build_model("mlp", width=4)


@pytest.fixture
def write(model, tmp_path):
    """Write a checkpoint of the model with a recipe, and return its path."""

    def call(**recipe):
        path = tmp_path / "c.pt"
        known = {"model": "mlp", "model_args": {"width": 4}, "data": "digits", **recipe}
        save_checkpoint(path, model.state_dict(), Recipe(**known), {})
        return path

    return call


@pytest.fixture(scope="module")
def digits():
    return build_data("digits")


def _problem(model, data, **options):
    return Problem(model, data, device="cpu", **options)


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_problem_is_that_of_the_recorded_model_and_data(write, model, digits, split):
    opened = open_problem(str(write()), split=split, device="cpu")
    expected = _problem(model, digits[split == "test"])
    assert opened.loss() == pytest.approx(expected.loss(), rel=1e-12)
    assert opened.weights_hash == expected.weights_hash
    assert opened.num_examples == expected.num_examples


def test_what_is_given_goes_before_what_is_recorded(write, model, digits):
    path = write(loss="mse", model_args={"width": 9})
    opened = open_problem(path, loss="cross-entropy", model_arg={"width": 4}, device="cpu")
    assert opened.loss() == pytest.approx(_problem(model, digits[0]).loss(), rel=1e-12)


def test_a_loss_may_be_a_function(write):
    def twice(outputs, targets):
        return 2 * nn.functional.cross_entropy(outputs, targets)

    path = write()
    plain, doubled = open_problem(path), open_problem(path, loss=twice)
    assert doubled.loss() == pytest.approx(2 * plain.loss(), rel=1e-6)


def test_a_subset_has_as_many_examples_of_each_class(write):
    opened = open_problem(write(), samples=100, device="cpu")
    targets = torch.cat([targets for _, targets in opened.data.batches(100)])
    assert np.bincount(targets).tolist() == [10] * 10


def test_a_further_split_is_whole(write):
    opened = open_problems(write(), ProblemChoice(samples=50), ("train",), also=("test",))
    assert opened.problems["train"].num_examples == 50
    assert opened.problems["test"].num_examples == 360
    assert opened.data["train"].num_examples == 1437
    assert opened.settings["samples"] == 50


@pytest.mark.parametrize("option", ["model", "data", "loss"])
def test_a_file_never_chooses_code(write, option):
    with pytest.raises(PluginError, match=f"`{option}='evil.py:run'`, and a file never chooses"):
        open_problem(write(**{option: "evil.py:run"}))


@pytest.mark.parametrize(("missing", "what"), [("model", "which model"), ("data", "which data")])
def test_what_is_neither_given_nor_recorded_is_asked_for(write, missing, what):
    with pytest.raises(CheckpointError, match=f"does not say {what}") as caught:
        open_problem(write(**{missing: None, f"{missing}_args": {}}))
    assert f"Pass `{missing}" in caught.value.hint


def test_a_split_must_be_one_that_there_is(write, tmp_path):
    with pytest.raises(InputError, match="split must be train or test, got 'both'"):
        open_problem(write(), split="both")
    code = tmp_path / "mine.py"
    code.write_text(
        "import torch\ndef data(): return None, (torch.ones(3, 64), torch.ones(3).long())\n"
    )
    with pytest.raises(DataError, match="no train split") as caught:
        open_problem(write(), data=f"{code}:data")
    assert caught.value.hint == "Pass `split='test'`."


@pytest.mark.parametrize("share", ["label_noise", "validation"])
def test_a_seed_of_nothing_is_refused(write, share):
    with pytest.raises(InputError, match=f"`{share}_seed=3` is the seed of .*there are none"):
        open_problem(write(), **{f"{share}_seed": 3})
    assert open_problem(write(**{share: 0.1}), **{f"{share}_seed": 3}).num_examples <= 1437


def test_training_is_on_the_default_where_nothing_is_chosen():
    recipe = training_recipe(ModelChoice())
    assert (recipe.model, recipe.data, recipe.loss) == ("mlp", "digits", "cross-entropy")
    chosen = training_recipe(ModelChoice(model="lenet", loss="mse"))
    assert (chosen.model, chosen.data, chosen.loss) == ("lenet", "digits", "mse")
    assert "width" not in chosen.model_args


NORMED = """
from torch import nn


def model():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 10)
    )
"""


@pytest.fixture
def normed(tmp_path):
    """A model with batch normalization, its checkpoint and the import string of its function."""
    file = tmp_path / "net.py"
    file.write_text(NORMED)
    code, path = f"{file}:model", tmp_path / "normed.pt"
    module = seeded_model(Recipe(model=code), seed=0).double()
    save_checkpoint(path, module.state_dict(), Recipe(model=code, data="digits"), {})
    return module, path, code


@pytest.mark.parametrize("samples", [None, 300])
def test_recalibrated_statistics_are_those_of_update_bn_on_as_many_training_examples(
    normed, samples
):
    module, path, code = normed
    options = {"model": code, "dtype": "float64", "device": "cpu", "batch_size": 64}
    choice = ProblemChoice(samples=samples, batchnorm="recalibrate", **options)
    opened = open_problems(path, choice, ["train", "test"])
    train, test = (opened.problems[split].data for split in ("train", "test"))
    update_bn([inputs.double() for inputs, _ in train.batches(64)], module)
    ((inputs, targets),) = test.batches(test.num_examples)
    expected = nn.functional.cross_entropy(module.eval()(inputs.double()), targets).item()
    assert opened.problems["test"].loss() == pytest.approx(expected, rel=1e-12)
    assert opened.settings["calibration"] == train.num_examples == (samples or 1437)
    alone = open_problems(path, choice, ["test"])
    assert alone.problems["test"].loss() == opened.problems["test"].loss()


def test_no_more_examples_are_recalibrated_on_than_there_are(normed):
    _, path, code = normed
    choice = ProblemChoice(samples=300, batchnorm="recalibrate", model=code)
    few = open_problems(path, choice, ["test"], prepare=lambda train: fixed_subset(train, 100))
    assert few.settings["calibration"] == 100
    assert few.problems["test"].num_examples == 300


def test_stored_statistics_are_recalibrated_on_nothing(normed):
    _, path, code = normed
    opened = open_problems(path, ProblemChoice(samples=300, model=code), ["test"])
    assert "calibration" not in opened.settings
