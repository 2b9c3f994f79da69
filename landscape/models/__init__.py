"""Built-in architectures by name; one family a file, imported when one is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from landscape.registry import Entry, Registry

if TYPE_CHECKING:
    from torch import nn

_DEPTHS = (20, 32, 44, 56, 110)
_WIDE = ((16, 4), (16, 8), (22, 8), (28, 10))

MODELS: dict[str, Entry] = {
    "mlp": "landscape.models.mlp:mlp",
    "lenet": "landscape.models.lenet:lenet",
    **{f"resnet{depth}": ("landscape.models.resnet:resnet", depth, True) for depth in _DEPTHS},
    **{
        f"resnet{depth}-noshort": ("landscape.models.resnet:resnet", depth, False)
        for depth in _DEPTHS
    },
    "resnet18": "landscape.models.resnet:resnet18",
    **{
        f"wrn-{depth}-{factor}": ("landscape.models.wide_resnet:wide_resnet", depth, factor)
        for depth, factor in _WIDE
    },
    "vgg16": "landscape.models.vgg:vgg16",
    "transformer": "landscape.models.transformer:transformer",
    "gcn": "landscape.models.gcn:gcn",
    "gcn-topk": "landscape.models.gcn:gcn_topk",
}
"""Name to import string, with the positional arguments of one of a family."""

_REGISTRY = Registry("model", MODELS)


def build_model(name: str, **kwargs: Any) -> nn.Module:
    """Build an architecture with random weights from torch's global generator.

    Args:
        name: One of `MODELS`.
        **kwargs: The architecture's own arguments, as `model_arguments` names them.

    Returns:
        The model in training mode, float32, on the CPU.

    Raises:
        InputError: If the name or an argument is not accepted.
    """
    return _REGISTRY.build(name, kwargs)


def model_arguments(name: str, **kwargs: Any) -> dict[str, Any]:
    """Return the arguments of `build_model` with the defaults filled in: what a checkpoint records.

    Raises:
        InputError: If the name or an argument is not accepted.
    """
    return _REGISTRY.arguments(name, kwargs)
