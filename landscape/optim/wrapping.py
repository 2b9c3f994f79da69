"""An optimizer around another one, and what the caller of its steps hands over.

The two share their state and their parameter groups. A step is given closures, one per micro-batch,
and a loss scaler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from itertools import chain, repeat
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import LBFGS, Optimizer

from landscape.errors import require
from landscape.runtime.distributed import unsynchronized

Closure: TypeAlias = Callable[[], Any]
"""Computes the loss of a batch or a micro-batch, calls `backward` on it and returns it."""


class WrappingOptimizer(Optimizer):
    """An optimizer that lets another one, its base, make the updates.

    `state` and `param_groups` are the base's own, so schedulers and resuming see one optimizer.

    Args:
        params: Parameters or parameter groups; a group may set its own `group_options`.
        base: A class of optimizer, or an optimizer that was made for the same parameters.
        base_options: Options of the base class.
        group_options: Options that every parameter group has, with their defaults.

    Attributes:
        base: The base optimizer.

    Raises:
        InputError: If the base does not fit the parameters, or an option is out of range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        base: type[Optimizer] | Optimizer,
        base_options: dict[str, Any],
        group_options: dict[str, Any],
    ) -> None:
        self._group_options = group_options
        self.base = _make_base(params, base, base_options)
        # What a copy or a pickle keeps in addition to Optimizer's own, subclasses' included.
        self._kept = tuple(vars(self))
        super().__init__(self.base.param_groups, {**self.base.defaults, **group_options})
        self.state = self.base.state
        self.param_groups = self.base.param_groups

    def check_group(self, group: dict[str, Any]) -> None:
        """Raise InputError if an option of a parameter group is out of range."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group to the base optimizer, with the base's defaults and with our own.

        Args:
            param_group: As for any torch optimizer; may set the group options.

        Raises:
            InputError: If one of these is out of range.
        """
        self._complete_group(param_group)
        if not any(param_group is group for group in self.base.param_groups):
            self.base.add_param_group(param_group)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state dict of this optimizer, or of the base alone: group options stay then."""
        own = [{name: group[name] for name in self._group_options} for group in self.param_groups]
        groups = state_dict["param_groups"]
        if len(groups) == len(own):
            groups = [{**options, **group} for options, group in zip(own, groups, strict=True)]
        super().load_state_dict({**state_dict, "param_groups": groups})

    def __getstate__(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in (*self._kept, "_kept")}
        return {**super().__getstate__(), **own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Called by load_state_dict as well, which replaces `state` and `param_groups`.
        super().__setstate__(state)
        self.base.__setstate__({"state": self.state, "param_groups": self.param_groups})
        for group in self.param_groups:
            self._complete_group(group)

    def _complete_group(self, group: dict[str, Any]) -> None:
        for name, value in self._group_options.items():
            group.setdefault(name, value)
        self.check_group(group)

    def _weights(self) -> list[Tensor]:
        lists = [group["params"] for group in self.param_groups]
        return lists[0] if len(lists) == 1 else list(chain.from_iterable(lists))

    def _gradients(self, *, is_needed: bool = True) -> list[Tensor]:
        gradients = [gradient for w in self._weights() if (gradient := w.grad) is not None]
        require(
            gradients or not is_needed,
            "SAM needs a gradient, and no parameter has one.",
            hint="Call backward() on the loss inside the closure, or before first_step().",
        )
        return gradients

    def _set_gradients(self, gradients: list[Tensor | None] | None) -> None:
        for w, gradient in zip(self._weights(), gradients or repeat(None), strict=False):
            w.grad = gradient

    def _add_gradients(self, gradients: list[Tensor | None] | None) -> None:
        for w, gradient in zip(self._weights(), gradients or (), strict=False):
            if gradient is not None:
                w.grad = gradient if w.grad is None else w.grad + gradient


def _make_base(
    params: Iterable[Any], base: type[Optimizer] | Optimizer, options: dict[str, Any]
) -> Optimizer:
    kind = base if isinstance(base, type) else type(base)
    require(
        issubclass(kind, Optimizer),
        f"the base must be a torch optimizer or a class of them, got {base!r}.",
    )
    require(
        not issubclass(kind, WrappingOptimizer),
        "the base optimizer must not be SAM itself.",
        hint="Use torch.optim.SGD, say.",
    )
    require(
        not issubclass(kind, LBFGS),
        "the base optimizer must step without a closure, LBFGS does not.",
    )
    if isinstance(base, type):
        return base(params, **options)
    params = list(params)
    require(
        not options and not any(isinstance(item, dict) for item in params),
        "options and parameter groups cannot be given beside an optimizer that exists already.",
        hint="Give them to the base optimizer, or pass its class.",
    )
    given = {id(item[1] if isinstance(item, tuple) else item) for item in params}
    require(
        given == {id(w) for group in base.param_groups for w in group["params"]},
        "the base optimizer must hold the same parameters as SAM, got different ones.",
    )
    return base


def as_closures(closure: Closure | Sequence[Closure] | None) -> list[Closure]:
    """Return one or several closures as a list.

    Raises:
        InputError: If there is none.
    """
    closures = [closure] if callable(closure) else list(closure or ())
    require(
        closures,
        "SAM.step needs a closure, which it calls once for each of its passes.",
        hint="Pass a function that clears the gradients, calls backward and returns the loss,"
        " or call first_step() and second_step() after the two backward passes.",
    )
    return closures


def run_pass(
    closures: Sequence[Closure], module: nn.Module | None, *, is_synchronised: bool
) -> Any:
    """Call each closure once and return the total loss.

    Args:
        closures: One per micro-batch.
        module: The model, which may be a DistributedDataParallel.
        is_synchronised: Whether processes exchange gradients at the end of the pass; else never.
    """
    losses = []
    for number, closure in enumerate(closures, start=1):
        is_shared = is_synchronised and number == len(closures)
        alone = nullcontext() if is_shared or module is None else unsynchronized(module)
        with alone, torch.enable_grad():
            losses.append(closure())
    return total_loss(losses)


def total_loss(losses: list[Any]) -> Any:
    """Return the sum of the micro-batches' losses; the value of a single closure as it is."""
    if len(losses) == 1:
        return losses[0]
    return None if any(loss is None for loss in losses) else sum(losses)


def enabled(scaler: GradScaler | None) -> GradScaler | None:
    """Return the scaler if it scales."""
    return scaler if scaler is not None and scaler.is_enabled() else None


def unscale(scaler: GradScaler, base: Optimizer) -> None:
    """Unscale the gradients, unless the caller did, for clipping."""
    try:
        scaler.unscale_(base)
    except RuntimeError as exc:
        if "already been called" not in str(exc):
            raise
