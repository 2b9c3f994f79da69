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
    symmetric_with_spectrum,
    tiny_cnn,
    tiny_mlp,
)
from torch import nn

from landscape import Plane, Problem
from landscape.errors import InputError, LandscapeError
from landscape.problem.points_per_pass import (
    AGREEMENT,
    largest_deviation,
    largest_relative_difference,
    most_productive,
    reason_for_bits,
    reason_for_values,
)


class _Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(5, 5, bias=False), nn.Linear(5, 5, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


def _half_frozen():
    model = tiny_mlp()
    model[0].requires_grad_(False)
    return model


def _transformer():
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.5, batch_first=True)
    return nn.Sequential(layer, nn.Flatten(), nn.Linear(12, 3))


def _sequences():
    generator = torch.Generator().manual_seed(4)
    return torch.randn(20, 3, 4, generator=generator), torch.randint(3, (20,), generator=generator)


class _Noisy(nn.Linear):
    def forward(self, x):
        return super().forward(x) + torch.randn(len(x), 3, device=x.device)


CASES = {
    "mlp": (tiny_mlp, classification),
    "batch normalization": (tiny_cnn, images),
    "attention": (partial(seeded, _transformer), _sequences),
    "tied": (partial(seeded, _Tied), classification),
    "frozen": (_half_frozen, classification),
    "random numbers": (partial(seeded, partial(_Noisy, 5, 3)), classification),
}


def _problem(name, **options):
    build, data = CASES[name]
    return Problem(build(), data(), **{"device": "cpu", "batch_size": 7, **options})


def _points(problem, count, seed=0):
    noise = torch.randn(count, problem.spec.size, generator=torch.Generator().manual_seed(seed))
    return problem.weights + 0.3 * noise.to(problem.dtype)


def _same(found, expected):
    return [(value.loss, value.accuracy) for value in found] == [
        (value.loss, value.accuracy) for value in expected
    ]


@pytest.mark.parametrize("name", CASES)
def test_several_points_a_pass_have_the_values_of_one_at_a_time(name):
    single, several = _problem(name), _problem(name, points_per_pass=4)
    points = _points(single, 4)
    found, expected = several.evaluate_many(points), [single.evaluate(w) for w in points]
    assert several.plan.points_per_pass == 4
    np.testing.assert_allclose([v.loss for v in found], [v.loss for v in expected], rtol=1e-6)
    assert [v.accuracy for v in found] == [v.accuracy for v in expected]


def test_several_points_a_pass_have_their_closed_form():
    matrix, linear = (
        symmetric_with_spectrum([3.0, 1.0, -2.0, 0.5]),
        torch.arange(4.0, dtype=torch.float64),
    )
    loss = quadratic_loss(matrix, linear)
    problem = Problem(
        Quadratic(torch.ones(4)), DUMMY_DATA, loss, device="cpu", dtype="float64", points_per_pass=4
    )
    points = _points(problem, 6)
    expected = [float(0.5 * w @ matrix @ w + linear @ w) for w in points]
    assert [value.loss for value in problem.evaluate_many(points)] == pytest.approx(
        expected, rel=1e-13
    )


@pytest.mark.parametrize("name", CASES)
def test_a_value_depends_neither_on_its_neighbours_nor_on_its_place(name):
    problem = _problem(name, points_per_pass=4)
    points, others = _points(problem, 4), _points(problem, 4, seed=1)
    values = problem.evaluate_many(points)
    for place in range(4):
        mixed = others.clone()
        mixed[place] = points[0]
        assert _same([problem.evaluate_many(mixed)[place]], values[:1])


@pytest.mark.parametrize("count", [1, 3, 5, 9])
def test_values_do_not_depend_on_how_full_the_last_pass_is(count):
    problem = _problem("batch normalization", points_per_pass=4)
    points = _points(problem, 12)
    assert _same(problem.evaluate_many(points[:count]), problem.evaluate_many(points)[:count])


