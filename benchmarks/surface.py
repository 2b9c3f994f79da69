"""What a point of a loss surface costs over its floor, and over loss-landscapes.

python benchmarks/surface.py [--models resnet20 ...] [--rounds 7] [--data-dir DIR] [--threads 1]
                             [--device cuda] [--compile] [--stacks]

The floor is a forward pass and the loss of the same model over the same resident data:
channels-last where that is faster, in inference mode, in the best of several batch sizes.
`landscape` is `evaluate_surface` on a line through two networks, divided by its evaluations: the
points and the centre. loss-landscapes does `linear_interpolation` with `metrics.Loss` on the same
points and data, all in one batch, as its documentation has it; and with a metric of our own that
goes through batches. It runs in processes of its own: one in which glibc is as it comes, one in
which it keeps freed memory; the benchmark's own process is as it was started. Both must find the
same losses before anything is timed. `--stacks` also times `evaluate_many` at several numbers of
points a pass.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection

import numpy as np
import torch
from paired import Clock, Times, alternate
from torch import Tensor, nn
from torch.nn import functional as F
from workloads import small_cnn

from landscape import Axis, Plane, Problem, evaluate_surface
from landscape.data import build_data
from landscape.data.subset import balanced_subset
from landscape.models import build_model
from landscape.problem.plan import prefers_channels_last, to_channels_last

AGREEMENT = 1e-5
"""Largest relative difference of two tools' losses: room for float32 in another order."""

STACKS = (1, 2, 4, 8, 16, 32)

