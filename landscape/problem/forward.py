"""One forward pass: how a model is called, what its outputs allow, and what its buffers become."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _NormBase

from landscape.errors import InputError, LandscapeError, first_line, is_out_of_memory, require

BATCHNORM_MODES = ("stored", "batch", "recalibrate")
"""`stored`: running statistics of the checkpoint; `batch`: statistics of each evaluated batch;
`recalibrate`: running statistics estimated afresh at every w, the mean over the calibration
batches, as `torch.optim.swa_utils.update_bn` does."""

T = TypeVar("T")

_ONE_VALUE = "Expected more than 1 value per channel when training"
"""What torch's batch normalization says."""


def changed(value: T, **attributes: Any) -> T:
    """Return a shallow copy of an object with other attributes."""
    other = copy.copy(value)
    vars(other).update(attributes)
    return other


def call_model(model: Callable[..., Any], inputs: Any) -> Any:
    """Call `model(*inputs)` on a tuple, `model(**inputs)` on a dict, else `model(inputs)`.

    A named tuple is a single argument.

    Args:
        model: A module or a function.
        inputs: The first half of a batch.

    Returns:
        What the model returns.
    """
    if isinstance(model, torch.jit.ScriptModule) and torch.is_inference_mode_enabled():
        # TorchScript keeps tensors for a backward pass, which those of inference mode refuse.
        with torch.inference_mode(False), torch.no_grad():
            return call_model(model, inputs)
    if isinstance(inputs, tuple) and not hasattr(inputs, "_fields"):
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
    """Return the outputs of a model and the mean loss of a batch; see `outputs_loss_and_count`."""
    return outputs_loss_and_count(model, criterion, inputs, targets)[:2]


def outputs_loss_and_count(
    model: Callable[..., Any], criterion: Callable[[Any, Any], Any], inputs: Any, targets: Any
) -> tuple[Any, Tensor, Tensor | None]:
    """Return the outputs of a model, the mean loss of a batch, and what it counts, if it says so.

    Raises:
        InputError: If model, loss and data do not fit together, whatever the user's code raised.
        LandscapeError: If the device is out of memory.
    """
    try:
        outputs = call_model(model, inputs)
        loss, count = as_mean(criterion(outputs, targets))
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
        isinstance(loss, Tensor) and loss.ndim == 0 and not loss.is_complex(),
        "loss(outputs, targets) must return a scalar tensor of a real number, the mean over the "
        f"batch, or a pair (sum, count), got {_describe(loss)}.",
    )
    return outputs, loss, count


def as_mean(value: Any) -> tuple[Any, Tensor | None]:
    """Return the mean that a loss function returned, or made, and what it counts.

    Args:
        value: A mean, or `(sum, count)`; the count is a number or a tensor, and no function of the
            weights.

    Raises:
        InputError: If the count is not one.
    """
    if not (isinstance(value, tuple | list) and len(value) == 2):
        return value, None
    total, count = value
    try:
        count = torch.as_tensor(count, device=getattr(total, "device", None)).detach()
    except (TypeError, ValueError, RuntimeError) as exc:
        raise InputError(
            "a loss function that returns (sum, count) must return two numbers, got "
            f"{type(total).__name__} and {type(count).__name__}."
        ) from exc
    return total / count.where(count != 0, 1), count


def require_differentiable(loss: Tensor) -> None:
    """Raise InputError unless the loss has a gradient."""
    require(
        loss.requires_grad,
        "the loss does not depend on the weights in a differentiable way.",
        hint="Check that model and loss do not detach, round or convert to numpy.",
    )


def has_accuracy(outputs: Any, targets: Any, *, is_nested: bool = False) -> bool:
    """Whether outputs are scores of classes (N, C) and targets are class numbers (N,).

    Args:
        outputs: Of a model.
        targets: Of the examples.
        is_nested: Whether scores may be (N, C, ...) and class numbers (N, ...), too.
    """
    if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor):
        return False
    if outputs.ndim < 2 or (outputs.ndim > 2 and not is_nested):
        return False
    is_integer = not (targets.is_floating_point() or targets.is_complex())
    return (
        is_integer
        and not outputs.is_complex()
        and targets.shape == (outputs.shape[0], *outputs.shape[2:])
        and outputs.shape[1] > 1
    )


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    return type(value).__name__


