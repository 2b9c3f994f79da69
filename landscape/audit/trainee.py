"""A tiny model in the hands of the audited optimizer, and what is measured of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from landscape.audit.cases import Case
from landscape.errors import first_line

T = TypeVar("T")

Watch = Callable[[int], None]
"""Called after the backward pass of each pass of a step, with its number from 0."""

CLOSURE, SECOND_CLOSURE, TWO_STEPS = "closure", "second closure", "two steps"
"""Ways of a step: step(closure) does both passes, or the second one after the caller's; or the
caller does both."""


@dataclass(frozen=True)
class Calling:
    """How an optimizer is made to do a step.

    Attributes:
        way: One of the three.
        takes_closure: Whether there is a `step` with an argument.
        takes_scaler: Whether `step` takes a gradient scaler.
        two_steps: Names of the methods between which the caller does the second pass; None if there
            are none.
        switches: Functions of a model that let BatchNorm's statistics move and keep them from it.
    """

    way: str
    takes_closure: bool
    takes_scaler: bool
    two_steps: tuple[str, str] | None
    switches: tuple[Callable[[nn.Module], Any], Callable[[nn.Module], Any]] | None

    def __str__(self) -> str:
        first, second = self.two_steps or ("", "")
        return {
            CLOSURE: "step(closure)",
            SECOND_CLOSURE: "backward(), step(closure)",
            TWO_STEPS: f"backward(), {first}(), backward(), {second}()",
        }[self.way]

    @property
    def scales_by_itself(self) -> bool:
        """Whether `step` unscales gradients."""
        return self.takes_scaler and self.takes_closure


@dataclass
class Trainee:
    """A model and its optimizer.

    Attributes:
        calling: How the optimizer is called.
        model: What is trained.
        optimizer: The audited one.
        base: The base optimizer, where it was made beside the audited one.
    """

    calling: Calling
    model: Case
    optimizer: Any
    base: Optimizer | None

    @property
    def holder(self) -> Any:
        """What the user saves and gives to schedulers: the audited optimizer, or its base.

        It is the audited optimizer if that is a torch optimizer, and the base optimizer otherwise.
        """
        return (
            self.optimizer
            if self.base is None or isinstance(self.optimizer, Optimizer)
            else self.base
        )

    def flat(self) -> Tensor:
        """Return a copy of the weights, (P,)."""
        return torch.cat([w.detach().flatten() for w in self.model.parameters()])

    def steps(self, number: int) -> Tensor:
        """Do some steps and return the weights, (P,)."""
        for _ in range(number):
            self.step()
        return self.flat()

    def trace(self) -> list[Tensor]:
        """Do a step and return the weights that each pass saw, (P,) each."""
        seen: list[Tensor] = []
        self.step(lambda _number: seen.append(self.flat()))
        return seen

    def step(
        self, watch: Watch | None = None, *, way: str = "", scaler: GradScaler | None = None
    ) -> Any:
        """Do a step and return what the optimizer returns.

        Args:
            watch: Called after each pass.
            way: Another way than the optimizer's own.
            scaler: Scales the losses; the gradients are unscaled once, after the last pass.
        """
        run = self._passes(watch, scaler)
        way = way or self.calling.way
        if way == TWO_STEPS or (scaler is not None and not self.calling.scales_by_itself):
            returned = self._two_steps(run, scaler)
        else:
            self.model.zero_grad()
            if way == SECOND_CLOSURE:
                run()
            returned = self.optimizer.step(run, **({} if scaler is None else {"scaler": scaler}))
        self._let_statistics_move(True)
        if scaler is not None:
            scaler.update()
        return returned

    def _two_steps(self, run: Callable[[], Tensor], scaler: GradScaler | None) -> None:
        first, second = self.calling.two_steps or ("", "")
        run()
        getattr(self.optimizer, first)()
        run()
        if scaler is not None:
            scaler.unscale_(self.holder)
        getattr(self.optimizer, second)()

    def _passes(self, watch: Watch | None, scaler: GradScaler | None) -> Callable[..., Tensor]:
        """Return a closure that does one pass after the other."""
        numbers = count()

        def run(*_args: Any, **_options: Any) -> Tensor:
            number = next(numbers)
            self._let_statistics_move(number == 0)
            self.model.zero_grad()
            self.model.pass_number = number
            loss = self.model.loss()
            (loss if scaler is None else scaler.scale(loss)).backward()
            if watch is not None:
                watch(number)
            return loss

        return run

    def _let_statistics_move(self, is_moving: bool) -> None:
        if self.calling.switches is not None:
            self.calling.switches[0 if is_moving else 1](self.model)


@dataclass(frozen=True)
class Raised:
    """That a call ended in an exception.

    Attributes:
        summary: Its type and the first line of what it says.
    """

    summary: str


def attempt(call: Callable[[], T]) -> T | Raised:
    """Return what a call returns, or what it raised."""
    try:
        return call()
    except Exception as exc:  # foreign code: whatever it raises is a finding
        return Raised(f"{type(exc).__name__}: {first_line(exc)}")


def farthest(found: Tensor, expected: Tensor) -> str:
    """Return the largest difference of two vectors."""
    return f"{float((found - expected).abs().max()):.2g}"


def are_close(found: Tensor, expected: Tensor, *, tolerance: float = 1e-6) -> bool:
    """Return whether all entries of two vectors agree within `tolerance`; NaN never agrees.

    The default is far above the rounding of float32 weights near 1, and far below what any trap
    moves them by.
    """
    return bool(((found - expected).abs() <= tolerance).all())


def moved(after: Tensor, before: Tensor) -> str:
    """Say how far weights have moved, or how many of them are lost."""
    lost = int((~after.isfinite()).sum())
    return (
        f"{lost} of {after.numel()} weights not finite"
        if lost
        else f"weights moved by {farthest(after, before)}"
    )
