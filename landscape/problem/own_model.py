"""A model of our own: a copy with everything that it holds, where it is to be evaluated."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import copying_a_model, explained_memory
from landscape.problem.batches import cast, dtype_for
from landscape.problem.state import walk


@explained_memory("copying the model", "Take a device with more memory.")
def own_model(model: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Copy a model and move the copy, in evaluation mode and without gradients.

    Networks and tensors that it holds without having registered them, in plain lists, mappings and
    objects, are copied and moved too, where they have a dtype of its parameters. Those that a
    function closes over stay the user's own.

    Args:
        model: Left as it is.
        device: Where the copy is to be.
        dtype: Dtype of its floating parameters and buffers.

    Raises:
        InputError: If it cannot be copied.
    """
    theirs: dict[int, Any] = dict.fromkeys(map(id, model.buffers()))
    held = [value for _, value in walk("", model, theirs)]
    dtypes = {parameter.dtype for parameter in model.parameters()}

    def moved(tensor: Tensor) -> Tensor:
        is_like_weights = tensor.dtype in dtypes
        return tensor.to(device, dtype_for(tensor, dtype) if is_like_weights else tensor.dtype)

    tensors = [value for value in held if isinstance(value, Tensor) and value.is_leaf]
    memo = {
        id(tensor): own.detach().requires_grad_(tensor.requires_grad)
        for tensor in tensors
        if (own := moved(tensor)) is not tensor
    }
    with copying_a_model():
        copied = deep_copy(model, memo)
    for _, value in walk("", cast(copied, device, dtype)):
        if isinstance(value, nn.Module) and id(value) not in theirs:
            value._apply(moved)
    copied.zero_grad(set_to_none=True)
    return copied.eval()


@torch.no_grad()
def deep_copy(module: nn.Module, memo: dict[int, Any] | None = None) -> nn.Module:
    """Copy a module; parameters of the copy are leaves of graphs, those of TorchScript too."""
    copied = copy.deepcopy(module, memo)
    for own, given in zip(copied.parameters(), module.parameters(), strict=True):
        if own.requires_grad != given.requires_grad:
            own.requires_grad_(given.requires_grad)
    return copied
