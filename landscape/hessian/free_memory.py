"""How much memory a device has left."""

from __future__ import annotations

import os
import re
from pathlib import Path

import torch

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def free_bytes(device: torch.device) -> int:
    """Return the memory that the device has left; that of the host for the CPU, and what its container allows."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return int(min(_of_host(), _of_container()))


def _of_host() -> int:
    try:
        return 1024 * int(re.findall(r"MemAvailable:\s+(\d+) kB", _MEMINFO.read_text())[0])
    except (OSError, IndexError):  # not Linux: half of what is built in
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2 if hasattr(os, "sysconf") else 4 << 30


def _of_container() -> float:
    try:
        limit, used = ((_CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return float("inf")
    return float("inf") if limit == "max" else max(0, int(limit) - int(used))
