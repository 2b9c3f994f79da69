"""What the processes of test_sam_distributed.py run."""

import math
from dataclasses import dataclass, field

import torch
from torch import distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD

from landscape.optim import GSAM, SAM, FriendlySAM

INPUTS = torch.randn(16, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
TARGETS = torch.randint(3, (16,), generator=torch.Generator().manual_seed(2))


@dataclass(frozen=True)
class Case:
    """Which SAM, its options, micro-batches a process, and (rank, pass) whose gradient is made
    infinite."""

    kind: type = SAM
    options: dict = field(default_factory=dict)
    num_micro: int = 1
    num_steps: int = 3
    is_batchnorm: bool = False
    poisoned: tuple = ()


CASES = {
    "batch": Case(options={"scope": "batch"}),
    "process": Case(options={"scope": "process"}),
    "micro-batch": Case(options={"scope": "micro-batch"}, num_micro=2),
    "accumulated": Case(options={"scope": "process"}, num_micro=2),
    "two steps": Case(options={"scope": "process", "steps": 2}),
    "every second": Case(options={"scope": "process", "every": 2}),
    "one process overflows": Case(options={"scope": "process"}, num_steps=1, poisoned=(1, 1)),
    "random, one point": Case(options={"scope": "batch", "direction": "random"}, num_steps=1),
    "random, a point each": Case(options={"scope": "process", "direction": "random"}, num_steps=1),
    "gsam": Case(GSAM),
    "friendly": Case(FriendlySAM),
    "statistics": Case(options={"scope": "process"}, num_steps=1, is_batchnorm=True),
}


def make_network(*, is_batchnorm=False):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        norm = nn.BatchNorm1d(8) if is_batchnorm else nn.Identity()
        return nn.Sequential(nn.Linear(6, 8), norm, nn.Tanh(), nn.Linear(8, 3)).double()


def micro_batches(rank, world, num_micro):
    """The indices of a process's micro-batches."""
    return torch.arange(len(TARGETS)).chunk(world)[rank].chunk(num_micro)


def loss_of(model, indices, num_micro):
    """A micro-batch's share of its process's mean loss."""
    return F.cross_entropy(model(INPUTS[indices]), TARGETS[indices]) / num_micro


def closures_of(model, rank, world, num_micro):
    def make(indices):
        def closure():
            loss = loss_of(model, indices, num_micro)
            loss.backward()
            return loss

        return closure

    return [make(indices) for indices in micro_batches(rank, world, num_micro)]


def run(case, rank, world):
    """Train for a few steps; return weights and buffers, where the passes were, and the count of
    skipped steps."""
    model = DistributedDataParallel(make_network(is_batchnorm=case.is_batchnorm))
    optimizer = case.kind(
        model.parameters(), SGD, rho=0.5, module=model, lr=0.1, momentum=0.9, **case.options
    )
    passes = []

    def recorded(closure):
        def record():
            passes.append(model.module[0].weight.detach().clone())
            loss = closure()
            if case.poisoned == (rank, len(passes)):
                model.module[0].weight.grad[0, 0] = math.inf
            return loss

        return record

    for _ in range(case.num_steps):
        optimizer.step([recorded(c) for c in closures_of(model, rank, world, case.num_micro)])
    state = {name: value.clone() for name, value in model.module.state_dict().items()}
    return {"state": state, "passes": passes, "skipped": optimizer.skipped_steps}


def main(folder):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    rank, world = distributed.get_rank(), distributed.get_world_size()
    found = {name: run(case, rank, world) for name, case in CASES.items()}
    torch.save(found, f"{folder}/rank-{rank}.pt")
    distributed.destroy_process_group()
