"""What measures of sharpness cost over the passes over the data that they cannot do without.

python benchmarks/sharpness.py [--models mlp small-cnn resnet20] [--rounds 11] [--directions 20]
[--device cpu]

The floors are plain loops over the same batches, resident, in the same memory format and batch
size: for `asc` one gradient (backward into `.grad`) and two losses, for `avg` one loss a direction,
in inference mode, with the perturbed weights copied into the parameters beforehand. `avg` also
evaluates the loss at the weights, which the floor does not.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from paired import Clock, alternate
from torch import nn
from torch.nn import functional as F
from workloads import ON_CPU, ON_CUDA

from landscape.data import build_data
from landscape.models import build_model
from landscape.problem.batches import Batch
from landscape.problem.problem import Problem
from landscape.sharpness import measure_sharpness

NUM_EXAMPLES = {"small-cnn": 2000, "resnet20": 1000}
RHO = 0.05


def case(name: str, device: torch.device, points_per_pass: int | None) -> Problem:
    """Return a model and its data as a problem."""
    if name == "mlp":
        model, data = build_model("mlp"), build_data("digits")[0]
    else:
        workload = (ON_CUDA if device.type == "cuda" else ON_CPU)[name]
        model, data = (
            workload.model(torch.device("cpu")),
            workload.examples(NUM_EXAMPLES[name], torch.device("cpu")),
        )
    return Problem(model, data, device=str(device), points_per_pass=points_per_pass)


def gradient_pass(model: nn.Module, batches: list[Batch], num_examples: int) -> None:
    """Accumulate the mean gradient."""
    model.zero_grad(set_to_none=True)
    for inputs, targets in batches:
        (F.cross_entropy(model(inputs), targets) * (len(targets) / num_examples)).backward()


@torch.inference_mode()
def loss_pass(model: nn.Module, batches: list[Batch]) -> None:
    """Evaluate the loss; one transfer at the end."""
    torch.stack([F.cross_entropy(model(inputs), targets) for inputs, targets in batches]).cpu()


def floors(problem: Problem, num_directions: int) -> dict[str, Callable[[], None]]:
    """Return the plain loops."""
    model, batches = problem.copy_module(), problem.batches
    model.requires_grad_(True)

    def asc() -> None:
        loss_pass(model, batches)
        gradient_pass(model, batches, problem.num_examples)
        loss_pass(model, batches)

    def avg() -> None:
        for _ in range(num_directions):
            loss_pass(model, batches)

    return {"asc floor": asc, "avg floor": avg}


def ours(problem: Problem, num_directions: int) -> dict[str, Callable[[], Any]]:
    """Return our measures."""
    return {
        "asc": partial(measure_sharpness, problem, [RHO], measures=["asc"]),
        "avg": partial(
            measure_sharpness, problem, [RHO], measures=["avg"], num_directions=num_directions // 2
        ),
    }


def main() -> None:
    """Print a row a model."""
    parser = argparse.ArgumentParser(
        description="What measures of sharpness cost over the passes that they need."
    )
    parser.add_argument("--models", nargs="+", default=["mlp", "small-cnn", "resnet20"])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--directions", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--points", type=int, default=1, help="points a pass; 0 takes what is fastest"
    )
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {arguments.directions} "
        "directions\n"
    )
    print(
        "| model | asc / floor | avg / floor | asc, ms | avg, ms | points a pass "
        "|\n|---|--:|--:|--:|--:|--:|"
    )
    for name in arguments.models:
        problem = case(name, device, arguments.points or None)
        ways = {**floors(problem, arguments.directions), **ours(problem, arguments.directions)}
        times = alternate(ways, arguments.rounds, Clock(device))
        ratios = [str(times.ratio(measure, f"{measure} floor")) for measure in ("asc", "avg")]
        cells = [
            name,
            *ratios,
            *(f"{times.milliseconds(measure):.1f}" for measure in ("asc", "avg")),
        ]
        print("| " + " | ".join([*cells, str(problem.plan.points_per_pass)]) + " |", flush=True)


if __name__ == "__main__":
    main()
