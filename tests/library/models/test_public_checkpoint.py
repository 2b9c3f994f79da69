"""A checkpoint that others trained, its measured quality as its publisher's evaluation reproduces
it."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from landscape.data.cifar import CIFARS, load_batch
from landscape.data.normalization import Normalization, as_examples
from landscape.data.published_files import read_members
from landscape.models import build_model

ROOT = Path(__file__).parents[3]
CHECKPOINT = ROOT.parent / "shared" / "checkpoints" / "akamaster_resnet20-12fca82f.th"
DATA = ROOT.parent / "shared" / "data"
IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

pytestmark = pytest.mark.skipif(not CHECKPOINT.is_file(), reason=f"{CHECKPOINT.name} is not here")


def users_resnet20():
    path = ROOT / "examples" / "akamaster_resnet.py"
    spec = importlib.util.spec_from_file_location("akamaster_resnet", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.resnet20()


def built_in_resnet20():
    return build_model("resnet20")


def with_checkpoint(model):
    state = torch.load(CHECKPOINT, map_location="cpu", weights_only=True)["state_dict"]
    model.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})
    return model.eval().to(memory_format=torch.channels_last)


@pytest.fixture(scope="module")
def test_images():
    (archive,) = CIFARS["cifar10"].publication.files
    if not (DATA / archive.name).is_file():
        pytest.skip(f"{archive.name} is not here")
    only_test = replace(archive, member_md5={"test_batch": archive.member_md5["test_batch"]})
    [(name, content)] = read_members(
        replace(CIFARS["cifar10"].publication, files=(only_test,)), str(DATA)
    )
    batch = load_batch(content, name)
    inputs, targets = as_examples(
        np.array(batch[b"data"]).reshape(-1, 3, 32, 32), batch[b"labels"], IMAGENET
    )
    return inputs.contiguous(memory_format=torch.channels_last), targets


@pytest.mark.parametrize("build", [users_resnet20, built_in_resnet20])
def test_checkpoint_loads_strictly(build):
    with_checkpoint(build())


@pytest.mark.slow
def test_users_model_file_reaches_the_published_accuracy_and_loss(test_images):
    inputs, targets = test_images
    model = with_checkpoint(users_resnet20())
    with torch.no_grad():
        outputs = torch.cat([model(batch) for batch in inputs.split(128)])
    accuracy = (outputs.argmax(1) == targets).double().mean().item()
    loss = F.cross_entropy(outputs.double(), targets).item()
    # One image in accuracy, half a unit of the last stated digit in loss.
    assert (accuracy, loss) == (pytest.approx(0.9173, abs=1e-4), pytest.approx(0.3727, abs=5e-5))


def test_built_in_resnet20_computes_what_the_users_model_file_computes(test_images):
    inputs = test_images[0][:256]
    with torch.no_grad():
        outputs = [
            with_checkpoint(build())(inputs) for build in (users_resnet20, built_in_resnet20)
        ]
    # Two orders of averaging 64 pixels in float32; logits reach about 20.
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=1e-4)
