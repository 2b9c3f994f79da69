import numpy as np
import pytest
import torch
from cases import DUMMY_DATA, Quadratic, classification, quadratic_loss, symmetric_with_spectrum, tiny_mlp

from landscape import Problem, measure_sharpness
from landscape.errors import InputError

SPECTRUM = [6.0, 3.0, 1.0, 0.5, -0.5, 2.0, 0.1, 0.0]
MATRIX = symmetric_with_spectrum(SPECTRUM)
LINEAR = torch.linspace(-1, 1, 8).double()
W0 = torch.linspace(0.5, -1, 8).double()


def _problem():
    return Problem(Quadratic(W0), DUMMY_DATA, quadratic_loss(MATRIX, LINEAR), device="cpu", dtype="float64")


def _loss(w):
    return float(0.5 * w @ MATRIX @ w + LINEAR @ w)


def _measure(name, rho=0.3, **arguments):
    return measure_sharpness(_problem(), [rho], measures=[name], **arguments).measures[0]


def test_asc_is_the_loss_one_normalised_gradient_step_away():
    g = MATRIX @ W0 + LINEAR
    found = _measure("asc")
    assert found.loss == pytest.approx(_loss(W0 + 0.3 * g / g.norm()), rel=1e-12)
    assert found.sharpness == pytest.approx(found.loss - _loss(W0), rel=1e-12)
    assert found.standard_error is None
    assert found.radius_share == pytest.approx(1.0)


def test_first_order_is_rho_times_the_gradient_norm():
    assert _measure("first_order").sharpness == pytest.approx(0.3 * float((MATRIX @ W0 + LINEAR).norm()), rel=1e-12)


def test_nstep_follows_its_equation_and_reports_its_radius():
    w = W0.clone()
    for _ in range(4):
        g = MATRIX @ w + LINEAR
        w = w + 0.3 / 4 * g / g.norm()
    found = _measure("nstep", steps=4)
    assert found.loss == pytest.approx(_loss(w), rel=1e-12)
    assert found.radius_share == pytest.approx(float((w - W0).norm()) / 0.3, rel=1e-12)
    assert found.radius_share < 1


def test_nstep_of_one_step_is_asc():
    assert _measure("nstep", steps=1).loss == _measure("asc").loss


def test_avg_of_a_quadratic_is_rho_squared_trace_over_2p_within_four_standard_errors():
    found = _measure("avg", num_directions=400)
    expected = 0.3**2 * sum(SPECTRUM) / (2 * len(SPECTRUM))
    assert abs(found.sharpness - expected) < 4 * found.standard_error
    assert found.standard_error < 0.05 * expected


def test_antithetic_pairs_cancel_the_gradient():
    flat = Problem(Quadratic(W0), DUMMY_DATA, lambda w, _: (LINEAR * w).sum(), device="cpu", dtype="float64")
    found = measure_sharpness(flat, [0.3], measures=["avg"]).measures[0]
    assert found.sharpness == pytest.approx(0.0, abs=1e-14)
    assert found.standard_error == pytest.approx(0.0, abs=1e-14)


def test_the_standard_error_is_that_of_independent_runs():
    runs = [_measure("avg", num_directions=10, seed=seed) for seed in range(200)]
    spread = np.std([run.sharpness for run in runs], ddof=1)
    claimed = np.sqrt(np.mean([run.standard_error**2 for run in runs]))
    assert claimed == pytest.approx(spread, rel=0.25)


def test_the_standard_error_of_two_pairs_is_half_their_difference():
    generator, means = torch.Generator().manual_seed(0), []
    for _ in range(2):
        noise = torch.randn(8, generator=generator, dtype=torch.float64)
        e = 0.3 * noise / noise.norm()
        means.append((_loss(W0 + e) + _loss(W0 - e)) / 2)
    assert _measure("avg", num_directions=2).standard_error == pytest.approx(abs(means[0] - means[1]) / 2)


def test_every_radius_uses_the_same_directions():
    together = measure_sharpness(_problem(), [0.1, 0.3], measures=["avg"]).measures[1]
    assert together.loss == _measure("avg").loss


def test_measures_come_radius_by_radius():
    found = measure_sharpness(_problem(), [0.1, 0.2], measures=["asc", "first_order"]).measures
    assert [(m.name, m.rho) for m in found] == [
        ("asc", 0.1),
        ("first_order", 0.1),
        ("asc", 0.2),
        ("first_order", 0.2),
    ]


def test_loss_and_accuracy_are_those_at_the_weights():
    problem = Problem(tiny_mlp(), classification(), device="cpu")
    here = problem.evaluate()
    found = measure_sharpness(problem, [0.05])
    assert (found.loss, found.accuracy) == (here.loss, here.accuracy)


@pytest.mark.parametrize("m", [None, 16])
def test_progress_counts_every_evaluation(m):
    class Counter:
        def start(self, task, total):
            self.total = total

        def update(self, completed, **fields):
            self.completed = completed

        def stop(self):
            self.stopped = True

    counter = Counter()
    problem = Problem(tiny_mlp(), classification(), device="cpu")
    measures = ["asc", "avg", "nstep", "first_order"]
    measure_sharpness(problem, [0.1, 0.2], measures=measures, m=m, held_out=problem, progress=counter)
    assert counter.completed == counter.total
    assert counter.stopped


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rhos": [0.0]}, "rho must be a positive number to measure sharpness, got 0"),
        ({"rhos": [-1.0]}, "rho must be a positive number"),
        ({"rhos": [float("nan")]}, "rho must be a positive number"),
        ({"rhos": [0.1], "measures": ["max2"]}, "measures are asc, avg, max, nstep, first_order, got 'max2'"),
        ({"rhos": [0.1], "steps": 0}, "steps must be at least 1"),
        ({"rhos": [0.1], "num_directions": 1}, "num-directions must be at least 2"),
        ({"rhos": []}, "at least one radius"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        measure_sharpness(_problem(), **arguments)
