import pytest
import torch
from torch import nn

from landscape.optim.family import build_optimizer
from landscape.problem.batches import TensorData
from landscape.study.cost import num_gradients, seconds_per_gradient
from landscape.training import TrainingPlan
from tests.training_runs import train

DATA = TensorData(torch.randn(50, 3), torch.randint(2, (50,)))  # 7 steps of 8 an epoch


@pytest.mark.parametrize(
    ("name", "options", "fraction"),
    [
        ("sgd", {}, 1.0),
        ("sam", {}, 1.0),
        ("sam", {"ascent_steps": 3}, 1.0),
        ("sam", {"every": 4}, 1.0),
        ("sam", {"every": 4, "ascent_steps": 2}, 0.3),
        ("sam", {}, 0.5),
        ("sam", {"rho": 0.0}, 1.0),
        ("rand-sam", {}, 1.0),
    ],
)
def test_the_number_of_gradients_is_what_training_counts(name, options, fraction):
    model = nn.Linear(3, 2)
    optimizer = build_optimizer(name, model, **options)
    predicted = num_gradients(optimizer, 21, last_fraction=fraction)
    history = train(model, DATA, None, optimizer, epochs=3, batch_size=8, last_fraction=fraction)
    assert predicted == history.num_gradients.sum()


def test_a_step_is_timed():
    model, device = nn.Linear(3, 2), torch.device("cpu")
    optimizer, plan = build_optimizer("sam", model), TrainingPlan(batch_size=8)
    assert 0 < seconds_per_gradient(model, DATA, optimizer, plan, device=device) < 1
