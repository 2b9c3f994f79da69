"""Where the vectors of a Lanczos run are kept, and how many of them, decided before it starts."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from landscape.errors import require
from landscape.reductions import accumulation_dtype
from landscape.runtime import distributed
from landscape.runtime.free_memory import free_memory

NUM_CHECK_MATVECS = 12
"""Products of a second look. Of 240 copies of one of the first four eigenvalues, hidden in three
spectra, looks with 12 products found all when the top five were asked for, those with 10, 8 and 6
all but 2, 11 and 92."""

_AMPLE = 128  # vectors: runs on networks took 18 to 44 products
_KEPT = 20  # vectors that a thick restart keeps
_ROOM = 10  # vectors beside the wanted ones, less than which a restart gets nowhere
_LOOK = 30  # vectors of a second look, where there is room
_BEHIND = 2  # vectors: the next one behind either basis
_WORKING_VECTORS = 5  # in the accumulation dtype, beside the eigenvectors


@dataclass(frozen=True)
class MemoryPlan:
    """Where vectors are kept.

    Attributes:
        size: P.
        device: Of the computation.
        dtype: Of the basis.
        is_on_host: Whether the basis is in the host's memory and the computation is elsewhere.
        vectors: That the basis has at most; a longer run restarts.
        longest: That it has if it never restarts.
        kept: That a restart keeps.
        look_vectors: That the basis of a second look has at most; 0 for none.
        num_bytes: Of all of it, at most.
        budget: That it was made for.
    """

    size: int
    device: torch.device
    dtype: torch.dtype
    is_on_host: bool
    vectors: int
    longest: int
    kept: int
    look_vectors: int
    num_bytes: int
    budget: int

    @property
    def restarts(self) -> bool:
        """Whether a long run restarts."""
        return self.vectors < self.longest

    def describe(self) -> str:
        """Return one line to be printed before the start."""
        where = "in pinned host memory" if self.is_on_host else f"on {self.device.type}"
        if self.device.type == "cpu":
            where = "in host memory, which is the device's"
        restart = f", then a thick restart that keeps {self.kept}" if self.restarts else ""
        return (
            f"Lanczos basis {where}: up to {self.vectors} vectors of {self.size} "
            f"{str(self.dtype).removeprefix('torch.')} numbers{restart}; "
            f"at most {in_gib(self.num_bytes)} of {in_gib(self.budget)}."
        )


def plan_memory(
    size: int,
    *,
    device: torch.device,
    wanted: int,
    max_matvecs: int = 500,
    num_check_matvecs: int = NUM_CHECK_MATVECS,
    is_polished: bool = False,
    budget: int | None = None,
    host_budget: int | None = None,
) -> MemoryPlan:
    """Choose the first place for the basis of a Lanczos run that holds enough vectors.

    Enough are 128 vectors, or all that the run can need.

    In float64 on the device, in float32 there, in float32 in host memory beside a CUDA device. If
    none of them does, in float32 where there is more room. A run that is longer than what a place
    holds restarts with the best vectors.

    Args:
        size: P.
        device: Of the computation.
        wanted: Number of eigenvalues.
        max_matvecs: Limit on products.
        num_check_matvecs: Of the second look; 0 for none.
        is_polished: Whether the vectors that are found are computed anew.
        budget: Bytes on the device; by default half of what is free, the least of all processes of
            a run.
        host_budget: Bytes in host memory beside a CUDA device; by default as `budget`.

    Raises:
        InputError: If not even the smallest basis fits.
    """
    budget = _half_for_all(device) if budget is None else budget
    longest = min(size, max(wanted, max_matvecs - wanted))
    working = (
        ((4 if is_polished else 1) * wanted + _WORKING_VECTORS)
        * size
        * accumulation_dtype(device).itemsize
    )
    least = min(longest, wanted + max(_ROOM, wanted))
    least_look = min(size, max(num_check_matvecs, _ROOM)) if num_check_matvecs else 0

    def at(dtype: torch.dtype, room: int, is_on_host: bool = False) -> MemoryPlan:
        """Return how many vectors are kept in so many bytes."""
        rows = room // (size * dtype.itemsize) - _BEHIND
        look_vectors = min(size, max(least_look, min(_LOOK, rows // 4))) if least_look else 0
        vectors = min(longest, rows - look_vectors)
        return MemoryPlan(
            size=size,
            device=device,
            dtype=dtype,
            is_on_host=is_on_host,
            vectors=vectors,
            longest=longest,
            kept=num_kept(vectors, wanted),
            look_vectors=look_vectors,
            num_bytes=working + (vectors + look_vectors + _BEHIND) * size * dtype.itemsize,
            budget=budget,
        )

    plans = [at(dtype, budget - working) for dtype in (accumulation_dtype(device), torch.float32)]
    if device.type == "cuda":  # its host has memory in addition to the device's
        free = _half_for_all(torch.device("cpu")) if host_budget is None else host_budget
        plans.append(at(torch.float32, free, is_on_host=True))
    ample = min(longest, max(_AMPLE, 2 * wanted + _KEPT))
    roomiest = max(plans[1:], key=lambda plan: plan.vectors)
    chosen = next((plan for plan in plans if plan.vectors >= ample), roomiest)
    require(
        working <= budget and chosen.vectors >= least,
        f"the vectors of a Lanczos run must fit into memory: the least for {size} parameters and "
        f"{wanted} eigenvalues is "
        f"{in_gib(working + (least + least_look + _BEHIND) * size * torch.float32.itemsize)}, "
        f"{in_gib(budget)} may be used.",
        "Pass a larger `memory`, of which vectors may take half, or ask for fewer eigenvalues.",
    )
    return chosen


def half_of_free_memory(device: torch.device) -> int:
    """Return half of the bytes that this process may take.

    On the CPU, the processes of a run share one memory.
    """
    return free_memory(device) // (2 * (distributed.world_size() if device.type == "cpu" else 1))


def _half_for_all(device: torch.device) -> int:
    """Return the least half of free memory over all processes.

    Processes that plan differently would ask for different products.
    """
    return min(distributed.gathered(half_of_free_memory(device)))


def num_kept(vectors: int, wanted: int) -> int:
    """Return how many of `vectors` a restart keeps, leaving at least a third free.

    It keeps about 20, and more than are wanted.
    """
    return max(1, min(max(_KEPT, wanted + _ROOM), vectors - max(_ROOM // 2, vectors // 3)))


def in_gib(num_bytes: int) -> str:
    """Return a number of bytes as text."""
    return (
        f"{num_bytes / (1 << 30):.3g} GiB"
        if num_bytes >= 1 << 27
        else f"{num_bytes / (1 << 20):.3g} MiB"
    )
