"""What training says while it runs and afterwards."""

import re
import sys
from types import SimpleNamespace

import pytest

from landscape import read_result
from landscape.data.digits import digits
from landscape.data.subset import balanced_subset
from landscape.io.checkpoint import load_checkpoint
from landscape.problem.batches import TensorData

SMALL = ("train", "--model-arg", "width=4", "--epochs", 2)
FEW_CLASSES = (
    "import torch\n"
    "def model(): return torch.nn.Linear(2, 5)\n"
    "def data(): return [(torch.eye(10)[:, :2], torch.arange(10) % 5)] * 2\n"
)
GROWING = (
    "import torch\n"
    "class Net(torch.nn.Module):\n"
    "    def __init__(self):\n"
    "        super().__init__()\n"
    "        self.layer = torch.nn.Linear(2, 3)\n"
    "        self.norm = torch.nn.BatchNorm1d(2)\n"
    "    def forward(self, x):\n"
    "        return self.layer(self.norm(x)) * (1 if self.training else {scale})\n"
    "def model(): return Net()\n"
    "def data(): return [(torch.randn(12, 2), torch.arange(12) % 3)] * 2\n"
)


def train_own(run, folder, code):
    (folder / "mine.py").write_text(code)
    parts = (f"--{part}={folder}/mine.py:{part}" for part in ("model", "data"))
    answer = run("train", *parts, "--epochs", 2, "--out", folder / "run")
    assert answer.code == 0, answer.err
    return answer


@pytest.fixture(scope="module")
def few(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("few")
    return folder, run(*SMALL, "--samples", 100, "--optim", "sam", "--out", folder)


def test_samples_are_the_balanced_subset_that_the_other_commands_take(run, few):
    folder, answer = few
    assert answer.code == 0, answer.err
    (inputs, targets), _ = digits()
    kept = balanced_subset(targets, 100)
    settings = load_checkpoint(folder / "checkpoint.pt").training["settings"]
    assert settings["train_data"] == TensorData(inputs[kept], targets[kept]).hash
    assert f"landscape surface {folder}/checkpoint.pt --samples 100" in answer.out
    options = ("--samples", 100, "--grid", 3, "--range=-.1:.1", "--json", "--out", folder / "s.h5")
    found = run("surface", folder / "checkpoint.pt", *options)
    assert found.code == 0, found.err
    assert read_result(folder / "s.h5").provenance.num_examples["train"] == 100


def test_a_resumed_run_has_the_same_samples(run, few):
    folder, _ = few
    answer = run(*SMALL, "--samples", 99, "--optim", "sam", "--out", folder, "--resume")
    assert answer.code == 1
    assert "was trained with samples 100, not 99" in answer.err


def test_too_many_samples_are_refused(run, tmp_path):
    answer = run(*SMALL, "--samples", 10**6, "--out", tmp_path / "run")
    assert answer.code != 0
    assert "number of samples must be from 1 to" in answer.err


def test_each_epoch_is_a_line_where_stderr_is_no_terminal(few):
    folder, answer = few
    history = read_result(folder / "history.h5")
    lines = [line for line in answer.err.splitlines() if line.startswith("Epoch")]
    assert len(lines) == 2
    assert lines[0].startswith(f"Epoch 1 of 2: train loss {history.train_loss[0]:.4g}, test loss")
    assert f"test accuracy {100 * history.test_accuracy[1]:.2f} %" in lines[1]
    assert re.search(r"; about [\d.]+ s left$", lines[0])
    assert "left" not in lines[1]


def test_a_quiet_run_and_a_terminal_have_no_such_lines(run, tmp_path, monkeypatch):
    assert "Epoch" not in run(*SMALL, "--quiet", "--out", tmp_path / "quiet").err
    from landscape_cli import console

    terminal = SimpleNamespace(isatty=lambda: True)
    said = []
    monkeypatch.setattr(console, "say", said.append)
    monkeypatch.setattr(console, "sys", SimpleNamespace(**{**vars(sys), "stderr": terminal}))
    console.log("Epoch 1")
    assert said == []


def test_top_five_of_five_classes_are_no_error(run, tmp_path):
    answer = train_own(run, tmp_path, FEW_CLASSES)
    assert "test accuracy" in answer.out
    assert "top-5" not in answer.out


def test_top_five_of_ten_classes_are_shown(few):
    assert "top-5" in few[1].out


@pytest.mark.parametrize("scale", ["1e30", "float('nan')"])
def test_an_exploding_test_loss_gets_a_remark(run, tmp_path, scale):
    answer = train_own(run, tmp_path, GROWING.replace("{scale}", scale))
    assert re.search(r"test loss is (\S+e\+\d\d|nan), the training loss [\d.]+\. Batch", answer.err)
    assert "--batchnorm recalibrate" in answer.err


def test_a_usual_test_loss_gets_none(run, tmp_path):
    assert "Batch norm" not in train_own(run, tmp_path, GROWING.replace("{scale}", "30")).err


@pytest.mark.parametrize("name", ["history.h5", "checkpoint.pt"])
def test_info_shows_the_optimizer_with_its_defaults(run, few, name):
    answer = run("info", few[0] / name)
    shown = dict(re.findall(r"settings\.(\w+) +(\S+)$", answer.out, re.MULTILINE))
    expected = {"optim": "sam", "base": "sgd", "lr": "0.05", "rho": "0.05"}
    assert {**shown, **expected, "weight_decay": "0.0005", "momentum": "0.9"} == shown


def test_info_shows_what_was_chosen(run, tmp_path):
    options = ("--optim", "asam", "--base", "adamw", "--weight-decay", 0, "--lr", 0.1)
    assert run(*SMALL, *options, "--out", tmp_path).code == 0
    found = run("info", tmp_path / "history.h5", "--json").json["settings"]
    names = ("base", "weight_decay", "lr", "rho", "adaptive")
    assert [found[name] for name in names] == ["adamw", 0, 0.1, 0.5, True]
