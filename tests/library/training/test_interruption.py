import dataclasses
import io

import numpy as np
import pytest
import torch
from torch import nn

from landscape.errors import InputError
from landscape.optim import OPTIMIZERS, build_optimizer
from landscape.problem.batches import TensorData
from landscape.training import AUGMENTATIONS, Interrupted, TrainingState
from tests.training_runs import train

GENERATOR = torch.Generator().manual_seed(0)
IMAGES = TensorData(
    torch.randn(40, 1, 6, 6, generator=GENERATOR), torch.randint(3, (40,), generator=GENERATOR)
)
STEPS_PER_EPOCH = 3


@pytest.fixture(autouse=True)
def _kept_random_state():
    with torch.random.fork_rng():
        yield


def convolutional(seed=0):
    torch.manual_seed(seed)
    features = [
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
    ]
    return nn.Sequential(*features, nn.Flatten(), nn.Dropout(0.3), nn.Linear(16, 3))


def run(optimizer="sgd", seed=0, **options):
    model = convolutional(seed)
    options = {"epochs": 3, "batch_size": 16, "augmentation": "crop-flip", "seed": 3, **options}
    history = train(model, IMAGES, IMAGES, build_optimizer(optimizer, model), **options)
    return model.state_dict(), history


def stopped_after(num_steps, **options):
    """The state of a run that is asked to stop after some steps."""
    states, asked = [], iter(range(1, 1000))
    with pytest.raises(Interrupted) as caught:
        run(save=states.append, should_stop=lambda: next(asked) == num_steps, **options)
    return states[-1], caught.value


def assert_equal(first, second):
    (weights, history), (others, again) = first, second
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    for field in dataclasses.fields(history):
        if field.name not in ("settings", "seconds"):
            np.testing.assert_array_equal(getattr(again, field.name), getattr(history, field.name))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("num_steps", [1, 3, 4, 8, 9])
def test_resuming_after_any_step_equals_an_uninterrupted_run(optimizer, num_steps):
    state, _ = stopped_after(num_steps, optimizer=optimizer)
    assert_equal(run(optimizer, seed=9, state=state), run(optimizer))


def test_a_run_may_be_interrupted_again_and_again():
    state, _ = stopped_after(2)
    for _ in range(3):
        state, _ = stopped_after(2, state=state)
    assert (state.epoch, state.step) == (2, 2)
    assert_equal(run(state=state), run())


def test_the_interruption_says_where_the_run_stands():
    state, interruption = stopped_after(4)
    assert (interruption.epoch, interruption.step, interruption.num_steps) == (
        2,
        1,
        STEPS_PER_EPOCH,
    )
    assert (state.epoch, state.step, len(state.rows)) == (1, 1, 1)


def test_a_state_in_mid_epoch_survives_a_file_without_code():
    state, _ = stopped_after(5, optimizer="sam")
    file = io.BytesIO()
    torch.save(dataclasses.asdict(state), file)
    file.seek(0)
    again = TrainingState(**torch.load(file, weights_only=True))
    assert_equal(run("sam", state=again), run("sam"))


def test_seconds_of_an_interrupted_epoch_include_those_before():
    state, _ = stopped_after(1)
    assert state.seconds > 0
    _, history = run(state=dataclasses.replace(state, seconds=1000.0))
    assert history.seconds[0] > 1000 > history.seconds[1]


def test_a_state_of_other_data_is_refused():
    state, _ = stopped_after(3)
    with pytest.raises(InputError, match="2 steps an epoch cannot go on from step 3"):
        run(state=state, batch_size=20)


def test_every_step_draws_its_own_numbers_in_the_model_and_in_the_augmentation(monkeypatch):
    drawn = []

    def record(inputs, generator):
        drawn.append(torch.rand(4, generator=generator))
        return inputs

    monkeypatch.setitem(AUGMENTATIONS, "record", record)
    data = TensorData(torch.zeros(8, 1), torch.zeros(8, dtype=torch.int64))
    model = nn.Linear(1, 2)
    model.register_forward_pre_hook(lambda *_: drawn.append(torch.rand(4)))
    train(
        model,
        data,
        None,
        build_optimizer("sgd", model),
        epochs=2,
        batch_size=2,
        augmentation="record",
    )
    assert len(drawn) == 16
    assert len({tuple(numbers.tolist()) for numbers in drawn}) == 16


def test_augmentation_and_order_draw_different_numbers(monkeypatch):
    order, shifts = [], []

    def record(inputs, generator):
        order.extend(inputs.flatten().long().tolist())
        shifts.append(torch.randperm(8, generator=generator).tolist())
        return inputs

    monkeypatch.setitem(AUGMENTATIONS, "record", record)
    data = TensorData(torch.arange(8.0)[:, None], torch.zeros(8, dtype=torch.int64))
    model = nn.Linear(1, 2)
    train(
        model,
        data,
        None,
        build_optimizer("sgd", model),
        epochs=2,
        batch_size=8,
        augmentation="record",
    )
    assert len({tuple(numbers) for numbers in (*shifts, order[:8], order[8:])}) == 4
