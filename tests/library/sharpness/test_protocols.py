"""Each protocol against plain loops over the batches, on a small model with batch normalization."""

import copy
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from landscape import Problem
from landscape.errors import InputError
from landscape.problem.batches import BatchData
from landscape.problem.sampling_error import separate_losses
from landscape.sharpness.losses import cross_entropy_of_normalized, divergence_from_smoothed
from landscape.sharpness.measurement import batches_of_m
from landscape.sharpness.protocols import PROTOCOLS, get_protocol, measure_by, prepared
from landscape.training.augmentation import get_augmentation

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "protocols.md"


def _model():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3, stride=2), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 4)
    ).double()
    with torch.no_grad():
        model(
            2 * torch.randn(64, 1, 8, 8, dtype=torch.float64) + 1
        )  # statistics that are not those of a batch
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def _data(count):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, 1, 8, 8, generator=generator, dtype=torch.float64)
    return images, torch.randint(4, (count,), generator=generator)


def _measured(name, count, **arguments):
    """Measure by a protocol; return what was found, the images and targets, and the batches."""
    protocol = get_protocol(name)
    data = prepared(protocol, _data(count), get_augmentation(protocol.augmentation), seed=5)
    problem = Problem(_model(), data, device="cpu", dtype="float64", **protocol.problem_arguments)
    found = measure_by(protocol, problem, seed=3, **arguments).result
    subsets = batches_of_m(
        problem.num_examples, replace(protocol.options, m=protocol.options.m or 1, seed=3)
    )
    batches = [(data.inputs[rows], data.targets[rows]) for rows in subsets]
    return {measure.key: measure for measure in found.measures}, data, batches


def _loss(criterion, images, targets, e=0.0, *, is_training):
    """The loss at w + e, and the gradient there."""
    model = copy.deepcopy(_model()).train(is_training)
    vector_to_parameters(parameters_to_vector(model.parameters()).detach() + e, model.parameters())
    loss = criterion(model(images), targets)
    gradient = parameters_to_vector(torch.autograd.grad(loss, list(model.parameters())))
    return loss.item(), gradient


def _weights():
    return parameters_to_vector(_model().parameters()).detach()


def _smoothed_by_hand(outputs, targets):
    """Sum of t log(t / softmax), t = 0.9 for the class and 0.1 / 3 for each of the three others."""
    total = 0.0
    for row, target in zip(F.softmax(outputs, dim=1), targets, strict=True):
        for i, probability in enumerate(row):
            t = 0.9 if i == target else 0.1 / 3
            total = total + t * (math.log(t) - probability.log())
    return total / len(targets)


def _normalized_by_hand(outputs, targets):
    losses = []
    for row, target in zip(outputs, targets, strict=True):
        centred = row - row.mean()
        unit = centred / centred.square().sum().sqrt()
        losses.append(torch.logsumexp(unit, 0) - unit[target])
    return torch.stack(losses).mean()


def test_s001_is_one_step_on_the_whole_set_with_stored_statistics():
    found, data, _ = _measured("s001", 200)
    here, gradient = _loss(F.cross_entropy, data.inputs, data.targets, is_training=False)
    e = 0.05 * gradient / gradient.norm()
    there, _ = _loss(F.cross_entropy, data.inputs, data.targets, e, is_training=False)
    assert found["asc", 0.05].sharpness == pytest.approx(there - here, rel=1e-9)
    assert get_protocol("s001").scale == 1000


def test_s003_text_is_the_sum_over_batches_over_their_number_minus_one():
    found, _, batches = _measured("s003-text", 300)
    norms = [float(_loss(F.cross_entropy, *batch, is_training=True)[1].norm()) for batch in batches]
    assert [len(targets) for _, targets in batches] == [128, 128, 44]
    assert found["first_order", 0.05].sharpness == pytest.approx(0.05 * sum(norms) / 2, rel=1e-9)


def test_s003_code_is_adaptive_on_smoothed_targets():
    found, _, batches = _measured("s003-code", 300)
    norms = [
        float((_weights().abs() * _loss(_smoothed_by_hand, *b, is_training=True)[1]).norm())
        for b in batches
    ]
    assert found["first_order", 2.0].sharpness == pytest.approx(2 * sum(norms) / 2, rel=1e-9)


