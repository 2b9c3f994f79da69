"""Models in wrappers and with old-style hooks, as a problem can take them."""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrizations, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.optim.swa_utils import AveragedModel

from landscape.problem.batches import Data
from landscape.problem.forward import outputs_and_loss
from landscape.problem.plan import kept_modes
from landscape.runtime.random_state import forked_random_state

_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the model inside wrappers that compile, distribute or average it, or itself."""
    if isinstance(module, _WRAPPERS):
        return unwrapped(module.module)
    compiled = getattr(module, "_orig_mod", None)
    return module if compiled is None else unwrapped(compiled)


@torch.no_grad()
def with_shapes(module: nn.Module, data: Data, *, seed: int) -> nn.Module:
    """Let lazy layers find out their shapes by one forward pass in evaluation mode.

    Args:
        module: Changed in place, if any of its layers is lazy.
        data: What it is going to be trained on.
        seed: Of the weights that are drawn.

    Raises:
        InputError: If model and data do not fit.
    """
    if any(map(is_lazy, chain(module.parameters(), module.buffers()))):
        inputs = data.to(torch.device("cpu"), torch.float32).batches(2)[0][0]
        with forked_random_state(seed=seed), kept_modes(module):
            module.eval()
            outputs_and_loss(module, lambda *_: torch.zeros(()), inputs, None)
    return module


@torch.no_grad()
def parametrized(module: nn.Module) -> nn.Module:
    """Replace old-style hooks of weight and spectral normalization by parametrizations, in place.

    A model with such hooks cannot be copied. Its function and its tensors stay the same.
    """
    for layer in list(module.modules()):
        for hook in list(layer._forward_pre_hooks.values()):
            if isinstance(hook, WeightNorm):
                _convert_weight_norm(layer, hook)
            elif isinstance(hook, SpectralNorm):
                _convert_spectral_norm(layer, hook)
    return module


def _convert_weight_norm(layer: nn.Module, hook: WeightNorm) -> None:
    length, direction = (getattr(layer, f"{hook.name}_{each}") for each in ("g", "v"))
    remove_weight_norm(layer, hook.name)
    parametrizations.weight_norm(layer, hook.name, hook.dim)
    new = _parametrization(layer, hook.name)
    new.original0, new.original1 = length, direction


def _convert_spectral_norm(layer: nn.Module, hook: SpectralNorm) -> None:
    original, u, v = (getattr(layer, f"{hook.name}_{each}") for each in ("orig", "u", "v"))
    remove_spectral_norm(layer, hook.name)
    parametrizations.spectral_norm(layer, hook.name, hook.n_power_iterations, hook.eps, hook.dim)
    new = _parametrization(layer, hook.name)
    new.original = original
    new[0]._u, new[0]._v = u, v


def _parametrization(layer: nn.Module, name: str) -> Any:
    parametrized_tensors: Any = layer.parametrizations
    return parametrized_tensors[name]
