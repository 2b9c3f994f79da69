import copy
from pathlib import Path

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
    symmetric_with_spectrum,
    tiny_cnn,
    tiny_mlp,
)
from reference import dense_hessian, loss_of_vector
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from landscape import Problem
from landscape.data import build_data
from landscape.data.subset import balanced_subset
from landscape.errors import InputError
from landscape.io.store import read_result
from landscape.problem.reading import as_data

WRITTEN_BY_0_1 = Path(__file__).resolve().parents[2] / "written_by_0_1"
EXACT = {"device": "cpu", "dtype": "float64"}


def test_loss_equals_the_mean_over_all_examples():
    model, (x, y) = tiny_mlp(), classification()
    reference, w = loss_of_vector(model, x, y)
    assert Problem(model, (x, y), **EXACT).loss() == pytest.approx(float(reference(w)), rel=1e-14)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 20, 100])
def test_loss_does_not_depend_on_batch_size(batch_size):
    model, data = tiny_mlp(), classification()
    whole = Problem(model, data, batch_size=20, **EXACT).loss()
    assert Problem(model, data, batch_size=batch_size, **EXACT).loss() == pytest.approx(
        whole, rel=1e-14
    )


def test_accuracy_is_the_share_of_correct_examples():
    model, (x, y) = tiny_mlp(), classification()
    expected = (model(x).argmax(1) == y).double().mean().item()
    assert Problem(model, (x, y), batch_size=7, device="cpu").evaluate().accuracy == pytest.approx(
        expected
    )


def test_outputs_are_those_of_the_model_at_the_problems_own_weights():
    model, (x, y) = tiny_cnn().double().eval(), images()
    problem = Problem(model, (x, y), batch_size=7, **EXACT)
    problem.loss(problem.weights * 2)
    torch.testing.assert_close(
        torch.cat(problem.outputs()), model(x.double()).detach(), rtol=1e-13, atol=1e-13
    )
    assert [len(outputs) for outputs in problem.outputs(2)] == [7, 7]


def test_outputs_that_are_the_weights_themselves_are_copied():
    problem = Problem(Quadratic(torch.ones(3)), DUMMY_DATA, lambda w, _: w.sum(), **EXACT)
    outputs = problem.outputs()
    problem.loss(problem.weights * 2)
    assert torch.equal(outputs[0], problem.weights)


def test_accuracy_does_not_exist_for_regression():
    data = (torch.randn(6, 5), torch.randn(6, 3))
    problem = Problem(tiny_mlp(), data, nn.functional.mse_loss, device="cpu")
    assert problem.evaluate().accuracy is None


def test_gradient_equals_the_reference():
    model, (x, y) = tiny_mlp(), classification()
    reference, w = loss_of_vector(model, x, y)
    found = Problem(model, (x, y), batch_size=7, **EXACT).gradient()
    torch.testing.assert_close(found.vector, torch.func.grad(reference)(w), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("build", "data"), [(tiny_mlp, classification), (tiny_cnn, images)])
def test_hessian_vector_product_equals_the_dense_product(build, data):
    model, (x, y) = build(), data()
    problem = Problem(model, (x, y), batch_size=7, **EXACT)
    v = torch.randn(
        problem.spec.size, generator=torch.Generator().manual_seed(3), dtype=torch.float64
    )
    torch.testing.assert_close(
        problem.hessian_vector_product(v), dense_hessian(model, x, y) @ v, rtol=1e-10, atol=1e-12
    )


def test_quadratic_has_its_closed_form_everywhere():
    matrix, linear = (
        symmetric_with_spectrum([3.0, 1.0, -2.0, 0.5]),
        torch.arange(4.0, dtype=torch.float64),
    )
    problem = Problem(Quadratic(torch.ones(4)), DUMMY_DATA, quadratic_loss(matrix, linear), **EXACT)
    w = torch.tensor([0.3, -1.0, 2.0, 0.7], dtype=torch.float64)
    assert problem.loss(w) == pytest.approx(float(0.5 * w @ matrix @ w + linear @ w), rel=1e-14)
    torch.testing.assert_close(problem.gradient(w).vector, matrix @ w + linear)
    torch.testing.assert_close(problem.hessian_vector_product(w), matrix @ w)


