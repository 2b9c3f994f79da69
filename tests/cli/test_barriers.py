"""Barriers between trained networks with batch normalization, against losses by plain PyTorch."""

import pytest
import torch
from torch.nn import functional as F

CODE = """
import torch
from torch import nn

def model():
    return nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))

def data():
    g = torch.Generator().manual_seed(0)
    x = 3 + 2 * torch.randn(120, 4, generator=g)
    return (x, ((x[:, 0] - 3) * (x[:, 1] - 3) > 0).long()), None
"""
NUM_POINTS = 9


@pytest.fixture(scope="module")
def trained_pair(tmp_path_factory):
    """Return a folder with two networks that were trained from different starts, and the code."""
    folder = tmp_path_factory.mktemp("barriers")
    (folder / "net.py").write_text(CODE)
    names = {}
    exec(CODE, names)
    x, y = names["data"]()[0]
    states = []
    for seed in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = names["model"]()
        optimizer = torch.optim.SGD(model.parameters(), 0.3, momentum=0.9)
        for _ in range(150):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        states.append(model.state_dict())
        torch.save(states[-1], folder / f"{seed}.pt")
    return folder, names["model"]().double(), states, (x.double(), y)


def _barrier(model, states, data):
    """Return the height of the line's highest point over its higher end, each in new statistics."""
    x, y = data
    losses = []
    for share in torch.linspace(0, 1, NUM_POINTS, dtype=torch.float64).tolist():
        first, second = ({k: v.double() for k, v in state.items()} for state in states)
        model.load_state_dict({k: first[k] + share * (second[k] - first[k]) for k in first})
        hidden = model[0](x)
        model[1].running_mean.copy_(hidden.mean(0))
        model[1].running_var.copy_(hidden.var(0))
        losses.append(F.cross_entropy(model.eval()(x), y).item())
    return max(losses) - max(losses[0], losses[-1])


@pytest.mark.slow
def test_the_barrier_of_batch_normalization_needs_statistics_of_its_own(
    run, trained_pair, tmp_path, monkeypatch
):
    folder, model, states, data = trained_pair
    monkeypatch.chdir(folder)
    line = ("--x", "to:2.pt", "--dims", 1, "--grid", NUM_POINTS, "--range", "0:1")
    options = ("--model", "net.py:model", "--data", "net.py:data", "--dtype", "float64")
    in_stored = ("--batchnorm", "stored", "--out", tmp_path / "s.h5")
    stored = run("surface", "1.pt", *options, *line, *in_stored)
    assert "Barrier of the train loss between 1 and 2: none, since" in stored.out
    assert "--batchnorm recalibrate" in stored.out
    own = ("--batchnorm", "recalibrate", "--json", "--out", tmp_path / "r.h5")
    found = run("surface", "1.pt", *options, *line, *own).json
    with torch.no_grad():
        expected = _barrier(model, states, data)
    assert expected > 0.05
    (barrier,) = found["topology"]["barriers"]
    assert barrier["height"] == pytest.approx(expected, rel=1e-9)
    assert not barrier["misplaced"]
