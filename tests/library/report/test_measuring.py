"""What a report measures of one checkpoint."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from landscape.problem.problem import Problem
from landscape.report.measuring import Bench, MeasuringPlan, measure_detail

PLAN = MeasuringPlan(rho=(0.05,), num_directions=2, max_gradients=5)


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 4)

    def forward(self, x):
        return self.layer(x + torch.randn_like(x))


def noisy_loss(outputs, targets, reduction="mean"):
    return F.cross_entropy(outputs + torch.randn_like(outputs), targets, reduction=reduction)


@pytest.mark.parametrize("draws", [1, 3])
def test_losses_of_test_examples_are_at_the_random_numbers_of_the_problem(draws, tmp_path):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(20, 3, generator=generator), torch.randint(4, (20,), generator=generator)
    torch.manual_seed(0)
    model = Noisy().double()
    train, test = (
        Problem(model, part, noisy_loss, dtype="float64", batch_size=7, draws=draws)
        for part in ((x[:9], y[:9]), (x[9:], y[9:]))
    )
    bench = Bench({"train": train, "test": test}, {}, {"sharpness": tmp_path / "s.h5"}, PLAN)
    losses = measure_detail(bench).test_losses
    assert losses.shape == (11,)
    assert losses.mean() == pytest.approx(test.loss(), rel=1e-12)
