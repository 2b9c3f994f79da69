"""How many points go through a pass on a CUDA device."""

import time

import pytest
import torch
from torch import nn

from landscape import Problem
from landscape.problem.points_per_pass import fastest_count

pytestmark = pytest.mark.gpu


def test_the_first_pass_of_a_trial_does_not_count(monkeypatch):
    passes = Problem(
        nn.Linear(3, 2), (torch.randn(8, 3), torch.arange(8) % 2), device="cuda"
    ).passes
    now, warm, measured = 0.0, set(), passes.measure_many

    def measure_many(points, batches, size=None):
        nonlocal now
        now += 1e-3 if size in warm else 10.0  # the first loads kernels
        warm.add(size)
        return measured(points, batches, size)

    monkeypatch.setattr(passes, "measure_many", measure_many)
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    assert fastest_count(passes)[0] > 1
