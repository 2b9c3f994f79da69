"""Norms and inner products of long vectors, accumulated in float64 where the device has it."""

from __future__ import annotations

import torch
from torch import Tensor

_CHUNK = 1 << 22  # entries converted at a time, so that a float64 copy of a vector never exists


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
