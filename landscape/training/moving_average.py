"""An exponential moving average of weights and buffers."""

from __future__ import annotations

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from landscape.errors import InputError, copying_a_model


def moving_average(module: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of a module whose weights and buffers follow the original's.

    Args:
        module: Left as it is.
        decay: In [0, 1): what is kept of the average at an update.

    Raises:
        InputError: If the decay is out of range, or the module cannot be copied.
    """
    if not 0 <= decay < 1:
        raise InputError(f"the decay of the moving average must be in [0, 1), got {decay}.")
    with copying_a_model():
        return AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
