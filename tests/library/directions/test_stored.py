import numpy as np
import pytest
import torch
from cases import tiny_cnn
from torch import nn

from landscape.directions.sources import directions_for
from landscape.errors import InputError
from landscape.problem.weights import WeightSpec
from landscape.results.surface import Directions


def _numbered(tensors):
    """Directions of one vector that counts its entries, as read from a file of Li et al.'s."""
    shapes = tuple(tuple(tensor.shape) for tensor in tensors)
    vector = np.arange(sum(tensor.numel() for tensor in tensors), dtype=np.float32)
    return Directions(
        vector[None], ("xdirection",), tuple(map(str, range(len(shapes)))), shapes, "none"
    )


def _weights_of(module, tensors):
    """What `directions_for` should find in `_numbered(tensors)`: the entries of the parameters, by
    identity."""
    found, start = [], 0
    parameters = {
        parameter.data_ptr() for parameter in module.parameters() if parameter.requires_grad
    }
    for tensor in tensors:
        if tensor.data_ptr() in parameters:
            found.append(np.arange(start, start + tensor.numel()))
        start += tensor.numel()
    return np.concatenate(found)


def test_one_tensor_a_parameter_is_taken_whole():
    module = tiny_cnn()
    directions = _numbered(list(module.parameters()))
    (vector,), _ = directions_for(directions, WeightSpec.from_module(module))
    np.testing.assert_array_equal(vector, directions.vectors[0])


@pytest.mark.parametrize("has_counters", [True, False])
def test_of_a_state_dict_the_parameters_are_taken_and_the_buffers_left_out(has_counters):
    module = tiny_cnn()
    state = [
        value
        for name, value in module.state_dict().items()
        if has_counters or "num_batches" not in name
    ]
    assert len(state) > len(list(module.parameters())), "the model has no buffers"
    (vector,), _ = directions_for(_numbered(state), WeightSpec.from_module(module), module)
    np.testing.assert_array_equal(vector, _weights_of(module, state))


def test_a_state_dict_without_the_module_is_refused():
    module = tiny_cnn()
    with pytest.raises(InputError, match="must fit the model"):
        directions_for(
            _numbered(list(module.state_dict().values())), WeightSpec.from_module(module)
        )


def test_frozen_parameters_are_left_out():
    module = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    module[0].weight.requires_grad_(False)
    parameters = list(module.parameters())
    (vector,), _ = directions_for(_numbered(parameters), WeightSpec.from_module(module), module)
    np.testing.assert_array_equal(vector, _weights_of(module, parameters))


def test_the_first_tensor_that_differs_is_named():
    other = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
    spec = WeightSpec.from_module(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2)))
    message = r"the file has 2 of shape \(4, 3\) where the model has 1.weight of shape \(2, 3\)"
    with pytest.raises(InputError, match=message):
        directions_for(_numbered(list(other.parameters())), spec)


def test_a_file_that_ends_early_is_refused():
    module = nn.Linear(2, 3)
    with pytest.raises(InputError, match="no more tensors where the model has bias"):
        directions_for(_numbered([module.weight]), WeightSpec.from_module(module), module)


def test_names_in_the_file_must_be_those_of_the_model():
    module = nn.Linear(2, 2)
    vectors = np.ones((1, 6), np.float32)
    named = Directions(vectors, ("random",), ("weight", "bias"), ((2, 2), (2,)), "filter")
    assert directions_for(named, WeightSpec.from_module(module))[0][0].tolist() == [1.0] * 6
    swapped = Directions(vectors, ("random",), ("kernel", "bias"), ((2, 2), (2,)), "filter")
    with pytest.raises(InputError, match="kernel"):
        directions_for(swapped, WeightSpec.from_module(module))


def test_stored_values_are_not_rounded():
    vectors = np.array([[1 / 3, 2 / 3]])
    directions = Directions(vectors, ("x",), ("0",), ((1, 2),), "none")
    (vector,), _ = directions_for(directions, WeightSpec.from_module(nn.Linear(2, 1, bias=False)))
    assert vector.dtype == torch.float64
    assert vector.tolist() == vectors[0].tolist()


def test_what_is_no_weight_and_would_move_is_named():
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    spec = WeightSpec.from_module(module)
    state = {
        name: torch.zeros_like(value, dtype=torch.float32)
        for name, value in module.state_dict().items()
    }
    state["1.running_mean"] += 1.0
    (vector,), left_out = directions_for(_stored_state(state), spec, module)
    assert left_out == ["1.running_mean"]
    assert not vector.any()


def _stored_state(state):
    shapes = tuple(tuple(value.shape) for value in state.values())
    vector = torch.cat([value.reshape(-1) for value in state.values()]).numpy()
    return Directions(vector[None], ("x",), tuple(map(str, range(len(state)))), shapes, "none")
