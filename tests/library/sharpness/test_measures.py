import math

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
from reference import loss_of_vector

from landscape import Problem, measure_sharpness
from landscape.errors import InputError, NotFiniteError
from landscape.runtime.random_state import derived_seeds
from landscape.sharpness import SharpnessOptions, measure_rises

SPECTRUM = [6.0, 3.0, 1.0, 0.5, -0.5, 2.0, 0.1, 0.0]
MATRIX = symmetric_with_spectrum(SPECTRUM)
LINEAR = torch.linspace(-1, 1, 8).double()
W0 = torch.linspace(0.5, -1, 8).double()


def _problem():
    return Problem(
        Quadratic(W0), DUMMY_DATA, quadratic_loss(MATRIX, LINEAR), device="cpu", dtype="float64"
    )


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
    assert _measure("first_order").sharpness == pytest.approx(
        0.3 * float((MATRIX @ W0 + LINEAR).norm()), rel=1e-12
    )


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
    flat = Problem(
        Quadratic(W0), DUMMY_DATA, lambda w, _: (LINEAR * w).sum(), device="cpu", dtype="float64"
    )
    found = measure_sharpness(flat, [0.3], measures=["avg"]).measures[0]
    assert found.sharpness == pytest.approx(0.0, abs=1e-14)
    assert found.standard_error == pytest.approx(0.0, abs=1e-14)


@pytest.mark.slow
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
    assert _measure("avg", num_directions=2).standard_error == pytest.approx(
        abs(means[0] - means[1]) / 2
    )


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
    measure_sharpness(
        problem, [0.1, 0.2], measures=measures, m=m, held_out=problem, progress=counter
    )
    assert counter.completed == counter.total
    assert counter.stopped


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rho": [0.0]}, "rho must be a positive number to measure sharpness, got 0"),
        ({"rho": [-1.0]}, "rho must be a positive number"),
        ({"rho": [float("nan")]}, "rho must be a positive number"),
        (
            {"rho": [0.1], "measures": ["max2"]},
            "measures are asc, avg, max, nstep, first_order, got 'max2'",
        ),
        ({"rho": [0.1], "steps": 0}, "steps must be at least 1"),
        ({"rho": [0.1], "num_directions": 1}, "num-directions must be at least 2"),
        ({"rho": []}, "at least one radius"),
        ({"rho": [0.1], "p": 0.5}, "p must be at least 1"),
        ({"rho": [0.1], "radius": "cube"}, "radius must be one of path, sphere, ball"),
        ({"rho": [0.1], "m": 2}, "m must be from 1 to the 1 examples of the set, got 2"),
        ({"rho": [0.1], "m": 0}, "m must be from 1"),
        ({"rho": [0.1], "relative_error": 0.0}, "the relative error must be a positive number"),
        ({"rho": [0.1], "max_gradients": 0}, "max-gradients must be at least 1"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        measure_sharpness(_problem(), **arguments)


def _steepest(g, rho, p, scaling):
    """The dual map written out."""
    a = scaling * g
    if p == 1:
        direction = torch.zeros_like(a)
        direction[a.abs().argmax()] = a[a.abs().argmax()].sign()
    elif math.isinf(p):
        direction = a.sign()
    else:
        direction = a.sign() * a.abs() ** (1 / (p - 1))
        direction = direction / direction.abs().pow(p).sum() ** (1 / p)
    return rho * scaling * direction


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, math.inf])
class TestBalls:
    def scaling(self, adaptive):
        return W0.abs() + 0.01 if adaptive else torch.ones(8, dtype=torch.float64)

    def test_asc_is_one_step_of_the_dual_map(self, p, adaptive):
        e = _steepest(MATRIX @ W0 + LINEAR, 0.3, p, self.scaling(adaptive))
        found = _measure("asc", p=p, adaptive=adaptive)
        assert found.loss == pytest.approx(_loss(W0 + e), rel=1e-12)
        assert found.radius_share == pytest.approx(1.0)

    def test_first_order_is_what_the_linear_model_gains(self, p, adaptive):
        g = MATRIX @ W0 + LINEAR
        gain = float(g @ _steepest(g, 0.3, p, self.scaling(adaptive)))
        assert _measure("first_order", p=p, adaptive=adaptive).sharpness == pytest.approx(
            gain, rel=1e-12
        )

    def test_nstep_adds_steps_of_the_dual_map(self, p, adaptive):
        w = W0.clone()
        for _ in range(3):
            w = w + _steepest(MATRIX @ w + LINEAR, 0.1, p, self.scaling(adaptive))
        assert _measure("nstep", p=p, adaptive=adaptive, steps=3).loss == pytest.approx(
            _loss(w), rel=1e-12
        )

    def test_avg_of_a_quadratic_is_half_the_mean_of_its_form(self, p, adaptive):
        generator, scaling = torch.Generator().manual_seed(0), self.scaling(adaptive)
        expected = []
        for _ in range(7):
            z = torch.randn(8, generator=generator, dtype=torch.float64)
            e = 0.3 * scaling * z / torch.linalg.vector_norm(z, p)
            expected.append(float(0.5 * e @ MATRIX @ e))
        found = _measure("avg", p=p, adaptive=adaptive, num_directions=7)
        assert found.sharpness == pytest.approx(np.mean(expected), rel=1e-10)

    def test_max_is_above_asc_and_nstep_and_in_the_ball(self, p, adaptive):
        found = measure_sharpness(_problem(), [0.3], p=p, adaptive=adaptive).measures
        losses = {measure.name: measure.loss for measure in found}
        assert losses["max"] >= max(losses["asc"], losses["nstep"])
        assert next(m for m in found if m.name == "max").radius_share <= 1 + 1e-12


