"""How a model is called on whatever a batch holds, and when its outputs have an accuracy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor


def call_model(model: Callable[..., Any], inputs: Any) -> Any:
    """Call `model(*inputs)` on a tuple, `model(**inputs)` on a dict, `model(inputs)` on anything else.

    Args:
        model: A module or a function.
        inputs: The first half of a batch.

    Returns:
        What the model returns.
    """
    if isinstance(inputs, tuple):
        return model(*inputs)
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(inputs)


def has_accuracy(outputs: Any, targets: Any) -> bool:
    """Whether outputs are scores of classes (N, C) and targets are class numbers (N,)."""
    if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor):
        return False
    is_shaped = outputs.ndim == 2 and targets.ndim == 1 and len(outputs) == len(targets)
    is_integer = not (targets.is_floating_point() or targets.is_complex())
    return is_shaped and is_integer and outputs.shape[1] > 1
