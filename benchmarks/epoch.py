"""What an epoch of `landscape.training.train` costs over the bare loop.

python benchmarks/epoch.py [--models mlp ...] [--rounds 31] [--epochs 1] [--threads 1]

The bare loop has the same model, tensors in memory, order of examples, memory format and optimizer,
and does nothing else: no sums, no gradient norm, no checks, no progress. Both arrive at the same
weights, bit for bit, or this exits.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from paired import Clock, alternate
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from workloads import ON_CPU

from landscape.data import build_data
from landscape.models import build_model
from landscape.optim import build_optimizer
from landscape.problem.batches import TensorData
from landscape.problem.plan import prefers_channels_last, to_channels_last
from landscape.training import TrainingPlan, train

CPU = torch.device("cpu")
OPTIMIZERS = ("sgd", "sam")
LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Case:
    """What is trained.

    Attributes:
        build: Makes the model.
        data: Inputs and targets in memory.
        batch_size: Examples a step.
    """

    build: Callable[[], nn.Module]
    data: TensorData
    batch_size: int


def images(name: str, num_batches: int) -> Case:
    """A model on random images."""
    workload = ON_CPU[name]
    examples = workload.examples(num_batches * workload.batch_size, CPU)
    return Case(lambda: workload.model(CPU), TensorData(*examples), workload.batch_size)


def digits() -> Case:
    """The toolkit's default model on its default data: 12 steps an epoch."""
    return Case(lambda: build_model("mlp"), TensorData(*build_data("digits")[0]), 128)


CASES = {
    "small-cnn": partial(images, "small-cnn", 20),
    "resnet20": partial(images, "resnet20", 8),
    "mlp": digits,
}


def bare_epochs(model: nn.Module, case: Case, optimizer: Optimizer, num_epochs: int) -> None:
    """Train with nothing around."""
    inputs, targets = case.data.inputs, case.data.targets
    order = torch.Generator().manual_seed(0)
    is_channels_last = prefers_channels_last(model, inputs)
    for _ in range(num_epochs):
        for indices in torch.randperm(len(targets), generator=order).split(case.batch_size):
            batch = inputs[indices]
            bare_step(
                model,
                optimizer,
                to_channels_last(batch) if is_channels_last else batch,
                targets[indices],
            )


def bare_step(model: nn.Module, optimizer: Optimizer, inputs: Tensor, targets: Tensor) -> None:
    """Take one step."""

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        return loss

    optimizer.step(closure)


def our_epochs(model: nn.Module, case: Case, optimizer: Optimizer, num_epochs: int) -> None:
    """Train with the toolkit's loop, which also measures loss, accuracy and gradient norm."""
    train(
        model,
        case.data,
        None,
        optimizer,
        TrainingPlan(epochs=num_epochs, batch_size=case.batch_size, schedule="constant"),
    )


LOOPS = {"bare loop": bare_epochs, "train": our_epochs}


def compare(case: Case, optimizer_name: str, num_rounds: int, num_epochs: int) -> str:
    """Time both loops and return the cells of a row."""
    torch.manual_seed(0)
    models = {name: case.build() for name in LOOPS}
    models["train"].load_state_dict(models["bare loop"].state_dict())
    optimizers = {
        name: build_optimizer(optimizer_name, m, lr=LEARNING_RATE) for name, m in models.items()
    }
    turns = {
        name: partial(loop, models[name], case, optimizers[name], num_epochs)
        for name, loop in LOOPS.items()
    }
    times = alternate(turns, num_rounds, Clock(CPU))
    if not are_equal(*models.values()):
        sys.exit("the two loops arrived at different weights.")
    bare, ours = (times.milliseconds(name) / num_epochs for name in LOOPS)
    wall = times.ratio("train", "bare loop", of_wall=True)
    return f"{bare:.1f} | {ours:.1f} | {times.ratio('train', 'bare loop')} | {wall}"


def are_equal(first: nn.Module, second: nn.Module) -> bool:
    """Whether two modules hold the same numbers, bit for bit."""
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def main() -> None:
    """Print one row a model and optimizer."""
    parser = argparse.ArgumentParser(description="The cost of an epoch.")
    parser.add_argument(
        "--models", nargs="*", choices=CASES, default=list(CASES), help="default: all"
    )
    parser.add_argument(
        "--rounds", type=int, default=31, help="how often each loop has its turn (default 31)"
    )
    parser.add_argument("--epochs", type=int, default=1, help="epochs a call (default 1)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default 1)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(
        "| model, optimizer | bare loop, ms an epoch | train, ms an epoch | ratio | ... in wall "
        "time |"
    )
    print("|---|---:|---:|---:|---:|")
    for name in arguments.models:
        case = CASES[name]()
        for optimizer_name in OPTIMIZERS:
            print(
                "|",
                name,
                optimizer_name,
                "|",
                compare(case, optimizer_name, arguments.rounds, arguments.epochs),
                "|",
            )


if __name__ == "__main__":
    main()
