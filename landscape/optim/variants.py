"""Published variants of SAM that change which gradient is climbed, or which one the update uses."""

# pyright: reportPrivateImportUsage=false
# torch exports its foreach kernels, which its own optimizers are made of, under private names.

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch._utils import _flatten_dense_tensors
from torch.optim import Optimizer

from landscape.errors import InputError, require_at_least_zero
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
        if not (0 <= sigma < math.inf and 0 <= decay < 1):
            raise InputError(
                f"sigma must be at least 0 and decay in [0, 1), got {sigma} and {decay}."
            )
        self.sigma = sigma
        self.decay = decay
        self._means: dict[int, Tensor] = {}
        super().__init__(params, base, **options)
        _require_one_ascent(self)
        if self.steps > 1 or self.direction == "random":
            raise InputError(
                "Friendly SAM makes one ascent step along a gradient, got several or a random "
                "direction."
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
    if optimizer.scope != "batch":
        raise InputError(
            f"{type(optimizer).__name__} makes one ascent for the whole batch, got the scope "
            f"{optimizer.scope}.",
            hint="Use the scope batch.",
        )
