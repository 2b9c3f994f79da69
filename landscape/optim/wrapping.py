"""An optimizer around another one, and what the caller of its steps hands over.

The two share their state and their parameter groups. A step is given closures, one per micro-batch,
and a loss scaler.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial, wraps
from itertools import chain, repeat
from typing import Any, NoReturn, TypeAlias

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import LBFGS, Optimizer

from landscape.errors import InputError, Remark, require
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
        self._left: tuple[Any, ...] = ()

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
        self._left = ()
        self.base.__setstate__({"state": self.state, "param_groups": self.param_groups})
        for group in self.param_groups:
            self._complete_group(group)

    def _remember_gradients(self) -> None:
        """Remember one of the gradients that a step leaves, to know them again."""
        weight = next((w for w in self._weights() if w.grad is not None), None)
        if weight is not None and weight.grad is not None:
            self._left = weight, weakref.ref(weight.grad), weight.grad._version

    def _has_own_gradients(self) -> bool:
        """Whether the gradients are those that the last step left."""
        if not self._left:
            return False
        weight, gradient, version = self._left
        return (
            weight.grad is not None and weight.grad is gradient() and gradient()._version == version
        )

    def _warn_of_coarse_weights(self) -> None:
        """Warn of weights in which an ascent is lost to rounding."""
        for dtype in {w.dtype for w in self._weights() if w.itemsize < 4}:
            resolution = f"{50 * torch.finfo(dtype).eps:.2g} %"
            warnings.warn(
                f"SAM moves weights in {str(dtype).removeprefix('torch.')}, which are rounded to "
                f"{resolution} of their size: what is smaller of an ascent of "
                f"radius {self.param_groups[0]['rho']:g} is lost. Keep the weights in float32, and "
                "compute under torch.autocast.",
                Remark,
                stacklevel=3,
            )

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


class EarlierGradients:
    """Gradients from before a step, which its closure clears, or else adds to.

    Args:
        weights: What they are the gradients of.
    """

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self._weights = weights
        self._gradients = [w.grad for w in weights]
        self._are_kept = False

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Run the first pass inside; afterwards the gradients hold both, unless it cleared them.

        Raises:
            InputError: If it cleared some of them and kept others.
        """
        witnesses = {
            number: torch.clone(gradient)
            for number, gradient in enumerate(self._gradients)
            if gradient is not None
        }
        versions = {number: witness._version for number, witness in witnesses.items()}
        is_kept: dict[int, bool] = {}

        def look(number: int, *_: Any) -> None:
            witness = witnesses[number]
            is_same = self._weights[number].grad is witness
            is_kept.setdefault(number, is_same and witness._version == versions[number])

        for number, witness in witnesses.items():
            self._weights[number].grad = witness
        # Such a hook is called before a gradient is added.
        weights = {i: self._weights[i] for i in witnesses if self._weights[i].requires_grad}
        handles = [w.register_hook(partial(look, i)) for i, w in weights.items()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
        has_gradient = bool(is_kept) or any(
            w.grad is not None for i, w in enumerate(self._weights) if i not in witnesses
        )
        for number in witnesses:
            look(number)  # of a weight that takes no part in the pass
        if not has_gradient and all(is_kept.values()):
            for w in self._weights:
                w.grad = None
            return
        self._are_kept = bool(is_kept) and all(is_kept.values())
        if any(is_kept.values()) and not self._are_kept:
            self._refuse(is_kept)
        if self._are_kept:
            warnings.warn(
                "gradients that were there before SAM.step, and that its closure does not clear, "
                "are added as they are: the closure's part of the batch alone is taken at w + e. "
                "Give step a list of closures, one a micro-batch, for all of it.",
                Remark,
                stacklevel=5,
            )

    def _refuse(self, is_kept: dict[int, bool]) -> NoReturn:
        for w, gradient in zip(self._weights, self._gradients, strict=True):
            w.grad = gradient
        raise InputError(
            "a closure must clear the gradients of all weights or of none, it cleared those of "
            f"{len(is_kept) - sum(is_kept.values())} of {len(is_kept)} tensors.",
            hint="Call optimizer.zero_grad() in the closure, or before the first micro-batch.",
        )

    def copies(self) -> list[Tensor | None] | None:
        """Return copies for another pass to add to; None if they were cleared."""
        if not self._are_kept:
            return None
        return [None if gradient is None else gradient.clone() for gradient in self._gradients]


def dense(gradients: Iterable[Tensor]) -> list[Tensor]:
    """Return the gradients, sparse ones as dense tensors."""
    return [gradient.to_dense() if gradient.is_sparse else gradient for gradient in gradients]


def entries(gradient: Tensor) -> Tensor:
    """Return the entries of a gradient that may not be zero."""
    return gradient._values() if gradient.is_sparse else gradient


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
            losses.append(_called(closure))
    return total_loss(losses)


def _called(closure: Closure) -> Any:
    try:
        return closure()
    except RuntimeError as exc:
        if "unscale_() has already been called" not in str(exc):
            raise
        raise InputError(
            "a closure of SAM must leave the gradients scaled, this one calls scaler.unscale_, "
            "which torch allows once per step.",
            hint="Leave it out: step(closure, scaler) unscales after the last pass. To clip "
            "gradients, take the passes by hand, with first_step and second_step.",
        ) from exc


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


_step_alone = GradScaler.step


@wraps(_step_alone)
def _step_with_closure(
    self: GradScaler, optimizer: Optimizer, *args: Any, **options: Any
) -> float | None:
    """Let an optimizer that calls its closure itself know the scaler.

    torch's own looks for infinities before the closure has made a gradient.
    """
    if isinstance(optimizer, WrappingOptimizer):
        options = {"scaler": self, **options}
        return optimizer.step(*args, **options)
    return _step_alone(self, optimizer, *args, **options)


GradScaler.step = _step_with_closure
