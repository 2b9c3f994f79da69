"""The family of SAM: published variants, and the names under which optimizers are built."""

# pyright: reportPrivateImportUsage=false
# torch exports its foreach kernels, which its own optimizers are made of, under private names.

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch._utils import _flatten_dense_tensors
from torch.optim import SGD, Adam, AdamW, Optimizer

from landscape.errors import require, require_at_least_zero, require_one_of
from landscape.optim.parameter_ball import ParameterBall
from landscape.optim.sam import SAM
from landscape.reductions import dot


class GSAM(SAM):
    """Surrogate-gap SAM: also lower the gap between the loss at w + e and the loss at w.

    With g the gradient at w and s the one at w + e, the base optimizer steps with s - alpha g',
    where g' is the part of g orthogonal to s. Its schedule of rho, linear in the learning rate, is
    a matter of `rho_factor`.

    Args:
        params: As for `SAM`.
        base: As for `SAM`.
        alpha: Weight of the orthogonal part, at least 0; 0 gives SAM.
        **options: As for `SAM`.

    Raises:
        InputError: If an option is out of range, or the scope is not the batch.

    Source:
        Zhuang et al. (2022), "Surrogate gap minimization improves sharpness-aware training",
        Algorithm 1.
    """

    def __init__(
        self,
        params: Iterable[Any],
        base: type[Optimizer] | Optimizer,
        *,
        alpha: float = 0.4,
        **options: Any,
    ) -> None:
        require_at_least_zero("alpha", alpha)
        self.alpha = alpha
        self._first: list[tuple[Tensor, Tensor]] = []
        super().__init__(params, base, **options)
        _require_one_ascent(self)

    def _begin_ascent(self, scale: float) -> bool:
        require(
            not any(gradient.is_sparse for gradient in self._gradients(is_needed=False)),
            "GSAM needs dense gradients, got a sparse one.",
            hint="Use sparse=False, or SAM.",
        )
        is_moved = super()._begin_ascent(scale)
        self._first = [
            (w, w.grad / scale) for w in self._weights() if is_moved and w.grad is not None
        ]
        return is_moved

    def _adjust(self) -> None:
        pairs = [(first, w.grad) for w, first in self._first if w.grad is not None]
        self._first = []
        if not pairs:
            return
        first, last = (list(tensors) for tensors in zip(*pairs, strict=True))
        g, s = _flatten_dense_tensors(first), _flatten_dense_tensors(last)
        square = dot(s, s)
        share = dot(g, s) / square if square else 0.0
        torch._foreach_mul_(last, 1 + self.alpha * share)
        torch._foreach_add_(last, first, alpha=-self.alpha)