def test_no_points_have_no_values():
    assert _problem("mlp", points_per_pass=4).evaluate_many([]) == []


@pytest.mark.parametrize("points_per_pass", [1, 4])
def test_points_may_be_written_in_place(points_per_pass):
    problem = _problem("mlp", points_per_pass=points_per_pass)
    plane = Plane(problem.weights, tuple(_points(problem, 2)))
    coordinates = [(0.1, 0.2), (-1.0, 0.5), (0.0, 0.0)]
    found = problem.evaluate_many([partial(plane.point, *place) for place in coordinates])
    assert _same(found, problem.evaluate_many([plane.point(*place) for place in coordinates]))


def test_one_evaluation_after_several_is_what_it_was_before():
    problem = _problem("batch normalization", points_per_pass=4)
    before = problem.evaluate()
    problem.evaluate_many(_points(problem, 4))
    assert problem.evaluate() == before


def test_the_number_of_points_a_pass_is_chosen_and_recorded():
    problem = _problem("mlp", points_per_pass=None)
    assert problem.plan.as_dict()["points_per_pass"] >= 1
    assert bool(problem.one_at_a_time) == (problem.plan.points_per_pass == 1)


@pytest.mark.parametrize("batchnorm", ["batch", "recalibrate"])
def test_statistics_of_each_point_mean_one_point_at_a_time(batchnorm):
    problem = _problem("batch normalization", batchnorm=batchnorm, points_per_pass=None)
    assert problem.plan.points_per_pass == 1
    assert f"batch normalization is '{batchnorm}'" in problem.one_at_a_time
    with pytest.raises(
        InputError, match="a pass of 4 points is not possible: batch normalization is"
    ):
        _problem("batch normalization", batchnorm=batchnorm, points_per_pass=4)


class _Branching(nn.Linear):
    def forward(self, x):
        y = super().forward(x)
        return y if float(y.detach().sum()) > 0 else 2 * y


class _Sampling(nn.Linear):
    def forward(self, x):
        y = super().forward(x)
        return y + torch.bernoulli(y.sigmoid())


@pytest.mark.parametrize("build", [_Branching, _Sampling])
def test_a_model_that_cannot_be_stacked_is_evaluated_one_point_at_a_time(build):
    model, data = seeded(lambda: build(5, 3)), classification()
    problem = Problem(model, data, device="cpu", points_per_pass=None)
    assert problem.plan.points_per_pass == 1
    assert "vmap" in problem.one_at_a_time.lower()
    with pytest.raises(InputError, match="a pass of 2 points is not possible") as caught:
        Problem(model, data, device="cpu", points_per_pass=2)
    assert caught.value.hint == "Pass `points_per_pass=1`."


def test_no_points_a_pass_are_refused():
    with pytest.raises(InputError, match="points per pass must be at least 1, got 0"):
        _problem("mlp", points_per_pass=0)


def test_a_place_that_matters_is_noticed():
    def together(numbers):
        return torch.tensor(
            [float(number) + 1e-9 * place for place, number in enumerate(numbers)]
        ).double()

    assert "place among" in reason_for_bits(together, 3)


def test_neighbours_that_matter_are_noticed():
    def together(numbers):
        return torch.tensor([float(number) + 1e-3 * len(set(numbers)) for number in numbers])

    assert "beside it" in reason_for_bits(together, 3)


def test_values_that_are_the_same_everywhere_give_no_reason_even_if_not_finite():
    def together(numbers):
        return torch.tensor([[1.0, torch.nan, torch.inf][number] for number in numbers])

    assert reason_for_bits(together, 3) == ""
    assert reason_for_values(together, lambda number: together([number])[0], 3) == ""


@pytest.mark.parametrize(("error", "is_reason"), [(0.5 * AGREEMENT, False), (2 * AGREEMENT, True)])
def test_values_may_differ_by_the_agreement(error, is_reason):
    def together(numbers):
        return torch.tensor([(number + 1) * (1 + error) for number in numbers], dtype=torch.float64)

    def alone(number):
        return torch.tensor(number + 1.0, dtype=torch.float64)

    assert bool(reason_for_values(together, alone, 3)) == is_reason


