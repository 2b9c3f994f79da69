"""Sharpness-aware minimisation around any torch optimizer."""

# pyright: reportPrivateImportUsage=false
# torch exports its foreach kernels, which its own optimizers are made of, under private names.

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from landscape.ascent import adaptive_scaling, ascend, check_norm, dual_norm
from landscape.errors import InputError
from landscape.random_state import forked_random_state, get_random_states, set_random_states


@dataclass(frozen=True)
class _Ascent:
    """A step under way: what has been moved, and what puts it back.

    Attributes:
        weights: The tensors that were moved; none where there was nothing to climb.
        saved: Their values before.
        buffers: Name -> value after the first pass.
        is_finite: Whether the first gradient was finite.
    """

    weights: list[Tensor]
    saved: list[Tensor]
    buffers: dict[str, Tensor]
    is_finite: bool


class SAM(Optimizer):
    """Descend along the gradient at the worst point of a small ball around the weights.

    One step takes the gradient g at w, moves to w + e with e the maximiser of <g, e> over
    ||T^-1 e||_p <= rho (`landscape.ascent.ascend`), takes the gradient there, returns to w exactly,
    and lets the base optimizer step with it. As `torch.optim.LBFGS` does, `step` calls a closure:

        optimizer = SAM(model.parameters(), torch.optim.SGD, rho=0.05, module=model, lr=0.1, momentum=0.9)

        def closure():
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward()
            return loss

        loss = optimizer.step(closure)

    Conventions:
        - `state` and `param_groups` are the base's own, so schedulers, `state_dict` and resuming see one
          optimizer; nothing of a step under way lives in them.
        - Each parameter group has a ball of its own: the radius holds for the group's norm. One group,
          which is the usual case, is one ball over all weights.
        - Weight decay lives in the base optimizer and is not part of the ascent gradient. (Foret et
          al.'s own code adds it to the loss, and so to both.)
        - Both passes see the same dropout masks, and buffers of `module` (BatchNorm statistics) move
          in the first pass only. Without `module` they move twice.
        - A gradient that is not finite, in either pass, skips the update: weights and base state stay as
          they are and `skipped_steps` counts one. Where the gradient is zero, or every rho is 0, the
          base steps with the first gradient, and there is no second pass.
        - Weights should be float32 or float64: a perturbation of the usual size is below the
          resolution of bfloat16.

    Args:
        params: Parameters or parameter groups; a group may set its own `rho`, `p`, `adaptive`, `eta`.
        base: A class of optimizer, or an optimizer that was made for the same parameters.
        rho: Radius of the ball, in the norm `p` of the weights; 0 gives the base optimizer.
        p: Norm of the ball, at least 1; may be infinite.
        adaptive: Scale the ball elementwise by T = |w| + eta.
        eta: Smallest scale of the adaptive ball.
        module: The model, whose buffers shall move once a step.
        **base_kwargs: Options of the base class.

    Attributes:
        base: The base optimizer.
        module: As given.
        gradient_norm: Euclidean norm of the first-pass gradient over all groups, 0-dim on the device;
            NaN before the first step and where the gradient is not finite.
        skipped_steps: Number of updates skipped because a gradient was not finite.

    Raises:
        InputError: If an option is out of range, or the base does not fit the parameters.

    Source:
        Foret et al. (2021), "Sharpness-aware minimization"; Kwon et al. (2021), "ASAM".
    """

    def __init__(
        self,
        params: Iterable[Any],
        base: type[Optimizer] | Optimizer,
        *,
        rho: float = 0.05,
        p: float = 2.0,
        adaptive: bool = False,
        eta: float = 0.01,
        module: nn.Module | None = None,
        **base_kwargs: Any,
    ) -> None:
        self._options = {"rho": rho, "p": p, "adaptive": adaptive, "eta": eta}
        self.base = _make_base(params, base, base_kwargs)
        self.module = module
        self.gradient_norm = torch.tensor(math.nan)
        self.skipped_steps = 0
        self._ascent: _Ascent | None = None
        super().__init__(self.base.param_groups, {**self.base.defaults, **self._options})
        self.state = self.base.state
        self.param_groups = self.base.param_groups

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Do both passes and the update; an exception on the way leaves the weights as they were.

        Args:
            closure: Clears the gradients, computes the loss, calls `backward` and returns the loss.
                Called twice with the same random numbers; once where there is nothing to climb.

        Returns:
            The loss at w, from the first pass.

        Raises:
            InputError: If there is no closure, or it leaves no gradient.
        """
        if closure is None:
            raise InputError(
                "SAM.step needs a closure, which it calls once for each of its two passes.",
                hint="Pass a function that clears the gradients, calls backward and returns the loss,"
                " or call first_step() and second_step() after the two backward passes.",
            )
        random_states = get_random_states(self._devices())
        loss = self._run(closure)
        try:
            if self.first_step():
                with forked_random_state(self._devices()):
                    set_random_states(random_states, self._devices())
                    self._run(closure)
            self.second_step()
        except BaseException:
            self.restore()
            raise
        return loss

    @torch.no_grad()
    def first_step(self) -> bool:
        """Move the weights to the worst point of the ball, by the gradients of the first pass.

        For hand-written loops, where dropout masks differ between the passes unless the caller sees to
        it: backward, `first_step`, `zero_grad`, backward again, `second_step`. If the second pass may
        raise, call `restore` in an `except` clause.

        Returns:
            Whether the weights were moved; if not, the second pass may be left out.

        Raises:
            InputError: If there is no gradient, or a step is already under way.
        """
        if self._ascent is not None:
            raise InputError(
                "first_step must be followed by second_step before it is called again.",
                hint="Call restore() to give up a step.",
            )
        self.gradient_norm = dual_norm(self._gradients())
        norm = float(self.gradient_norm)
        if not math.isfinite(norm) or norm == 0 or not any(group["rho"] for group in self.param_groups):
            self._ascent = _Ascent([], [], {}, math.isfinite(norm))
            return False
        weights, perturbation = self._perturbation()
        self._ascent = _Ascent(weights, [w.clone() for w in weights], self._copy_buffers(), True)
        torch._foreach_add_(weights, perturbation)
        return True

    @torch.no_grad()
    def second_step(self) -> None:
        """Return to w and let the base optimizer step with the gradients of the second pass.

        Raises:
            InputError: If `first_step` was not called, or there is no gradient.
        """
        if self._ascent is None:
            raise InputError("second_step must follow first_step.")
        is_finite = self._ascent.is_finite
        self.restore()
        # A scheduler warns unless it saw step(), which a hand-written loop does not call.
        self._opt_called = True
        if is_finite and math.isfinite(float(dual_norm(self._gradients(), p=1))):
            self.base.step()
        else:
            self.skipped_steps += 1

    @torch.no_grad()
    def restore(self) -> None:
        """Give up a step under way: put weights and buffers back, bit for bit, into their own storage."""
        if self._ascent is None:
            return
        if self._ascent.weights:
            torch._foreach_copy_(self._ascent.weights, self._ascent.saved)
        if self.module is not None:
            for name, buffer in self.module.named_buffers():
                if name in self._ascent.buffers:
                    buffer.copy_(self._ascent.buffers[name])
        self._ascent = None

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group to the base optimizer, with the base's defaults and with SAM's.

        Args:
            param_group: As for any torch optimizer; may set `rho`, `p`, `adaptive` and `eta`.

        Raises:
            InputError: If one of these is out of range.
        """
        self._complete_group(param_group)
        if not any(param_group is group for group in self.base.param_groups):
            self.base.add_param_group(param_group)

    def __getstate__(self) -> dict[str, Any]:
        names = ("base", "module", "gradient_norm", "skipped_steps", "_ascent", "_options")
        return {**super().__getstate__(), **{name: getattr(self, name) for name in names}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Called by load_state_dict as well, which replaces `state` and `param_groups`.
        super().__setstate__(state)
        self.base.__setstate__({"state": self.state, "param_groups": self.param_groups})
        for group in self.param_groups:
            self._complete_group(group)

    def _run(self, closure: Callable[[], Any]) -> Any:
        """Call the closure on cleared gradients, so that one that forgets to clear them does no harm."""
        self.zero_grad()
        with torch.enable_grad():
            return closure()

    def _perturbation(self) -> tuple[list[Tensor], list[Tensor]]:
        """The weights that have a gradient and a ball, and how far each is to be moved."""
        weights, perturbation = [], []
        for group in self.param_groups:
            moved = [w for w in group["params"] if w.grad is not None]
            if moved and group["rho"]:
                scaling = adaptive_scaling(moved, group["eta"]) if group["adaptive"] else None
                rho = -group["rho"] if group.get("maximize") else group["rho"]
                weights += moved
                perturbation += ascend([w.grad for w in moved], rho, p=group["p"], scaling=scaling)
        return weights, perturbation

    def _gradients(self) -> list[Tensor]:
        weights = [w for group in self.param_groups for w in group["params"]]
        gradients = [w.grad for w in weights if w.grad is not None]
        if not gradients:
            raise InputError(
                "SAM needs a gradient, and no parameter has one.",
                hint="Call backward() on the loss inside the closure, or before first_step().",
            )
        if any(gradient.is_sparse for gradient in gradients):
            raise InputError("SAM needs dense gradients, got a sparse one.", hint="Use sparse=False.")
        return gradients

    def _copy_buffers(self) -> dict[str, Tensor]:
        if self.module is None:
            return {}
        return {name: buffer.clone() for name, buffer in self.module.named_buffers()}

    def _devices(self) -> list[torch.device]:
        weights = (w for group in self.param_groups for w in group["params"])
        return list(dict.fromkeys(w.device for w in weights))

    def _complete_group(self, group: dict[str, Any]) -> None:
        for name, value in self._options.items():
            group.setdefault(name, value)
        check_norm(group["p"])
        for name in ("rho", "eta"):
            if not 0 <= group[name] < math.inf:
                raise InputError(f"{name} must be a finite number of at least 0, got {group[name]}.")


def _make_base(params: Iterable[Any], base: type[Optimizer] | Optimizer, options: dict[str, Any]) -> Optimizer:
    if isinstance(base, SAM) or base is SAM:
        raise InputError("the base optimizer must not be SAM itself.", hint="Use torch.optim.SGD, say.")
    if isinstance(base, Optimizer):
        _check_fit(list(params), base, options)
        return base
    if isinstance(base, type) and issubclass(base, Optimizer):
        return base(params, **options)
    raise InputError(f"the base must be a torch optimizer or a class of them, got {base!r}.")


def _check_fit(params: list[Any], base: Optimizer, options: dict[str, Any]) -> None:
    """Raise unless an optimizer that exists already can serve for the parameters as they are given."""
    if options or any(isinstance(item, dict) for item in params):
        raise InputError(
            "options and parameter groups cannot be given beside an optimizer that exists already.",
            hint="Give them to the base optimizer, or pass its class.",
        )
    given = {id(item[1] if isinstance(item, tuple) else item) for item in params}
    if given != {id(w) for group in base.param_groups for w in group["params"]}:
        raise InputError("the base optimizer must hold the same parameters as SAM, got different ones.")
