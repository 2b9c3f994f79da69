import numpy as np
import pytest
import torch
from cases import DUMMY_DATA, Quadratic, quadratic_loss, symmetric_with_spectrum, tiny_mlp

from landscape import Problem
from landscape.errors import InputError
from landscape.hessian.eigenvectors import (
    alignment,
    gradient_overlaps,
    layer_shares,
    subspace_overlap,
)
from landscape.problem.weights import WeightSpec

SPEC = WeightSpec.from_module(tiny_mlp())  # 35, 7, 21 and 3 entries


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_shares_are_those_of_the_squared_length_and_sum_to_one():
    vectors = noise(3, SPEC.size)
    shares = layer_shares(SPEC, vectors)
    assert list(shares) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    np.testing.assert_allclose(
        shares["0.bias"], ((vectors[:, 35:42] ** 2).sum(1) / (vectors**2).sum(1)).numpy()
    )
    np.testing.assert_allclose(sum(shares.values()), 1.0, rtol=1e-14)


def test_a_vector_within_one_tensor_has_all_its_share_there():
    vector = np.zeros((1, SPEC.size), np.float32)
    vector[0, 36] = -2.0
    assert {name: share[0] for name, share in layer_shares(SPEC, vector).items() if share[0]} == {
        "0.bias": 1.0
    }


def test_vectors_of_another_model_have_no_shares():
    with pytest.raises(InputError, match="model's 66 weights, got 65 entries"):
        layer_shares(SPEC, noise(1, 65))


def test_gradient_overlaps_are_those_of_the_closed_form():
    matrix, w = symmetric_with_spectrum([5.0, 2.0, -1.0, 0.5]), noise(4, seed=1)
    problem = Problem(
        Quadratic(w), DUMMY_DATA, quadratic_loss(matrix, 0 * w), device="cpu", dtype="float64"
    )
    vectors = torch.linalg.eigh(matrix).eigenvectors.T
    length, cosines = gradient_overlaps(problem, vectors)
    gradient = matrix @ w
    assert length == pytest.approx(float(gradient.norm()), rel=1e-12)
    np.testing.assert_allclose(cosines, (vectors @ gradient).abs() / gradient.norm(), rtol=1e-12)
    assert (cosines**2).sum() == pytest.approx(1.0)  # they span everything


def test_overlaps_with_a_gradient_of_zero_are_unknown():
    problem = Problem(
        Quadratic(torch.zeros(3)),
        DUMMY_DATA,
        quadratic_loss(torch.eye(3), torch.zeros(3)),
        device="cpu",
    )
    length, cosines = gradient_overlaps(problem, torch.eye(3))
    assert length == 0.0
    assert np.isnan(cosines).all()


def test_alignment_ignores_signs_and_lengths():
    vectors = torch.eye(4)[:2]
    others = np.array([[0.0, -3.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    expected = [[0.0, np.sqrt(0.5), 0.0], [1.0, np.sqrt(0.5), 0.0]]
    np.testing.assert_allclose(alignment(vectors, others), expected, atol=1e-15)


def test_the_overlap_of_subspaces_is_the_mean_squared_cosine_of_their_principal_angles():
    first, second = noise(3, 20), noise(5, 20, seed=1)
    bases = [torch.linalg.qr(each.T).Q for each in (first, second)]
    cosines = torch.linalg.svdvals(bases[0].T @ bases[1])
    assert subspace_overlap(first, second) == pytest.approx(float((cosines**2).mean()), rel=1e-10)


def test_a_subspace_overlaps_itself_wholly_however_its_vectors_mix():
    vectors = noise(3, 20)
    assert subspace_overlap(vectors, noise(3, 3, seed=1) @ vectors) == pytest.approx(1.0, abs=1e-12)


def test_vectors_that_repeat_each_other_span_as_much_as_one():
    vector = noise(1, 20)
    assert subspace_overlap(torch.cat([vector, 2 * vector]), vector) == pytest.approx(
        1.0, abs=1e-12
    )


def test_orthogonal_subspaces_do_not_overlap():
    assert subspace_overlap(np.eye(6)[:2], np.eye(6)[2:]) == 0.0


@pytest.mark.parametrize("compare", [alignment, subspace_overlap])
def test_eigenvectors_of_another_model_cannot_be_compared(compare):
    with pytest.raises(InputError, match="of one model, got 20 and 21 entries"):
        compare(noise(2, 20), noise(2, 21))


def test_long_vectors_are_summed_in_double_precision():
    ones = torch.ones(1, 3 << 20)  # in float32, sums of squares of this length lose digits
    ones[0, 0] = 1e4
    expected = (1e4 + (3 << 20) - 1) / np.sqrt((1e8 + (3 << 20) - 1) * (3 << 20))
    assert alignment(ones, torch.ones(1, 3 << 20))[0, 0] == pytest.approx(expected, rel=1e-13)