class BatchNorm:
    """The normalization layers of one model, and the buffers that an evaluation must not move.

    Args:
        module: The model, in evaluation mode; its buffers as they are now are the stored ones.
        mode: One of `BATCHNORM_MODES`.

    Attributes:
        mode: As given.
        stored: The buffers of the checkpoint.
    """

    def __init__(self, module: nn.Module, mode: str) -> None:
        self.mode = mode
        self._layers = [
            layer
            for layer in module.modules()
            if isinstance(layer, _NormBase) and layer.running_mean is not None
        ]
        self._buffers = list(module.buffers())
        self.stored = [buffer.clone() for buffer in self._buffers]

    @property
    def has_statistics(self) -> bool:
        """Whether there are layers with running statistics."""
        return bool(self._layers)

    def are_moved(self, module: nn.Module, run: Callable[[], Any]) -> bool:
        """Whether a pass in training changes buffers that an evaluation under the mode reads.

        Args:
            module: A copy of the model; changed.
            run: Runs it on a batch.
        """
        before = [buffer.clone() for buffer in module.buffers()]
        module.train()
        for layer in module.modules():
            layer.training &= self.mode == "stored" or not isinstance(layer, _NormBase)
        with suppress(InputError):
            run()
        return not all(map(torch.equal, before, module.buffers()))

    def with_stored(self, buffers: Sequence[Tensor]) -> BatchNorm:
        """Return the same layers with other stored buffers, in the order of `module.buffers()`."""
        pairs = zip(buffers, self._buffers, strict=True)
        return changed(self, stored=[buffer.detach().to(own, copy=True) for buffer, own in pairs])

    @contextmanager
    def evaluation(self, calibrate: Callable[[], None] | None) -> Iterator[None]:
        """Evaluate inside under the mode; buffers and layers come back as they were.

        Args:
            calibrate: Runs the model over the calibration data; called for `recalibrate` only,
                which is `stored` if it is None.
        """
        self._restore()
        try:
            if self.mode == "recalibrate" and self._layers and calibrate is not None:
                self._recalibrate(calibrate)
            self._set_training(self.mode == "batch")
            yield
        finally:
            self._set_training(False)
            self._restore()

    def _recalibrate(self, calibrate: Callable[[], None]) -> None:
        momenta = [layer.momentum for layer in self._layers]
        self._set_training(True)
        try:
            for layer in self._layers:
                layer.reset_running_stats()
                layer.momentum = None  # a cumulative mean: every batch counts the same
            calibrate()
        finally:
            for layer, momentum in zip(self._layers, momenta, strict=True):
                layer.momentum = momentum

    def _set_training(self, is_training: bool) -> None:
        for layer in self._layers:
            layer.train(is_training)

    @torch.no_grad()
    def _restore(self) -> None:
        for buffer, stored in zip(self._buffers, self.stored, strict=True):
            buffer.copy_(stored)

    @property
    def moving(self) -> set[int]:
        """The identities of the buffers that an evaluation under the mode moves."""
        layers = self._layers if self.mode == "batch" else []
        return {id(buffer) for layer in layers for buffer in layer.buffers(recurse=False)}


def on_host(batches: list[dict[str, Tensor]]) -> dict[str, np.ndarray]:
    """Join what all batches have along the last dimension, as float64 on the host.

    The values are moved to the host in one transfer.
    """
    names = [name for name in batches[0] if all(name in found for found in batches)]
    parts = [torch.cat([found[name] for found in batches], dim=-1) for name in names]
    values = torch.cat(parts, dim=-1).cpu().double().numpy()
    ends = np.cumsum([part.shape[-1] for part in parts])
    return dict(zip(names, np.split(values, ends[:-1], axis=-1), strict=True))
