"""How many gradients an epoch costs."""

import pytest
import torch
from torch import nn

from landscape.optim.family import build_optimizer
from landscape.problem.batches import TensorData
from landscape.training import Interrupted
from tests.training_runs import train

DATA = TensorData(torch.randn(40, 3), torch.randint(2, (40,)))
NUM_STEPS = 5  # an epoch of batches of 8


def run(name, *, last_fraction=1.0, micro_batch=None, **arguments):
    sam_options = {
        key: arguments.pop(key) for key in ("ascent_steps", "every", "scope") if key in arguments
    }
    model = nn.Linear(3, 2)
    optimizer = build_optimizer(name, model, **sam_options)
    options = {
        "last_fraction": last_fraction,
        "micro_batch": micro_batch,
        "batch_size": 8,
        "epochs": 2,
    }
    return train(model, DATA, None, optimizer, **{**options, **arguments})


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("sgd", {}, [5, 5]),
        ("sgd", {"micro_batch": 3}, [5, 5]),
        ("sam", {}, [10, 10]),
        ("sam", {"ascent_steps": 3}, [20, 20]),
        ("sam", {"every": 5}, [6, 6]),
        ("sam", {"last_fraction": 0.5}, [5, 10]),
        ("sam", {"micro_batch": 4, "scope": "micro-batch"}, [10, 10]),
        ("rand-sam", {}, [10, 10]),
    ],
)
def test_gradients_of_an_epoch_are_counted(name, options, expected):
    assert run(name, **options).num_gradients.tolist() == expected


def test_a_run_that_goes_on_in_mid_epoch_counts_what_was_before():
    states, num_asked = [], 0

    def stop():
        nonlocal num_asked
        num_asked += 1
        return num_asked == 3

    with pytest.raises(Interrupted):
        run("sam", save=states.append, should_stop=stop)
    assert run("sam", state=states[-1]).num_gradients.tolist() == [10, 10]