@pytest.mark.parametrize(("radius", "share"), [("path", 0.95), ("sphere", 1.0), ("ball", 1.0)])
def test_the_radius_of_nstep_is_kept_as_asked(radius, share):
    assert _measure("nstep", radius=radius).radius_share == pytest.approx(share, abs=0.05)


def test_gaussian_perturbations_have_length_rho_times_the_root_of_the_number_of_weights():
    found = _measure("avg", is_gaussian=True, num_directions=2000)
    assert found.sharpness == pytest.approx(
        0.3**2 * sum(SPECTRUM) / 2, abs=4 * found.standard_error
    )
    assert found.radius_share == pytest.approx(math.sqrt(8), rel=0.05)


def test_max_grows_with_the_radius():
    found = measure_sharpness(_problem(), [0.4, 0.1, 0.2], measures=["max"]).measures
    assert [m.rho for m in found] == [0.4, 0.1, 0.2]
    assert found[0].loss >= found[2].loss >= found[1].loss


def test_a_relative_error_decides_the_number_of_directions():
    found = _measure("avg", relative_error=0.05)
    assert found.standard_error <= 0.05 * found.sharpness
    assert found.converged
    assert found.num_directions > 8


def test_a_relative_error_that_is_not_reached_is_said():
    flat = Problem(
        Quadratic(W0),
        DUMMY_DATA,
        quadratic_loss(torch.diag(LINEAR), LINEAR),
        device="cpu",
        dtype="float64",
    )
    found = measure_sharpness(flat, [0.3], measures=["avg"], relative_error=1e-3).measures[
        0
    ]  # the trace is 0
    assert (found.converged, found.num_directions) == (False, 1000)


