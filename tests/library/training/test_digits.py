import pytest
import torch

from landscape.data import build_data
from landscape.models import build_model
from landscape.optim.family import BASES, FAMILY, build_optimizer
from landscape.problem.reading import as_data
from landscape.training import TrainingPlan, train

COMBINATIONS = [(name, None) for name in BASES] + [
    (name, base) for name in FAMILY for base in BASES
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "base"), COMBINATIONS)
def test_defaults_of_every_optimizer_train_an_mlp_on_digits(name, base):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model("mlp")
    optimizer = build_optimizer(name, model, **({} if base is None else {"base": base}))
    plan = TrainingPlan(epochs=15, batch_size=128)
    history = train(model, *map(as_data, build_data("digits")), optimizer, plan)
    assert history.test_loss[-1] < 0.3
    assert history.test_accuracy[-1] > 0.95
    assert history.settings["skipped_steps"] == 0
