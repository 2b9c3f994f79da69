import numpy as np
import pytest
import torch
from cases import (
    DUMMY_DATA,
    Quadratic,
    classification,
    images,
    quadratic_loss,
    symmetric_with_spectrum,
    tiny_cnn,
    tiny_mlp,
)
from reference import dense_hessian
from scipy.stats import t as student
from torch import nn

from landscape import Problem
from landscape.errors import InputError, NotFiniteError
from landscape.hessian.krylov.lanczos import lanczos
from landscape.hessian.operator import CurvatureOperator
from landscape.hessian.pyhessian import power_iteration, pyhessian_trace, require_pyhessian_can

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")


def _quadratic(spectrum, dtype="float64"):
    loss = quadratic_loss(symmetric_with_spectrum(spectrum), torch.zeros(len(spectrum)).double())
    return Problem(
        Quadratic(torch.ones(len(spectrum))), DUMMY_DATA, loss, device="cpu", dtype=dtype
    )


class _OfDict(nn.Module):
    """A perceptron whose inputs are a dict."""

    def __init__(self):
        super().__init__()
        self.inner = tiny_mlp()

    def forward(self, features, scale):
        return self.inner(features * scale)


class _Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(5, 4)
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)

    def forward(self, x):
        return self.layer(self.inner(x)[:, None])[:, 0, :3]


class _Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 5)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))[:, :3]


class _Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.ones(2))
        self.inner = tiny_mlp()
        self.linear = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return (
            self.inner(x) + self.linear
        )  # the same to all classes: a gradient of 0 up to rounding


def _seeded(build):
    torch.manual_seed(0)
    return build()


@pytest.mark.parametrize("build", [_Attention, _Tied, _Unused])
def test_its_largest_eigenvalue_is_that_of_lanczos(build):
    problem = Problem(_seeded(build), classification(), device="cpu", dtype="float64", batch_size=7)
    theirs = power_iteration(problem, top_k=1, tolerance=1e-9, max_matvecs=3000)
    ends = lanczos(CurvatureOperator(problem), top_k=1, bottom_k=1)
    expected = max(ends.eigenvalues[0], ends.bottom_eigenvalues[0], key=abs)
    assert theirs.eigenvalues[0] == pytest.approx(expected, rel=1e-6)


def test_inputs_may_be_dicts():
    inputs, targets = classification()
    data = ({"features": inputs, "scale": torch.full((20, 1), 2.0)}, targets)
    theirs = power_iteration(
        Problem(_OfDict(), data, device="cpu", dtype="float64", batch_size=7), top_k=1
    )
    tensor = power_iteration(
        Problem(tiny_mlp(), (2 * inputs, targets), device="cpu", dtype="float64"), top_k=1
    )
    assert theirs.eigenvalues[0] == pytest.approx(tensor.eigenvalues[0], rel=1e-6)


def test_batches_may_be_graphs():
    geometric = pytest.importorskip("torch_geometric")
    graph = geometric.data.Data(
        x=torch.eye(4), edge_index=torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]]), y=torch.tensor([0])
    )

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = _seeded(lambda: geometric.nn.GCNConv(4, 2))

        def forward(self, batch):
            return geometric.nn.global_add_pool(self.layer(batch.x, batch.edge_index), batch.batch)

    batch = geometric.data.Batch.from_data_list([graph, graph])
    problem = Problem(Net(), [batch], device="cpu", dtype="float64")
    expected = lanczos(CurvatureOperator(problem), top_k=1).eigenvalues[0]
    assert power_iteration(problem, top_k=1).eigenvalues[0] == pytest.approx(expected, rel=1e-6)


def test_the_products_it_counts_are_those_of_the_whole_data():
    problem = _quadratic([4.0, 2.0, 1.0])
    for limit in (
        10,
        11,
        12,
    ):  # it never stops by itself at such a tolerance: the limit, less one for the residual
        assert (
            power_iteration(problem, top_k=1, tolerance=1e-300, max_matvecs=limit).num_matvecs
            == limit
        )


def test_products_stay_within_the_limit_with_the_residuals():
    assert (
        power_iteration(
            _quadratic([4.0, 2.0, 1.0]), top_k=2, tolerance=1e-300, max_matvecs=11
        ).num_matvecs
        <= 11
    )


def test_the_same_seed_gives_the_same_pairs_and_another_one_others():
    problem = Problem(tiny_mlp(), classification(), device="cpu")
    first, again, other = (
        power_iteration(problem, top_k=1, max_matvecs=6, seed=seed).eigenvalues[0]
        for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


def test_a_wanted_bottom_is_remarked_on():
    problem = _quadratic([4.0, 2.0, 1.0])
    assert "none at the bottom" in power_iteration(problem, top_k=1, bottom_k=1).remark
    assert power_iteration(problem, top_k=1).remark == ""


def _diagonal(eigenvalues):
    loss = quadratic_loss(
        torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)), torch.zeros(len(eigenvalues))
    )
    return Problem(
        Quadratic(torch.ones(len(eigenvalues))), DUMMY_DATA, loss, device="cpu", dtype="float64"
    )


