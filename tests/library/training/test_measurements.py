"""What may be measured beside the training: averaged weights and the ascent sharpness."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD

from landscape.data.subset import balanced_subset
from landscape.errors import InputError
from landscape.optim import SAM
from landscape.problem.batches import TensorData
from landscape.training import Interrupted
from tests.training_runs import train

GENERATOR = torch.Generator().manual_seed(0)
POINTS = TensorData(
    torch.randn(50, 6, generator=GENERATOR, dtype=torch.float64),
    torch.randint(7, (50,), generator=GENERATOR),
)
RTOL = 1e-12  # sums of a few dozen float64 terms, in another order
OPTIMIZERS = {
    "sgd": lambda model: SGD(model.parameters(), lr=0.5, momentum=0.9),
    "sam": lambda model: SAM(model.parameters(), SGD, rho=0.3, lr=0.5, module=model),
}


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 7)
        ).double()


def run(optimizer="sgd", model=None, hook=None, **options):
    model = network() if model is None else model
    made = OPTIMIZERS[optimizer](model)
    if hook:
        made.register_step_post_hook(lambda *_: hook(model))
    history = train(model, POINTS, POINTS, made, epochs=3, batch_size=16, **options)
    return model.state_dict(), history


def assert_same_columns(first, second, names):
    for name in names:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)


ALWAYS = [
    field.name
    for field in dataclasses.fields(run()[1])
    if field.name not in ("seconds", "settings") and not field.name.startswith(("ema", "ascent"))
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("option", [{"ema": 0.9}, {"asc_samples": 20}])
def test_a_measurement_does_not_change_the_run_by_a_bit(optimizer, option):
    expected, plain = run(optimizer)
    weights, history = run(optimizer, **option)
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert_same_columns(history, plain, ALWAYS)
    for name in ("ema_test_loss", "ema_test_accuracy", "ascent_sharpness"):
        assert np.isnan(getattr(plain, name)).all()


@pytest.mark.parametrize("name", ["0.weight", "1.running_mean"])
def test_the_moving_average_is_its_recursion(name):
    seen, states = [], []
    run(
        ema=0.8,
        hook=lambda model: seen.append(model.state_dict()[name].clone()),
        save=states.append,
    )
    average = seen[0]
    for value in seen[1:]:
        average = 0.8 * average + 0.2 * value
    torch.testing.assert_close(states[-1].average[name], average, rtol=RTOL, atol=1e-14)


def test_the_moving_average_is_evaluated_on_the_test_set():
    states, model = [], network()
    _, history = run(ema=0.8, save=states.append)
    for row, state in enumerate(states):
        model.load_state_dict(state.average)
        with torch.no_grad():
            outputs = model.eval()(POINTS.inputs)
        loss = F.cross_entropy(outputs, POINTS.targets).item()
        assert history.ema_test_loss[row] == pytest.approx(loss, rel=RTOL)
        assert history.ema_test_accuracy[row] == float(
            (outputs.argmax(1) == POINTS.targets).double().mean()
        )
    assert history.ema_test_loss[-1] != history.test_loss[-1]


@pytest.mark.parametrize("num_steps", [1, 6])
def test_resuming_keeps_averages_and_measurements_exact(num_steps):
    states, asked, options = [], iter(range(1, 100)), {"ema": 0.8, "asc_samples": 20}
    with pytest.raises(Interrupted):
        run(save=states.append, should_stop=lambda: next(asked) == num_steps, **options)
    ends, others = [], []
    _, again = run(state=states[-1], save=ends.append, **options)
    _, history = run(save=others.append, **options)
    assert_same_columns(
        again, history, [*ALWAYS, "ema_test_loss", "ema_test_accuracy", "ascent_sharpness"]
    )
    assert all(
        torch.equal(value, others[-1].average[name]) for name, value in ends[-1].average.items()
    )


def test_a_run_without_an_average_does_not_go_on_with_one():
    states = []
    run(save=states.append)
    with pytest.raises(InputError, match="goes on with a moving average if it had one before"):
        run(state=states[0], ema=0.9)


@pytest.mark.parametrize("ema", [1, -0.1, float("nan")])
def test_a_decay_out_of_range_is_refused(ema):
    with pytest.raises(InputError, match=r"decay of the moving average must be in \[0, 1\)"):
        run(ema=ema)


@pytest.mark.parametrize(("optimizer", "rho"), [("sgd", 0.05), ("sam", 0.3)])
def test_ascent_sharpness_is_the_rise_along_the_gradient_on_a_balanced_subset(optimizer, rho):
    model = network()
    _, history = run(optimizer, model, asc_samples=21)
    picked = balanced_subset(POINTS.targets, 21)
    parameters = dict(model.eval().named_parameters())

    def loss(weights):
        outputs = torch.func.functional_call(model, weights, POINTS.inputs[picked])
        return F.cross_entropy(outputs, POINTS.targets[picked])

    gradient = torch.func.grad(loss)(parameters)
    norm = torch.sqrt(sum(g.square().sum() for g in gradient.values()))
    moved = {name: w + rho * gradient[name] / norm for name, w in parameters.items()}
    expected = (loss(moved) - loss(parameters)).item()
    assert history.ascent_sharpness[-1] == pytest.approx(expected, rel=1e-10)


def test_sam_without_a_radius_is_measured_as_its_base_is():
    model, plain = network(), network()
    options = {"epochs": 1, "batch_size": 16, "asc_samples": 20, "sharpness_rho": 0.07}
    history = train(
        model, POINTS, None, SAM(model.parameters(), SGD, rho=0.0, lr=0.5, module=model), **options
    )
    expected = train(plain, POINTS, None, SGD(plain.parameters(), lr=0.5), **options)
    assert_same_columns(history, expected, ["ascent_sharpness", "first_order_sharpness"])
    assert history.settings["sharpness_rho"] == expected.settings["sharpness_rho"] == 0.07


def test_ascent_sharpness_takes_no_larger_passes_than_training():
    model, sizes = network(), []
    model.register_forward_pre_hook(lambda part, inputs: sizes.append(len(inputs[0])))
    options = {"epochs": 1, "batch_size": 16, "micro_batch": 4, "asc_samples": 21}
    train(model, POINTS, None, SGD(model.parameters(), lr=0.1), **options)
    assert max(sizes) == 4


def test_a_resumed_run_measures_at_the_radius_of_the_first():
    states = []
    _, history = run("sam", save=states.append, asc_samples=20)
    model = network()
    other = SAM(model.parameters(), SGD, rho=0.9, lr=0.5, module=model)
    options = {"epochs": 3, "batch_size": 16, "asc_samples": 20}
    again = train(model, POINTS, POINTS, other, state=states[0], **options)
    assert_same_columns(again, history, ["ascent_sharpness", "first_order_sharpness"])
    assert again.settings["sharpness_rho"] == 0.3


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_a_module_that_cannot_be_copied_is_refused_an_average():
    model = nn.utils.weight_norm(nn.Linear(6, 7).double())
    model(POINTS.inputs)
    with pytest.raises(InputError, match="the model cannot be copied: RuntimeError"):
        run(model=model, ema=0.9)


def test_more_samples_than_examples_are_refused():
    with pytest.raises(InputError, match="the number of samples must be from 1 to 50, got 51"):
        run(asc_samples=51)