def test_foret_is_one_step_of_each_batch_with_its_own_statistics():
    found, _, batches = _measured("foret", 300)
    total = 0.0
    for batch in batches:
        here, gradient = _loss(F.cross_entropy, *batch, is_training=True)
        there, _ = _loss(
            F.cross_entropy, *batch, 0.05 * gradient / gradient.norm(), is_training=True
        )
        total += len(batch[1]) * (there - here)
    assert found["asc", 0.05].sharpness == pytest.approx(total / 300, rel=1e-9)


@pytest.fixture(scope="module")
def andriushchenko():
    return _measured("andriushchenko2023", 1100)


def test_andriushchenko2023_takes_the_first_1024_examples_in_batches_of_128(andriushchenko):
    _, data, batches = andriushchenko
    assert torch.equal(data.inputs, _data(1100)[0][:1024])
    assert torch.equal(data.targets, _data(1100)[1][:1024])
    assert [len(targets) for _, targets in batches] == [128] * 8


@pytest.mark.parametrize("rho", [0.001, 0.008])
def test_andriushchenko2023_finds_at_least_what_one_step_in_the_box_does(andriushchenko, rho):
    found, _, batches = andriushchenko
    rises = []
    for batch in batches:
        here, gradient = _loss(_normalized_by_hand, *batch, is_training=False)
        e = rho * _weights().abs() * gradient.sign()
        rises.append(_loss(_normalized_by_hand, *batch, e, is_training=False)[0] - here)
    measure = found["max", rho]
    assert measure.sharpness >= np.mean(rises) * (1 - 1e-9)
    assert measure.sharpness <= 1.2 * np.mean(
        rises
    )  # the radii are small: the loss is almost linear
    assert (measure.p, measure.adaptive, measure.m) == (math.inf, True, 128)


@pytest.mark.slow
def test_andriushchenko2023_averages_over_gaussian_noise_scaled_by_the_weights(andriushchenko):
    found, data, _ = andriushchenko
    here, _ = _loss(_normalized_by_hand, data.inputs, data.targets, is_training=False)
    generator, rises = torch.Generator().manual_seed(3), []
    for _ in range(10):
        noise = (
            0.1
            * _weights().abs()
            * torch.randn(len(_weights()), generator=generator, dtype=torch.float64)
        )
        for e in (noise, -noise):
            rises.append(
                _loss(_normalized_by_hand, data.inputs, data.targets, e, is_training=False)[0]
                - here
            )
    assert found["avg", 0.1].sharpness == pytest.approx(np.mean(rises), rel=1e-8)


def test_the_measures_are_those_of_the_protocol(andriushchenko):
    assert list(andriushchenko[0]) == [
        (name, rho)
        for name, radii in get_protocol("andriushchenko2023").radii.items()
        for rho in radii
    ]


def test_a_loss_minus_its_sharpness_is_the_mean_loss_of_the_batches():
    found, _, batches = _measured("s003-text", 300)
    losses = [
        len(batch[1]) * _loss(F.cross_entropy, *batch, is_training=True)[0] for batch in batches
    ]
    measure = found["first_order", 0.05]
    assert measure.loss - measure.sharpness == pytest.approx(sum(losses) / 300, rel=1e-9)


def test_a_result_has_the_name_of_its_protocol():
    problem = Problem(_model(), _data(20), device="cpu", dtype="float64")
    assert measure_by(get_protocol("s001"), problem).result.protocol == "s001"


def test_a_sum_over_batches_less_one_has_the_error_of_that_sum():
    protocol = get_protocol("s003-text")
    arguments = {
        **protocol.problem_arguments,
        "num_population": 5120,
        "device": "cpu",
        "dtype": "float64",
    }
    problem = Problem(_model(), _data(2560), **arguments)
    measured = measure_by(protocol, problem)
    (measure,) = measured.result.measures
    rises = measured.rises[measure.key]
    assert rises.value == measure.sharpness
    assert rises.units.mean() == pytest.approx(measure.sharpness, rel=1e-12)
    expected = np.std(rises.units, ddof=1) / np.sqrt(20) * np.sqrt(1 - 0.5)
    assert measure.data_error == pytest.approx(expected, rel=0.1)
    assert measured.sample is not None
    assert measured.sample.sizes.tolist() == [1.0] * 20


