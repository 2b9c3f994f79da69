from functools import partial

import numpy as np
import pytest
import torch
from cases import classification, tiny_mlp
from torch import nn
from torch.nn import functional as F

from landscape import Problem
from landscape.errors import InputError
from landscape.problem.sampling_error import Sample, separate_losses

GENERATOR = np.random.default_rng(0)
POPULATION = np.concatenate(
    [GENERATOR.normal(mean, spread, 100) for mean, spread in ((0, 1), (3, 0.5), (10, 2))]
)
CLASSES = np.repeat([4, -1, 7], 100)
EVERYTHING = classification(400, seed=5)
NUM_DRAWS = 2000
FOUR_ERRORS = 4 / np.sqrt(
    2 * NUM_DRAWS
)  # of a standard deviation over as many normal draws, relatively


def _error(data, num_population=400, loss=None, model=None, **options):
    problem = Problem(
        model or tiny_mlp(), data, loss, device="cpu", num_population=num_population, **options
    )
    return problem.evaluate().standard_error


def _total(outputs, targets):
    return F.cross_entropy(outputs, targets, reduction="sum")


def _error_of_mean(losses, num_population, classes=None):
    return Sample(np.ones(len(losses)), len(losses) / num_population, classes).error(losses)


def test_the_error_of_a_random_sample_is_its_formula():
    sample = POPULATION[::7]
    expected = np.sqrt(sample.var(ddof=1) / len(sample) * (1 - len(sample) / 300))
    assert _error_of_mean(sample, 300) == pytest.approx(expected, rel=1e-14)


def _spread_and_errors(draw, estimate):
    draws = [draw() for _ in range(NUM_DRAWS)]
    return np.std([POPULATION[chosen].mean() for chosen in draws]), [
        estimate(chosen) for chosen in draws
    ]


def test_the_error_is_the_spread_of_random_samples():
    spread, errors = _spread_and_errors(
        lambda: GENERATOR.choice(300, 60, replace=False),
        lambda chosen: _error_of_mean(POPULATION[chosen], 300),
    )
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(spread, rel=FOUR_ERRORS)


def test_the_error_of_strata_is_the_spread_of_stratified_samples():
    spread, errors = _spread_and_errors(
        lambda: np.concatenate(
            [start + GENERATOR.choice(100, 20, replace=False) for start in (0, 100, 200)]
        ),
        lambda chosen: _error_of_mean(POPULATION[chosen], 300, CLASSES[chosen]),
    )
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(spread, rel=FOUR_ERRORS)


def test_the_error_from_batches_is_the_spread_of_random_samples():
    sizes = np.array([25.0, 25.0, 10.0])

    def estimate(chosen):
        parts = np.split(POPULATION[chosen], [25, 50])
        return Sample(sizes, 60 / 300).pooled_error(np.array([part.mean() for part in parts]))

    spread, errors = _spread_and_errors(lambda: GENERATOR.choice(300, 60, replace=False), estimate)
    # Two degrees of freedom a draw: the variance of an estimated variance is itself squared.
    assert np.mean(np.square(errors)) == pytest.approx(spread**2, rel=4 * np.sqrt(3 / NUM_DRAWS))


def test_a_stratum_of_one_example_makes_the_sample_a_plain_one():
    losses = np.array([1.0, 2.0, 5.0, 9.0])
    assert _error_of_mean(losses, 10, np.array([0, 0, 0, 1])) == _error_of_mean(losses, 10)


@pytest.mark.parametrize("loss", [None, _total])
def test_a_single_example_and_a_single_batch_have_no_error(loss):
    assert _error(classification(1), loss=loss) is None


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_the_error_of_losses_that_are_not_finite_is_nan(bad):
    assert np.isnan(_error_of_mean(np.array([1.0, bad, 2.0, 3.0]), 10, np.array([0, 0, 1, 1])))
    assert np.isnan(Sample(np.array([2.0, 2.0]), 0.4).pooled_error(np.array([1.0, bad])))


@pytest.mark.parametrize("batch_size", [7, 50])
def test_a_problem_has_the_error_of_its_losses(batch_size):
    model, (x, y) = tiny_mlp(), classification(50)
    losses = F.cross_entropy(model(x), y, reduction="none").detach().double().numpy()
    found = _error((x, y), batch_size=batch_size)
    assert found == pytest.approx(_error_of_mean(losses, 400), rel=1e-5)


def test_a_stratified_problem_has_the_error_of_its_classes():
    model, (x, y) = tiny_mlp(), classification(50)
    losses = F.cross_entropy(model(x), y, reduction="none").detach().double().numpy()
    found = _error((x, y), is_stratified=True, batch_size=7)
    assert found == pytest.approx(_error_of_mean(losses, 400, y.numpy()), rel=1e-5)


