"""Products of the curvature against dense matrices from independent implementations, in float64."""

import copy
import math
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from cases import (
    DUMMY_DATA,
    Quadratic,
    classification,
    images,
    quadratic_loss,
    seeded,
    tiny_cnn,
    tiny_mlp,
)
from networks import NETWORKS, Reference, Tied, dense_curvature, network
from reference import loss_of_vector
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape import Problem
from landscape.errors import InputError, LandscapeError, NotFiniteError
from landscape.hessian.operator import CurvatureOperator
from landscape.problem.weights import layers_of

EXACT = {"device": "cpu", "dtype": "float64"}
PLENTY = 1 << 30
CLOSE = {"rtol": 1e-10, "atol": 1e-12}
KINDS = ("hessian", "ggn", "fisher")


def dense(operator):
    """All columns of an operator."""
    return torch.stack(
        [operator.matvec(v) for v in torch.eye(operator.size, dtype=torch.float64)], dim=1
    )


def assert_close(found, expected):
    """Whether two matrices are the same to 1e-10 of the largest entry."""
    assert expected.any()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10 * float(expected.abs().max()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_curvature_of_a_network_is_the_dense_one_with_a_ragged_last_batch(name, kind):
    model, data = network(name)
    problem = Problem(model, data, batch_size=7 if name != "graphs" else 2, **EXACT)
    assert_close(dense(CurvatureOperator(problem, kind=kind)), dense_curvature(model, data, kind))


def test_the_hessian_with_batch_statistics_is_the_dense_one():
    model, (x, y) = network("cnn")
    problem = Problem(model, (x, y), batch_size=7, batchnorm="batch", **EXACT)
    assert_close(
        dense(CurvatureOperator(problem)),
        Reference(model, x, y, is_training=True).hessian(batch_size=7),
    )


def test_stored_statistics_are_the_default_and_have_another_hessian_than_those_of_a_batch():
    model, data = network("cnn")
    default, stored, batch = (
        dense(CurvatureOperator(Problem(model, data, **EXACT, **options)))
        for options in ({}, {"batchnorm": "stored"}, {"batchnorm": "batch"})
    )
    assert torch.equal(default, stored)
    assert float((stored - batch).norm() / stored.norm()) > 0.1


def test_the_ggn_of_several_outputs_is_that_of_all_of_them():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(5, 2), nn.Linear(5, 1)

        def forward(self, x):
            return {"mean": self.a(x).tanh(), "scale": self.b(x).tanh()}

    def loss(outputs, y):
        return (outputs["mean"] ** 2 * outputs["scale"].exp()).mean()

    model, (x, y) = seeded(Two), classification(6)
    reference = Reference(model, x, y)
    jacobian = torch.autograd.functional.jacobian(lambda w: flat(reference.outputs(w)), reference.w)
    leaf = flat(reference.outputs(reference.w)).detach()
    inner = torch.autograd.functional.hessian(
        lambda f: loss({"mean": f[:12].view(6, 2), "scale": f[12:].view(6, 1)}, y), leaf
    )
    found = dense(CurvatureOperator(Problem(model, (x, y), loss, **EXACT), kind="ggn"))
    assert_close(found, jacobian.T @ inner @ jacobian)


def flat(outputs):
    return torch.cat([outputs["mean"].reshape(-1), outputs["scale"].reshape(-1)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batchnorm", ["stored", "batch", "recalibrate"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_products_on_kept_graphs_are_the_recomputed_ones_bit_for_bit(kind, batchnorm, dtype):
    problem = Problem(
        tiny_cnn(), images(), device="cpu", dtype=dtype, batch_size=7, batchnorm=batchnorm
    )
    v = torch.randn(problem.spec.size, dtype=torch.float64)
    kept = CurvatureOperator(problem, kind=kind, graph_bytes=PLENTY)
    anew = CurvatureOperator(problem, kind=kind, graph_bytes=0)
    expected = anew.matvec(v)
    assert (kept.num_retained, anew.num_retained) == (3, 0)
    assert expected.any()
    for _ in range(3):  # after the others have restored the buffers, too
        assert torch.equal(kept.matvec(v), expected)
        assert torch.equal(anew.matvec(v), expected)


def test_a_full_product_is_the_problems_own_bit_for_bit():
    problem = Problem(tiny_cnn(), images(), device="cpu", batch_size=7)
    v = torch.randn(problem.spec.size)
    assert torch.equal(CurvatureOperator(problem).matvec(v), problem.hessian_vector_product(v))


def test_a_budget_for_some_batches_keeps_so_many_and_gives_the_same_product():
    problem = Problem(tiny_cnn(), images(), device="cpu", batch_size=4)
    v, everything = torch.randn(problem.spec.size), CurvatureOperator(problem, graph_bytes=PLENTY)
    expected = everything.matvec(v)
    assert everything.num_retained == everything.num_batches == 5
    half = CurvatureOperator(problem, graph_bytes=int(0.5 * everything.retained_bytes))
    assert half.num_retained == 2
    assert half.retained_bytes <= 0.5 * everything.retained_bytes
    assert torch.equal(half.matvec(v), expected)


def test_the_bytes_of_a_graph_are_those_of_what_it_keeps():
    n, width = 64, 1000
    data = (torch.randn(n, 10), torch.randn(n, width))
    problem = Problem(
        nn.Linear(10, width, bias=False), data, lambda f, y: f.exp().mean(), device="cpu"
    )
    operator = CurvatureOperator(problem, graph_bytes=PLENTY)
    assert operator.num_retained == 1
    # exp keeps its result, and so does its derivative, beside the gradient by the outputs and that
    # by the weights.
    values, gradient = 4 * n * width, 4 * 10 * width
    assert 2 * values + gradient <= operator.retained_bytes <= 4 * values + gradient


def test_the_plan_is_one_line_with_batches_and_bytes():
    operator = CurvatureOperator(
        Problem(tiny_cnn(), images(), device="cpu", batch_size=4), graph_bytes=1 << 20
    )
    assert operator.describe().startswith("graphs of 5 of 5 batches kept (0.")
    assert operator.describe().endswith(" of 1.0 MiB)")


def test_an_evaluation_elsewhere_between_two_products_changes_nothing():
    problem = Problem(tiny_cnn(), images(), batch_size=7, **EXACT)
    v, operator = torch.randn(problem.spec.size), CurvatureOperator(problem, graph_bytes=PLENTY)
    expected = operator.matvec(v)
    problem.gradient(problem.weights * 1.5)
    assert torch.equal(operator.matvec(v), expected)


def test_operators_at_two_points_can_take_turns():
    problem = Problem(tiny_mlp(), classification(), batch_size=7, **EXACT)
    v, w = torch.randn(problem.spec.size), problem.weights + 0.3
    here, there = CurvatureOperator(problem), CurvatureOperator(problem, w)
    expected = [problem.hessian_vector_product(v), problem.hessian_vector_product(v, w)]
    assert not torch.equal(*expected)
    for _ in range(2):
        assert torch.equal(here.matvec(v), expected[0])
        assert torch.equal(there.matvec(v), expected[1])


def test_a_point_that_writes_past_autograd_voids_the_graphs():
    problem = Problem(tiny_mlp(), classification(), **EXACT)
    v, operator = torch.randn(problem.spec.size), CurvatureOperator(problem, graph_bytes=PLENTY)
    expected = operator.matvec(v)
    problem.evaluate(lambda *, out: out.numpy().fill(0.5))
    assert torch.equal(operator.matvec(v), expected)


def test_graphs_at_the_models_own_weights_outlive_evaluations_there():
    problem = Problem(tiny_mlp(), classification(), device="cpu")
    operator = CurvatureOperator(problem, graph_bytes=PLENTY)
    operator.matvec(problem.weights)
    before = problem.passes.version
    problem.evaluate()
    CurvatureOperator(problem, kind="ggn").matvec(problem.weights)
    assert problem.passes.version == before


def test_the_given_weights_may_be_written_over():
    problem = Problem(tiny_mlp(), classification(), **EXACT)
    v, w = torch.randn(problem.spec.size), problem.weights + 0.3
    expected, operator = problem.hessian_vector_product(v, w), CurvatureOperator(problem, w)
    w.zero_()
    assert torch.equal(operator.matvec(v), expected)


def test_problems_that_share_a_model_have_their_own_statistics():
    model = tiny_cnn()
    problem = Problem(model, images(), batch_size=7, **EXACT)
    other = problem.with_buffers([buffer * 2 for buffer in model.buffers()])
    v = torch.randn(problem.spec.size)
    here, there = (
        CurvatureOperator(problem, graph_bytes=PLENTY),
        CurvatureOperator(other, graph_bytes=PLENTY),
    )
    expected = [problem.hessian_vector_product(v), other.hessian_vector_product(v)]
    assert not torch.equal(*expected)
    for _ in range(2):
        assert torch.equal(here.matvec(v), expected[0])
        assert torch.equal(there.matvec(v), expected[1])


class Noisy(nn.Module):
    """Draws random numbers in evaluation, too."""

    def __init__(self):
        super().__init__()
        self.inner = tiny_mlp()

    def forward(self, x):
        return self.inner(x + torch.randn_like(x))


class Counting(nn.Module):
    """Counts its calls in a buffer."""

    def __init__(self):
        super().__init__()
        self.inner = tiny_mlp()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x):
        self.count += 1
        return self.inner(x)


@pytest.mark.parametrize(("build", "num_retained"), [(Noisy, 3), (Counting, 0)])
def test_a_product_is_the_same_whether_graphs_are_kept_or_not(build, num_retained):
    problem = Problem(build(), classification(), batch_size=7, **EXACT)
    v, operator = torch.randn(problem.spec.size), CurvatureOperator(problem, graph_bytes=PLENTY)
    expected = problem.hessian_vector_product(v)
    assert operator.num_retained == num_retained
    assert "buffers" in operator.describe() or num_retained
    assert torch.equal(operator.matvec(v), expected)
    assert torch.equal(operator.matvec(v), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_the_block_of_some_tensors_is_cut_out_of_the_whole(kind):
    problem = Problem(tiny_cnn(), images(), batch_size=7, **EXACT)
    whole = dense(CurvatureOperator(problem, kind=kind))
    block = CurvatureOperator(problem, kind=kind, tensors=["0.bias", "5.weight"])
    weights = [
        problem.spec.weights[problem.spec.names.index(name)] for name in ("0.bias", "5.weight")
    ]
    places = torch.cat([torch.arange(weight.start, weight.stop) for weight in weights])
    assert block.size == 3 + 36
    assert_close(dense(block), whole[places][:, places])


def test_blocks_leave_the_other_parameters_trainable():
    problem = Problem(tiny_mlp(), classification(), **EXACT)
    expected = problem.gradient().vector
    CurvatureOperator(problem, tensors=[0]).matvec(torch.ones(35))
    assert torch.equal(problem.gradient().vector, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_the_block_of_an_unused_parameter_is_zero(kind):
    problem = Problem(seeded(Tied), classification(), **EXACT)
    assert not CurvatureOperator(problem, kind=kind, tensors=["unused"]).matvec(torch.ones(2)).any()


def test_a_tied_weight_is_one_tensor_of_its_first_layer():
    spec = Problem(seeded(Tied), classification(), device="cpu").spec
    assert layers_of(spec)["first"] == (
        spec.names.index("first.weight"),
        spec.names.index("first.bias"),
    )
    assert layers_of(spec)["second"] == (spec.names.index("second.bias"),)
    assert layers_of(spec)["unused"] == (spec.names.index("unused"),)


@pytest.mark.parametrize("tensors", [[], [99], ["nothing"], [-1]])
def test_tensors_that_do_not_exist_are_refused(tensors):
    problem = Problem(tiny_mlp(), classification(), device="cpu")
    with pytest.raises(InputError, match=r"must be at least one of the model's 4.*0\.weight"):
        CurvatureOperator(problem, tensors=tensors)


def test_an_unknown_curvature_is_refused():
    with pytest.raises(InputError, match="must be one of hessian, ggn, fisher, got 'kfac'"):
        CurvatureOperator(Problem(tiny_mlp(), classification(), device="cpu"), kind="kfac")


def test_a_vector_of_another_size_is_refused():
    operator = CurvatureOperator(Problem(tiny_mlp(), classification(), device="cpu"), tensors=[1])
    with pytest.raises(InputError, match="flat vector of the model's 7 weights"):
        operator.matvec(torch.ones(66))


def test_fisher_without_single_losses_is_refused():
    problem = Problem(
        tiny_mlp(), classification(), lambda f, y: F.cross_entropy(f, y), device="cpu"
    )
    with pytest.raises(InputError, match="needs one loss an example") as caught:
        CurvatureOperator(problem, kind="fisher").matvec(problem.weights)
    assert "GGN" in caught.value.hint


@pytest.mark.parametrize("kind", ["hessian", "ggn"])
def test_a_loss_that_is_linear_in_the_outputs_of_a_linear_model_has_no_curvature(kind):
    problem = Problem(Quadratic(torch.ones(3)), DUMMY_DATA, lambda w, _: w.sum(), **EXACT)
    assert not CurvatureOperator(problem, kind=kind).matvec(torch.ones(3)).any()


def test_a_quadratic_has_its_matrix_as_hessian_and_as_ggn():
    matrix = torch.tensor([[2.0, 1.0], [1.0, -3.0]], dtype=torch.float64)
    problem = Problem(
        Quadratic(torch.ones(2)), DUMMY_DATA, quadratic_loss(matrix, torch.ones(2)), **EXACT
    )
    for kind in ("hessian", "ggn"):
        torch.testing.assert_close(dense(CurvatureOperator(problem, kind=kind)), matrix, **CLOSE)


@pytest.mark.parametrize("graph_bytes", [0, PLENTY])
@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_with_nan_is_named(kind, graph_bytes):
    x, y = classification(num_examples=38)
    x[17, 2] = math.nan
    operator = CurvatureOperator(
        Problem(tiny_mlp(), (x, y), batch_size=8, device="cpu"), kind=kind, graph_bytes=graph_bytes
    )
    with pytest.raises(
        NotFiniteError, match="-vector product holds NaN or inf in batch 3 of 5, examples 16 to 23"
    ):
        operator.matvec(torch.ones(66))


def test_the_last_batch_is_named_with_its_own_end():
    x, y = classification(num_examples=38)
    x[37] = math.inf
    operator = CurvatureOperator(Problem(tiny_mlp(), (x, y), batch_size=8, device="cpu"))
    with pytest.raises(NotFiniteError, match="in batch 5 of 5, examples 32 to 37"):
        operator.matvec(torch.ones(66))


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * g


class OnceCube(Cube):
    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * g


class NumpyCube(Cube):
    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return torch.from_numpy(3 * x.detach().numpy() ** 2 * g.detach().numpy())


class PlainNumpyCube(Cube):
    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return torch.from_numpy(3 * x.detach().numpy() ** 2 * g.numpy())


class Sign(torch.autograd.Function):
    """Piecewise constant, and says so."""

    @staticmethod
    def forward(ctx, x):
        return x.sign()

    @staticmethod
    def backward(ctx, g):
        return torch.zeros(g.shape, dtype=g.dtype)


class Cubed(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.inner, self.function = tiny_mlp(), function

    def forward(self, x):
        return self.function.apply(self.inner(x))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["model", "loss"])
@pytest.mark.parametrize(
    ("function", "message"),
    [
        (OnceCube, r"OnceCube\.backward is marked once_differentiable"),
        (NumpyCube, r"what NumpyCube\.backward returns does not depend"),
        (PlainNumpyCube, r"cannot be differentiated twice: Can't call numpy\(\)"),
    ],
)
def test_a_custom_function_that_cuts_second_derivatives_off_is_named(
    function, message, place, kind
):
    if place == "model":
        problem = Problem(Cubed(function), classification(), device="cpu")
    else:
        problem = Problem(tiny_mlp(), classification(), Mean(function), device="cpu")
    with pytest.raises(InputError, match=message):
        CurvatureOperator(problem, kind=kind).matvec(torch.ones(66))


class Mean(nn.Module):
    """A loss that is the last operation: nothing but a constant comes back to its backward."""

    reduction = "mean"

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, outputs, targets):
        losses = self.function.apply(outputs.mean(1))
        return losses.mean() if self.reduction == "mean" else losses


@pytest.mark.parametrize("function", [Cube, Sign])
def test_a_custom_function_with_a_second_derivative_is_accepted(function):
    problem = Problem(Cubed(function), classification(), **EXACT)
    exact = Problem(Cubed(Power if function is Cube else Flat), classification(), **EXACT)
    v = torch.randn(66, dtype=torch.float64)
    torch.testing.assert_close(
        CurvatureOperator(problem).matvec(v), CurvatureOperator(exact).matvec(v), **CLOSE
    )


class Power:
    """Torch's own third power."""

    apply = staticmethod(lambda x: x**3)


class Flat:
    """Torch's own sign."""

    apply = staticmethod(torch.sign)


def ctc(outputs, targets):
    n = len(outputs)
    scores = outputs[None].expand(4, n, 3).log_softmax(-1)
    return F.ctc_loss(
        scores, torch.ones(n, 1, dtype=torch.int64), torch.full((n,), 4), torch.full((n,), 1)
    )


@pytest.mark.parametrize("graph_bytes", [0, PLENTY])
def test_an_operation_of_torch_without_a_second_derivative_is_named(graph_bytes):
    problem = Problem(tiny_mlp(), classification(), ctc, device="cpu")
    with pytest.raises(
        InputError, match=r"cannot be differentiated twice: .*aten::_ctc_loss_backward"
    ):
        CurvatureOperator(problem, graph_bytes=graph_bytes).matvec(problem.weights)


class Flash(nn.Module):
    """Insists on an attention kernel."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(8, 3)

    def forward(self, x):
        q = self.inner(x)[:, None, None, :].expand(-1, 1, 4, 3)
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            return F.scaled_dot_product_attention(q, q, q).mean((1, 2))


def test_flash_attention_is_named():
    problem = Problem(Flash(), classification(num_features=8), device="cpu")
    with pytest.raises(InputError, match=r"cannot be differentiated twice: .*flash_attention"):
        CurvatureOperator(problem).matvec(problem.weights)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_memory_that_runs_out_in_a_product_is_a_sentence_with_a_hint(error):
    class Exhausting(Cube):
        @staticmethod
        def backward(ctx, g):
            raise error

    problem = Problem(tiny_mlp(), classification(), Mean(Exhausting), device="cpu")
    with pytest.raises(LandscapeError, match="out of memory in a matrix-vector product") as caught:
        CurvatureOperator(problem).matvec(problem.weights)
    assert "`batch_size`" in caught.value.hint
    assert "`memory`" in caught.value.hint


def test_memory_that_runs_out_in_a_forward_pass_on_the_cpu_is_told_from_bad_data():
    problem = Problem(tiny_mlp(), classification(), device="cpu")
    problem.passes.criterion = lambda f, y: torch.empty(1 << 55).sum()
    with pytest.raises(LandscapeError, match="out of memory in a forward pass"):
        problem.loss()


def test_other_errors_of_torch_stay_what_they_are():
    class Failing(Cube):
        @staticmethod
        def backward(ctx, g):
            raise RuntimeError("a bug of the user's")

    problem = Problem(tiny_mlp(), classification(), Mean(Failing), device="cpu")
    with pytest.raises(RuntimeError, match="a bug of the user's"):
        CurvatureOperator(problem).matvec(problem.weights)


@pytest.mark.parametrize("batchnorm", ["stored", "batch", "recalibrate"])
def test_a_problem_in_double_is_the_one_that_float64_was_asked_of(batchnorm):
    criterion = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 0.5]))
    options = {
        "device": "cpu",
        "batch_size": 7,
        "batchnorm": batchnorm,
        "calibration": images(10, seed=5),
    }
    single = Problem(tiny_cnn(), images(), criterion, **options)
    double = single.in_dtype()
    asked = Problem(
        tiny_cnn(), images(), copy.deepcopy(criterion).double(), **options, dtype="float64"
    )
    v = torch.randn(single.spec.size, dtype=torch.float64)
    assert double.evaluate().loss == pytest.approx(asked.evaluate().loss, rel=1e-13)
    assert CurvatureOperator(double).dtype == torch.float64
    torch.testing.assert_close(
        CurvatureOperator(double).matvec(v), CurvatureOperator(asked).matvec(v), **CLOSE
    )
    assert criterion.weight.dtype == torch.float32
    assert double.data_hash == single.data_hash


def test_many_tiny_batches_are_all_kept():
    problem = Problem(tiny_mlp(), classification(num_examples=300), batch_size=1, **EXACT)
    operator = CurvatureOperator(problem)
    assert operator.num_retained == operator.num_batches == 300
    whole = Problem(tiny_mlp(), classification(num_examples=300), **EXACT)
    v = torch.randn(66, dtype=torch.float64)
    torch.testing.assert_close(operator.matvec(v), whole.hessian_vector_product(v), **CLOSE)


def test_nothing_of_the_caller_is_touched():
    model = tiny_cnn().train()
    state, random_state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        problem = Problem(model, images(), device="cpu", batchnorm="batch", batch_size=7)
        for kind in KINDS:
            CurvatureOperator(problem, kind=kind).matvec(problem.weights)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_eigenvalues_of_the_ggn_and_the_fisher_are_not_negative():
    problem = Problem(tiny_mlp(), classification(), batch_size=7, **EXACT)
    for kind in ("ggn", "fisher"):
        values = np.linalg.eigvalsh(dense(CurvatureOperator(problem, kind=kind)).numpy())
        assert values[0] > -1e-12 * values[-1]


def some_ignored(start):
    x, y = images(num_examples=150)
    y[start : start + 3] = -100
    return x, y


WEIGHTED = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 1.5, 0.2]))


@pytest.mark.parametrize(
    ("criterion", "data"),
    [
        (None, images(num_examples=150)),
        (WEIGHTED, images(num_examples=150)),
        (None, some_ignored(70)),
    ],
    ids=["examples", "weighted classes", "ignored in the middle"],
)
def test_products_with_small_graphs_are_computed_in_larger_batches_than_losses(criterion, data):
    problem = Problem(tiny_cnn(), data, criterion, device="cpu", dtype="float64")
    operator, v = CurvatureOperator(problem), torch.ones(problem.spec.size, dtype=torch.float64)
    assert (len(problem.batches), operator.num_batches) == (3, 1)
    torch.testing.assert_close(operator.matvec(v), problem.hessian_vector_product(v), **CLOSE)
    weighted = partial(F.cross_entropy, weight=criterion and criterion.weight.double())
    loss, w = loss_of_vector(tiny_cnn(), *data, weighted)
    expected = torch.func.jvp(torch.func.grad(loss), (w,), (v,))[1]
    torch.testing.assert_close(operator.matvec(v), expected, **CLOSE)


class Centred(nn.Module):
    """Looks across a batch where no weights are behind it that could tell: its head is zero."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(36, 4), nn.Linear(4, 3)
        nn.init.zeros_(self.head.weight)

    def forward(self, x):
        hidden = self.body(x.flatten(1)).tanh()
        return self.head(hidden - hidden.mean(0))


class Dropping(nn.Module):
    """Draws in evaluation mode too."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(36, 3)

    def forward(self, x):
        return self.body(F.dropout(F.dropout(x.flatten(1)), 0.4))


def normalized_by_the_batch():
    return nn.Sequential(
        nn.Conv2d(1, 2, 3),
        nn.BatchNorm2d(2, track_running_stats=False),
        nn.Flatten(),
        nn.Linear(32, 3),
    )


def in_three():
    x, y = images(num_examples=150)
    return list(zip(x.split(50), y.split(50), strict=True))


AS_THEY_ARE = {
    "asked for": (tiny_cnn, {"batch_size": 64}, None),
    "batch statistics": (tiny_cnn, {"batchnorm": "batch"}, None),
    "recalibrated": (tiny_cnn, {"batchnorm": "recalibrate"}, None),
    "no running statistics": (normalized_by_the_batch, {}, None),
    "across the batch": (Centred, {}, None),
    "random": (Dropping, {}, None),
    "made by the user": (
        tiny_cnn,
        {},
        [tuple(part[i : i + 50] for part in images(num_examples=150)) for i in (0, 50, 100)],
    ),
}


@pytest.mark.parametrize("name", AS_THEY_ARE)
def test_batches_that_decide_the_loss_are_left_as_they_are(name, monkeypatch):
    monkeypatch.setattr(
        "landscape.problem.passes.prefers_channels_last", lambda *_: True
    )  # and so batches of 64
    model, options, data = AS_THEY_ARE[name]
    problem = Problem(seeded(model), data or images(num_examples=150), device="cpu", **options)
    assert CurvatureOperator(problem).num_batches == len(problem.batches) == 3
