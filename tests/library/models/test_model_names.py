import subprocess
import sys

import pytest
import torch
from torch import nn

from landscape.errors import InputError
from landscape.models import MODELS, build_model, model_arguments

SMALL = {"mlp": {}, "lenet": {"image_size": 12}, "transformer": {"length": 2}}
GRAPH_NETWORKS = ["gcn", "gcn-topk"]


@pytest.mark.parametrize("name", MODELS)
def test_every_name_builds_a_module(name):
    if name in GRAPH_NETWORKS:
        pytest.importorskip("torch_geometric", reason="the extra graphs is not installed")
    assert isinstance(build_model(name, **SMALL.get(name, {"width": 1})), nn.Module)


def test_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"mlp, lenet, resnet20.*got 'vgg'"):
        build_model("vgg")


def test_unknown_argument_is_refused_with_the_accepted_ones():
    with pytest.raises(InputError, match=r"'widht'.*width: int = 16, num_classes: int = 10"):
        build_model("resnet20", widht=8)


@pytest.mark.parametrize("width", ["8", 8.0, True, None])
def test_argument_of_another_type_is_refused_with_the_accepted_ones(width):
    with pytest.raises(InputError, match=r"width must be int.*width: int = 64"):
        build_model("mlp", width=width)


def test_refusal_keeps_its_cause():
    with pytest.raises(InputError) as caught:
        build_model("mlp", nothing=1)
    assert isinstance(caught.value.__cause__, TypeError)


@pytest.mark.parametrize("name", ["mlp", "lenet", "resnet20"])
def test_size_of_zero_is_refused(name):
    with pytest.raises(InputError, match="num_classes must be at least 1, got 0"):
        build_model(name, num_classes=0)


def test_arguments_are_recorded_with_the_defaults_filled_in():
    assert model_arguments("resnet20", width=4) == {"width": 4, "num_classes": 10, "in_channels": 3}


def test_recorded_arguments_rebuild_the_same_architecture():
    recorded = model_arguments("mlp", depth=1)
    shapes = [p.shape for p in build_model("mlp", **recorded).parameters()]
    assert shapes == [p.shape for p in build_model("mlp", depth=1).parameters()]


def test_same_seed_gives_the_same_weights():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        first = build_model("mlp")
        torch.manual_seed(3)
        second = build_model("mlp")
    assert all(map(torch.equal, first.parameters(), second.parameters()))


def test_names_are_listed_without_importing_torch():
    code = "import sys, landscape.models, landscape.data; sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}
        ).returncode
        == 0
    )
