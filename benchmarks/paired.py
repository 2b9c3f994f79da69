"""Several ways to do one thing, timed in turn, and the ratios within each round.

Other work on the machine slows the ways of one round alike, so a ratio within a round is steadier
than a time. With glibc, a process that gives memory back to the kernel after every step spends a
varying time on getting it again; MALLOC_MMAP_THRESHOLD_=4294967296
MALLOC_TRIM_THRESHOLD_=8589934592 in the environment lets it keep what it has.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Clock:
    """Reads processor time on the CPU, and wall time after waiting for the device on CUDA.

    Attributes:
        device: Where the work is done.
    """

    device: torch.device

    def read(self) -> tuple[float, float]:
        """Return wall time and CPU time of all threads in seconds; on CUDA, wall time twice."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            return time.perf_counter(), time.perf_counter()
        return time.perf_counter(), time.process_time()


@dataclass(frozen=True)
class Ratio:
    """Median and quartiles over the rounds."""

    median: float
    lower: float
    upper: float

    def __str__(self) -> str:
        return f"{self.median:.3f} ({self.lower:.3f}-{self.upper:.3f})"


@dataclass(frozen=True)
class Times:
    """Seconds of every way in every round.

    Attributes:
        wall: Name -> one time a round.
        processor: Name -> one time a round.
    """

    wall: dict[str, list[float]]
    processor: dict[str, list[float]]

    def milliseconds(self, name: str) -> float:
        """Median processor time."""
        return 1e3 * statistics.median(self.processor[name])

    def ratio(self, name: str, reference: str, *, of_wall: bool = False) -> Ratio:
        """One way's time over another's, round by round."""
        times = self.wall if of_wall else self.processor
        ratios = [a / b for a, b in zip(times[name], times[reference], strict=True)]
        lower, median, upper = statistics.quantiles(ratios, n=4, method="inclusive")
        return Ratio(median, lower, upper)


def alternate(ways: Mapping[str, Callable[[], None]], num_rounds: int, clock: Clock) -> Times:
    """Time every way once a round, each round beginning with another way.

    Args:
        ways: Name -> what to time; called once more, untimed, before the first round.
        num_rounds: At least 2.
        clock: For the device that they run on.

    Returns:
        All times.
    """
    names = list(ways)
    times = Times({name: [] for name in names}, {name: [] for name in names})
    for way in ways.values():
        way()
    for round_number in range(num_rounds):
        first = round_number % len(names)
        for name in [*names[first:], *names[:first]]:
            wall, processor = clock.read()
            ways[name]()
            wall_after, processor_after = clock.read()
            times.wall[name].append(wall_after - wall)
            times.processor[name].append(processor_after - processor)
    return times
