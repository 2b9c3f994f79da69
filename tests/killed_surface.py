"""What test_surface_kill.py runs and kills."""

import time

import torch
from torch import nn

from landscape import Axis, Plane, Problem, evaluate_surface, random_directions
from landscape.io.store import FileSink
from landscape.runtime.progress import SILENT

INTERVAL = 0.1
POINT = 0.002  # seconds


class Told:
    """A progress that tells of each point through a pipe, where a kill cannot lose it."""

    def start(self, task, total):
        """Begin."""

    def update(self, completed, **fields):
        """Tell the time, and leave some for a kill."""
        print(completed, time.time(), flush=True)
        time.sleep(POINT)

    def stop(self):
        """End."""


def evaluate(path=None, progress=SILENT):
    """Resume a surface, or compute it without a file."""
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
        data = (torch.randn(40, 5), torch.randint(3, (40,)))
    problem = Problem(model, data, device="cpu", points_per_pass=1)
    directions = random_directions(2, problem.weights, problem.spec, seed=0, normalization="filter")
    axes = (Axis(-1, 1, 31), Axis(-1, 1, 31))
    sink = path and FileSink(path, resume=True, interval=INTERVAL)
    plane = Plane(problem.weights, directions)
    return evaluate_surface({"train": problem}, plane, axes, sink=sink, progress=progress)


def main(path):
    """Tell of each point."""
    evaluate(path, Told())