def test_a_linear_loss_has_hessian_zero():
    problem = Problem(Quadratic(torch.ones(3)), DUMMY_DATA, lambda w, _: w.sum(), **EXACT)
    assert torch.equal(
        problem.hessian_vector_product(torch.ones(3)), torch.zeros(3, dtype=torch.float64)
    )


def test_the_same_weights_give_the_same_loss_bit_for_bit_after_other_weights():
    problem = Problem(tiny_cnn(), images(), device="cpu", batch_size=7)
    first = problem.loss()
    problem.gradient(problem.weights * 3)
    problem.hessian_vector_product(problem.weights, problem.weights + 1)
    assert problem.loss() == first


@pytest.mark.parametrize("batchnorm", ["stored", "batch", "recalibrate"])
def test_the_callers_model_and_random_state_are_untouched(batchnorm):
    model = tiny_cnn().train()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    before, random_state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    problem = Problem(model, images(), device="cpu", batchnorm=batchnorm, batch_size=7)
    problem.evaluate(problem.weights + 1)
    problem.gradient()
    problem.hessian_vector_product(problem.weights)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert model.training
    assert torch.equal(model[0].weight.grad, torch.ones_like(model[0].weight))


def test_an_exception_in_the_loss_leaves_the_problem_as_it_was():
    fails = {"now": False}

    def loss(outputs, targets):
        if fails["now"]:
            raise KeyboardInterrupt
        return nn.functional.cross_entropy(outputs, targets)

    problem = Problem(tiny_cnn(), images(), loss, device="cpu", batchnorm="batch", batch_size=7)
    before, random_state = problem.loss(), torch.get_rng_state()
    fails["now"] = True
    with pytest.raises(KeyboardInterrupt):
        problem.evaluate(problem.weights * 2)
    fails["now"] = False
    assert problem.loss() == before
    assert torch.equal(torch.get_rng_state(), random_state)


def test_a_model_with_random_noise_is_still_a_function_of_its_weights():
    class Noisy(nn.Linear):
        def forward(self, x):
            return super().forward(x) + torch.randn(len(x), 3)

    problem = Problem(seeded(lambda: Noisy(5, 3)), classification(), device="cpu")
    assert problem.loss() == problem.loss()


def test_stored_batchnorm_uses_the_running_statistics():
    model, (x, y) = tiny_cnn(), images()
    expected = nn.functional.cross_entropy(model.eval()(x), y).item()
    assert Problem(model, (x, y), device="cpu").loss() == pytest.approx(expected, rel=1e-6)


def test_batch_mode_uses_the_statistics_of_each_batch():
    model, (x, y) = tiny_cnn(), images()
    expected = nn.functional.cross_entropy(copy.deepcopy(model).train()(x), y).item()
    assert Problem(model, (x, y), device="cpu", batchnorm="batch").loss() == pytest.approx(
        expected, rel=1e-6
    )


def test_recalibrated_statistics_of_one_batch_are_its_own():
    model, (x, y) = tiny_cnn(), images()
    reference = copy.deepcopy(model).train()
    reference[1].momentum = 1.0
    reference(x)
    expected = nn.functional.cross_entropy(reference.eval()(x), y).item()
    assert Problem(model, (x, y), device="cpu", batchnorm="recalibrate").loss() == pytest.approx(
        expected, rel=1e-6
    )


def test_a_tied_weight_counts_once_and_moves_everywhere():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(5, 5, bias=False), nn.Linear(5, 5, bias=False)
            self.second.weight = self.first.weight

        def forward(self, x):
            return self.second(self.first(x))

    model, (x, _) = seeded(Tied), classification()
    problem = Problem(model, (x, torch.zeros(20, 5)), nn.functional.mse_loss, **EXACT)
    assert problem.spec.size == 25
    weight = model.first.weight.detach().double()
    expected = ((x.double() @ (2 * weight).T @ (2 * weight).T) ** 2).mean()
    assert problem.loss(2 * problem.weights) == pytest.approx(float(expected), rel=1e-12)