def test_copies_of_an_eigenvector_are_left_out_and_remarked_on():
    found = power_iteration(
        _diagonal([4.0, 0.0, 0.0]), top_k=3
    )  # beyond the rank, rounding grows to the first one
    assert found.eigenvalues.tolist() == pytest.approx([4.0])
    assert "found 1 of 3 eigenvalues" in found.remark
    assert not found.converged


def test_repeated_eigenvalues_are_no_copies():
    assert power_iteration(
        _diagonal([4.0, 4.0, 1.0]), top_k=2
    ).eigenvalues.tolist() == pytest.approx([4.0, 4.0])


def test_vectors_of_zero_are_left_out():
    found = power_iteration(_diagonal([0.0, 0.0]), top_k=2)
    assert (len(found.eigenvalues), found.converged) == (0, False)


def test_a_loss_that_is_linear_is_refused():
    problem = Problem(
        Quadratic(torch.ones(3)), DUMMY_DATA, lambda outputs, targets: outputs.sum(), device="cpu"
    )
    with pytest.raises(InputError, match="linear in every weight"):
        power_iteration(problem, top_k=1)


def test_what_cannot_be_differentiated_twice_is_an_input_error():
    def loss(w, _):
        return torch.cdist(w[:, None], w[:, None] + 1, p=3.0).sum()

    with pytest.raises(InputError, match="cannot be differentiated twice"):
        power_iteration(Problem(Quadratic(torch.rand(3)), DUMMY_DATA, loss, device="cpu"), top_k=1)


def test_products_that_are_not_finite_are_an_error():
    problem = Problem(
        Quadratic(torch.zeros(2)),
        DUMMY_DATA,
        lambda w, _: (w.abs() ** 1.5).sum(),
        device="cpu",
        dtype="float64",
    )
    with pytest.raises(NotFiniteError, match="hold NaN or inf"):
        power_iteration(problem, top_k=1)


@pytest.mark.parametrize(
    ("top_k", "limit", "match"), [(0, 10, "between 1 and"), (4, 99, "between 1 and"), (3, 5, "tw")]
)
def test_numbers_that_do_not_fit_are_refused(top_k, limit, match):
    with pytest.raises(InputError, match=match):
        power_iteration(_quadratic([4.0, 2.0, 1.0]), top_k=top_k, max_matvecs=limit)


def test_its_trace_is_that_of_the_hessian_within_the_standard_error():
    model, data = tiny_mlp(), classification()
    expected = float(dense_hessian(model, *data).trace())
    found = pyhessian_trace(
        Problem(model, data, device="cpu", dtype="float64", batch_size=7), num_samples=50
    )
    assert abs(found.value - expected) <= 3 * found.standard_error
    assert found.num_samples == found.num_matvecs == 50


def test_its_trace_takes_every_sample_where_the_trace_is_negative():
    spectrum = np.linspace(-2, -1, 20)
    found = pyhessian_trace(_quadratic(spectrum.tolist()), num_samples=30)
    assert found.num_matvecs == 30
    assert abs(found.value - spectrum.sum()) <= 3 * found.standard_error


def test_the_interval_of_its_trace_is_students():
    found = pyhessian_trace(_quadratic([3.0, 2.0, 1.0, -1.0]), num_samples=5)
    half = student.ppf(0.975, 4) * found.standard_error
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half))


def test_its_trace_of_a_diagonal_matrix_is_exact():
    found = pyhessian_trace(_diagonal([4.0, 2.0, -1.0]), num_samples=3)
    assert (found.value, found.standard_error) == pytest.approx((5.0, 0.0))


def test_a_trace_of_one_sample_is_refused():
    with pytest.raises(InputError, match="at least 2 samples, got 1"):
        pyhessian_trace(_quadratic([1.0, 2.0]), num_samples=1)


def test_its_trace_leaves_the_random_state_alone():
    before = torch.get_rng_state()
    pyhessian_trace(_quadratic([1.0, 2.0]), num_samples=2)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["density", "ggn", "fisher", "blocks"])
def test_what_it_lacks_is_refused_with_a_remedy(name):
    with pytest.raises(
        InputError, match=f"PyHessian 0.1 cannot compute {name}: .*`engine='lanczos'`"
    ):
        require_pyhessian_can(["trace", name])


def test_what_it_has_is_not_refused():
    require_pyhessian_can(["trace", "hessian", "eigenvalues"])


def test_its_density_does_fail_on_this_torch():
    from pyhessian import hessian

    data = classification()
    engine = hessian(tiny_mlp(), nn.functional.cross_entropy, data=data, cuda=False)
    with pytest.raises(RuntimeError, match="eig"):
        engine.density(iter=3, n_v=1)


def test_networks_with_batch_normalization_are_evaluated_in_evaluation_mode():
    problem = Problem(tiny_cnn().train(), images(), device="cpu", dtype="float64", batch_size=7)
    expected = lanczos(CurvatureOperator(problem), top_k=1).eigenvalues[0]
    assert power_iteration(problem, top_k=1, tolerance=1e-9).eigenvalues[0] == pytest.approx(
        expected, rel=1e-6
    )
