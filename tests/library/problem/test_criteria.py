"""What a mean is over: targets that count, whatever the batch size, and losses that fit."""

import math
import warnings
from functools import partial

import pytest
import torch
from reference import dense_hessian, loss_of_vector
from token_losses import NEXT, WORDS, Tokens, of_tokens, sum_and_count
from torch import nn
from torch.nn import functional as F

from landscape.errors import InputError, Remark
from landscape.hessian.operator import CurvatureOperator
from landscape.hessian.spectrum import hessian_spectrum
from landscape.problem.criteria import LOSSES, loss_name
from landscape.problem.problem import Problem
from landscape.sharpness import measure_sharpness
from landscape.training import TrainingPlan, train

GENERATOR = torch.Generator().manual_seed(5)
PIXELS = torch.randn(13, 1, 3, 3, generator=GENERATOR, dtype=torch.float64)
CLASSES = torch.randint(0, 4, (13, 3, 3), generator=GENERATOR)
CLASSES[:6, 1:] = 255
FLAT = torch.where(NEXT[:, 0] < 0, 0, NEXT[:, 0])
WEIGHT = torch.tensor([1.0, 5.0, 0.1, 2.0, 0.5], dtype=torch.float64)


class Bag(Tokens):
    def forward(self, words):
        return super().forward(words).mean(1)


