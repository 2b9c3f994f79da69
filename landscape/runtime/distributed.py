"""The uses of torch.distributed; all other modules are unaware of ranks.

A process that runs alone is rank 0 of 1.
"""

# pyright: reportPrivateImportUsage=false
# torch.distributed does not list its stores among what it exports.

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Generic, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from landscape.errors import require
from landscape.runtime.progress import Sink

T = TypeVar("T")


class FailedElsewhereError(Exception):
    """Another process of the run was the first to fail, and says why."""


def is_launched() -> bool:
    """Whether torchrun, or a launcher that sets what torchrun sets, started this process."""
    return {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()


def local_device(device: torch.device, asked: str) -> torch.device:
    """Return this process's own device of that kind: on CUDA the one of its number on this machine.

    Args:
        device: One of the kind.
        asked: What the user called it, such as `cuda` or `cuda:1`.

    Raises:
        InputError: If processes cannot work together on such a device, or this one has none.
    """
    if not is_launched() or device.type == "cpu":
        return device
    require(
        device.type == "cuda",
        f"several processes need the CPU or CUDA, got {device.type}.",
        hint="Pass `device='cpu'`.",
    )
    own = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    require(
        asked in ("auto", "cuda", str(own)),
        f"each process computes on the CUDA device of its own number, {own}, got {asked}.",
        hint="Pass `device='cuda'`, or start a single process without torchrun.",
    )
    require(
        own.index < torch.cuda.device_count(),
        f"each process needs a CUDA device of its own, and this machine has "
        f"{torch.cuda.device_count()}.",
        hint="Start as many processes on a machine as it has devices, or pass `device='cpu'`.",
    )
    torch.cuda.set_device(own)
    return own


@contextmanager
def joined() -> Iterator[None]:
    """Work together, inside, with the other processes that torchrun started; alone if it did not.

    Tensors on the CPU travel by gloo, on CUDA by nccl. An error in one process ends all, since the
    others' next exchange fails: the first to fail raises its error, the others
    `FailedElsewhereError`.
    """
    if not is_launched():
        yield
        return
    store, rank, world_size = next(dist.rendezvous("env://"))
    # torchrun keeps what an earlier attempt has stored, if it started the processes anew
    store = dist.PrefixStore(f"attempt-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(
        backend, store=dist.PrefixStore("group", store), rank=rank, world_size=world_size
    )
    try:
        yield
        anywhere(False)  # nobody leaves while another may still need it
    except Exception as exc:  # whatever it is, only one process shall speak of it
        if _is_first_failure(store):
            raise
        raise FailedElsewhereError from exc
    finally:
        # Whatever still holds the group would end its threads too late, in an abort at exit.
        gc.collect()
        dist.destroy_process_group()


def _is_first_failure(store: dist.Store) -> bool:
    try:
        return store.add("failures", 1) == 1
    except RuntimeError:  # the process that keeps the store has ended already
        return False


def is_on() -> bool:
    """Whether this process works together with others."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if is_on() else 0


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if is_on() else 1


def own_share(indices: Tensor) -> Tensor:
    """Return this process's consecutive share of `indices` (n,), which may be empty.

    The shares of two processes differ in size by one at most.
    """
    count, size = len(indices), world_size()
    return indices[rank() * count // size : (rank() + 1) * count // size]


def largest_share(count: int) -> int:
    """Return how many of `count` examples a process has at most."""
    return -(-count // world_size())


def anywhere(flag: bool, *, device: torch.device | None = None, group: Any = None) -> bool:
    """Whether the flag is set in any process of a group; waits for all of them.

    Args:
        flag: This process's.
        device: Where the group's tensors travel from; None for the CPU.
        group: A group of processes; None for all.
    """
    if not is_on():
        return flag
    flags = torch.tensor([flag], dtype=torch.int32, device=device)
    dist.all_reduce(flags, dist.ReduceOp.MAX, group=group)
    return bool(flags)


def add_up(tensor: Tensor) -> None:
    """Replace a tensor by its sum over all processes, the same bits in each."""
    if is_on():
        dist.all_reduce(tensor)


def gathered(value: T) -> list[T]:
    """Return the plain values of all processes, by rank."""
    if not is_on():
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def from_first(value: T) -> T:
    """Return the plain value of the first process; those of the others count for nothing."""
    if not is_on():
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


class FirstSink(Generic[T]):
    """A sink of the first process, whose contents all processes load."""

    def __init__(self, sink: Sink[T]) -> None:
        self._sink = sink

    def load(self) -> T | None:
        """Return what the first process's sink holds."""
        return from_first(self._sink.load() if rank() == 0 else None)

    def save(self, result: T) -> None:
        """Give the first process's sink the newest state."""
        if rank() == 0:
            self._sink.save(result)

    def flush(self) -> None:
        """Let it be written."""
        if rank() == 0:
            self._sink.flush()


def share(tensors: Iterable[Tensor]) -> None:
    """Give all processes the contents of the first one's tensors."""
    if is_on():
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def parallel(module: nn.Module, *, has_unused_parameters: bool) -> nn.Module:
    """Wrap a module so that `backward` averages gradients over the processes.

    In a process that runs alone, return the module as it is.

    Weights and buffers start as the first process's. Buffers stay each process's own then, see
    `share`.
    """
    if not is_on():
        return module
    share(module.buffers())
    with warnings.catch_warnings():
        # Older torch has no other name.
        warnings.filterwarnings("ignore", "`broadcast_buffers`", FutureWarning)
        return DistributedDataParallel(
            module, broadcast_buffers=False, find_unused_parameters=has_unused_parameters
        )


def unsynchronized(module: nn.Module) -> Any:
    """Return a context in which `backward` leaves each process its own gradients."""
    return module.no_sync() if isinstance(module, DistributedDataParallel) else nullcontext()
