"""Optimizers by name, with defaults that suit each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn import Parameter
from torch.optim import SGD, Adam, AdamW, Optimizer

from landscape.errors import InputError
from landscape.optim.sam import SAM
from landscape.optim.variants import GSAM, FriendlySAM


@dataclass(frozen=True)
class BaseOptimizer:
    """A torch optimizer and the options it has when none are given.

    Attributes:
        build: Its class.
        learning_rate: Default.
        weight_decay: Default.
        momentum: Default; None where the optimizer has no such option.
    """

    build: type[Optimizer]
    learning_rate: float
    weight_decay: float
    momentum: float | None = None


BASES = {
    "sgd": BaseOptimizer(SGD, learning_rate=0.05, weight_decay=5e-4, momentum=0.9),
    "adam": BaseOptimizer(Adam, learning_rate=2e-3, weight_decay=0.0),
    "adamw": BaseOptimizer(AdamW, learning_rate=2e-3, weight_decay=0.01),
}
"""The optimizers that SAM may wrap, by name."""

FAMILY: dict[str, tuple[type[SAM], dict[str, Any]]] = {
    "sam": (SAM, {"rho": 0.05}),  # Foret et al. (2021), for CIFAR
    "asam": (SAM, {"rho": 0.5, "adaptive": True}),  # Kwon et al. (2021), for CIFAR-10
    "rand-sam": (SAM, {"rho": 0.05, "direction": "random"}),
    "gsam": (GSAM, {"rho": 0.05}),
    "friendly-sam": (FriendlySAM, {"rho": 0.05}),
}
"""The optimizers that wrap one of `BASES`: name -> class, and options that it has when none are
given."""

OPTIMIZERS = (*BASES, *FAMILY)
"""The names that `build_optimizer` knows."""


def build_optimizer(
    name: str,
    module: nn.Module,
    *,
    learning_rate: float | None = None,
    momentum: float | None = None,
    nesterov: bool = False,
    weight_decay: float | None = None,
    base: str | None = None,
    **sam_options: Any,
) -> Optimizer:
    """Build an optimizer for the trainable parameters of a module.

    The fused kernels are used where the parameters allow it: the update of a network of many small
    tensors is five times as fast, and as repeatable.

    Args:
        name: `sgd`, `adam` or `adamw`; or `sam`, `asam`, `rand-sam`, `gsam` or `friendly-sam`
            around `base`.
        module: The model, bare or as a DistributedDataParallel; SAM keeps its buffers from moving
            twice a step.
        learning_rate: None takes the default: 0.05 for sgd, 2e-3 for adam and adamw.
        momentum: For sgd; None takes 0.9.
        nesterov: For sgd: use Nesterov's momentum.
        weight_decay: None takes the default: 5e-4 for sgd, 0 for adam, 0.01 for adamw.
        base: For the SAM family: `sgd`, which None takes, `adam` or `adamw`, with that one's
            defaults.
        **sam_options: For the SAM family: options of `SAM`; None takes the default, a rho of 0.05
            (asam: 0.5).

    Returns:
        The optimizer.

    Raises:
        InputError: If a name is unknown, an option is out of range or not one of this optimizer's,
            or the module has nothing to train.
    """
    sam_options = {option: value for option, value in sam_options.items() if value is not None}
    _check_names(name, base or "sgd")
    _check_use(name, {} if base is None else {"base": base}, sam_options)
    spec = BASES[base or "sgd"] if name in FAMILY else BASES[name]
    weights = [w for w in module.parameters() if w.requires_grad]
    if not weights:
        raise InputError(
            "a model must have trainable parameters, got none that require a gradient."
        )
    options = _base_options(spec, weights, learning_rate, weight_decay)
    options |= _momentum_options(spec, momentum, nesterov)
    if name in FAMILY:
        build, preset = FAMILY[name]
        return build(weights, spec.build, module=module, **{**preset, **sam_options}, **options)
    return spec.build(weights, **options)


def _check_names(name: str, base: str) -> None:
    if name not in OPTIMIZERS:
        raise InputError(f"an optimizer must be one of {', '.join(OPTIMIZERS)}, got {name!r}.")
    if base not in BASES:
        raise InputError(f"the base must be one of {', '.join(BASES)}, got {base!r}.")


def _check_use(name: str, base: dict[str, str], sam_options: dict[str, Any]) -> None:
    """Refuse options that would do nothing."""
    if name not in FAMILY and (base or sam_options):
        raise InputError(
            f"{' and '.join([*base, *sam_options])} can be set for {', '.join(FAMILY)} only, got "
            f"the optimizer {name}.",
            hint="Leave it out, or use the optimizer sam.",
        )
    options = {**FAMILY[name][1], **sam_options} if name in FAMILY else {}
    if "eta" in options and not options.get("adaptive"):
        raise InputError(
            "eta is the smallest scale of an adaptive ball, this one is not.", hint="Use asam."
        )
    if "radius" in options and options.get("steps", 1) == 1:
        raise InputError(
            "radius is for several ascent steps, one step has the whole radius.",
            hint="Set 2 steps.",
        )


def _base_options(
    spec: BaseOptimizer,
    weights: list[Parameter],
    learning_rate: float | None,
    weight_decay: float | None,
) -> dict[str, Any]:
    options = {
        "lr": spec.learning_rate if learning_rate is None else learning_rate,
        "weight_decay": spec.weight_decay if weight_decay is None else weight_decay,
    }
    for option, value in options.items():
        _check_at_least_zero("the learning rate" if option == "lr" else "the weight decay", value)
    return {**options, "fused": True} if _are_fusible(weights) else options


def _momentum_options(
    spec: BaseOptimizer, momentum: float | None, nesterov: bool
) -> dict[str, Any]:
    if spec.momentum is None:
        if momentum is not None or nesterov:
            raise InputError(
                "momentum and nesterov are options of sgd only.", hint="Leave them out, or use sgd."
            )
        return {}
    momentum = spec.momentum if momentum is None else momentum
    _check_at_least_zero("momentum", momentum)
    if nesterov and momentum == 0:
        raise InputError("nesterov needs a momentum above 0, got 0.", hint="Set momentum to 0.9.")
    return {"momentum": momentum, "nesterov": nesterov}


def _check_at_least_zero(name: str, value: float) -> None:
    if not 0 <= value < math.inf:
        raise InputError(f"{name} must be a finite number of at least 0, got {value}.")


def _are_fusible(weights: list[Parameter]) -> bool:
    """Return whether torch has fused kernels for these: all real, and all on the CPU or CUDA."""
    devices = {w.device.type for w in weights}
    return devices in ({"cpu"}, {"cuda"}) and all(w.is_floating_point() for w in weights)
