"""What torch.distributed is used for; everything else is unaware of ranks."""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed


def all_true(flag: bool, *, device: torch.device, group: Any = None) -> bool:
    """Return whether `flag` is true in every process of a group; all of them must ask.

    Args:
        flag: This process's answer.
        device: Where the group's backend wants its tensors.
        group: The process group; None for the default one.
    """
    answer = torch.tensor(int(flag), device=device)
    distributed.all_reduce(answer, op=distributed.ReduceOp.MIN, group=group)
    return bool(answer)