def test_a_problems_error_is_the_spread_of_its_loss_over_subsets():
    generator, found = torch.Generator().manual_seed(0), []
    whole = Problem(tiny_mlp(), EVERYTHING, device="cpu").loss()
    for _ in range(100):
        chosen = torch.randperm(400, generator=generator)[:80]
        data = tuple(part[chosen] for part in EVERYTHING)
        found.append(Problem(tiny_mlp(), data, device="cpu", num_population=400).evaluate())
    z = np.array([(value.loss - whole) / value.standard_error for value in found])
    assert np.mean(z**2) == pytest.approx(1, abs=4 * np.sqrt(2 / 100))


@pytest.mark.parametrize("points_per_pass", [1, 4])
def test_the_error_does_not_change_the_loss(points_per_pass):
    data, options = (
        classification(50),
        {"device": "cpu", "batch_size": 7, "points_per_pass": points_per_pass},
    )
    plain = Problem(tiny_mlp(), data, **options)
    with_error = Problem(tiny_mlp(), data, num_population=400, **options)
    found = [
        problem.evaluate_many([plain.weights, 2 * plain.weights])[1]
        for problem in (plain, with_error)
    ]
    assert found[0].loss == found[1].loss
    assert found[0].accuracy == found[1].accuracy


def test_several_points_a_pass_have_the_errors_of_one_at_a_time():
    several = Problem(
        tiny_mlp(), classification(50), device="cpu", num_population=400, points_per_pass=4
    )
    points = [several.weights * scale for scale in (1.0, 2.0, 3.0)]
    expected = [several.evaluate(w).standard_error for w in points]
    assert [value.standard_error for value in several.evaluate_many(points)] == pytest.approx(
        expected, rel=1e-5
    )


def test_a_whole_set_has_no_error():
    assert _error(classification(50), num_population=50) is None
    assert _error(classification(50), num_population=None) is None


def test_a_set_smaller_than_its_sample_is_refused():
    with pytest.raises(
        InputError, match="at least as many examples as what was drawn from it, got 49 for 50"
    ):
        _error(classification(50), num_population=49)


SEEDED = torch.Generator().manual_seed(0)
OUTPUTS, VALUES = torch.randn(2, 8, 3, generator=SEEDED)
TARGETS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 0])


@pytest.mark.parametrize(
    ("criterion", "targets"),
    [
        (F.cross_entropy, TARGETS),
        (nn.CrossEntropyLoss(), TARGETS),
        (nn.CrossEntropyLoss(label_smoothing=0.1), TARGETS),
        (partial(F.cross_entropy, label_smoothing=0.1), TARGETS),
        (F.mse_loss, VALUES),
        (nn.MSELoss(), VALUES),
    ],
)
def test_torchs_criteria_give_one_loss_an_example(criterion, targets):
    found = separate_losses(criterion)(OUTPUTS, targets)
    expected = torch.stack([criterion(OUTPUTS[i : i + 1], targets[i : i + 1]) for i in range(8)])
    torch.testing.assert_close(found, expected)


def test_a_module_that_gives_single_losses_is_left_as_it_is():
    criterion = nn.MSELoss()
    separate_losses(criterion)
    assert criterion.reduction == "mean"


def _focal(outputs, targets):
    return F.cross_entropy(outputs, targets) ** 2


def _misnamed(outputs, targets, reduction="mean"):
    return F.cross_entropy(outputs, targets) * {"mean": 1.0}[reduction]


def _deaf(outputs, targets, reduction="mean"):
    return F.cross_entropy(outputs, targets)


_CLASS_WEIGHTS = torch.tensor([1.0, 5.0, 0.1])


@pytest.mark.parametrize(
    ("criterion", "weights"),
    [
        (_focal, torch.ones(3)),
        (_misnamed, torch.ones(3)),
        (_deaf, torch.ones(3)),
        (nn.CrossEntropyLoss(weight=_CLASS_WEIGHTS), _CLASS_WEIGHTS),
        (nn.CrossEntropyLoss(ignore_index=0), torch.tensor([0.0, 1.0, 1.0])),
    ],
)
def test_a_loss_that_is_no_plain_mean_has_the_error_of_its_batches(criterion, weights):
    x, y = classification(50)
    model = tiny_mlp()
    means = [criterion(model(a), b).item() for a, b in zip(x.split(10), y.split(10), strict=True)]
    sizes = [weights[b].sum().item() for b in y.split(10)]
    found = _error((x, y), loss=criterion, batch_size=10)
    assert found == pytest.approx(
        Sample(np.array(sizes), 50 / 400).pooled_error(np.array(means)), rel=1e-4
    )
