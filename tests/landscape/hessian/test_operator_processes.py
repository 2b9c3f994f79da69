"""Products of the curvature by two real processes of torchrun, compared with those of one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from curvature_processes import bad_batch, products
from torch import distributed

SCRIPT = Path(__file__).resolve().parents[2] / "curvature_processes.py"

pytestmark = pytest.mark.skipif(not distributed.is_available(), reason="torch was built without torch.distributed")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each process computed."""
    folder = tmp_path_factory.mktemp("ranks")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    paths = [str(SCRIPT.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, *launcher, str(SCRIPT), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"rank-{rank}.pt") for rank in (0, 1)]


@pytest.fixture(scope="module")
def expected():
    """What one process computes."""
    return products()


def test_two_processes_compute_the_products_of_one_up_to_rounding(found, expected):
    for each, _ in found:
        for key, value in expected.items():
            if "batches" not in key:
                torch.testing.assert_close(each[key], value, rtol=1e-12, atol=1e-14)


def test_both_processes_have_the_same_product_bit_for_bit(found, expected):
    for key in expected:
        if "batches" not in key:
            assert torch.equal(found[0][0][key], found[1][0][key])


@pytest.mark.parametrize(("name", "shares"), [("mlp", [3, 3]), ("cnn", [1, 2]), ("one batch", [0, 1])])
def test_each_process_has_its_own_share_of_the_batches(found, expected, name, shares):
    assert [int(each[name, "batches"]) for each, _ in found] == shares
    assert int(expected[name, "batches"]) == sum(shares)


def test_both_processes_name_the_bad_batch_that_one_of_them_has(found):
    assert "in batch 6 of 6, examples 20 to 22" in bad_batch()
    assert [message for _, message in found] == [bad_batch()] * 2
