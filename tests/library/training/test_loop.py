import dataclasses
import io
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD

from landscape.errors import InputError, LandscapeError
from landscape.optim import OPTIMIZERS, SAM, build_optimizer
from landscape.problem.batches import BatchData, TensorData
from landscape.training import TrainingState
from tests.training_runs import train

GENERATOR = torch.Generator().manual_seed(0)
POINTS = TensorData(
    torch.randn(50, 6, generator=GENERATOR, dtype=torch.float64),
    torch.randint(7, (50,), generator=GENERATOR),
)
TEST_POINTS = TensorData(
    torch.randn(23, 6, generator=GENERATOR, dtype=torch.float64),
    torch.randint(7, (23,), generator=GENERATOR),
)
IMAGES = TensorData(
    torch.randn(40, 1, 6, 6, generator=GENERATOR), torch.randint(3, (40,), generator=GENERATOR)
)

# Sums of a few dozen float64 terms, in another order.
RTOL = 1e-12


@pytest.fixture(autouse=True)
def _kept_random_state():
    with torch.random.fork_rng():
        yield


def linear(seed=0):
    torch.manual_seed(seed)
    return nn.Linear(6, 7).double()


def convolutional(seed=0):
    torch.manual_seed(seed)
    features = [
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
    ]
    return nn.Sequential(*features, nn.Flatten(), nn.Dropout(0.3), nn.Linear(16, 3))


def weights(model):
    return [value.detach().clone() for value in model.state_dict().values()]


