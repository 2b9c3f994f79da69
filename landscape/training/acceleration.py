"""The precision of training's forward passes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from landscape.errors import InputError

PRECISIONS = {None: None, "bf16": torch.bfloat16}
"""Name -> dtype that operations which bear it are computed in; None for that of the weights."""


def check_precision(name: str | None) -> None:
    """Raise an InputError that lists the known names if `name` is not one of them."""
    if name not in PRECISIONS:
        raise InputError(f"mixed precision must be bf16 or nothing, got {name!r}.")


def autocast(precision: str | None, device: torch.device) -> AbstractContextManager[object]:
    """Return a context that computes in the given precision; weights keep their own.

    Args:
        precision: Out of `PRECISIONS`.
        device: Where.
    """
    dtype = PRECISIONS[precision]
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)
