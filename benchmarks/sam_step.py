"""What a SAM step costs over a plain SGD step, and over its floor: two gradients and one update.

python benchmarks/sam_step.py [--models small-cnn ...] [--rounds 31] [--threads 1] [--device cuda]
[--bfloat16]

Everybody starts from the same weights and takes steps on the same batch. A floor has the base
optimizer (torch's SGD with momentum and weight decay: default, foreach or fused) of the optimizer
beside it; the default floor has torch's default SGD. Before anything is timed, all SAM optimizers
must arrive at the same weights, up to rounding, after a few steps.

pytorch_optimizer's SAM wants a backward pass before step(closure), and its closure does the second
one. It hands its own foreach on to the base, so that its foreach perturbation and a fused base
exclude each other; one row lifts that by overriding its check. It looks at no gradient for NaN,
replays no random numbers, and lets BatchNorm's statistics move twice.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytorch_optimizer
import torch
from paired import Clock, Times, alternate
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Optimizer
from workloads import ON_CPU, ON_CUDA, Workload

from landscape.optim import SAM, build_optimizer

RHO = 0.05
OPTIONS = {"lr": 1e-3, "momentum": 0.9, "weight_decay": 5e-4}
BASES = {"default": {}, "foreach": {"foreach": True}, "fused": {"fused": True}}

NUM_CHECKED_STEPS = 3
AGREEMENT = 0.1
"""Largest distance of two SAM optimizers' weights, over that from SGD's: room for float32 and for
the kinks of ReLU."""


class WithForeachAndFusedBase(pytorch_optimizer.SAM):
    """pytorch_optimizer's SAM with its foreach perturbation whatever the base uses."""

    @staticmethod
    def can_use_foreach(*args: object, **kwargs: object) -> bool:
        """Whether to perturb all weights in one call: yes."""
        return True


@dataclass(frozen=True)
class Work:
    """A model, its optimizer and one batch.

    Attributes:
        model: A copy of its own.
        optimizer: For the model's parameters.
        inputs: The batch's.
        targets: The batch's.
        is_bfloat16: Whether the forward pass runs under autocast.
    """

    model: nn.Module
    optimizer: Optimizer
    inputs: Tensor
    targets: Tensor
    is_bfloat16: bool

    def closure(self) -> Tensor:
        """Put a fresh gradient into the parameters."""
        self.optimizer.zero_grad()
        with torch.autocast(self.inputs.device.type, torch.bfloat16, enabled=self.is_bfloat16):
            loss = F.cross_entropy(self.model(self.inputs), self.targets)
        loss.backward()
        return loss


def plain_step(work: Work) -> None:
    """One gradient, one update."""
    work.closure()
    work.optimizer.step()


def floor_step(work: Work) -> None:
    """Two gradients, one update."""
    work.closure()
    work.closure()
    work.optimizer.step()


def our_step(work: Work) -> None:
    """SAM.step does both passes."""
    work.optimizer.step(work.closure)


def their_step(work: Work) -> None:
    """The first pass is the caller's."""
    work.closure()
    work.optimizer.step(work.closure)


@dataclass(frozen=True)
class Way:
    """One way to take a step.

    Attributes:
        build: Makes the optimizer of a model.
        step: Takes the step.
        floor: Name of the way that is its floor; empty for floors and for plain steps.
    """

    build: Callable[[nn.Module], Optimizer]
    step: Callable[[Work], None]
    floor: str = ""


def sgd(model: nn.Module, base: str) -> Optimizer:
    """Torch's SGD."""
    return SGD(model.parameters(), **OPTIONS, **BASES[base])


def ours(model: nn.Module) -> Optimizer:
    """SAM as `landscape train` builds it."""
    return build_optimizer(
        "sam", model, rho=RHO, lr=OPTIONS["lr"], weight_decay=OPTIONS["weight_decay"]
    )


def ours_around(model: nn.Module, base: str) -> Optimizer:
    """SAM as a user's loop builds it."""
    return SAM(model.parameters(), SGD, rho=RHO, module=model, **OPTIONS, **BASES[base])


def theirs(
    model: nn.Module, base: str, build: type[Optimizer] = pytorch_optimizer.SAM
) -> Optimizer:
    """pytorch_optimizer's SAM."""
    return build(model.parameters(), SGD, rho=RHO, **OPTIONS, **BASES[base])