class Pixels(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return self.b(torch.tanh(self.a(x)))


def of_pixels(outputs, targets):
    return F.cross_entropy(outputs, targets, ignore_index=255)


def weighted(outputs, targets):
    return F.cross_entropy(outputs, targets, WEIGHT.to(outputs))


# Model, data, what the problem is given, what the float64 reference is given.
CASES = {
    "tokens, built in": (Tokens, (WORDS, NEXT), None, of_tokens),
    "tokens, module": (
        lambda: nn.Sequential(Tokens(), nn.Flatten(0, 1), nn.Unflatten(0, (-1, 4))),
        (WORDS, NEXT),
        "cross-entropy",
        of_tokens,
    ),
    "tokens, sum and count": (Tokens, (WORDS, NEXT), sum_and_count, of_tokens),
    "pixels, module": (
        Pixels,
        (PIXELS, CLASSES),
        nn.CrossEntropyLoss(ignore_index=255),
        of_pixels,
    ),
    "class weights": (Bag, (WORDS, FLAT), nn.CrossEntropyLoss(weight=WEIGHT), weighted),
}
SIZES = [1, 3, 5, 13]


def problem_of(case, size, **options):
    build, data, loss, _ = CASES[case]
    torch.manual_seed(0)
    return Problem(build().double(), data, loss, dtype="float64", batch_size=size, **options)


def reference_of(case):
    build, data, _, loss = CASES[case]
    torch.manual_seed(0)
    return build().double(), *data, loss


def function_of(case):
    model, inputs, targets, loss = reference_of(case)
    if inputs.is_floating_point():
        return loss_of_vector(model, inputs, targets, loss)
    names = [name for name, _ in model.named_parameters()]
    shapes = [parameter.shape for parameter in model.parameters()]

    def value(w):
        parts = w.split([shape.numel() for shape in shapes])
        views = {n: p.view(s) for n, p, s in zip(names, parts, shapes, strict=True)}
        return loss(torch.func.functional_call(model, views, (inputs,)), targets)

    return value, torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("size", SIZES)
def test_loss_and_gradient_do_not_depend_on_the_batch_size(case, size):
    value, w = function_of(case)
    problem = problem_of(case, size)
    assert problem.loss() == pytest.approx(value(w).item(), rel=1e-12)
    gradient = torch.func.grad(value)(w)
    assert torch.allclose(problem.gradient().vector, gradient, rtol=0, atol=1e-13)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("size", [3, 13])
def test_products_are_those_of_the_mean_over_what_counts(case, size):
    value, w = function_of(case)
    problem = problem_of(case, size)
    found = torch.stack([problem.hessian_vector_product(v) for v in torch.eye(len(w)).double()])
    assert torch.allclose(found, torch.func.hessian(value)(w), rtol=0, atol=1e-12)


def jacobian(case):
    model, inputs, targets, _ = reference_of(case)
    names = [name for name, _ in model.named_parameters()]
    outputs = torch.func.jacrev(
        lambda weights: torch.func.functional_call(model, weights, (inputs,))
    )(dict(model.named_parameters()))
    return model(inputs), torch.cat([outputs[n].flatten(3) for n in names], -1).detach(), targets


@pytest.mark.parametrize("size", [3, 13])
def test_the_gauss_newton_matrix_is_that_of_the_tokens_that_count(size):
    outputs, jacobians, targets = jacobian("tokens, built in")  # (B, T, V, P)
    p = outputs.detach().softmax(-1)
    curvature = torch.diag_embed(p) - p[..., None] * p[..., None, :]
    each = torch.einsum("btvp,btvu,btuq->btpq", jacobians, curvature, jacobians)
    expected = each[targets != -100].mean(0)
    operator = CurvatureOperator(problem_of("tokens, built in", size), kind="ggn")
    found = torch.stack([operator.matvec(v) for v in torch.eye(operator.size).double()])
    assert torch.allclose(found, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("size", [3, 13])
def test_the_fisher_matrix_weights_examples_by_what_counts_of_them(size):
    outputs, jacobians, targets = jacobian("tokens, built in")
    errors = outputs.detach().softmax(-1)
    is_counted = targets != -100
    errors = errors - F.one_hot(targets.where(is_counted, 0), 5)
    sums = torch.einsum("btvp,btv,bt->bp", jacobians, errors, is_counted.double())
    counts = is_counted.sum(1).double()
    gradients = sums / counts.clamp(min=1)[:, None]
    expected = torch.einsum("b,bp,bq->pq", counts / counts.sum(), gradients, gradients)
    operator = CurvatureOperator(problem_of("tokens, built in", size), kind="fisher")
    found = torch.stack([operator.matvec(v) for v in torch.eye(operator.size).double()])
    assert torch.allclose(found, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("size", SIZES)
def test_accuracy_is_that_of_the_targets_that_count(size):
    model, words, targets, _ = reference_of("tokens, built in")
    is_counted = targets != -100
    right = (model(words).argmax(-1) == targets)[is_counted].double().mean().item()
    assert problem_of("tokens, built in", size).evaluate().accuracy == pytest.approx(right)
    model, pixels, classes, _ = reference_of("pixels, module")
    right = (model(pixels).argmax(1) == classes)[classes != 255].double().mean().item()
    assert problem_of("pixels, module", size).evaluate().accuracy == pytest.approx(right)


def test_sharpness_in_batches_of_m_weights_them_by_what_counts():
    problem, (_, w) = problem_of("tokens, built in", 2), function_of("tokens, built in")
    found = measure_sharpness(problem, 0.1, measures=("asc",), m=4, is_shuffled=False)
    model, words, targets, loss = reference_of("tokens, built in")
    total = 0.0
    for rows in torch.arange(13).split(4):
        part, count = targets[rows], int((targets[rows] != -100).sum())
        inputs = words[rows]

        def of_part(w, inputs=inputs, part=part):
            names = [(n, p.shape) for n, p in model.named_parameters()]
            parts = w.split([s.numel() for _, s in names])
            views = {n: p.view(s) for (n, s), p in zip(names, parts, strict=True)}
            return loss(torch.func.functional_call(model, views, (inputs,)), part)

        g = torch.func.grad(of_part)(w)
        total += count * float(of_part(w + 0.1 * g / g.norm()))
    expected = total / int((targets != -100).sum())
    assert found.measures[0].loss == pytest.approx(expected, rel=1e-10)


def test_several_points_of_a_pass_have_the_same_means():
    problem = problem_of("tokens, sum and count", 3, points_per_pass=4)
    points = [problem.weights * factor for factor in (1.0, 1.1, 0.9)]
    found = [each.loss for each in problem.evaluate_many(points)]
    assert found == pytest.approx([problem.loss(w) for w in points], rel=1e-12)


@pytest.mark.parametrize("case", ["tokens, built in", "tokens, sum and count"])
def test_batches_of_which_nothing_counts_have_no_effect(case):
    build, (words, following), loss, _ = CASES[case]
    value, w = function_of(case)
    true = torch.linalg.eigvalsh(torch.func.hessian(value)(w))
    torch.manual_seed(0)
    order = [3, 0, 1, 2, *range(4, 13)]  # nothing counts of the first
    problem = Problem(build(), (words[order], following[order]), loss, batch_size=1)
    found = hessian_spectrum(problem, top_k=1)
    assert len(problem.batches) == 12
    assert abs(found.eigenvalues[0] - float(true[-1])) <= found.half_widths[0][0] + 1e-12


def test_data_of_which_nothing_counts_are_refused():
    with pytest.raises(InputError, match="nothing of the data counts"):
        Problem(Tokens(), (WORDS, torch.full_like(NEXT, -100)))


def test_examples_that_count_alike_are_averaged_by_torch_itself():
    problem = Problem(Bag(), (WORDS, FLAT), batch_size=5)
    assert problem.passes.criterion is F.cross_entropy


def opaque(outputs, targets):
    return F.cross_entropy(outputs, targets, ignore_index=255)


def test_a_loss_that_depends_on_the_batch_size_is_warned_of_with_the_size_of_it():
    torch.manual_seed(0)
    model = Pixels().double()
    rows = torch.linspace(0, 12, 4).round().long()
    x, y = PIXELS[rows], CLASSES[rows]
    whole = opaque(model(x), y).item()
    parts = (opaque(model(x[:2]), y[:2]).item() + opaque(model(x[2:]), y[2:]).item()) / 2
    effect = f"{100 * abs(parts - whole) / whole:.2g}"
    with pytest.warns(Remark, match=f"differs by {effect} %"):
        Problem(model, (PIXELS, CLASSES), opaque, dtype="float64", batch_size=4)


SUMS = nn.MSELoss(reduction="sum"), partial(F.mse_loss, reduction="sum")


@pytest.mark.parametrize("loss", SUMS)
def test_a_sum_of_torch_is_warned_of(loss):
    with pytest.warns(Remark, match="differs by 50 % from that of its halves"):
        Problem(nn.Linear(3, 1), (INPUTS, NUMBERS), loss, batch_size=4)


def loss_and_accuracy(outputs, targets):
    loss = F.cross_entropy(outputs, targets, ignore_index=255)
    return loss, (outputs.argmax(1) == targets).float().mean()


def loss_and_penalty(outputs, targets):
    return F.cross_entropy(outputs, targets, ignore_index=255), outputs.square().mean()


@pytest.mark.parametrize("loss", [loss_and_accuracy, loss_and_penalty])
def test_two_numbers_that_depend_on_the_outputs_are_no_sum_and_count(loss):
    with pytest.raises(InputError, match="depends on the outputs of the model") as caught:
        Problem(Pixels(), (PIXELS, CLASSES), loss, batch_size=4)
    assert "Return the mean loss alone" in caught.value.hint


def mean_of_squares(outputs, targets):
    return (outputs - 1).square().mean()


@pytest.mark.parametrize(
    ("loss", "data", "size"),
    [
        (opaque, (PIXELS, CLASSES), 13),  # a single batch
        (opaque, [(PIXELS, CLASSES), (PIXELS[:3], CLASSES[:3])], None),  # the user's batches
        (mean_of_squares, (PIXELS, CLASSES), 4),
        (nn.CrossEntropyLoss(ignore_index=255), (PIXELS, CLASSES), 4),
    ],
)
def test_a_loss_that_does_not_is_not_warned_of(loss, data, size):
    with warnings.catch_warnings():
        warnings.simplefilter("error", Remark)
        Problem(Pixels(), data, loss, batch_size=size)


COLUMN, NUMBERS = nn.Linear(3, 1), torch.randn(20, 1)
INPUTS = torch.randn(20, 3)


@pytest.mark.parametrize(
    ("loss", "outputs", "targets", "message"),
    [
        (None, 1, NUMBERS, "no loss was chosen"),
        (None, 1, NUMBERS[:, 0], "no loss was chosen"),
        (None, 3, torch.rand(20, 3), "no loss was chosen"),
        (None, 3, torch.randint(2, (20, 3)), "no loss was chosen"),
        (None, 1, torch.zeros(20, dtype=torch.long), "at least 2 classes"),
        ("cross-entropy", 1, torch.zeros(20, dtype=torch.long), "at least 2 classes"),
        (None, 0, torch.zeros(20, dtype=torch.long), "no loss was chosen"),
        (None, 0, NUMBERS[:, 0], "no loss was chosen"),
        ("cross-entropy", 0, NUMBERS[:, 0], "at least 2 classes"),
        ("mse", 1, NUMBERS[:, 0], "one shape"),
        ("bce", 1, (NUMBERS[:, 0] > 0).float(), "one shape"),
        (nn.MSELoss(), 1, NUMBERS[:, 0], "one shape"),
        (F.l1_loss, 1, NUMBERS[:, 0], "one shape"),
        ("median", 1, NUMBERS, "loss must be one of cross-entropy, mse, bce"),
    ],
)
def test_a_loss_that_would_misunderstand_its_targets_is_refused(loss, outputs, targets, message):
    model = nn.Linear(3, outputs) if outputs else nn.Sequential(COLUMN, nn.Flatten(0))
    with pytest.raises(InputError, match=message):
        Problem(model, (INPUTS, targets), loss)


def test_the_hint_names_the_losses_for_numbers_and_for_yes_or_no():
    with pytest.raises(InputError, match=r"`loss='mse'`.*`loss='bce'`"):
        Problem(nn.Linear(3, 1), (INPUTS, NUMBERS))


def test_training_refuses_what_the_default_loss_would_misunderstand():
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(InputError, match="no loss was chosen"):
        train(model, (INPUTS, NUMBERS), None, optimizer, TrainingPlan(epochs=1))


@pytest.mark.parametrize("of", [torch.float32, torch.int64])
def test_answers_of_yes_or_no_have_the_loss_of_logits(of):
    torch.manual_seed(0)
    model, answers = nn.Linear(3, 2), torch.randint(2, (20, 2))
    logits = model.double()(INPUTS.double())
    p = logits.sigmoid()
    expected = -(answers * p.log() + (1 - answers) * (1 - p).log()).mean().item()
    problem = Problem(model, (INPUTS, answers.to(of)), "bce", dtype="float64", batch_size=7)
    assert problem.loss() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("answers", [FLAT[:, None], 2 * FLAT[:, None].clamp(0, 1) - 1])
def test_answers_of_yes_or_no_are_from_0_to_1(answers):
    with pytest.raises(InputError, match="bce needs targets from 0 to 1"):
        Problem(nn.Linear(3, 1), (INPUTS[: len(answers)], answers), "bce")


def test_probabilities_of_classes_are_targets_of_a_chosen_cross_entropy():
    torch.manual_seed(0)
    targets = torch.rand(20, 3).softmax(1)
    problem = Problem(nn.Linear(3, 3), (INPUTS, targets), "cross-entropy", batch_size=7)
    assert math.isfinite(problem.loss())


def test_losses_have_names():
    assert [loss_name(LOSSES[name]) for name in LOSSES] == list(LOSSES)
    assert loss_name(opaque) == f"{__name__}:opaque"
    assert loss_name(partial(opaque, scale=2)) == f"{__name__}:opaque(scale=2)"
    assert loss_name(nn.SmoothL1Loss()) == "SmoothL1Loss"
    smoothed = nn.CrossEntropyLoss(torch.ones(3), label_smoothing=0.1)
    assert loss_name(smoothed) == "CrossEntropyLoss(weight=Tensor, label_smoothing=0.1)"


@pytest.mark.parametrize("is_in_dict", [False, True])
def test_a_loss_that_the_model_returns_is_named_as_such(is_in_dict):
    class Own(nn.Linear):
        def forward(self, x):
            loss = super().forward(x).square().mean()
            return {"loss": loss} if is_in_dict else loss

    def returned(outputs, targets):
        return outputs["loss"] if is_in_dict else outputs

    problem = Problem(Own(3, 1), (INPUTS, INPUTS), returned)
    assert problem.passes.loss_name.startswith(f"the model's own ({__name__}:")


@pytest.mark.parametrize("case", CASES)
def test_batches_are_joined_for_products_where_sums_and_counts_add_up(case):
    torch.manual_seed(0)
    build, data, loss, _ = CASES[case]
    problem = Problem(build().double(), data, loss, dtype="float64")
    problem.passes.cut(2)
    derivatives = problem.derivatives.joined(3)
    assert len(derivatives.passes.batches) == 3
    matrix = torch.stack([derivatives.product(v) for v in torch.eye(problem.spec.size).double()])
    value, w = function_of(case)
    expected = torch.func.hessian(value)(w)
    assert torch.allclose(matrix, expected, rtol=0, atol=1e-12)


def test_batches_whose_sums_do_not_add_up_are_not_joined():
    def squared(outputs, targets):
        return (outputs.sum() - targets.sum()) ** 2, torch.tensor(float(len(targets)))

    problem = Problem(nn.Linear(3, 1), (INPUTS, INPUTS[:, :1]), squared)
    problem.passes.cut(2)
    assert problem.derivatives.joined(3) is problem.derivatives


def test_a_dense_hessian_agrees_for_inputs_of_numbers():
    problem = problem_of("pixels, module", 4)
    model, inputs, targets, loss = reference_of("pixels, module")
    found = torch.stack(
        [problem.hessian_vector_product(v) for v in torch.eye(problem.spec.size).double()]
    )
    assert torch.allclose(found, dense_hessian(model, inputs, targets, loss), rtol=0, atol=1e-12)