def test_the_augmentation_is_done_once_and_by_the_seed():
    protocol, augment = get_protocol("s003-text"), get_augmentation("crop-flip")
    first, again, other = (prepared(protocol, _data(50), augment, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.inputs, again.inputs)
    assert not torch.equal(first.inputs, other.inputs)
    assert not torch.equal(first.inputs, _data(50)[0])
    assert torch.equal(first.targets, _data(50)[1])


def test_batches_of_the_user_are_augmented_as_batches():
    images, targets = _data(30)
    data = BatchData(((images[:20], targets[:20]), (images[20:], targets[20:])))
    changed = prepared(get_protocol("s003-text"), data, get_augmentation("crop-flip"))
    assert [len(batch[1]) for batch in changed.items] == [20, 10]
    assert not torch.equal(changed.items[0][0], images[:20])


@pytest.mark.parametrize(
    ("loss", "by_hand"),
    [
        (divergence_from_smoothed, _smoothed_by_hand),
        (cross_entropy_of_normalized, _normalized_by_hand),
    ],
)
def test_a_loss_is_that_of_its_paper_and_has_single_losses(loss, by_hand):
    outputs, targets = torch.randn(9, 4, dtype=torch.float64), torch.arange(9) % 4
    separate = separate_losses(loss)
    assert float(loss(outputs, targets)) == pytest.approx(
        float(by_hand(outputs, targets)), rel=1e-12
    )
    assert separate is not None
    singles = [float(by_hand(outputs[i : i + 1], targets[i : i + 1])) for i in range(9)]
    assert separate(outputs, targets).tolist() == pytest.approx(singles, rel=1e-12)
    assert float(loss(outputs, targets, reduction="sum")) == pytest.approx(sum(singles), rel=1e-12)


def test_normalized_outputs_have_a_loss_that_does_not_know_their_scale():
    outputs, targets = torch.randn(9, 4), torch.arange(9) % 4
    torch.testing.assert_close(
        cross_entropy_of_normalized(1000 * outputs, targets),
        cross_entropy_of_normalized(outputs, targets),
    )
    assert torch.isfinite(cross_entropy_of_normalized(torch.zeros(2, 4), targets[:2]))


def test_a_loss_of_outputs_that_are_no_classes_is_refused():
    with pytest.raises(InputError, match=r"needs outputs \(N, C\), at least 2 classes"):
        divergence_from_smoothed(torch.randn(3, 1), torch.zeros(3, dtype=torch.long))


def test_an_unknown_protocol_is_refused():
    with pytest.raises(
        InputError, match=r"a protocol must be one of s001, s003-text, .* got 's002'"
    ):
        get_protocol("s002")


def test_a_set_that_is_too_small_is_refused():
    with pytest.raises(
        InputError, match=r"takes the first 1024 examples of the train split, it has 300"
    ):
        prepared(get_protocol("andriushchenko2023"), _data(300))


def test_an_augmentation_that_is_not_given_is_refused():
    with pytest.raises(InputError, match="s003-text needs the augmentation crop-flip"):
        prepared(get_protocol("s003-text"), _data(300))


@pytest.mark.parametrize(
    ("count", "arguments", "message"),
    [
        (300, {"batchnorm": "stored"}, "measures with BatchNorm batch, got stored"),
        (
            300,
            {"loss": divergence_from_smoothed, "batchnorm": "batch"},
            "with a loss of its own, got another",
        ),
        (128, {"batchnorm": "batch"}, "needs at least 129 examples, got 128"),
    ],
)
def test_a_problem_that_is_not_the_protocols_is_refused(count, arguments, message):
    problem = Problem(_model(), _data(count), device="cpu", dtype="float64", **arguments)
    with pytest.raises(InputError, match=message):
        measure_by(get_protocol("s003-text"), problem)


def test_the_document_has_the_protocols_of_the_code():
    rows = re.findall(r"^\| `(.+?)` \| (.+) \|$", DOCUMENT.read_text(), re.MULTILINE)
    documented = {name: rest.replace("|w|", "").split(" | ") for name, rest in rows}
    in_code = {
        protocol.name: [
            protocol.source,
            "; ".join(
                f"`{name}` {', '.join(f'{r:g}' for r in rhos)}"
                for name, rhos in protocol.radii.items()
            ),
            protocol.fixes.replace("|w|", r"\|w\|"),
            protocol.left_open.replace("|w|", r"\|w\|"),
        ]
        for protocol in PROTOCOLS.values()
    }
    assert documented == in_code
