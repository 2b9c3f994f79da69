"""Models that do more than compute, as the command line meets them."""

import json

import pytest
import torch
from torch import nn

MODELS = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 3)

    def forward(self, x):
        return self.net((x - 0.5) / 0.25)


class InPlace(Net):
    def forward(self, x):
        return self.net(x.sub_(0.5).div_(0.25))


class Noisy(Net):
    def forward(self, x):
        return self.net(x + torch.randn_like(x))


class Keeping(Net):
    kept = 0

    def forward(self, x):
        y = self.net(x) * (1 + self.kept)
        self.kept = float(y.detach().mean())
        return y


def data():
    g = torch.Generator().manual_seed(1)
    x = torch.rand(40, 4, generator=g)
    y = torch.randint(3, (40,), generator=g)
    return (x[:30], y[:30]), (x[30:], y[30:])
"""


@pytest.fixture
def net(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MODELS)
    torch.manual_seed(0)
    torch.save(nn.ModuleDict({"net": nn.Linear(4, 3)}).state_dict(), "net.pt")

    def options(name):
        return ["--model", f"mine.py:{name}", "--data", "mine.py:data"]

    return options


def test_inputs_that_are_changed_in_place_are_said_once_and_change_no_number(run, net):
    said, losses = [], []
    for name in ("Net", "InPlace"):
        answer = run("surface", "net.pt", *net(name), "--grid", 3, "--split", "both", "--force")
        assert answer.code == 0, answer.err
        said.append(answer.err.count("changes its inputs in place; each pass gets a fresh copy"))
        losses.append([line for line in answer.out.splitlines() if "train" in line][:1])
    assert said == [0, 1]
    assert losses[0] == losses[1]


def test_training_evaluates_inputs_that_are_changed_in_place_as_they_were(run, net):
    rows = []
    for name in ("Net", "InPlace"):
        answer = run("train", *net(name), "--epochs", 3, "--out", name, "--json")
        rows.append(answer.json["test_loss"])
        assert ("in place" in answer.err) == (name == "InPlace")
    assert rows[0] == rows[1]


def test_state_is_refused_by_the_name_of_the_attribute(run, net):
    answer = run("hessian", "net.pt", *net("Keeping"))
    assert answer.code == 1
    assert "from call to call in kept." in answer.err


def test_one_draw_is_said_and_several_have_an_error(run, net):
    answer = run("hessian", "net.pt", *net("Noisy"), "--top-k", 1)
    assert answer.err.count("one fixed draw is measured. Pass --draws 8 for the mean over 8.") == 1
    assert "draws of random numbers" not in answer.out
    answer = run("hessian", "net.pt", *net("Noisy"), "--top-k", 1, "--draws", 6, "--json")
    (error,) = answer.json["draws_error"].values()
    assert error > 0
    assert "one fixed draw" not in answer.err
    text = run("sharpness", "net.pt", *net("Noisy"), "--measures", "asc", "--draws", 6).out
    assert f"standard error of the train loss at the weights over them: {error:.2g}" in text


def test_a_surface_is_resumed_with_as_many_draws_as_it_began_with(run, net):
    line = ["surface", "net.pt", *net("Noisy"), "--grid", 3, "--dims", 1, "--out", "a.h5"]
    assert run(*line, "--draws", 4).code == 0
    info = json.loads(run("info", "a.h5", "--json").out)
    assert info["provenance"]["plan"]["draws"] == 4
    assert info["provenance"]["draws_error"]["train"] > 0
    answer = run(*line, "--resume")
    assert answer.code == 1
    assert "draws: 4 in the file, 1 now" in answer.err
    assert run(*line, "--resume", "--draws", 4).code == 0