class FriendlySAM(SAM):
    """Friendly SAM: climb along the batch's own gradient, without the running mean of gradients.

    The ascent follows g - sigma m, where m is the exponential moving average of the gradients of
    the steps before, m <- decay m + (1 - decay) g, beginning with the first gradient. The first
    ascent follows g itself.

    Args:
        params: As for `SAM`.
        base: As for `SAM`.
        sigma: Share of the mean that is taken away.
        decay: Of the mean, in [0, 1).
        **options: As for `SAM`; one ascent step along the gradient, for the whole batch.

    Raises:
        InputError: If an option is out of range.

    Source:
        Li et al. (2024), "Friendly sharpness-aware minimization"; as in its authors' code, the mean
        is that of the steps before.
    """

    def __init__(
        self,
        params: Iterable[Any],
        base: type[Optimizer] | Optimizer,
        *,
        sigma: float = 1.0,
        decay: float = 0.9,
        **options: Any,
    ) -> None:
        require(
            0 <= sigma < math.inf and 0 <= decay < 1,
            f"sigma must be at least 0 and decay in [0, 1), got {sigma} and {decay}.",
        )
        self.sigma = sigma
        self.decay = decay
        self._means: dict[int, Tensor] = {}
        super().__init__(params, base, **options)
        _require_one_ascent(self)
        require(
            self.steps == 1 and self.direction != "random",
            "Friendly SAM makes one ascent step along a gradient, got several or a random "
            "direction.",
        )

    def state_dict(self) -> dict[str, Any]:
        """Return `SAM.state_dict` with the mean gradients by parameter number."""
        state = super().state_dict()
        return {**state, "sam": {**state["sam"], "mean_gradients": dict(self._means)}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` returned."""
        super().load_state_dict(state_dict)
        weights = self._weights()
        means = state_dict.get("sam", {}).get("mean_gradients", {})
        self._means = {
            number: mean.to(weights[number], copy=True) for number, mean in means.items()
        }

    def _followed(self, ball: ParameterBall, gradients: list[Tensor], scale: float) -> list[Tensor]:
        numbers = {id(w): number for number, w in enumerate(self._weights())}
        pairs = zip(ball.weights, gradients, strict=True)
        return super()._followed(
            ball, [self._deviation(numbers[id(w)], g, scale) for w, g in pairs], scale
        )

    def _deviation(self, number: int, gradient: Tensor, scale: float) -> Tensor:
        """The gradient without the mean so far, which it then becomes part of."""
        mean = self._means.get(number)
        if mean is None:
            self._means[number] = gradient / scale
            return gradient
        deviation = gradient - self.sigma * scale * mean
        self._means[number] = mean.lerp(gradient / scale, 1 - self.decay)
        return deviation


def _require_one_ascent(optimizer: SAM) -> None:
    """Refuse ascents apart from each other: what a variant remembers is of the whole batch."""
    require(
        optimizer.scope == "batch",
        f"{type(optimizer).__name__} makes one ascent for the whole batch, got the scope "
        f"{optimizer.scope}.",
        hint="Use the scope batch.",
    )


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
    require(weights, "a model must have trainable parameters, got none that require a gradient.")
    build_base, defaults = BASES[(base or "sgd") if optim in FAMILY else optim]
    own = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum}
    options = _base_options(defaults, {**own, "nesterov": nesterov or None})
    is_real = all(w.is_floating_point() for w in weights)
    if is_real and {w.device.type for w in weights} in ({"cpu"}, {"cuda"}):
        options["fused"] = True
    if optim not in FAMILY:
        return build_base(weights, **options)
    build, preset = FAMILY[optim]
    if ascent_steps is not None:
        sam_options["steps"] = sam_options.pop("ascent_steps")
    return build(weights, build_base, module=module, **{**preset, **sam_options}, **options)


def with_defaults(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of `build_optimizer` with those that were left out filled in.

    Args:
        options: `optim` and others by name, None or a flag that is False where they were left out;
            what else is there is left alone.

    Raises:
        InputError: If the optimizer or its base is unknown.
    """
    optim, base = options["optim"], options.get("base") or "sgd"
    require_one_of("an optimizer", optim, OPTIMIZERS)
    require_one_of("the base", base, BASES)
    preset = {"base": base, **FAMILY[optim][1]} if optim in FAMILY else {}
    defaults = {**BASES[base if optim in FAMILY else optim][1], **preset}
    given = {
        name: value for name, value in options.items() if value is not None and value is not False
    }
    return {**options, **defaults, **given}


def _check_use(name: str, base: dict[str, str], sam_options: dict[str, Any]) -> None:
    """Refuse options that would do nothing."""
    require(
        name in FAMILY or not (base or sam_options),
        f"{' and '.join([*base, *sam_options])} can be set for {', '.join(FAMILY)} only, got the "
        f"optimizer {name}.",
        hint="Leave it out, or use the optimizer sam.",
    )
    options = {**FAMILY[name][1], **sam_options} if name in FAMILY else {}
    require(
        "eta" not in options or options.get("adaptive"),
        "eta is the smallest scale of an adaptive ball, this one is not.",
        hint="Use asam.",
    )
    require(
        "radius" not in options or options.get("ascent_steps", 1) != 1,
        "radius is for several ascent steps, one step has the whole radius.",
        hint="Set 2 steps.",
    )


def _base_options(defaults: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return the defaults of a base with the given options, those that are not None, in place."""
    given = {option: value for option, value in given.items() if value is not None}
    require(
        given.keys() <= defaults.keys(),
        "momentum and nesterov are options of sgd only.",
        hint="Leave them out, or use sgd.",
    )
    options = {**defaults, **given}
    for option, name in _NUMBERS.items():
        require_at_least_zero(name, options.get(option, 0.0))
    require(
        not options.get("nesterov") or options["momentum"] != 0,
        "nesterov needs a momentum above 0, got 0.",
        hint="Set momentum to 0.9.",
    )
    return options
