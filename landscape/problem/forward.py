"""One forward pass: how a model is called on any kind of batch, and what its outputs allow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from landscape.errors import InputError, LandscapeError, first_line, is_out_of_memory, require

_ONE_VALUE = "Expected more than 1 value per channel when training"
"""What torch's batch normalization says."""


def call_model(model: Callable[..., Any], inputs: Any) -> Any:
    """Call `model(*inputs)` on a tuple, `model(**inputs)` on a dict, else `model(inputs)`.

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


class OwnBuffers:
    """A module called with copies of its buffers, which nobody else writes to.

    Args:
        module: Stays as it is.
        ignored: Identities of buffers that a call may write to without being impure.
    """

    def __init__(self, module: nn.Module, *, ignored: set[int]) -> None:
        self._module = module
        self._copies = {name: buffer.clone() for name, buffer in module.named_buffers()}
        self._watched = [
            (self._copies[name], b) for name, b in module.named_buffers() if id(b) not in ignored
        ]

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Call the module."""
        if not self._copies:
            return self._module(*args, **named)
        return functional_call(self._module, self._copies, args, named)

    @property
    def is_unchanged(self) -> bool:
        """Whether no call has written to a buffer."""
        return all(torch.equal(copied, buffer) for copied, buffer in self._watched)


def outputs_and_loss(
    model: Callable[..., Any], criterion: Callable[[Any, Any], Any], inputs: Any, targets: Any
) -> tuple[Any, Tensor]:
    """Return the outputs of a model and the mean loss of a batch.

    Raises:
        InputError: If model, loss and data do not fit together, whatever the user's code raised.
        LandscapeError: If the device is out of memory.
    """
    try:
        outputs = call_model(model, inputs)
        loss = criterion(outputs, targets)
    except LandscapeError:
        raise
    except Exception as exc:  # model and loss are the user's own
        if is_out_of_memory(exc):
            raise LandscapeError(
                "out of memory in a forward pass.", hint="Pass a smaller `batch_size`."
            ) from exc
        if _ONE_VALUE in str(exc):
            raise InputError(
                "batch normalization in training needs more than one value a channel, got one: a "
                "single example.",
                hint="Choose a `batch_size`, and a `micro_batch` if any, that leave no single "
                "example over.",
            ) from exc
        raise InputError(
            f"model, loss and data do not fit: {type(exc).__name__}: {first_line(exc)}",
            hint=f"The inputs are {_describe(inputs)}, the targets are {_describe(targets)}.",
        ) from exc
    require(
        isinstance(loss, Tensor) and loss.ndim == 0,
        "loss(outputs, targets) must return a scalar tensor, the mean over the batch, got "
        f"{_describe(loss)}.",
    )
    return outputs, loss


def require_differentiable(loss: Tensor) -> None:
    """Raise InputError unless the loss has a gradient."""
    require(
        loss.requires_grad,
        "the loss does not depend on the weights in a differentiable way.",
        hint="Check that model and loss do not detach, round or convert to numpy.",
    )


def has_accuracy(outputs: Any, targets: Any) -> bool:
    """Whether outputs are scores of classes (N, C) and targets are class numbers (N,)."""
    if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor):
        return False
    is_shaped = outputs.ndim == 2 and targets.ndim == 1 and len(outputs) == len(targets)
    is_integer = not (targets.is_floating_point() or targets.is_complex())
    return is_shaped and is_integer and outputs.shape[1] > 1


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    return type(value).__name__