def test_frozen_parameters_are_constants():
    model = tiny_mlp()
    model[0].requires_grad_(False)
    assert Problem(model, classification(), device="cpu").spec.names == ("2.weight", "2.bias")


def test_an_unused_parameter_has_gradient_and_curvature_zero():
    model = tiny_mlp()
    model.register_parameter("unused", nn.Parameter(torch.ones(2)))
    problem = Problem(model, classification(), **EXACT)
    place = dict(
        zip(problem.spec.names, problem.spec.views(problem.gradient().vector), strict=True)
    )
    product = problem.hessian_vector_product(torch.ones(problem.spec.size))
    curved = dict(zip(problem.spec.names, problem.spec.views(product), strict=True))
    assert not place["unused"].any()
    assert not curved["unused"].any()


def test_attention_can_be_differentiated_twice():
    layer = seeded(lambda: nn.TransformerEncoderLayer(4, 2, 8, dropout=0.5, batch_first=True))
    model = nn.Sequential(layer, nn.Flatten(), nn.Linear(12, 3))
    data = (torch.randn(6, 3, 4), torch.zeros(6, dtype=torch.int64))
    problem = Problem(model, data, **EXACT)
    u, v = torch.randn(2, problem.spec.size, dtype=torch.float64)
    forward, backward = u @ problem.hessian_vector_product(v), v @ problem.hessian_vector_product(u)
    assert float(forward) == pytest.approx(float(backward), rel=1e-9)


class _Sum(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 3)

    def forward(self, left, right):
        return self.linear(left + right)


@pytest.mark.parametrize("inputs", [lambda x: (x, x), lambda x: {"left": x, "right": x}])
def test_tuples_and_dicts_are_unpacked_into_the_model(inputs):
    model, (x, y) = seeded(_Sum), classification()
    expected = nn.functional.cross_entropy(model(x, x), y).item()
    assert Problem(model, (inputs(x), y), device="cpu", batch_size=7).loss() == pytest.approx(
        expected, rel=1e-6
    )


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x, y: TensorDataset(x, y),
        lambda x, y: DataLoader(TensorDataset(x, y), batch_size=6),
        lambda x, y: [(x[:6], y[:6]), (x[6:], y[6:])],
        lambda x, y: list(zip(x, y, strict=True)).__class__([(x, y)]),
    ],
    ids=["dataset", "loader", "ragged batches", "one batch"],
)
def test_every_form_of_data_gives_the_same_loss(wrap):
    model, (x, y) = tiny_mlp(), classification()
    expected = Problem(model, (x, y), **EXACT).loss()
    assert Problem(model, wrap(x, y), **EXACT).loss() == pytest.approx(expected, rel=1e-13)


def test_bfloat16_keeps_float32_weights_and_is_close():
    model, data = tiny_mlp(), classification()
    rough = Problem(model, data, device="cpu", dtype="bfloat16")
    assert rough.weights.dtype == torch.float32
    assert rough.loss() == pytest.approx(Problem(model, data, device="cpu").loss(), rel=2e-2)
    assert rough.loss() != Problem(model, data, device="cpu").loss()


def test_a_loss_that_is_not_finite_is_a_value():
    problem = Problem(tiny_mlp(), classification(), device="cpu")
    assert np.isnan(problem.loss(torch.full_like(problem.weights, torch.nan)))


def test_weights_with_nan_are_refused_by_name():
    model = tiny_mlp()
    with torch.no_grad():
        model[2].bias[1] = torch.nan
    with pytest.raises(InputError, match=r"1 of 4 tensors hold NaN or inf: 2\.bias"):
        Problem(model, classification(), device="cpu")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dtype": "float16"}, "dtype must be one of"),
        ({"device": "tpu"}, "device must be one of"),
        ({"batchnorm": "frozen"}, "batchnorm must be one of"),
        ({"batch_size": 0}, "batch size must be at least 1"),
    ],
)
def test_unknown_choices_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Problem(tiny_mlp(), classification(), **{"device": "cpu", **arguments})