PLAIN = "SGD"
OURS = "landscape"
DEFAULT_FLOOR = "floor, default"
WAYS = {
    PLAIN: Way(partial(sgd, base="default"), plain_step),
    "SGD, fused": Way(partial(sgd, base="fused"), plain_step),
    **{f"floor, {base}": Way(partial(sgd, base=base), floor_step) for base in BASES},
    OURS: Way(ours, our_step, "floor, fused"),
    "landscape, default SGD": Way(partial(ours_around, base="default"), our_step, "floor, default"),
    "pytorch_optimizer, foreach": Way(
        partial(theirs, base="foreach"), their_step, "floor, foreach"
    ),
    "pytorch_optimizer, fused SGD": Way(partial(theirs, base="fused"), their_step, "floor, fused"),
    "pytorch_optimizer, foreach and fused SGD": Way(
        partial(theirs, base="fused", build=WithForeachAndFusedBase), their_step, "floor, fused"
    ),
}


def prepare(way: Way, workload: Workload, device: torch.device, is_bfloat16: bool) -> Work:
    """Give a way a model and a batch."""
    model = workload.model(device)
    return Work(model, way.build(model), *workload.batch(device), is_bfloat16)


def final_weights(way: Way, workload: Workload, device: torch.device, is_bfloat16: bool) -> Tensor:
    """The weights (P,) after a few steps."""
    work = prepare(way, workload, device, is_bfloat16)
    for _ in range(NUM_CHECKED_STEPS):
        way.step(work)
    return nn.utils.parameters_to_vector(work.model.parameters()).detach()


def check_agreement(workload: Workload, device: torch.device, is_bfloat16: bool) -> None:
    """Print how far the SAM optimizers are from ours, and exit if one of them disagrees.

    Do not exit if bfloat16 is the reason for the difference.
    """
    start = nn.utils.parameters_to_vector(workload.model(device).parameters()).detach()
    ends = {name: final_weights(way, workload, device, is_bfloat16) for name, way in WAYS.items()}
    travelled = (ends[OURS] - start).norm()
    distances = {name: float((end - ends[OURS]).norm() / travelled) for name, end in ends.items()}
    others = {name: distance for name, distance in distances.items() if WAYS[name].floor}
    print(
        f"Apart after {NUM_CHECKED_STEPS} steps, over the distance travelled: "
        f"{max(others.values()):.1e} between"
    )
    print(f"the SAM optimizers, {distances[PLAIN]:.1e} from SGD.\n")
    if not is_bfloat16 and max(others.values()) > AGREEMENT * distances[PLAIN]:
        sys.exit(f"these optimizers do not do the same: {others}")


def steps(way: Way, work: Work, num_steps: int) -> None:
    """Take some steps."""
    for _ in range(num_steps):
        way.step(work)


def measure(workload: Workload, num_rounds: int, device: torch.device, is_bfloat16: bool) -> Times:
    """Time all ways."""
    works = {name: prepare(way, workload, device, is_bfloat16) for name, way in WAYS.items()}
    turns = {
        name: partial(steps, WAYS[name], work, workload.num_steps) for name, work in works.items()
    }
    return alternate(turns, num_rounds, Clock(device))


def report(times: Times, workload: Workload) -> None:
    """Print one row a way: medians, with quartiles in brackets."""
    print(
        "| optimizer | ms a step | images a second | over SGD | over the default floor | over its "
        "own | over ours |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, way in WAYS.items():
        step = times.milliseconds(name) / workload.num_steps
        bases = (
            [DEFAULT_FLOOR, way.floor, "" if name == OURS else OURS] if way.floor else ["", "", ""]
        )
        ratios = [str(times.ratio(name, base)) if base else "" for base in (PLAIN, *bases)]
        print(
            "|",
            " | ".join([name, f"{step:.2f}", f"{1e3 * workload.batch_size / step:.0f}", *ratios]),
            "|",
        )


def main() -> None:
    """Print one table a model."""
    parser = argparse.ArgumentParser(description="The cost of a SAM step.")
    parser.add_argument(
        "--models", nargs="*", choices=[*ON_CPU, *ON_CUDA], help="default: those of the device"
    )
    parser.add_argument(
        "--rounds", type=int, default=31, help="how often each optimizer has its turn (default 31)"
    )
    parser.add_argument("--threads", type=int, default=1, help="of torch on the CPU (default 1)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    parser.add_argument("--bfloat16", action="store_true", help="forward passes under autocast")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    for name in arguments.models or (ON_CUDA if device.type == "cuda" else ON_CPU):
        workload = (ON_CPU | ON_CUDA)[name]
        parameters = list(workload.model(device).parameters())
        size = sum(parameter.numel() for parameter in parameters)
        print(
            f"\n### {name}: {size:,} weights in {len(parameters)} tensors, batches of "
            f"{workload.batch_size}\n"
        )
        check_agreement(workload, device, arguments.bfloat16)
        report(measure(workload, arguments.rounds, device, arguments.bfloat16), workload)


if __name__ == "__main__":
    main()
