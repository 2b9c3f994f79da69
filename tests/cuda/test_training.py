"""Training on a CUDA device: which kernels it chooses, and what it says where memory runs out."""

import pytest
import torch
from torch import nn

from landscape import Problem
from landscape.errors import LandscapeError
from landscape.training import TrainingPlan, train

pytestmark = pytest.mark.gpu
DATA = torch.arange(64.0).reshape(16, 4) / 64, torch.arange(16) % 2


class Noting(nn.Module):
    """A linear layer that notes how it is computed."""

    def __init__(self, width=2):
        super().__init__()
        self.linear = nn.Linear(4, width)

    def forward(self, x):
        seen.add(
            (
                torch.are_deterministic_algorithms_enabled(),
                torch.backends.cudnn.deterministic,
                torch.backends.cudnn.allow_tf32,
                torch.backends.cuda.matmul.allow_tf32,
            )
        )
        return self.linear(x)


seen = set()
"""Settings of determinism in the passes of `Noting`."""


def trained(model, data=DATA, **options):
    """Train a model for an epoch and return it."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    history = train(model, data, DATA, optimizer, TrainingPlan(epochs=1, batch_size=8, **options))
    return model, history


def test_training_chooses_kernels_as_evaluation_does_and_leaves_the_users_settings():
    with torch.backends.cudnn.flags(enabled=True, deterministic=False, allow_tf32=True):
        seen.clear()
        model, history = trained(Noting().cuda())
        assert seen == {(True, True, False, False)}
        assert not torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.deterministic
        assert torch.backends.cudnn.allow_tf32
        problem = Problem(model, DATA, device="cuda", batch_size=8)
    assert seen == {(True, True, False, False)}
    assert history.columns["test_loss"][-1] == pytest.approx(problem.loss(), rel=1e-6)


def test_too_little_memory_for_a_step_is_a_sentence():
    fakecuda = pytest.importorskip("fakecuda", reason="only a simulated device can be made smaller")
    model = Noting(1 << 16).cuda()
    with (
        fakecuda.capacity(torch.cuda.memory_allocated() + (1 << 16)),
        pytest.raises(LandscapeError, match="out of memory in a"),
    ):
        trained(model)
