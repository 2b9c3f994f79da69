"""Sharpness-aware minimisation around any torch optimizer."""

# pyright: reportPrivateImportUsage=false
# torch exports its foreach kernels, which its own optimizers are made of, under private names.

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from landscape.ascent.steepest import RADII, check_norm, dual_norm
from landscape.errors import require, require_at_least_zero, require_in_limits, require_one_of
from landscape.optim.parameter_ball import Excursion, Memory, ParameterBall, make_balls
from landscape.optim.wrapping import (
    Closure,
    EarlierGradients,
    WrappingOptimizer,
    as_closures,
    dense,
    enabled,
    entries,
    run_pass,
    total_loss,
    unscale,
)
from landscape.reductions import all_finite
from landscape.runtime.distributed import anywhere, rank
from landscape.runtime.random_state import (
    derived_seeds,
    forked_random_state,
    get_random_states,
    set_random_states,
)

DIRECTIONS = ("gradient", "random")
SCOPES = ("batch", "process", "micro-batch")

_STREAM = 0x53414D  # tells the random directions from what else is drawn with the same seed
_COUNTERS = ("num_steps", "num_ascents", "skipped_steps", "rho_factor")  # in the state_dict


class SAM(WrappingOptimizer):
    """Descend along the gradient at the worst point of a small ball around the weights.

    One step takes the gradient g at w, moves to w + e with e the maximiser of <g, e> over
    ||T^-1 e||_p <= rho (`landscape.ascent.steepest.ascend`), takes the gradient there, returns to w
    exactly, and lets the base optimizer step with it. As `torch.optim.LBFGS` does, `step` calls a
    closure:

        optimizer = SAM(model.parameters(), torch.optim.SGD, rho=0.05, module=model, lr=0.1)

        def closure():
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward()
            return loss

        loss = optimizer.step(closure)

    What all of the family do, with weight decay, buffers, gradients that are not finite, gradient
    accumulation, several processes and loss scaling, is told in `landscape.optim`.

    Args:
        params: Parameters or parameter groups, which may set `rho`, `p`, `adaptive` and `eta`.
        base: A class of optimizer, or an optimizer that was made for the same parameters.
        rho: Radius of the ball, in the norm `p` of the weights; 0 gives the base optimizer.
        p: Norm of the ball, at least 1; may be infinite.
        adaptive: Scale the ball elementwise by T = |w| + eta.
        eta: Smallest scale of the adaptive ball.
        steps: Number N of ascent steps; a step of the optimizer costs N + 1 gradients.
        radius: `path`, `sphere` or `ball`, for several ascent steps
            (`landscape.ascent.steepest.advance`).
        direction: `gradient`, or `random` for a random point of the sphere instead (Rand-SAM).
        every: Make the ascent in every k-th step, from the first; the others are the base's.
        decay_in_ascent: Add weight_decay * w to the gradient that is climbed.
        scope: `batch`, `process` or `micro-batch`.
        seed: Of the random directions, which come from generators of their own, on the host: they
            are the same whatever the device, and are copied to it at every step.
        module: The model, whose buffers shall move once a step.
        **base_kwargs: Options of the base class.

    Attributes:
        base: The base optimizer.
        rho_factor: Factor of every rho, for schedules; 0 leaves the step to the base.
        gradient_norm: Euclidean norm of the first-pass gradient over all groups, 0-dim on the
            device; the sum over the ascents where each micro-batch has its own. NaN before the
            first step, and not finite where the gradient is not.
        num_steps: Number of steps, those that were skipped included.
        num_ascents: Number of ascents.
        skipped_steps: Number of updates skipped because a gradient was not finite.

    Raises:
        InputError: If an option is out of range, or the base does not fit the parameters.

    Source:
        Foret et al. (2021), "Sharpness-aware minimization"; Kwon et al. (2021), "ASAM"; S001, Eq. 5
        and section 4.2 (N steps, Rand-SAM).
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
        steps: int = 1,
        radius: str = "path",
        direction: str = "gradient",
        every: int = 1,
        decay_in_ascent: bool = False,
        scope: str = "batch",
        seed: int = 0,
        module: nn.Module | None = None,
        **base_kwargs: Any,
    ) -> None:
        self.steps = steps
        self.radius = radius
        self.direction = direction
        self.every = every
        self.decay_in_ascent = decay_in_ascent
        self.scope = scope
        self.seed = seed
        self._check_options()
        self.module = module
        self.rho_factor = 1.0
        self.gradient_norm = torch.tensor(math.nan)
        self.num_steps = self.num_ascents = self.skipped_steps = 0
        self._ascent: Excursion | None = None
        super().__init__(
            params, base, base_kwargs, {"rho": rho, "p": p, "adaptive": adaptive, "eta": eta}
        )
        self._memory: Memory | None = None

    @torch.no_grad()
    def step(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, closure: Closure | Sequence[Closure] | None = None, scaler: GradScaler | None = None
    ) -> Any:
        """Do all passes and the update; an exception on the way leaves the weights as they were.

        Args:
            closure: Clears the gradients, computes the loss, calls `backward` and returns the loss.
                Called once for each pass, with the same random numbers; once in all where there is
                nothing to climb. Or several, one a micro-batch, that do not clear the gradients.
            scaler: What the closure scales the loss with before `backward`.

        Gradients from before, that a single closure does not clear, are added as they are.

        Returns:
            The loss at w, from the first pass; the sum of the micro-batches' losses.

        Raises:
            InputError: If there is no closure, or it leaves no gradient.
        """
        closures, scaler = as_closures(closure), enabled(scaler)
        if not callable(closure) or self._has_own_gradients():
            self._set_gradients(None)
        is_shared = self.scope != "micro-batch" or not self._is_due()
        parts = [closures] if is_shared else [[part] for part in closures]
        losses, norms, gradients, is_finite = [], [], None, True
        try:
            while parts and is_finite:
                part = parts.pop(0)
                losses.append(self._climb_and_descend(part, gradients, scaler, is_last=not parts))
                norms.append(self.gradient_norm)
                is_finite = self._end_ascent()
                gradients = [w.grad for w in self._weights()] if parts else None
            self.gradient_norm = norms[0] if len(norms) == 1 else torch.stack(norms).sum()
            self._update(is_finite, scaler)
        except BaseException:
            self.restore()
            raise
        self._remember_gradients()
        return total_loss(losses)

    @torch.no_grad()
    def first_step(self, scaler: GradScaler | None = None) -> bool:
        """Move the weights towards the worst point of the ball, using the last pass's gradients.

        For hand-written loops, where dropout masks differ between the passes unless the caller sees
        to it: backward, `first_step`, `zero_grad`, backward again, `second_step`; with several
        ascent steps, `first_step`, `zero_grad` and backward as often. If a pass may raise, call
        `restore` in an `except` clause.

        Args:
            scaler: What the loss was scaled with.

        Returns:
            Whether the weights were moved; if not, the passes that are left may be left out.

        Raises:
            InputError: If there is no gradient, or all ascent steps were taken.
        """
        scaler = enabled(scaler)
        scale = 1.0 if scaler is None else scaler.get_scale()
        if self._ascent is None:
            return self._begin_ascent(scale)
        require(
            self._ascent.num_steps != self.steps and self._ascent.balls,
            "first_step must be followed by second_step before it is called again.",
            hint="Call restore() to give up a step.",
        )
        norm = float(dual_norm(dense(self._gradients())))
        self._ascent.is_finite, is_moving = self._agree(math.isfinite(norm), norm > 0)
        if not (self._ascent.is_finite and is_moving):
            return False
        self._climb(self._ascent, scale, None)
        return True

    @torch.no_grad()
    def second_step(self, scaler: GradScaler | None = None) -> None:
        """Return to w and let the base optimizer step with the gradients of the last pass.

        Args:
            scaler: What the losses were scaled with; it takes the step, and unscales the gradients
                unless that was done (by `scaler.unscale_(optimizer.base)`, for clipping).

        Raises:
            InputError: If `first_step` was not called, or there is no gradient.
        """
        require(self._ascent is not None, "second_step must follow first_step.")
        is_finite = self._end_ascent()
        # A scheduler warns unless it saw step(), which a hand-written loop does not call.
        self._opt_called = True
        self._update(is_finite, enabled(scaler))

    @torch.no_grad()
    def restore(self) -> None:
        """Cancel the current step: restore weights and buffers, bit for bit and in place."""
        if self._ascent is not None:
            self._ascent.end()
            self._ascent = None

    def _check_options(self) -> None:
        for name, least in (("steps", 1), ("every", 1), ("seed", 0)):
            value = getattr(self, name)
            require(
                isinstance(value, int) and value >= least,
                f"{name} must be a whole number of at least {least}, got {value}.",
            )
        for name, known in (("radius", RADII), ("direction", DIRECTIONS), ("scope", SCOPES)):
            require_one_of(name, getattr(self, name), known)
        require(
            self.direction != "random" or (self.steps == 1 and not self.decay_in_ascent),
            "a random direction has no use for several ascent steps or for the weight decay.",
            hint="Leave them out, or use the direction gradient.",
        )

    def check_group(self, group: dict[str, Any]) -> None:
        """Raise InputError if the weights or the ball of a parameter group cannot be used."""
        check_norm(group["p"])
        for name in ("rho", "eta"):
            require_at_least_zero(name, group[name])
        require_in_limits({"rho": group["rho"]})
        require(
            not any(isinstance(w, Tensor) and w.is_complex() for w in group["params"]),
            "SAM needs real weights, got complex ones.",
            hint="Use torch.view_as_real.",
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the base's state and parameter groups, and under `sam` what SAM itself counts."""
        return {**super().state_dict(), "sam": {name: getattr(self, name) for name in _COUNTERS}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` returned, or a state of the base: SAM keeps its own then."""
        super().load_state_dict(state_dict)
        for name, value in state_dict.get("sam", {}).items():
            if name in _COUNTERS:
                setattr(self, name, value)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._memory = None
        super().__setstate__(state)

    def _climb_and_descend(
        self,
        closures: Sequence[Closure],
        gradients: list[Tensor | None] | None,
        scaler: GradScaler | None,
        *,
        is_last: bool,
    ) -> Any:
        """Do all passes over micro-batches, and add the last gradients to the given ones."""
        devices = list(dict.fromkeys(w.device for w in self._weights()))
        random_states = get_random_states(devices)
        is_common = self.scope == "batch" or not self._is_due()
        if gradients:
            self._set_gradients(None)
        earlier = EarlierGradients(self._weights())
        with earlier.watched():
            loss = run_pass(closures, self.module, is_synchronised=is_common)
        for step in range(1, self.steps + 1):
            if not self.first_step(scaler):
                self._add_gradients(gradients)
                break
            is_descent = step == self.steps
            self._set_gradients((is_descent and gradients) or earlier.copies())
            with forked_random_state(devices):
                set_random_states(random_states, devices)
                run_pass(
                    closures, self.module, is_synchronised=is_last if is_descent else is_common
                )
        return loss

    def _begin_ascent(self, scale: float) -> bool:
        is_random = self.direction == "random"
        gradients = dense(self._gradients(is_needed=not is_random))
        self.gradient_norm = dual_norm(gradients) if gradients else torch.tensor(math.nan)
        norm = float(self.gradient_norm) if gradients else 0.0
        self.gradient_norm = self.gradient_norm / scale
        is_finite, is_moving = self._agree(math.isfinite(norm), norm > 0 or is_random)
        self._ascent = Excursion(is_finite)
        if not (is_finite and is_moving and self._is_due()):
            return False
        if self._memory is None:
            self._memory = Memory(self.module)
            self._warn_of_coarse_weights()
        balls = make_balls(self.param_groups, self.rho_factor, has_gradient=not is_random)
        self._ascent.begin(balls, self._memory)
        self.num_ascents += 1
        is_one_ball = len(balls) == 1 and len(balls[0].weights) == len(gradients)
        self._climb(self._ascent, scale, norm if is_one_ball else None)
        return True

    def _climb(self, ascent: Excursion, scale: float, norm: float | None) -> None:
        """Take one ascent step in every ball; `norm` is the gradients', if one has them all."""
        step = ascent.num_steps
        for number, ball in enumerate(ascent.balls):
            if self.direction == "random":
                generator = torch.Generator()  # of the host: the same numbers on every device
                ranks = (rank(),) if self._is_apart() else ()
                numbers = (self.seed, _STREAM, self.num_ascents, number, *ranks)
                ball.draw(generator.manual_seed(derived_seeds(1, *numbers)[0]))
                continue
            gradients = ball.gradients()
            followed = self._followed(ball, gradients, scale)
            known = norm if followed is gradients else None
            ball.climb(followed, step=step, steps=self.steps, radius=self.radius, norm=known)
        torch.clear_autocast_cache()  # it holds casts of the weights as they were
        ascent.num_steps = self.steps if self.direction == "random" else step + 1

    def _followed(self, ball: ParameterBall, gradients: list[Tensor], scale: float) -> list[Tensor]:
        """Return what an ascent step follows, given a ball's gradients, scaled by a scaler."""
        if not self.decay_in_ascent or not any(ball.decays):
            return gradients
        factors = [scale * decay for decay in ball.decays]
        return list(torch._foreach_add(gradients, torch._foreach_mul(ball.weights, factors)))

    def _end_ascent(self) -> bool:
        """Return to w; whether all gradients that were climbed were finite."""
        assert self._ascent is not None
        is_finite = self._ascent.is_finite
        self.restore()
        return is_finite

    def _update(self, is_finite: bool, scaler: GradScaler | None) -> None:
        """Let the base optimizer step, unless a gradient was not finite."""
        gradients = self._gradients()
        if scaler is not None:
            if not is_finite:  # the scaler shall hear of another pass's, or another process's
                entries(gradients[0]).fill_(math.inf)
            unscale(scaler, self.base)
        if is_finite:
            self._adjust()
        is_finite = is_finite and all_finite([entries(gradient) for gradient in gradients])
        self.num_steps += 1
        self.skipped_steps += not is_finite
        if is_finite:
            self.base.step() if scaler is None else scaler.step(self.base)

    def _adjust(self) -> None:
        """Change the gradients of the last pass; for variants."""

    def _is_due(self) -> bool:
        """Whether this step makes an ascent."""
        is_turn = self.num_steps % self.every == 0
        return is_turn and self.rho_factor != 0 and any(group["rho"] for group in self.param_groups)

    def _is_apart(self) -> bool:
        """Whether this process climbs by itself while others climb elsewhere."""
        return isinstance(self.module, DistributedDataParallel) and self.scope != "batch"

    def _agree(self, is_finite: bool, is_moving: bool) -> tuple[bool, bool]:
        """Let processes that climb apart go on or give up together: they meet in the last pass."""
        if not (self._is_apart() and self._is_due()):
            return is_finite, is_moving
        assert isinstance(self.module, DistributedDataParallel)
        device, group = self._weights()[0].device, self.module.process_group
        return not anywhere(not is_finite, device=device, group=group), True
