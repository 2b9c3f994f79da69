"""How a computation is carried out: device, dtype, batch size and what makes it repeatable."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape.errors import InputError
from landscape.random_state import forked_random_state

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.float32}
"""Name -> dtype of the weights; bfloat16 means float32 weights under autocast."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # <malloc.h>
_GIB = 1 << 30

DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True)
class Plan:
    """What decides the last bits of a result: under one plan the same weights give the same number.

    Attributes:
        device: Type of the device.
        dtype: `float32`, `float64` or `bfloat16`.
        batch_size: Examples a forward pass.
        memory_format: `contiguous` or `channels_last`.
        num_threads: CPU threads.
        deterministic: `yes`, or the reason why not.
    """

    device: str
    dtype: str
    batch_size: int
    memory_format: str
    num_threads: int
    deterministic: str

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


def make_plan(*, device: torch.device, dtype: str, batch_size: int | None, is_channels_last: bool) -> Plan:
    """Choose how to evaluate a model.

    Convolutional networks run faster channels-last, on a CPU in batches that stay in its cache.
    """
    default_size = 128 if is_channels_last and device.type == "cpu" else 1024
    return Plan(
        device=device.type,
        dtype=dtype,
        batch_size=batch_size or default_size,
        memory_format="channels_last" if is_channels_last else "contiguous",
        num_threads=torch.get_num_threads(),
        deterministic=_deterministic(device),
    )


def _deterministic(device: torch.device) -> str:
    if device.type == "mps":
        return "no: MPS does not promise it"
    if device.type == "cuda" and "CUBLAS_WORKSPACE_CONFIG" not in os.environ:
        return "no: CUBLAS_WORKSPACE_CONFIG was not set before torch started"
    return "yes"


def choose_device(name: str) -> torch.device:
    """Return the device called `name`; `auto` is CUDA, then MPS, then the CPU.

    Raises:
        InputError: If there is no such device here.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if available[kind]))
    kind = name.split(":")[0]
    if kind not in available:
        raise InputError(f"device must be one of {', '.join(DEVICES)}, got {name!r}.")
    if not available[kind]:
        raise InputError(f"device {name} is not available here.", hint="Pass --device auto.")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as exc:
        raise InputError(f"device {name} does not exist.", hint="Pass --device auto.") from exc


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, where the C library is glibc; elsewhere do nothing.

    On the CPU, activations come and go in every pass. As it is, glibc hands large blocks back to the kernel and
    gets them back emptied, which takes a fifth of the time of a small network's step. For programs: it concerns
    the whole process, so a library has no business calling it.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, _GIB)
    libc.mallopt(_M_TRIM_THRESHOLD, _GIB)


def require_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the dtype of the weights for the precision called `name`.

    Raises:
        InputError: If it is unknown, or the device lacks it.
    """
    if name not in DTYPES:
        raise InputError(f"dtype must be one of {', '.join(DTYPES)}, got {name!r}.")
    if name == "float64" and device.type == "mps":
        raise InputError("float64 does not exist on MPS.", hint="Pass --device cpu or --dtype float32.")
    return DTYPES[name]


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Make what runs inside a function of its inputs alone, and leave every global setting as it was.

    The random state is the same at every entry and restored at exit; on CUDA, deterministic
    algorithms and full float32 precision are used.
    """
    with forked_random_state([device], seed=0), _deterministic_cuda(device):
        yield


@contextmanager
def _deterministic_cuda(device: torch.device) -> Iterator[None]:
    if device.type != "cuda":
        yield
        return
    was_on = torch.are_deterministic_algorithms_enabled()
    was_warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(was_on, warn_only=was_warn_only)


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Use attention kernels that have a second derivative; the fused ones do not."""
    had_fastpath = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(had_fastpath)


def autocast(plan: Plan) -> Any:
    """Return the autocast context of a plan, or one that does nothing."""
    if plan.dtype != "bfloat16":
        return nullcontext()
    return torch.autocast(plan.device, dtype=torch.bfloat16)
