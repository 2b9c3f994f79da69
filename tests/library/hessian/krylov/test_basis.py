import pytest
import torch

from landscape.hessian.krylov.basis import Basis

CPU = torch.device("cpu")
P = (1 << 18) + 7  # one tile of columns and a bit


@pytest.fixture(scope="module")
def vectors():
    generator = torch.Generator().manual_seed(0)
    return torch.linalg.qr(torch.randn(P, 40, generator=generator, dtype=torch.float64))[0].mT


def _filled(vectors, dtype, is_on_host=False):
    basis = Basis(
        vectors.shape[1], device=CPU, dtype=dtype, is_on_host=is_on_host, capacity=len(vectors)
    )
    for v in vectors:
        basis.append(v)
    return basis


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_products_with_it_are_those_with_the_dense_matrix_in_float64(vectors, dtype):
    basis, dense = _filled(vectors, dtype), vectors.to(dtype).double()
    v = torch.linspace(-1, 2, P, dtype=torch.float64)
    weights = torch.linspace(1, 2, 37, dtype=torch.float64)
    torch.testing.assert_close(basis.coefficients(v), dense @ v, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(basis.coefficients(v, 37), dense[:37] @ v, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(basis.combine(weights), weights @ dense[:37], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        basis.subtract(v, weights), v - weights @ dense[:37], rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_what_it_returns_is_what_it_keeps(vectors, dtype):
    basis = Basis(P, device=CPU, dtype=dtype, is_on_host=False, capacity=2)
    kept = basis.append(vectors[0])
    assert torch.equal(kept, vectors[0].to(dtype).double())
    assert torch.equal(basis.kept_row(0), vectors[0].to(dtype))


@pytest.mark.parametrize(("dtype", "size"), [(torch.float64, 1e-15), (torch.float32, 1e-13)])
def test_what_is_left_of_a_vector_is_orthogonal_to_it(vectors, dtype, size):
    left = _filled(vectors, dtype).remove(vectors.sum(0) + 1e-3 * torch.ones(P))
    assert (vectors.to(dtype).double() @ left).abs().max() < size * 100


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_rotation_replaces_the_first_vectors_and_moves_up_the_next(vectors, dtype):
    basis, dense = _filled(vectors, dtype), vectors.to(dtype).double()
    weights = torch.linalg.qr(
        torch.randn(39, 20, generator=torch.Generator().manual_seed(1)).double()
    )[0]
    basis.rotate(weights)
    expected = torch.cat([weights.mT @ dense[:39], dense[39:]]).to(dtype).double()
    assert len(basis) == 21
    torch.testing.assert_close(
        torch.stack([basis.kept_row(i).double() for i in range(21)]),
        expected,
        rtol=1e-6,
        atol=1e-12,
    )
    basis.append(vectors[5])
    torch.testing.assert_close(
        basis.kept_row(21).double(), vectors[5].to(dtype).double(), rtol=0, atol=0
    )
