"""Optimizers by name, with defaults that suit each."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from landscape.errors import InputError, require_at_least_zero, require_one_of
from landscape.optim.sam import SAM
from landscape.optim.variants import GSAM, FriendlySAM

BASES: dict[str, tuple[type[Optimizer], dict[str, Any]]] = {
    "sgd": (SGD, {"lr": 0.05, "weight_decay": 5e-4, "momentum": 0.9, "nesterov": False}),
    "adam": (Adam, {"lr": 2e-3, "weight_decay": 0.0}),
    "adamw": (AdamW, {"lr": 2e-3, "weight_decay": 0.01}),
}
"""The optimizers that SAM may wrap: name -> class, and options that it has when none are given."""

FAMILY: dict[str, tuple[type[SAM], dict[str, Any]]] = {
    "sam": (SAM, {"rho": 0.05}),  # Foret et al. (2021), for CIFAR
    "asam": (SAM, {"rho": 0.5, "adaptive": True}),  # Kwon et al. (2021), for CIFAR-10
    "rand-sam": (SAM, {"rho": 0.05, "direction": "random"}),
    "gsam": (GSAM, {"rho": 0.05}),
    "friendly-sam": (FriendlySAM, {"rho": 0.05}),
}
"""The optimizers that wrap one of `BASES`: name -> class, and options that it has when none are
given."""

_NUMBERS = {"lr": "the learning rate", "weight_decay": "the weight decay", "momentum": "momentum"}

OPTIMIZERS = (*BASES, *FAMILY)
"""The names that `build_optimizer` knows."""


def build_optimizer(
    optim: str,
    module: nn.Module,
    *,
    lr: float | None = None,
    momentum: float | None = None,
    nesterov: bool = False,
    weight_decay: float | None = None,
    base: str | None = None,
    rho: float | None = None,
    p: float | None = None,
    adaptive: bool | None = None,
    eta: float | None = None,
    ascent_steps: int | None = None,
    radius: str | None = None,
    every: int | None = None,
    scope: str | None = None,
    decay_in_ascent: bool | None = None,
    seed: int | None = None,
) -> Optimizer:
    """Build an optimizer for the trainable parameters of a module.

    The fused kernels are used where the parameters allow it: the update of a network of many small
    tensors is five times as fast, and as repeatable.

    Args:
        optim: `sgd`, `adam` or `adamw`; or `sam`, `asam`, `rand-sam`, `gsam` or `friendly-sam`
            around `base`.
        module: The model, bare or as a DistributedDataParallel; SAM keeps its buffers from moving
            twice a step.
        lr: Learning rate; None takes the default: 0.05 for sgd, 2e-3 for adam and adamw.
        momentum: For sgd; None takes 0.9.
        nesterov: For sgd: use Nesterov's momentum.
        weight_decay: None takes the default: 5e-4 for sgd, 0 for adam, 0.01 for adamw.
        base: For the SAM family: `sgd`, which None takes, `adam` or `adamw`, with that one's
            defaults.
        rho: For the SAM family, as all that follow: radius of the ball; None takes the default,
            0.05 (asam: 0.5). None takes the default of `SAM` in the following too.
        p: Norm of the ball.
        adaptive: Whether the ball is scaled by |w| + eta.
        eta: Smallest scale of an adaptive ball.
        ascent_steps: Ascent steps per update, `steps` of `SAM`.
        radius: What keeps several ascent steps in the ball: `path`, `sphere` or `ball`.
        every: Number of updates of which one makes the ascent.
        scope: What one ascent is made for: `batch`, `process` or `micro-batch`.
        decay_in_ascent: Whether the ascent follows the weight decay too.
        seed: Seed of random directions.

    Returns:
        The optimizer.

    Raises:
        InputError: If a name is unknown, an option is out of range or not one of this optimizer's,
            or the module has nothing to train.
    """
    given = {
        "rho": rho,
        "p": p,
        "adaptive": adaptive,
        "eta": eta,
        "ascent_steps": ascent_steps,
        "radius": radius,
        "every": every,
        "scope": scope,
        "decay_in_ascent": decay_in_ascent,
        "seed": seed,
    }
    sam_options = {option: value for option, value in given.items() if value is not None}
    require_one_of("an optimizer", optim, OPTIMIZERS)
    require_one_of("the base", base or "sgd", BASES)
    _check_use(optim, {} if base is None else {"base": base}, sam_options)
    weights = [w for w in module.parameters() if w.requires_grad]
    if not weights:
        raise InputError(
            "a model must have trainable parameters, got none that require a gradient."
        )
    build_base, defaults = BASES[(base or "sgd") if optim in FAMILY else optim]
    own = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum}
    options = _base_options(defaults, {**own, "nesterov": nesterov or None})
    devices = {w.device.type for w in weights}
    if devices in ({"cpu"}, {"cuda"}) and all(w.is_floating_point() for w in weights):
        options["fused"] = True
    if optim not in FAMILY:
        return build_base(weights, **options)
    build, preset = FAMILY[optim]
    if ascent_steps is not None:
        sam_options["steps"] = sam_options.pop("ascent_steps")
    return build(weights, build_base, module=module, **{**preset, **sam_options}, **options)


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
    if "radius" in options and options.get("ascent_steps", 1) == 1:
        raise InputError(
            "radius is for several ascent steps, one step has the whole radius.",
            hint="Set 2 steps.",
        )


def _base_options(defaults: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return the defaults of a base with the given options, those that are not None, in place."""
    given = {option: value for option, value in given.items() if value is not None}
    if not given.keys() <= defaults.keys():
        raise InputError(
            "momentum and nesterov are options of sgd only.", hint="Leave them out, or use sgd."
        )
    options = {**defaults, **given}
    for option, name in _NUMBERS.items():
        require_at_least_zero(name, options.get(option, 0.0))
    if options.get("nesterov") and options["momentum"] == 0:
        raise InputError("nesterov needs a momentum above 0, got 0.", hint="Set momentum to 0.9.")
    return options
