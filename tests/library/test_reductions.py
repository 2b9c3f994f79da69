import math

import pytest
import torch

from landscape.reductions import all_finite, dot, norm


def large():
    """More entries than are checked one by one; their sum is not a number of float32."""
    return torch.full((300, 300), 3e38)


def mixed():
    generator = torch.Generator().manual_seed(0)
    kinds = (torch.float32, torch.float64, torch.bfloat16)
    tensors = [torch.randn(3, 700, generator=generator).to(kind) for kind in kinds]
    return [
        *tensors,
        torch.tensor([1e-42, -0.0]),
        torch.zeros(0, 2),
        torch.randn(4, 6, generator=generator).t(),
        large(),
    ]


@pytest.fixture(scope="module")
def ten_million():
    """Entries of one sign, whose float32 sums lose digits, and the sum of their squares, exactly
    rounded."""
    v = torch.rand(10_000_000, generator=torch.Generator().manual_seed(0))
    return v, math.fsum((v.double() ** 2).tolist())


def test_norms_and_inner_products_of_ten_million_float32_entries_are_exact_to_1e12(ten_million):
    v, squared = ten_million
    assert dot(v, v) == pytest.approx(squared, rel=1e-12)
    assert norm(v) == pytest.approx(math.sqrt(squared), rel=1e-12)


def test_finite_tensors_are_found_finite_and_keep_their_bits():
    tensors, before = mixed(), mixed()
    assert all_finite(tensors)
    for tensor, old in zip(tensors, before, strict=True):
        assert torch.equal(tensor, old)
        assert torch.equal(tensor.signbit(), old.signbit())


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("position", [0, 1, 2, 5, 6])
def test_one_entry_that_is_not_finite_is_found(bad, position):
    tensors = mixed()
    tensors[position][-1, -1] = bad
    assert not all_finite(tensors)


def test_no_tensors_are_finite():
    assert all_finite([])
