"""What the processes of test_surface_processes.py run."""

import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from landscape import Axis, Plane, Problem, evaluate_surface, random_directions
from landscape.io.store import write_result
from landscape.results.surface import Surface
from landscape.runtime import distributed

CASES = {
    "grid": {},
    "refined": {"refine": 0.02},
}


class Kept:
    """A sink that keeps the newest state."""

    stored: Surface | None = None

    def load(self):
        """Return nothing: each run is a new one."""

    def save(self, result):
        """Keep a state."""
        self.stored = result

    def flush(self):
        """Write nothing."""


class CountingProblem(Problem):
    """Counts its evaluations, and takes its time, so that both processes have some."""

    count = 0

    def evaluation_of(self, found):
        """Evaluate slowly."""
        self.count += 1
        time.sleep(0.002)
        return super().evaluation_of(found)


def surface(case: str, sink=None, **options) -> tuple[Surface, int]:
    """Compute a case's surface; also return the number of this process's evaluations."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
        data = (torch.randn(40, 5), torch.randint(3, (40,)))
    problem = CountingProblem(model, data, device="cpu")
    directions = random_directions(2, problem.weights, problem.spec, seed=0, normalization="filter")
    axes = (Axis(-1, 1, 17), Axis(-1, 1, 21))
    plane = Plane(problem.weights, directions)
    return evaluate_surface(
        {"train": problem}, plane, axes, sink=sink, **CASES[case], **options
    ), problem.count


def main(case: str, folder: Path) -> None:
    """Write the surface of each process, and how many points it evaluated."""
    torch.set_num_threads(1)
    with distributed.joined():
        rank = distributed.rank()
        sink = Kept()
        if case == "stopped":
            stop = lambda: sink.stored is not None and sink.stored.done.sum() >= 50  # noqa: E731
            found, count = surface("grid", sink=sink, should_stop=stop)
        else:
            found, count = surface(case, sink=sink)
        assert (sink.stored is not None) == (rank == 0)
    write_result(folder / f"{rank}.h5", found)
    (folder / f"{rank}.json").write_text(
        json.dumps({"count": count, "done": int(np.sum(found.done))})
    )
