import pytest
import torch
from cases import tiny_mlp
from networks import Tied

from landscape.doctor.check_state import check_finite, check_names, check_tied
from landscape.doctor.findings import Severity


@pytest.fixture
def state():
    """The tensors of a small network."""
    return dict(tiny_mlp().state_dict())


def test_finite_values_are_counted(state):
    found = check_finite(state)
    assert (found.severity, found.values["num_values"], found.values["num_not_finite"]) == (
        Severity.OK,
        66,
        0,
    )


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_values_that_are_not_finite_are_counted_and_placed(state, value):
    state["0.weight"] = state["0.weight"].clone()
    state["0.weight"][0, :3] = value
    found = check_finite(state)
    assert found.severity == Severity.PROBLEM
    assert found.values["share_not_finite"] == pytest.approx(3 / 66)
    assert (
        "3 of 66 values (4.55 %) are NaN or infinite, in 1 of 4 tensors: 0.weight." in found.message
    )
    assert "`save_every`" in found.remedy


def test_counters_and_what_is_no_tensor_are_passed_over():
    found = check_finite(
        {"num_batches_tracked": torch.tensor(3), "sparse": torch.eye(2).to_sparse(), "epoch": 3}
    )
    assert (found.severity, found.values["num_values"]) == (Severity.OK, 1)


def test_plain_names_are_fine(state):
    assert check_names(state).severity == Severity.OK


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_a_prefix_of_all_names_is_noted(state, prefix):
    found = check_names({prefix + name: value for name, value in state.items()})
    assert found.severity == Severity.NOTE
    assert found.values["num_prefixed"] == 4


def test_a_prefix_of_some_names_is_a_warning(state):
    found = check_names({"module.0.weight": state.pop("0.weight"), **state})
    assert found.severity == Severity.WARNING
    assert (
        "1 of 4 names begin with module., the others do not: 0.bias, 2.weight, 2.bias."
        in found.message
    )


def test_a_name_with_and_without_its_prefix_is_a_problem(state):
    found = check_names({**state, "module.0.weight": state["0.weight"]})
    assert (found.severity, found.values["num_duplicated"]) == (Severity.PROBLEM, 1)
    assert "with and without module.: 0.weight." in found.message


def test_weights_are_not_tied_where_no_tensor_has_two_names(state):
    assert check_tied(tiny_mlp(), state).severity == Severity.OK


def test_tied_weights_are_noted(state):
    model = Tied()
    found = check_tied(
        model, {f"module.{name}": value for name, value in model.state_dict().items()}
    )
    assert found.severity == Severity.NOTE
    assert "first.weight = second.weight" in found.message


def test_tied_weights_that_differ_in_the_file_are_a_problem():
    model = Tied()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    state["second.weight"] += 1
    found = check_tied(model, state)
    assert (found.severity, found.values["num_different"]) == (Severity.PROBLEM, 1)
    assert "first.weight = second.weight" in found.message
