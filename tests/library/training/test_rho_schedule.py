import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD

from landscape.errors import InputError
from landscape.optim import SAM
from landscape.problem.batches import TensorData
from tests.training_runs import train

GENERATOR = torch.Generator().manual_seed(0)
POINTS = TensorData(
    torch.randn(50, 6, generator=GENERATOR, dtype=torch.float64),
    torch.randint(7, (50,), generator=GENERATOR),
)
NUM_STEPS = 8  # of two epochs


def linear():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Linear(6, 7).double()


def run(rho=0.5, **options):
    """Return the weights, the history, and factor and learning rate at each step."""
    model, seen = linear(), []
    optimizer = SAM(model.parameters(), SGD, rho=rho, lr=1.0, module=model)
    optimizer.register_step_post_hook(
        lambda opt, *_: seen.append((opt.rho_factor, opt.param_groups[0]["lr"]))
    )
    history = train(
        model,
        POINTS,
        None,
        optimizer,
        **{"epochs": 2, "batch_size": 16, "schedule": "cosine", **options},
    )
    assert optimizer.rho_factor == 1
    return list(model.parameters()), history, np.array(seen).T


def run_base():
    model = linear()
    train(model, POINTS, None, SGD(model.parameters(), lr=1.0), epochs=2, batch_size=16)
    return list(model.parameters())


def test_the_radius_follows_its_schedule_at_every_step():
    _, _, (factors, _) = run(rho_schedule="cosine")
    expected = [(1 + math.cos(math.pi * step / NUM_STEPS)) / 2 for step in range(NUM_STEPS)]
    np.testing.assert_allclose(factors, expected, rtol=1e-15)


@pytest.mark.parametrize("name", ["constant", "cosine", "step"])
def test_with_the_schedule_of_the_learning_rate_the_radius_is_proportional_to_it(name):
    _, _, (factors, rates) = run(schedule=name, rho_schedule=name)
    np.testing.assert_array_equal(factors, rates)


@pytest.mark.parametrize(
    ("fraction", "first"), [(0, 8), (0.2, 6), (0.25, 6), (0.3, 6), (0.5, 4), (0.9, 1), (1, 0)]
)
def test_the_last_fraction_of_the_steps_is_sams(fraction, first):
    _, _, (factors, _) = run(last_fraction=fraction)
    assert factors.tolist() == [0] * first + [1] * (NUM_STEPS - first)


def test_without_any_fraction_the_run_is_that_of_the_base():
    weights, _, _ = run(last_fraction=0)
    assert all(torch.equal(a, b) for a, b in zip(weights, run_base(), strict=True))


def test_a_scheduled_radius_trains_to_other_weights():
    plain, _, _ = run()
    scheduled, _, _ = run(rho_schedule="step")
    assert not torch.equal(plain[0], scheduled[0])


def test_first_order_sharpness_keeps_the_unscheduled_radius():
    model, norms = linear(), []
    optimizer = SAM(model.parameters(), SGD, rho=0.3, lr=0.1)
    optimizer.register_step_post_hook(lambda opt, *_: norms.append(float(opt.gradient_norm)))
    history = train(
        model,
        POINTS,
        None,
        optimizer,
        epochs=1,
        batch_size=16,
        rho_schedule="cosine",
        last_fraction=0.5,
    )
    assert history.first_order_sharpness[0] == pytest.approx(0.3 * np.mean(norms), rel=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rho_schedule": "linear"}, "a schedule must be one of"),
        ({"last_fraction": 1.5}, r"last fraction of SAM must be in \[0, 1\], got 1.5"),
        ({"last_fraction": math.nan}, r"last fraction of SAM must be in \[0, 1\], got nan"),
    ],
)
def test_an_option_out_of_range_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        run(**options)


@pytest.mark.parametrize("options", [{"rho_schedule": "cosine"}, {"last_fraction": 0.5}])
def test_other_optimizers_have_no_radius(options):
    model = linear()
    with pytest.raises(InputError, match="options of SAM, got SGD"):
        train(model, POINTS, None, SGD(model.parameters(), lr=1.0), epochs=1, **options)


def test_an_ascent_for_each_micro_batch_needs_micro_batches():
    model = linear()
    optimizer = SAM(model.parameters(), SGD, scope="micro-batch", lr=0.1)
    with pytest.raises(InputError, match="without micro-batches"):
        train(model, POINTS, None, optimizer, epochs=1)