def test_data_that_do_not_fit_the_model_are_described():
    with pytest.raises(InputError, match="model, loss and data do not fit") as caught:
        Problem(tiny_mlp(), classification(num_features=4), device="cpu")
    assert "(2, 4)" in caught.value.hint


def test_a_loss_that_returns_no_scalar_is_refused():
    with pytest.raises(InputError, match="must return a scalar"):
        Problem(tiny_mlp(), classification(), lambda outputs, targets: outputs, device="cpu")


def test_a_loss_without_a_gradient_is_refused():
    problem = Problem(
        tiny_mlp(), classification(), lambda outputs, _: outputs.detach().mean(), device="cpu"
    )
    with pytest.raises(InputError, match="does not depend on the weights"):
        problem.gradient()


def test_weights_of_another_size_are_refused():
    problem = Problem(tiny_mlp(), classification(), device="cpu")
    with pytest.raises(InputError, match="flat vector of the model's 66 weights"):
        problem.loss(torch.zeros(3))


def test_a_model_without_parameters_is_refused():
    with pytest.raises(InputError, match="at least one trainable parameter"):
        Problem(nn.ReLU(), classification(), device="cpu")


def test_an_operation_without_second_derivative_is_named():
    def loss(outputs, targets):
        return torch.cdist(outputs, 2 * outputs, p=3).mean()

    problem = Problem(tiny_mlp(), classification(), loss, device="cpu")
    with pytest.raises(InputError, match=r"cannot be differentiated twice.*cdist"):
        problem.hessian_vector_product(problem.weights)


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu():
    model, data = tiny_cnn(), images()
    on_cpu, on_gpu = (
        Problem(model, data, device=device, dtype="float64").loss() for device in ("cpu", "cuda")
    )
    assert on_gpu == pytest.approx(on_cpu, rel=1e-10)


