"""Every command on every kind of model, with its kind of data in the published format."""

import math

import numpy as np
import pytest
from published import MUTAG

IMAGES = """
import torch
def data():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(12, 3, 32, 32, generator=generator)
    return (images[:8], torch.arange(8) % 10), (images[8:], torch.arange(4))
"""


def write_heartbeats(folder):
    """MIT-BIH: 187 values and a label a row."""
    for split, labels in (("train", [0, 1, 2, 3, 4, 0, 1, 2]), ("test", [0, 4])):
        rows = np.random.default_rng(0).random((len(labels), 188))
        rows[:, 187] = labels
        np.savetxt(folder / f"mitbih_{split}.csv", rows, delimiter=",")
    return "--data", "mitbih", "--data-dir", folder


def write_graphs(folder):
    """MUTAG: the three graphs, four times over."""
    texts = dict.fromkeys(MUTAG, "")
    for copy in range(4):
        for part, text in MUTAG.items():
            step = {"A": 6 * copy, "graph_indicator": 3 * copy}.get(part, 0)
            for line in text.splitlines():
                texts[part] += ", ".join(str(int(word) + step) for word in line.split(",")) + "\n"
    (folder / "MUTAG").mkdir()
    for part, text in texts.items():
        (folder / "MUTAG" / f"MUTAG_{part}.txt").write_text(text)
    return "--data", "mutag", "--data-dir", folder


def write_images(folder):
    """Images of CIFAR's shape, from a user's file."""
    (folder / "images.py").write_text(IMAGES)
    return "--data", f"{folder / 'images.py'}:data"


MODELS = {
    "transformer": (write_heartbeats, ["d_model=8", "feedforward=8"]),
    "gcn": (write_graphs, ["in_features=3", "width=8"]),
    "gcn-topk": (write_graphs, ["in_features=3", "width=8"]),
    "resnet20": (write_images, []),
    "wrn-16-4": (write_images, ["width=4"]),
    "resnet18": (write_images, ["width=8"]),
    "vgg16": (write_images, ["width=8"]),
}


# A full run measures the large ones, too.
LARGE = ("resnet20", "resnet18", "vgg16", "wrn-16-4")
CASES = [pytest.param(name, marks=[pytest.mark.slow] * (name in LARGE)) for name in MODELS]


@pytest.fixture(scope="module", params=CASES)
def trained(request, run, tmp_path_factory):
    """The checkpoint of a small model of each kind after two epochs, and the words that name its
    data."""
    if request.param.startswith("gcn"):
        pytest.importorskip("torch_geometric", reason="the extra graphs is not installed")
    write, model_args = MODELS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    words = write(folder)
    shape = [word for argument in model_args for word in ("--model-arg", argument)]
    answer = run(
        "train",
        "--model",
        request.param,
        *shape,
        *words,
        "--epochs",
        2,
        "--batch-size",
        4,
        "--optim",
        "sam",
        "--out",
        folder / "run",
    )
    assert answer.code == 0, answer.err
    # Built-in data are recorded; a user's file is not run unless it is typed.
    return folder / "run" / "checkpoint.pt", words if words[1].endswith(":data") else ()


@pytest.fixture(scope="module")
def measure(trained, run):
    """Run a command on the checkpoint; return what it answers."""
    checkpoint, words = trained

    def call(command, *arguments):
        return run(command, checkpoint, *words, *arguments, "--json")

    return call


@pytest.fixture(scope="module")
def surface(measure):
    answer = measure("surface", "--dims", 1, "--grid", 3, "--split", "both")
    assert answer.code == 0, answer.err
    return answer.json


def test_a_surface_has_finite_losses_on_both_splits(surface):
    assert surface["num_points"] == 3
    for split in ("train", "test"):
        assert math.isfinite(surface["splits"][split]["max_loss"])


def test_the_hessian_has_an_eigenvalue_with_a_residual_and_the_same_loss(measure, surface):
    answer = measure("hessian", "--top-k", 1, "--max-matvecs", 8)
    assert (answer.code, "Not converged" in answer.err) in [(0, False), (1, True)]
    assert math.isfinite(answer.json["lambda_max"])
    assert answer.json["residuals"][0] >= 0
    assert answer.json["loss"] == surface["center_loss"]


def test_every_measure_of_sharpness_is_finite_and_of_the_same_loss(measure, surface):
    answer = measure(
        "sharpness", "--all", "--num-directions", 2, "--steps", 2, "--max-gradients", 4
    )
    assert answer.code == 0, answer.err
    assert answer.json["loss"] == surface["center_loss"]
    assert len(answer.json["measures"]) == 5
    assert all(math.isfinite(found["loss"]) for found in answer.json["measures"])