@pytest.mark.parametrize(
    ("value", "reference", "expected"),
    [
        (1.5, 1.0, 0.5),
        (-1.0, 2.0, 1.5),
        (0.0, 0.0, 0.0),
        (np.nan, np.nan, 0.0),
        (np.inf, np.inf, 0.0),
        (np.nan, 1.0, np.inf),
        (1.0, np.inf, np.inf),
        (-np.inf, np.inf, np.inf),
        (1.0, 0.0, np.inf),
    ],
)
def test_relative_difference(value, reference, expected):
    found = largest_relative_difference(torch.tensor([1.0, value]), torch.tensor([1.0, reference]))
    assert found == expected


@pytest.mark.parametrize(
    ("seconds_of", "num_bytes", "expected"),
    [
        (lambda count: 1.0, 1, 256),  # a pass takes the same, however many
        (lambda count: float(count), 1, 1),
        (
            lambda count: 1.0 + count / 8,
            1,
            64,
        ),  # 64 points a pass are 11 % faster than 32, 128 another 6 %
        (
            lambda count: 2.0 if count == 2 else 1.0,
            1,
            256,
        ),  # one doubling without a gain is passed over
        (lambda count: 1.0 if count <= 8 else float("inf"), 1, 8),
        (lambda count: 1.0, 1 << 28, 4),
    ],
)
def test_points_a_pass_grow_while_they_pay(seconds_of, num_bytes, expected):
    assert most_productive(seconds_of, num_bytes) == expected


def test_what_is_plain_has_no_deviation():
    problem = _problem("mlp")
    assert largest_deviation(problem.passes, [problem.weights]) == {}


def test_the_deviation_of_bfloat16_is_its_distance_from_float32():
    rough, plain = _problem("mlp", dtype="bfloat16"), _problem("mlp")
    points = _points(plain, 3)
    expected = max(abs(rough.loss(w) - plain.loss(w)) / plain.loss(w) for w in points)
    assert largest_deviation(rough.passes, points) == {"bfloat16": expected}
    assert expected > 0


def test_the_deviation_of_several_points_a_pass_is_below_the_agreement():
    problem = _problem("attention", points_per_pass=4)
    found = largest_deviation(problem.passes, _points(problem, 3))
    assert list(found) == ["4 points per pass"]
    assert found["4 points per pass"] <= AGREEMENT


def test_several_points_a_pass_that_give_other_losses_are_an_error(monkeypatch):
    problem = _problem("mlp", points_per_pass=4)
    rightly = problem.passes._measure_with
    monkeypatch.setattr(problem.passes, "_measure_with", lambda w, batch: rightly(w * 1.01, batch))
    with pytest.raises(
        LandscapeError, match="losses at 4 points per pass must be those of one point at a time"
    ):
        largest_deviation(problem.passes, _points(problem, 3))


def test_the_plan_is_the_same_after_a_deviation_was_measured():
    problem = _problem("mlp", dtype="bfloat16", points_per_pass=4)
    before = problem.plan
    largest_deviation(problem.passes, _points(problem, 1))
    assert problem.plan == before
    assert before.dtype == "bfloat16"


def test_tf32_is_refused_without_tensor_cores():
    with pytest.raises(InputError, match="tf32 needs a CUDA device") as caught:
        _problem("mlp", dtype="tf32")
    assert "`dtype='float32'`" in caught.value.hint


@pytest.mark.gpu
@pytest.mark.parametrize("name", CASES)
def test_cuda_agrees_with_itself_one_point_at_a_time(name):
    problem = _problem(name, device="cuda", points_per_pass=4)
    points = _points(_problem(name), 5).cuda()
    assert largest_deviation(problem.passes, points)["4 points per pass"] <= AGREEMENT