class TestBatchesOfM:
    def problem(self, batchnorm="stored", build=tiny_mlp, data=None):
        data = classification(60) if data is None else data
        return Problem(build(), data, device="cpu", dtype="float64", batchnorm=batchnorm)

    @pytest.mark.parametrize("name", ["asc", "first_order", "max", "nstep"])
    def test_the_value_grows_as_m_falls(self, name):
        problem = self.problem()
        found = [
            measure_sharpness(problem, [0.05], measures=[name], m=m).measures[0]
            for m in (None, 30, 10, 2)
        ]
        values = [each.sharpness for each in found]
        assert values == sorted(values)
        assert values[-1] > 1.5 * values[0]
        assert [each.m for each in found] == [None, 30, 10, 2]

    def test_all_examples_at_once_are_the_whole_set(self):
        one = measure_sharpness(self.problem(), [0.05], m=60).measures
        whole = measure_sharpness(self.problem(), [0.05]).measures
        assert [m.loss for m in one] == pytest.approx([m.loss for m in whole], rel=1e-12)

    def test_it_is_the_mean_over_the_batches_by_their_size(self):
        x, y = classification(25)
        found = measure_sharpness(
            self.problem(data=(x, y)), [0.05], measures=["asc"], m=10
        ).measures[0]
        order = torch.randperm(
            25, generator=torch.Generator().manual_seed(derived_seeds(1, 0, 0x62_61_74_63)[0])
        )
        parts = [
            Problem(tiny_mlp(), (x[rows], y[rows]), device="cpu", dtype="float64")
            for rows in order.split(10)
        ]
        values = [
            measure_sharpness(part, [0.05], measures=["asc"]).measures[0].sharpness
            for part in parts
        ]
        assert found.sharpness == pytest.approx(np.average(values, weights=[10, 10, 5]), rel=1e-12)

    def test_the_average_over_directions_does_not_depend_on_it(self):
        values = [
            measure_sharpness(self.problem(), [0.05], measures=["avg"], m=m).measures[0]
            for m in (None, 10)
        ]
        assert values[1].sharpness == pytest.approx(values[0].sharpness, rel=1e-9)
        assert values[1].standard_error == pytest.approx(values[0].standard_error, rel=1e-9)

    def test_batch_statistics_are_those_of_m_examples(self):
        x, y = images(24)
        problem = self.problem("batch", tiny_cnn, (x, y))
        found = measure_sharpness(problem, [0.05], measures=["asc"], m=8).measures[0]
        order = torch.randperm(
            24, generator=torch.Generator().manual_seed(derived_seeds(1, 0, 0x62_61_74_63)[0])
        )
        model, losses = tiny_cnn().double().train(), []
        for rows in order.split(8):
            losses.append(
                torch.nn.functional.cross_entropy(model(x[rows].double()), y[rows]).item()
            )
        assert found.loss - found.sharpness == pytest.approx(np.mean(losses), rel=1e-12)


class TestSamples:
    """Twenty examples out of a larger set, for which the measures have an error."""

    def draw(self, seed, num_population=2000, num_examples=60):
        x, y = classification(num_population)
        rows = torch.randperm(num_population, generator=torch.Generator().manual_seed(seed))[
            :num_examples
        ]
        return Problem(
            tiny_mlp(),
            (x[rows], y[rows]),
            device="cpu",
            dtype="float64",
            num_population=num_population,
        )

    @pytest.mark.parametrize("name", ["avg", "first_order"])
    def test_the_error_is_the_spread_over_samples(self, name):
        direction = {"num_directions": 2}
        found = [
            measure_sharpness(self.draw(seed), [0.2], measures=[name], **direction).measures[0]
            for seed in range(60)
        ]
        spread = np.std([m.sharpness for m in found], ddof=1)
        claimed = np.sqrt(np.mean([m.data_error**2 for m in found]))
        assert claimed == pytest.approx(spread, rel=0.3)

    def test_there_is_none_on_all_data(self):
        found = measure_sharpness(
            Problem(tiny_mlp(), classification(60), device="cpu"), [0.2]
        ).measures
        assert [m.data_error for m in found] == [None] * 5

    def test_batches_of_m_are_the_units_then(self):
        found = measure_rises(self.draw(0), [0.2], SharpnessOptions(m=20), measures=["asc"])
        assert len(found.rises["asc", 0.2].units) == 3
        assert found.result.measures[0].data_error > 0


def test_the_generalization_gap_is_test_loss_minus_train_loss():
    train, test = (
        Problem(tiny_mlp(), classification(30, seed=seed), device="cpu") for seed in (1, 2)
    )
    found = measure_sharpness(train, [0.1], measures=["asc"], held_out=test)
    assert found.test_loss == test.evaluate().loss
    assert found.test_accuracy == test.evaluate().accuracy
    assert found.generalization_gap == test.evaluate().loss - train.evaluate().loss


