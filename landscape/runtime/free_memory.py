"""How much memory of a device is left."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # results are read without torch
    import torch

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def free_memory(device: torch.device) -> int:
    """Return the bytes that this process can still take on `device`, as far as the system tells.

    On CUDA it counts what torch holds in reserve, on Linux the page cache that can be given up and
    the limit of a container. A system that tells nothing has 0.
    """
    if device.type == "cpu":
        return free_host_memory()
    import torch

    if device.type == "cuda":
        reserve = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + reserve
    if device.type == "mps":
        return max(0, torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return free_host_memory()


def free_host_memory() -> int:
    """Return the bytes that this process can still take on the host; 0 where nothing tells."""
    return max(0, min([_available(), *_left_in_container()]))


def _available() -> int:
    """Return what the machine has, in bytes."""
    for line in _lines(_MEMINFO):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    names = getattr(os, "sysconf_names", {})
    # macOS knows how much there is, not how much is left.
    for name, divisor in (("SC_AVPHYS_PAGES", 1), ("SC_PHYS_PAGES", 2)):
        if name in names:
            return os.sysconf(name) * os.sysconf("SC_PAGE_SIZE") // divisor
    return 0


def _left_in_container() -> list[int]:
    """Return what a container's limit leaves, in bytes; nothing without one."""
    limit, used = _lines(_CGROUP / "memory.max"), _lines(_CGROUP / "memory.current")
    if not limit or not used or limit[0] == "max":
        return []
    stat = dict(line.split() for line in _lines(_CGROUP / "memory.stat"))
    return [int(limit[0]) - int(used[0]) + int(stat.get("inactive_file", 0))]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
