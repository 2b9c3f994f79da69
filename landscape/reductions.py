"""Norms and inner products of long vectors, accumulated in float64 where the device has it."""

# pyright: reportPrivateImportUsage=false
# torch exports its foreach kernels, which its own optimizers are made of, under private names.

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._foreach_utils import _group_tensors_by_device_and_dtype

_CHUNK = 1 << 22  # entries converted at a time, so that a float64 copy of a vector never exists
_LARGE = 1 << 16  # entries of a tensor that is summed faster than checked

MUCH_REMOVED = 0.7
"""A vector that a projection leaves shorter than this share of its length is projected once more:
what is left is then as orthogonal as rounding lets it be."""


def accumulation_dtype(device: torch.device) -> torch.dtype:
    """Return float64, or float32 on MPS, which has none."""
    return torch.float32 if device.type == "mps" else torch.float64


def dot(u: Tensor, v: Tensor) -> float:
    """Return <u, v> of two vectors (P,).

    float32 accumulation is off by parts in 1e5 at ten million entries.
    """
    dtype = accumulation_dtype(u.device)
    parts = zip(u.split(_CHUNK), v.split(_CHUNK), strict=True)
    return float(torch.stack([a.to(dtype) @ b.to(dtype) for a, b in parts]).sum())


def norm(v: Tensor) -> float:
    """Return the Euclidean norm of a vector (P,)."""
    return float(torch.linalg.vector_norm(v, dtype=accumulation_dtype(v.device)))


@torch.no_grad()
def all_finite(tensors: Sequence[Tensor]) -> bool:
    """Return whether no tensor holds NaN or an infinity; waits for the device."""
    kinds = _group_tensors_by_device_and_dtype([list(tensors)]) if tensors else {}
    return all(_are_finite(same, device) for (device, _), ((same,), _) in kinds.items())


def _are_finite(tensors: Any, device: torch.device) -> bool:
    """Return whether all tensors are finite, on the CPU and on CUDA by the check of GradScaler.

    The check of torch's GradScaler is quick with many small tensors.

    It multiplies them by 1, which changes no bit, but takes longer than the sum of a large or a
    single one on the CPU.
    """
    if device.type not in ("cpu", "cuda"):
        return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
    if device.type == "cpu":
        least = _LARGE if len(tensors) > 1 else 0
        tensors = [t for t in tensors if t.numel() < least or not math.isfinite(float(t.sum()))]
        if not tensors:
            return True
    found, one = (torch.full((), value, dtype=torch.float32, device=device) for value in (0.0, 1.0))
    torch._amp_foreach_non_finite_check_and_unscale_(tensors, found, one)
    return not bool(found)
