"""What was measured, in words."""

from __future__ import annotations

from torch import Tensor


def farthest(found: Tensor, expected: Tensor) -> str:
    """Return the largest difference of two vectors."""
    return f"{float((found - expected).abs().max()):.2g}"


def are_close(found: Tensor, expected: Tensor, *, tolerance: float = 1e-6) -> bool:
    """Return whether all entries of two vectors agree within `tolerance`; NaN never agrees.

    The default is far above the rounding of float32 weights near 1, and far below what any trap
    moves them by.
    """
    return bool(((found - expected).abs() <= tolerance).all())


def moved(after: Tensor, before: Tensor) -> str:
    """Say how far weights have moved, or how many of them are lost."""
    lost = int((~after.isfinite()).sum())
    return (
        f"{lost} of {after.numel()} weights not finite"
        if lost
        else f"weights moved by {farthest(after, before)}"
    )
