"""What test_surface_kill.py runs and kills: python killed_surface.py OUT LOG."""

import sys
import time
from pathlib import Path

import torch
from torch import nn

from landscape import Axis, Plane, Problem, evaluate_surface, random_directions
from landscape.io.store import FileSink

INTERVAL = 0.1
POINT = 0.003  # seconds


class Logged:
    """A progress that notes when each point was done, where a kill cannot lose it."""

    def __init__(self, path):
        self._file = open(path, "a", buffering=1)  # noqa: SIM115

    def start(self, task, total):
        """Begin."""

    def update(self, completed, **fields):
        """Note the time."""
        self._file.write(f"{completed} {time.time()}\n")
        time.sleep(POINT)

    def stop(self):
        """End."""


def main(out, log):
    """Go on with a surface."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
    problem = Problem(model, (torch.randn(40, 5), torch.randint(3, (40,))), device="cpu")
    directions = random_directions(2, problem.weights, problem.spec, seed=0, normalization="filter")
    axes = (Axis(-1, 1, 31), Axis(-1, 1, 31))
    sink = FileSink(Path(out), resume=True, interval=INTERVAL)
    plane = Plane(problem.weights, directions)
    evaluate_surface({"train": problem}, plane, axes, sink=sink, progress=Logged(log))


if __name__ == "__main__":
    main(*sys.argv[1:])
