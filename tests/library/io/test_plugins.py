import sys

import pytest
import torch
from torch import nn

from landscape.errors import InputError, PluginError
from landscape.io.plugins import create_data, create_model, find_loss

SOURCE = """
import torch
from torch import nn

def model(width=4):
    return nn.Linear(width, 2)

def raises():
    raise ValueError("width is odd")

def returns_text():
    return "model"

def data(n=3):
    return (torch.zeros(n, 4), torch.zeros(n)), None

def loss(outputs, targets):
    return outputs.sum()

number = 3
"""


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "plugin.py"
    path.write_text(SOURCE)
    return path


def test_a_function_in_a_file_builds_the_model(plugin):
    assert create_model(f"{plugin}:model", {"width": 6}).weight.shape == (2, 6)


def test_a_function_in_a_module_builds_the_model():
    assert isinstance(
        create_model("torch.nn:Linear", {"in_features": 2, "out_features": 3}), nn.Linear
    )


def test_a_module_in_the_working_folder_is_found(plugin, monkeypatch):
    monkeypatch.chdir(plugin.parent)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.delitem(sys.modules, "plugin", raising=False)
    assert isinstance(create_model("plugin:model", {}), nn.Linear)


def test_a_file_can_import_its_neighbours(tmp_path):
    (tmp_path / "neighbour_of_plugin.py").write_text("width = 7\n")
    (tmp_path / "uses.py").write_text(
        "from torch import nn\nfrom neighbour_of_plugin import width\ndef model(): return "
        "nn.Linear(width, 1)\n"
    )
    before = list(sys.path)
    assert create_model(f"{tmp_path}/uses.py:model", {}).in_features == 7
    assert sys.path == before


def test_data_are_a_pair_whose_test_part_may_be_missing(plugin):
    train, test = create_data(f"{plugin}:data", {"n": 5})
    assert len(train[0]) == 5
    assert test is None


def test_a_loss_is_the_function_itself(plugin):
    assert float(find_loss(f"{plugin}:loss")(torch.ones(3), None)) == 3


def test_built_in_losses_go_by_name():
    assert find_loss("cross-entropy") is nn.functional.cross_entropy


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("{folder}/none.py:model", r"`model='\S+'`: there is no file"),
        ("no_such_package.models:resnet", r"there is no module no_such_package"),
        ("{plugin}:modle", r"plugin\.py has no 'modle'"),
        ("{plugin}:number", r"number must be callable, it is a int"),
        ("{plugin}:raises", r"raised ValueError: width is odd"),
        ("{plugin}:returns_text", r"must return a torch\.nn\.Module, it returned str"),
    ],
)
def test_each_way_to_fail_is_told_apart(plugin, name, message):
    with pytest.raises(PluginError, match=message):
        create_model(name.format(plugin=plugin, folder=plugin.parent), {})


def test_wrong_arguments_of_the_users_function_are_told(plugin):
    with pytest.raises(
        PluginError, match=r"raised TypeError: model\(\) got an unexpected keyword argument 'depth'"
    ):
        create_model(f"{plugin}:model", {"depth": 3})


def test_an_error_says_where_in_the_users_file_it_was_raised(plugin):
    with pytest.raises(PluginError) as caught:
        create_model(f"{plugin}:raises", {})
    assert "plugin.py:9" in caught.value.hint


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def model(:\n", "raised SyntaxError"),
        ("import no_such_thing\n", "raised ModuleNotFoundError"),
    ],
)
def test_a_file_that_does_not_import_is_told(tmp_path, source, message):
    (tmp_path / "broken.py").write_text(source)
    with pytest.raises(PluginError, match=message):
        create_model(f"{tmp_path}/broken.py:model", {})


def test_data_that_are_no_pair_are_refused(plugin):
    with pytest.raises(PluginError, match=r"must return a pair \(train, test\), it returned str"):
        create_data(f"{plugin}:returns_text", {})


def test_an_unknown_built_in_lists_the_known_ones():
    with pytest.raises(InputError, match="resnet20"):
        create_model("resnet21", {})
    with pytest.raises(PluginError, match="cross-entropy, mse"):
        find_loss("hinge")
