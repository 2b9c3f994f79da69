import pytest
import torch
from cases import classification, tiny_mlp
from networks import NETWORKS, network

from landscape.doctor import Severity, examine
from landscape.errors import CheckpointError
from landscape.problem.problem import Problem

ALL = [
    "names",
    "values",
    "tied weights",
    "inputs",
    "batch normalization",
    "filters",
    "classes",
    "test accuracy",
]
ALL += ["augmentation", "label smoothing", "minimum", "range"]


@pytest.fixture
def saved(tmp_path):
    """Save a state dict as a foreign checkpoint."""

    def save(state):
        torch.save(state, tmp_path / "c.pt")
        return tmp_path / "c.pt"

    return save


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_every_kind_go_through_all_checks(saved, name):
    model, data = network(name)
    found = examine(saved(model.state_dict()), lambda: {"train": Problem(model, data)})
    assert [each.check for each in found] == ALL
    assert all(each.message.endswith(".") for each in found)


def test_a_loss_that_is_not_finite_ends_the_examination(saved):
    model = tiny_mlp()
    problem = Problem(model, classification(), lambda outputs, targets: outputs.sum() / 0)
    found = examine(saved(model.state_dict()), lambda: {"train": problem})
    assert (found[-1].check, found[-1].severity) == ("minimum", Severity.PROBLEM)
    assert "The loss at the weights is" in found[-1].message


def test_a_loss_of_zero_is_a_minimum(saved):
    model = tiny_mlp()
    problem = Problem(model, classification(), lambda outputs, targets: 0 * outputs.sum())
    found = examine(saved(model.state_dict()), lambda: {"train": problem})
    assert next(each for each in found if each.check == "minimum").severity == Severity.OK
    assert found[-1].message.endswith("too near to see it rise.")


def test_an_error_on_the_way_is_the_last_finding(saved):
    def fails():
        raise CheckpointError("it is damaged.", hint="Copy it again.")

    *before, last = examine(saved(tiny_mlp().state_dict()), fails)
    assert [each.check for each in before] == ALL[:2]
    assert (last.check, last.severity, last.message, last.remedy) == (
        "loading",
        Severity.PROBLEM,
        "it is damaged.",
        "Copy it again.",
    )