def are_equal(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def run_images(optimizer="sgd", model=None, **options):
    model = convolutional() if model is None else model
    options = {"epochs": 4, "batch_size": 16, "augmentation": "crop-flip", "seed": 3, **options}
    history = train(model, IMAGES, IMAGES, build_optimizer(optimizer, model), **options)
    return weights(model), history


def reference_run(epochs, batch_size, seed, label_smoothing=0.0):
    """SGD with momentum and a cosine schedule on the linear model, written out, with what it
    measures."""
    model, generator = linear(), torch.Generator().manual_seed(seed)
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    num_steps, step, rows = epochs * math.ceil(50 / batch_size), 0, []
    for _ in range(epochs):
        losses, correct, norms = [], 0, []
        rate = 0.1 * (1 + math.cos(math.pi * step / num_steps)) / 2
        for picked in torch.randperm(50, generator=generator).split(batch_size):
            optimizer.param_groups[0]["lr"] = 0.1 * (1 + math.cos(math.pi * step / num_steps)) / 2
            optimizer.zero_grad()
            outputs = model(POINTS.inputs[picked])
            loss = F.cross_entropy(outputs, POINTS.targets[picked], label_smoothing=label_smoothing)
            loss.backward()
            losses += [loss.item()] * len(picked)
            correct += int((outputs.argmax(1) == POINTS.targets[picked]).sum())
            norms.append(math.sqrt(sum(w.grad.square().sum().item() for w in model.parameters())))
            optimizer.step()
            step += 1
        rows.append((np.mean(losses), correct / 50, 0.05 * np.mean(norms), rate))
    return model, np.array(rows).T


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_training_is_the_textbook_loop(label_smoothing):
    expected, (loss, accuracy, sharpness, rate) = reference_run(3, 16, 5, label_smoothing)
    model = linear()
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    options = {"epochs": 3, "batch_size": 16, "seed": 5, "label_smoothing": label_smoothing}
    history = train(model, POINTS, None, optimizer, **options)
    torch.testing.assert_close(weights(model), weights(expected), rtol=RTOL, atol=1e-14)
    assert history.epoch.tolist() == [1, 2, 3]
    np.testing.assert_allclose(history.train_loss, loss, rtol=RTOL)
    np.testing.assert_allclose(history.train_accuracy, accuracy, rtol=RTOL)
    np.testing.assert_allclose(history.first_order_sharpness, sharpness, rtol=RTOL)
    np.testing.assert_allclose(history.learning_rate, rate, rtol=RTOL)


@pytest.mark.parametrize("batch_size", [5, 23, 100])
def test_test_columns_are_plain_means_over_the_examples(batch_size):
    model = linear()
    options = {"epochs": 1, "batch_size": batch_size, "label_smoothing": 0.2}
    history = train(model, POINTS, TEST_POINTS, SGD(model.parameters(), lr=0.1), **options)
    with torch.no_grad():
        outputs = model(TEST_POINTS.inputs)
    order, targets = outputs.numpy().argsort(1)[:, ::-1], TEST_POINTS.targets.numpy()
    top1 = np.mean(order[:, 0] != targets)
    top5 = np.mean([target not in row[:5] for row, target in zip(order, targets, strict=True)])
    assert history.test_loss[0] == pytest.approx(
        F.cross_entropy(outputs, TEST_POINTS.targets).item(), rel=RTOL
    )
    assert history.test_top1_error[0] == pytest.approx(top1)
    assert history.test_accuracy[0] == pytest.approx(1 - top1)
    assert history.test_top5_error[0] == pytest.approx(top5)
    assert 0 < top5 < top1


def test_test_set_is_seen_in_evaluation_mode_and_does_not_change_the_weights():
    first, second = convolutional(), convolutional()
    options = {"epochs": 2, "batch_size": 16}
    history = train(first, IMAGES, IMAGES, build_optimizer("sgd", first), **options)
    train(second, IMAGES, None, build_optimizer("sgd", second), **options)
    assert are_equal(weights(first), weights(second))
    with torch.no_grad():
        loss = F.cross_entropy(first.eval()(IMAGES.inputs), IMAGES.targets).item()
    assert history.test_loss[-1] == pytest.approx(loss, rel=1e-5)  # float32 forward in batches


def test_columns_of_a_missing_test_set_are_nan():
    model = linear()
    history = train(model, POINTS, None, SGD(model.parameters(), lr=0.1), epochs=2)
    for column in (
        history.test_loss,
        history.test_accuracy,
        history.test_top1_error,
        history.test_top5_error,
    ):
        assert column.shape == (2,)
        assert np.isnan(column).all()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_resuming_gives_the_weights_and_rows_of_an_uninterrupted_run(optimizer):
    states = []
    expected, history = run_images(optimizer, save=states.append)
    for state in states:
        resumed, again = run_images(optimizer, model=convolutional(seed=9), state=state)
        assert are_equal(resumed, expected)
        for field in dataclasses.fields(history):
            if field.name not in ("settings", "seconds"):
                np.testing.assert_array_equal(
                    getattr(again, field.name), getattr(history, field.name)
                )


def test_state_survives_a_file_without_code():
    states = []
    expected, _ = run_images("sam", save=states.append)
    file = io.BytesIO()
    torch.save(
        {f.name: getattr(states[1], f.name) for f in dataclasses.fields(TrainingState)}, file
    )
    file.seek(0)
    state = TrainingState(**torch.load(file, weights_only=True))
    assert are_equal(run_images("sam", model=convolutional(seed=9), state=state)[0], expected)


def test_state_is_a_copy_that_neither_run_changes():
    states = []
    run_images("adam", save=states.append)
    copies = [{name: value.clone() for name, value in state.module.items()} for state in states]
    moments = states[0].optimizer["state"][0]["exp_avg"].clone()
    run_images("adam", model=convolutional(seed=9), state=states[0])
    for state, copy in zip(states, copies, strict=True):
        assert are_equal(state.module.values(), copy.values())
    assert (
        [state.epoch for state in states] == [len(state.rows) for state in states] == [1, 2, 3, 4]
    )
    assert torch.equal(states[0].optimizer["state"][0]["exp_avg"], moments)
    assert not torch.equal(states[1].optimizer["state"][0]["exp_avg"], moments)


def test_run_that_is_done_is_returned_as_it_is():
    states = []
    expected, history = run_images(save=states.append)
    done, again = run_images(model=convolutional(seed=9), state=states[-1])
    assert are_equal(done, expected)
    np.testing.assert_array_equal(again.train_loss, history.train_loss)
    with pytest.raises(InputError, match="cannot go on from epoch 4"):
        run_images(state=states[-1], epochs=3)


def test_same_seed_gives_the_same_weights_and_another_seed_others():
    torch.manual_seed(1)
    first, _ = run_images()
    torch.manual_seed(2)
    assert are_equal(run_images()[0], first)
    assert not are_equal(run_images(seed=4)[0], first)


def test_random_state_and_modes_are_left_as_they_were():
    model = convolutional()
    model[1].eval()
    optimizer, state = build_optimizer("sam", model), torch.get_rng_state()
    train(model, IMAGES, IMAGES, optimizer, epochs=1, augmentation="crop-flip")
    assert torch.equal(torch.get_rng_state(), state)
    assert [part.training for part in model] == [True, False, True, True, True, True, True]


def test_random_numbers_drawn_after_an_epoch_do_not_change_the_run():
    expected, _ = run_images()
    assert are_equal(run_images(save=lambda _: torch.rand(5))[0], expected)


def test_learning_rates_and_gradients_are_left_as_they_were():
    model = linear()
    optimizer = SGD([{"params": [model.weight], "lr": 0.2}, {"params": [model.bias]}], lr=0.1)
    history = train(model, POINTS, None, optimizer, epochs=3, batch_size=50)
    assert [group["lr"] for group in optimizer.param_groups] == [0.2, 0.1]
    assert all("initial_lr" not in group for group in optimizer.param_groups)
    assert model.weight.grad is None
    np.testing.assert_allclose(history.learning_rate, [0.2, 0.15, 0.05], rtol=RTOL)


def test_schedule_acts_at_every_step():
    model, rates = linear(), []
    optimizer = SGD(model.parameters(), lr=1.0)
    optimizer.register_step_post_hook(lambda opt, *_: rates.append(opt.param_groups[0]["lr"]))
    train(model, POINTS, None, optimizer, epochs=2, batch_size=25, schedule="step")
    assert rates == pytest.approx([1, 1, 0.1, 0.01])


def test_first_order_sharpness_of_sam_is_its_rho_times_its_gradient_norm():
    model, norms = linear(), []
    optimizer = SAM(model.parameters(), SGD, rho=0.3, lr=0.1)
    optimizer.register_step_post_hook(lambda opt, *_: norms.append(float(opt.gradient_norm)))
    history = train(model, POINTS, None, optimizer, epochs=2, batch_size=16)
    expected = 0.3 * np.array(norms).reshape(2, 4).mean(1)
    np.testing.assert_allclose(history.first_order_sharpness, expected, rtol=RTOL)
    assert history.settings["sharpness_rho"] == 0.3


@pytest.mark.parametrize("options", [{"adaptive": True}, {"p": math.inf}])
def test_radius_of_another_ball_is_not_taken_for_a_euclidean_one(options):
    model = linear()
    optimizer = SAM(model.parameters(), SGD, rho=0.3, lr=0.1, **options)
    history = train(model, POINTS, None, optimizer, epochs=1, sharpness_rho=0.07)
    assert history.settings["sharpness_rho"] == 0.07


def test_loss_of_sam_is_that_of_its_first_pass():
    model, losses = linear(), []
    optimizer = SAM(model.parameters(), SGD, rho=5.0, lr=0.0)

    def criterion(outputs, targets):
        losses.append(F.cross_entropy(outputs, targets))
        return losses[-1]

    history = train(model, POINTS, None, optimizer, epochs=1, batch_size=50, criterion=criterion)
    assert history.train_loss[0] == pytest.approx(losses[0].item(), rel=RTOL)
    assert losses[1] > losses[0]


def test_regression_has_a_loss_and_no_accuracy():
    model = nn.Linear(6, 1).double()
    data = TensorData(POINTS.inputs, POINTS.inputs.sum(1, keepdim=True))
    options = {"epochs": 40, "batch_size": 10, "criterion": F.mse_loss}
    history = train(model, data, data, SGD(model.parameters(), lr=0.1), **options)
    assert history.test_loss[-1] < 1e-3 * history.test_loss[0]
    for column in (history.train_accuracy, history.test_accuracy, history.test_top5_error):
        assert np.isnan(column).all()


def test_top_five_error_of_fewer_than_five_classes_is_zero():
    assert run_images(epochs=1)[1].test_top5_error[0] == 0


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(6, 7).double()

    def forward(self, first, second):
        return self.layer(torch.cat([first, second], 1))


@pytest.mark.parametrize("form", [tuple, dict])
def test_inputs_may_be_a_tuple_or_a_dict(form):
    first, second = POINTS.inputs.split([2, 4], dim=1)
    inputs = (first, second) if form is tuple else {"second": second, "first": first}
    model, plain = TwoInputs(), TwoInputs()
    options = {"epochs": 2, "batch_size": 16}
    train(
        model, TensorData(inputs, POINTS.targets), None, SGD(model.parameters(), lr=0.1), **options
    )
    train(plain.layer, POINTS, None, SGD(plain.parameters(), lr=0.1), **options)
    assert are_equal(weights(model), weights(plain))


def test_batches_that_the_user_made_are_kept():
    sizes, model = [], linear()
    model.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    data = BatchData(
        ((POINTS.inputs[:30], POINTS.targets[:30]), (POINTS.inputs[30:], POINTS.targets[30:]))
    )
    train(model, data, None, SGD(model.parameters(), lr=0.1), epochs=2, batch_size=7)
    assert [sorted(sizes[:2]), sorted(sizes[2:])] == [[20, 30]] * 2


def test_parameters_keep_their_storage_and_layout():
    model = convolutional()
    before = [(w.data_ptr(), w.stride()) for w in model.parameters()]
    _, history = run_images("sam", model=model)
    assert history.settings["memory_format"] == "channels_last"
    assert [(w.data_ptr(), w.stride()) for w in model.parameters()] == before


def test_model_that_cannot_take_channels_last_is_trained_in_the_plain_layout():
    class Flattening(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(2, 4, 3), nn.Linear(64, 3)

        def forward(self, x):
            return self.head(self.conv(x).view(len(x), -1))

    model = Flattening()
    data = TensorData(IMAGES.inputs.expand(-1, 2, -1, -1), IMAGES.targets)
    history = train(model, data, None, build_optimizer("sgd", model), epochs=1)
    assert history.settings["memory_format"] == "contiguous"


def test_divergence_is_an_error_after_the_last_good_state_was_handed_over():
    model, states = linear(), []
    optimizer = SGD(model.parameters(), lr=0.1)

    def criterion(outputs, targets):
        return F.cross_entropy(outputs, targets) * (math.nan if len(states) == 2 else 1)

    with pytest.raises(LandscapeError, match="training diverged in epoch 3") as caught:
        train(model, POINTS, None, optimizer, epochs=5, criterion=criterion, save=states.append)
    assert "`lr`" in caught.value.hint
    assert [state.epoch for state in states] == [1, 2]
    assert all(value.isfinite().all() for value in states[-1].module.values())


class Recorder:
    def __init__(self):
        self.calls = []

    def start(self, task, total):
        self.calls.append(("start", task, total))

    def update(self, completed, **fields):
        self.calls.append(("update", completed, fields))

    def stop(self):
        self.calls.append(("stop",))


def test_progress_is_told_where_the_run_is():
    model, recorder = linear(), Recorder()
    optimizer = SGD(model.parameters(), lr=0.1)
    history = train(model, POINTS, None, optimizer, epochs=2, batch_size=16, progress=recorder)
    start, *updates, stop = recorder.calls
    assert start == ("start", "training", 8)
    assert stop == ("stop",)
    completed = [update[1] for update in updates]
    assert completed == sorted(completed)
    assert {4, 8} <= set(completed)
    fields = updates[-1][2]
    assert fields["epoch"] == 2
    assert fields["loss"] == pytest.approx(history.train_loss[-1])
    assert fields["accuracy"] == pytest.approx(history.train_accuracy[-1])
    assert fields["examples_per_second"] > 0


def test_progress_is_stopped_and_everything_put_back_after_an_error():
    model, recorder = convolutional(), Recorder()
    optimizer, state = build_optimizer("sgd", model, lr=0.3), torch.get_rng_state()
    before = [part.training for part in model.eval()]

    def fail(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(model, IMAGES, IMAGES, optimizer, epochs=2, progress=recorder, save=fail)
    assert recorder.calls[-1] == ("stop",)
    assert optimizer.param_groups[0]["lr"] == 0.3
    assert torch.equal(torch.get_rng_state(), state)
    assert [part.training for part in model] == before


@pytest.mark.parametrize("options", [{"batch_size": 7}, {"batch_size": 10, "micro_batch": 3}])
def test_a_single_example_left_over_is_refused_by_batch_normalization_with_what_to_choose(options):
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 7)).double()
    message = "batch normalization in training needs more than one value a channel"
    with pytest.raises(InputError, match=message) as caught:
        train(model, POINTS, None, SGD(model.parameters(), lr=0.1), epochs=1, **options)
    assert "`batch_size`" in caught.value.hint
    assert "`micro_batch`" in caught.value.hint


def test_a_single_example_left_over_is_trained_on_where_the_model_takes_it():
    model, sizes = linear(), []
    model.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    train(model, POINTS, None, SGD(model.parameters(), lr=0.1), epochs=1, batch_size=7)
    assert sizes == [7] * 7 + [1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"batch_size": 0}, "batch size must be at least 1"),
        ({"label_smoothing": 1.0}, r"label smoothing must be in \[0, 1\)"),
        ({"label_smoothing": 0.1, "criterion": F.cross_entropy}, "default cross-entropy only"),
        ({"schedule": "linear"}, "a schedule must be one of"),
        ({"seed": -1}, r"seed must be from 0 to 2\^64 - 1, got -1"),
        ({"seed": 2**64}, r"seed must be from 0 to 2\^64 - 1, got 18446744073709551616"),
        ({"sharpness_rho": 0.0}, "radius of the sharpness must be a positive number, got 0.0"),
        ({"sharpness_rho": -1.0}, "radius of the sharpness must be a positive number, got -1.0"),
        ({"sharpness_rho": math.inf}, "radius of the sharpness must be a positive number, got inf"),
        ({"sharpness_rho": math.nan}, "radius of the sharpness must be a positive number, got nan"),
        ({"augmentation": "rotate"}, "an augmentation must be one of"),
        ({"augmentation": "crop"}, "need images of shape"),
        ({"criterion": lambda outputs, _: outputs}, "the mean over the batch"),
    ],
)
def test_argument_that_does_not_fit_is_refused(options, message):
    model = linear()
    with pytest.raises(InputError, match=message):
        train(model, POINTS, None, SGD(model.parameters(), lr=0.1), **{"epochs": 1, **options})