KEEPING = {
    "MALLOC_MMAP_THRESHOLD_": str(4 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(8 << 30),
}
"""What lets glibc keep freed memory, read when a process starts."""


@dataclass(frozen=True)
class Case:
    """A model, its data and how much of it is one turn.

    Attributes:
        build: Makes the model on the CPU.
        data: Name of a data set; None for random images.
        num_examples: Examples; a class-balanced subset of the data.
        num_points: Points on the line.
    """

    build: Callable[[], nn.Module]
    data: str | None
    num_examples: int
    num_points: int

    def models(self, device: torch.device) -> list[nn.Module]:
        """Return two networks in evaluation mode, always the same."""
        return [self._seeded(seed).eval().to(device) for seed in range(2)]

    def _seeded(self, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return self.build()

    def examples(self, device: torch.device, data_dir: str | None) -> tuple[Tensor, Tensor]:
        """Return inputs and targets; random images if the data set's files are not given."""
        if self.data is None or (self.data != "digits" and data_dir is None):
            generator = torch.Generator().manual_seed(0)
            inputs = torch.randn(self.num_examples, 3, 32, 32, generator=generator)
            targets = torch.randint(10, (self.num_examples,), generator=generator)
        else:
            train, _ = build_data(
                self.data, **({} if self.data == "digits" else {"data_dir": data_dir})
            )
            chosen = balanced_subset(train[1], self.num_examples)
            inputs, targets = train[0][chosen], train[1][chosen]
        return inputs.to(device), targets.to(device)


CASES = {
    "resnet20": Case(lambda: build_model("resnet20"), "cifar10", 2000, 2),
    "small-cnn": Case(small_cnn, None, 1000, 6),
    "mlp": Case(lambda: build_model("mlp"), "digits", 1400, 60),
}
BATCH_SIZES = (32, 64, 128, 512)


def forward(
    model: nn.Module, criterion: Callable[..., Tensor], batches: Sequence[tuple[Tensor, Tensor]]
) -> float:
    """Return the mean loss; the host reads it once."""
    with torch.inference_mode():
        losses = torch.stack([criterion(model(x), y) * len(y) for x, y in batches])
        return float(losses.sum()) / sum(len(y) for _, y in batches)


def floors(
    case: Case, device: torch.device, data: tuple[Tensor, Tensor]
) -> dict[str, Callable[[], object]]:
    """As many forward passes over the data as the line has points, in batches of several sizes."""
    model, (inputs, targets) = case.models(device)[0], data
    if prefers_channels_last(model, inputs):
        inputs = to_channels_last(inputs)
    sizes = [size for size in BATCH_SIZES if size < len(targets)] + [len(targets)]
    cut = {size: list(zip(inputs.split(size), targets.split(size), strict=True)) for size in sizes}
    return {
        f"floor, batches of {size}": partial(passes, case.num_points, model, cut[size])
        for size in sizes
    }


def passes(count: int, model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Do some passes."""
    for _ in range(count):
        forward(model, F.cross_entropy, batches)


@dataclass(frozen=True)
class Line:
    """A problem at one network and the line from there to another one."""

    problem: Problem
    plane: Plane
    num_points: int

    @classmethod
    def through(cls, case: Case, data: tuple[Tensor, Tensor], **options: object) -> Line:
        """Make the problem on the same device as the data."""
        first, second = (
            Problem(model, data, device=str(data[1].device), **options)
            for model in case.models("cpu")
        )
        return cls(first, Plane(first.weights, (second.weights - first.weights,)), case.num_points)

    def surface(self) -> np.ndarray:
        """Evaluate the points i/n, i = 1 to n, and the centre."""
        axis = Axis(1 / self.num_points, 1.0, self.num_points)
        return evaluate_surface({"train": self.problem}, self.plane, (axis,)).loss["train"]

    def stacks(self, count: int) -> list[float]:
        """Evaluate `count` points."""
        points = [partial(self.plane.point, (i + 1) / count) for i in range(count)]
        return [value.loss for value in self.problem.evaluate_many(points)]


def serve(
    connection: Connection,
    name: str,
    device: torch.device,
    data_dir: str | None,
    threads: int,
):
    """Evaluate by loss-landscapes whatever the connection asks for, in a process of its own."""
    import loss_landscapes
    from loss_landscapes.metrics import Loss
    from loss_landscapes.metrics.metric import Metric

    class InBatches(Metric):
        """The mean loss, batch by batch."""

        def __init__(self, batches: Sequence[tuple[Tensor, Tensor]]) -> None:
            super().__init__()
            self.batches = batches

        def __call__(self, model_wrapper: object) -> float:
            return forward(model_wrapper.forward, F.cross_entropy, self.batches)

    torch.set_num_threads(threads)
    case = CASES[name]
    (start, end), (inputs, targets) = case.models(device), case.examples(device, data_dir)
    metrics = {"all in one batch": Loss(F.cross_entropy, inputs, targets)} | {
        f"batches of {size}": InBatches(
            list(zip(inputs.split(size), targets.split(size), strict=True))
        )
        for size in (64, 512)
    }
    while True:
        asked = connection.recv()
        if asked == "names":
            connection.send(list(metrics))
        elif asked == "processor time":
            connection.send(time.process_time())
        else:
            connection.send(
                loss_landscapes.linear_interpolation(
                    start, end, metrics[asked], steps=case.num_points, deepcopy_model=True
                )
            )


@dataclass(frozen=True)
class Peer:
    """loss-landscapes in another process."""

    connection: Connection

    def ask(self, question: str) -> object:
        """Return what `serve` answers."""
        self.connection.send(question)
        return self.connection.recv()


@contextmanager
def peer(*arguments: object, keeps_memory: bool) -> Iterator[Peer]:
    """Run `serve` in a fresh process, in which glibc keeps freed memory or is as it comes."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, *arguments), daemon=True)
    before = {name: os.environ.pop(name) for name in KEEPING if name in os.environ}
    os.environ.update(KEEPING if keeps_memory else {})
    process.start()
    for name in KEEPING:
        os.environ.pop(name, None)
    os.environ.update(before)
    try:
        yield Peer(ours)
    finally:
        process.terminate()
        process.join()


@dataclass(frozen=True)
class JointClock(Clock):
    """A clock that includes other processes' time, while this one waits for them."""

    peers: tuple[Peer, ...]

    def read(self) -> tuple[float, float]:
        """Return wall time and CPU time of all processes in seconds; on CUDA, wall time twice."""
        wall, processor = super().read()
        if self.device.type == "cuda":
            return wall, processor
        return wall, processor + sum(other.ask("processor time") for other in self.peers)


def check(line: Line, peers: Sequence[Peer]) -> None:
    """Exit unless both tools find the same losses."""
    ours = line.surface()
    for other in peers:
        for name in other.ask("names"):
            theirs = np.asarray(other.ask(name))
            if not np.allclose(ours, theirs, rtol=AGREEMENT, atol=0):
                sys.exit(f"losses differ: {ours} here, {theirs} by loss-landscapes, {name}")


def report(times: Times, evaluations: dict[str, int]) -> None:
    """Print one row a way: milliseconds an evaluation, and ratios within a round."""
    each = Times(
        {name: [t / evaluations[name] for t in values] for name, values in times.wall.items()},
        {name: [t / evaluations[name] for t in values] for name, values in times.processor.items()},
    )
    floor = min(
        (name for name in each.processor if name.startswith("floor")), key=each.milliseconds
    )
    print(
        f"| evaluation | ms | over the floor ({floor.removeprefix('floor, ')}) | over landscape |"
    )
    print("|---|---:|---:|---:|")
    for name in each.processor:
        ratios = [
            str(each.ratio(name, base)) if name != base else "" for base in (floor, "landscape")
        ]
        print("|", " | ".join([name, f"{each.milliseconds(name):.2f}", *ratios]), "|")


def measure(model: str, arguments: argparse.Namespace) -> None:
    """Time everything and print the table."""
    case = CASES[model]
    device = torch.device(arguments.device)
    data = case.examples(device, arguments.data_dir)
    rest = (model, device, arguments.data_dir, arguments.threads)
    line = Line.through(case, data, points_per_pass=None)
    plan = line.problem.plan
    size = line.problem.spec.size
    print(
        f"{size:,} weights, {len(data[1]):,} examples; {plan.points_per_pass} points a pass, "
        "batches of",
        end=" ",
    )
    print(f"{plan.batch_size}. {line.problem.one_at_a_time}\n")
    ways = {**floors(case, device, data), "landscape": line.surface}
    evaluations = {"landscape": case.num_points + 1}
    if arguments.compile:
        ways["landscape, compiled"] = Line.through(case, data, compile=True).surface
        evaluations["landscape, compiled"] = case.num_points + 1
    for count in STACKS if arguments.stacks else ():
        ways[f"evaluate_many, {count} a pass"] = partial(
            Line.through(case, data, points_per_pass=count).stacks, max(STACKS)
        )
        evaluations[f"evaluate_many, {count} a pass"] = max(STACKS)
    with peer(*rest, keeps_memory=False) as plain, peer(*rest, keeps_memory=True) as keeping:
        check(line, [plain, keeping])
        for label, other in (
            ("loss-landscapes", plain),
            ("loss-landscapes, freed memory kept", keeping),
        ):
            for name in other.ask("names"):
                ways[f"{label}, {name}"] = partial(other.ask, name)
        times = alternate(ways, arguments.rounds, JointClock(device, (plain, keeping)))
    report(times, {name: evaluations.get(name, case.num_points) for name in ways})


def main() -> None:
    """Print one table a model."""
    parser = argparse.ArgumentParser(description="The cost of a point of a loss surface.")
    parser.add_argument("--models", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument(
        "--rounds", type=int, default=7, help="how often each way has its turn (default 7)"
    )
    parser.add_argument(
        "--data-dir", help="folder with CIFAR-10's files; random images if not given"
    )
    parser.add_argument("--threads", type=int, default=1, help="of torch on the CPU (default 1)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    parser.add_argument("--compile", action="store_true", help="time the compiled model too")
    parser.add_argument("--stacks", action="store_true", help="time several points a pass too")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for name in arguments.models:
        print(f"\n### {name}\n")
        measure(name, arguments)


if __name__ == "__main__":
    main()
