"""What batch normalization does while the loss is evaluated away from the trained weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

MODES = ("stored", "batch", "recalibrate")
"""`stored`: running statistics of the checkpoint; `batch`: statistics of each evaluated batch;
`recalibrate`: running statistics estimated afresh at every w, the mean over the calibration
batches."""


class BatchNorm:
    """The normalization layers of one model, and the buffers that an evaluation must not move.

    Args:
        module: The model, in evaluation mode; its buffers as they are now are the stored ones.
        mode: One of `MODES`.

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

    def with_stored(self, buffers: Sequence[Tensor]) -> BatchNorm:
        """Return the same layers with other stored buffers, in the order of `module.buffers()`."""
        other = copy.copy(self)
        pairs = zip(buffers, self._buffers, strict=True)
        other.stored = [buffer.detach().to(own, copy=True) for buffer, own in pairs]
        return other

    @contextmanager
    def evaluation(self, calibrate: Callable[[], None]) -> Iterator[None]:
        """Evaluate inside under the mode; buffers and layers come back as they were.

        Args:
            calibrate: Runs the model over the calibration data; called for `recalibrate` only.
        """
        self._restore()
        try:
            if self.mode == "recalibrate" and self._layers:
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
