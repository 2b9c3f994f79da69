"""Products of the curvature by two real processes, compared with those of one."""

import numpy as np
import pytest
import torch
from curvature_processes import bad_batch, main, products, spectra
from processes import run_two
from torch import distributed

from landscape.results.spectral_density import mean

pytestmark = pytest.mark.skipif(
    not distributed.is_available(), reason="torch was built without torch.distributed"
)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each process computed."""
    folder = tmp_path_factory.mktemp("ranks")
    run_two(main, folder)
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=False) for rank in (0, 1)]


@pytest.fixture(scope="module")
def expected():
    """What one process computes."""
    return products()


def test_two_processes_compute_the_products_of_one_up_to_rounding(found, expected):
    for each, *_ in found:
        for key, value in expected.items():
            if "batches" not in key:
                torch.testing.assert_close(each[key], value, rtol=1e-12, atol=1e-14)


def test_both_processes_have_the_same_product_bit_for_bit(found, expected):
    for key in expected:
        if "batches" not in key:
            assert torch.equal(found[0][0][key], found[1][0][key])


@pytest.mark.parametrize(
    ("name", "shares"), [("mlp", [3, 3]), ("cnn", [1, 2]), ("one batch", [0, 1])]
)
def test_each_process_has_its_own_share_of_the_batches(found, expected, name, shares):
    assert [int(each[name, "batches"]) for each, *_ in found] == shares
    assert int(expected[name, "batches"]) == sum(shares)


def test_two_processes_find_the_spectrum_of_one_up_to_rounding(found):
    for name, expected in spectra().items():
        for _, _, each in found:
            close = {"rtol": 1e-8, "atol": 1e-8 * expected.eigenvalues[0]}
            np.testing.assert_allclose(each[name]["eigenvalues"], expected.eigenvalues, **close)
            np.testing.assert_allclose(
                each[name]["bottom_eigenvalues"], expected.bottom_eigenvalues, **close
            )
            assert each[name]["trace"].value == pytest.approx(expected.trace.value, rel=1e-6)
            assert mean(each[name]["density"]) == pytest.approx(mean(expected.density), rel=1e-6)
            for block, one in zip(each[name]["blocks"], expected.blocks, strict=True):
                assert block.lambda_max == pytest.approx(one.lambda_max, rel=1e-8)


def test_both_processes_have_the_same_spectrum_bit_for_bit(found):
    for name, one in found[0][2].items():
        other = found[1][2][name]
        np.testing.assert_array_equal(one["eigenvalues"], other["eigenvalues"])
        np.testing.assert_array_equal(one["bottom_eigenvalues"], other["bottom_eigenvalues"])
        np.testing.assert_array_equal(one["density"].nodes, other["density"].nodes)
        assert (one["trace"], one["blocks"]) == (other["trace"], other["blocks"])


def test_both_processes_name_the_bad_batch_that_one_of_them_has(found):
    assert "in batch 6 of 6, examples 20 to 22" in bad_batch()
    assert [message for _, message, _ in found] == [bad_batch()] * 2