def test_a_model_that_flattens_images_with_view_runs():
    class Flattens(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.linear = nn.Conv2d(3, 2, 3), nn.Linear(32, 3)

        def forward(self, x):
            return self.linear(self.conv(x).view(len(x), -1))

    model, (x, y) = seeded(Flattens), images()
    x = torch.cat([x, x + 1, x - 1], dim=1)
    problem = Problem(model, (x, y), device="cpu")
    assert problem.plan.memory_format == "contiguous"
    assert problem.loss() == pytest.approx(
        nn.functional.cross_entropy(model(x), y).item(), rel=1e-6
    )


def test_a_convolutional_model_runs_channels_last():
    assert Problem(tiny_cnn(), images(), device="cpu").plan.memory_format == "channels_last"


class _Hidden(nn.Module):
    def __init__(self, hide):
        super().__init__()
        self.linear = nn.Linear(5, 3)
        self.hidden = hide(self.linear)

    def forward(self, x):
        return self.hidden(x)


@pytest.mark.parametrize(
    "hide",
    [
        lambda linear: lambda x: linear(x),
        lambda linear: (lambda weights: lambda x: nn.functional.linear(x, *weights))(
            [linear.weight, linear.bias]
        ),
    ],
    ids=["closure", "list"],
)
def test_a_model_that_would_not_follow_the_weights_is_refused(hide):
    with pytest.raises(InputError, match="reaches by another way than its attributes"):
        Problem(_Hidden(hide), classification(), device="cpu")


def test_a_model_that_cannot_be_copied_is_refused():
    model = tiny_mlp()
    model.stuck = (value for value in ())
    with pytest.raises(InputError, match="the model cannot be copied: TypeError"):
        Problem(model, classification(), device="cpu")


def test_a_problem_on_other_data_is_that_of_these_data():
    model, (x, y) = tiny_cnn(), images(20)
    problem = Problem(model, (x, y), device="cpu", batch_size=6)
    other = problem.on((x[:9], y[:9]))
    expected = Problem(model, (x[:9], y[:9]), device="cpu", batch_size=6)
    assert (other.loss(), other.num_examples, other.data_hash) == (
        expected.loss(),
        9,
        expected.data_hash,
    )
    assert torch.equal(other.gradient().vector, expected.gradient().vector)
    assert problem.num_examples == 20


def test_recalibration_is_on_the_data_of_the_problem_unless_others_are_given():
    model, (x, y) = tiny_cnn(), images(20)
    few = (x[:9], y[:9])
    for options in ({}, {"calibration": (x, y)}):
        moved = Problem(model, (x, y), device="cpu", batchnorm="recalibrate", **options).on(few)
        assert (
            moved.loss()
            == Problem(model, few, device="cpu", batchnorm="recalibrate", **options).loss()
        )


def test_a_problem_with_other_weights_has_them_as_its_own():
    model, data = tiny_mlp(), classification()
    problem = Problem(model, data, device="cpu")
    moved = problem.with_weights(2 * problem.weights)
    assert moved.loss() == problem.loss(2 * problem.weights) != problem.loss()
    assert moved.weights_hash != problem.weights_hash


def test_other_weights_must_fit():
    problem = Problem(tiny_mlp(), classification(), device="cpu")
    with pytest.raises(InputError, match="flat vector of the model's 66 weights"):
        problem.with_weights(torch.zeros(65))
    with pytest.raises(InputError, match="weights must be finite"):
        problem.with_weights(torch.full((66,), torch.nan))


def test_other_weights_are_read_although_this_problems_own_were_just_written():
    matrix = torch.diag(torch.arange(1.0, 5.0, dtype=torch.float64))
    problem = Problem(
        Quadratic(torch.ones(4)), DUMMY_DATA, quadratic_loss(matrix, torch.zeros(4)), **EXACT
    )
    own = problem.loss()
    doubled = problem.with_weights(2 * problem.weights)
    assert doubled.loss() == pytest.approx(4 * own)
    assert problem.loss() == own


def test_sparse_gradients_are_added_like_dense_ones():
    tokens, targets = torch.tensor([[0, 1], [2, 2], [1, 0]]), torch.tensor([0, 1, 1])
    gradients = []
    for is_sparse in (True, False):
        model = seeded(
            lambda is_sparse=is_sparse: nn.Sequential(
                nn.Embedding(3, 2, sparse=is_sparse), nn.Flatten()
            )
        )
        gradients.append(Problem(model, (tokens, targets), device="cpu").gradient().vector)
    assert gradients[1].any()
    assert torch.equal(*gradients)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_data_have_the_hash_that_version_0_1_stored_whatever_the_dtype(dtype):
    stored = read_result(WRITTEN_BY_0_1 / "surface.h5").provenance.data_hash["train"]
    train, _ = build_data("digits")
    data = as_data(train).examples
    subset = data.take(balanced_subset(data.targets, 100))
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    problem = Problem(model, subset, device="cpu", dtype=dtype)
    assert problem.data_hash == problem.in_dtype().data_hash == stored


def trained_with_statistics(seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)).double()
    model(1 + seed + torch.randn(50, 4, dtype=torch.float64))  # moves the running statistics
    return model.eval()


def test_other_weights_come_with_their_own_statistics():
    first, second = trained_with_statistics(0), trained_with_statistics(1)
    x, y = torch.randn(20, 4, dtype=torch.float64), torch.randint(3, (20,))
    problem = Problem(first, (x, y), dtype="float64")
    moved = problem.with_weights(second.state_dict())
    assert moved.loss() == pytest.approx(nn.functional.cross_entropy(second(x), y).item())
    assert problem.loss() == pytest.approx(nn.functional.cross_entropy(first(x), y).item())


def test_other_weights_without_their_statistics_are_refused():
    model = trained_with_statistics(0)
    data = torch.randn(20, 4), torch.randint(3, (20,))
    problem = Problem(model, data)
    with pytest.raises(InputError, match="running statistics"):
        problem.with_weights(problem.weights)
    with pytest.raises(InputError, match="does not fit the model"):
        problem.with_weights(nn.Linear(2, 2).state_dict())
    recalibrated = Problem(model, data, batchnorm="recalibrate")
    assert recalibrated.with_weights(recalibrated.weights).loss() == recalibrated.loss()
