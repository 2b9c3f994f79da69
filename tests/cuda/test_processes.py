"""Which CUDA device is a process's own, said before anything is computed."""

import pytest
import torch

from landscape.errors import InputError
from landscape.runtime.distributed import local_device

pytestmark = pytest.mark.gpu
CUDA = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def _launched(monkeypatch):
    values = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 2, "MASTER_ADDR": "here", "MASTER_PORT": 1}
    for name, value in values.items():
        monkeypatch.setenv(name, str(value))


@pytest.mark.parametrize("asked", ["auto", "cuda", "cuda:0"])
def test_a_process_has_the_device_of_its_number(asked):
    assert local_device(CUDA, asked) == CUDA


def test_another_device_than_its_own_is_refused():
    with pytest.raises(InputError, match=r"of its own number, cuda:0, got cuda:1\."):
        local_device(torch.device("cuda", 1), "cuda:1")


def test_more_processes_than_devices_are_refused(monkeypatch):
    count = torch.cuda.device_count()
    monkeypatch.setenv("LOCAL_RANK", str(count))
    with pytest.raises(InputError, match=f"of its own, and this machine has {count}"):
        local_device(CUDA, "auto")