def test_a_gradient_that_is_not_finite_is_refused():
    problem = Problem(
        Quadratic(W0), DUMMY_DATA, lambda w, _: (w * math.inf).sum(), device="cpu", dtype="float64"
    )
    with pytest.raises(NotFiniteError, match="the gradient holds NaN or inf"):
        measure_sharpness(problem, [0.1], measures=["asc"])


def test_points_per_pass_change_no_number():
    problem = Problem(
        tiny_mlp(), classification(40), device="cpu", dtype="float64", points_per_pass=4
    )
    single = Problem(tiny_mlp(), classification(40), device="cpu", dtype="float64")
    found, expected = (
        measure_sharpness(each, [0.1], num_directions=5).measures for each in (problem, single)
    )
    assert [m.loss for m in found] == pytest.approx([m.loss for m in expected], rel=1e-12)
    assert [m.num_directions for m in found] == [m.num_directions for m in expected]


def test_the_rounding_of_each_measure_is_its_distance_from_float64():
    model, data = tiny_mlp(), classification()
    loss, w = loss_of_vector(model, *data)
    gradient = torch.func.grad(loss)(w)
    exact = {
        "asc": float(loss(w + 0.05 * gradient / gradient.norm()) - loss(w)),
        "first_order": 0.05 * float(gradient.norm()),
    }
    found = measure_sharpness(Problem(model, data, device="cpu"), 0.05)
    for name, value in exact.items():
        measure = found[name, 0.05]
        assert measure.rounding == pytest.approx(
            abs(measure.sharpness - value), rel=1e-3, abs=1e-15
        )
    assert found.loss_rounding == pytest.approx(abs(found.loss - float(loss(w))), abs=1e-15)
    norm = float(gradient.norm())
    assert found.gradient_rounding == pytest.approx(abs(found.gradient_norm - norm), rel=1e-3)
    assert all(measure.rounding < 1e-5 * found.loss for measure in found.measures)


@pytest.mark.parametrize("batchnorm", ["stored", "batch"])
def test_the_rounding_of_a_share_of_the_data_is_of_that_size(monkeypatch, batchnorm):
    from landscape.problem import rounding

    problem = Problem(tiny_cnn(), images(24), device="cpu", batch_size=6, batchnorm=batchnorm)
    whole = measure_sharpness(problem, 0.05)
    monkeypatch.setattr(rounding, "_CHEAP", -1)
    share = measure_sharpness(problem, 0.05)
    for one, other in zip(whole.measures, share.measures, strict=True):
        assert one.sharpness == other.sharpness
        assert 0 <= one.rounding < 1e-6
        assert 0 < other.rounding < 1e-5


def test_the_rounding_of_a_measure_that_float64_refuses_is_not_known():
    class OnlySingle(torch.nn.Linear):
        def forward(self, inputs):
            assert inputs.dtype == torch.float32
            return super().forward(inputs)

    problem = Problem(OnlySingle(5, 3), classification(), device="cpu")
    found = measure_sharpness(problem, 0.05, measures=["asc"])
    assert found["asc", 0.05].rounding is None
    assert found.loss_rounding is None


@pytest.mark.slow
def test_the_interval_of_avg_holds_the_mean_over_all_directions():
    """On a quadratic L^Avg - L = rho^2 tr(A) / (2 P), whatever the gradient."""
    spectrum = [*(10.0 / k for k in range(1, 31)), *(-1.0 / k for k in range(1, 11))]
    matrix = symmetric_with_spectrum(spectrum)
    problem = Problem(
        Quadratic(torch.ones(40, dtype=torch.float64)),
        DUMMY_DATA,
        quadratic_loss(matrix, torch.ones(40, dtype=torch.float64)),
        dtype="float64",
    )
    expected, inside = 0.1**2 * sum(spectrum) / 80, 0
    for seed in range(100):
        found = measure_sharpness(problem, 0.1, measures=("avg",), seed=seed)["avg", 0.1]
        assert found.num_directions == 20
        assert found.half_width is not None
        inside += abs(found.sharpness - expected) <= found.half_width
    assert inside >= 90
