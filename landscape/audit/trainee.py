"""Tiny models in the hands of an audited optimizer, and what is measured of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn import functional as F
from torch.optim import Optimizer

from landscape.errors import first_line

T = TypeVar("T")

MATRIX = torch.tensor([[3.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 1.0]], dtype=torch.float64)
"""Of the quadratic w'Aw/2."""

START = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
"""Where the quadratic's weights begin."""


class Case(nn.Module):
    """A model that knows its data and its loss.

    Attributes:
        pass_number: Which pass of a step comes next, from 0.
    """

    pass_number = 0

    def loss(self) -> Tensor:
        """Return the loss of the one batch that there is."""
        raise NotImplementedError


class Quadratic(Case):
    """The loss w'Aw/2 of three weights in float64.

    Args:
        sizes: How the weights are divided over parameters.
        start: Their values, (3,).
    """

    def __init__(self, sizes: Sequence[int] = (3,), start: Tensor = START) -> None:
        super().__init__()
        self.parts = nn.ParameterList([part.clone() for part in start.split(list(sizes))])

    def loss(self) -> Tensor:
        """Return w'Aw/2."""
        w = torch.cat(list(self.parts))
        return w @ MATRIX @ w / 2


class Network(Case):
    """A network with one hidden layer and fixed first weights, and 20 examples in 3 classes.

    Args:
        middle: Layers between, which keep 8 features.
        dtype: Of weights and inputs.
    """

    def __init__(self, *middle: nn.Module, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.layers = nn.Sequential(nn.Linear(6, 8), *middle, nn.Tanh(), nn.Linear(8, 3)).to(dtype)
        for w in self.parameters():
            nn.init.normal_(w, std=0.4, generator=generator)
        self.inputs = torch.randn(20, 6, generator=generator, dtype=dtype)
        self.targets = torch.randint(3, (20,), generator=generator)

    def loss(self) -> Tensor:
        """Return the mean cross-entropy."""
        return F.cross_entropy(self.layers(self.inputs), self.targets)


class Branches(Case):
    """Two weight vectors, one of which is unused in one pass, as when layers are randomly dropped.

    Args:
        skipped: Number of that pass.
    """

    def __init__(self, skipped: int) -> None:
        super().__init__()
        self.skipped = skipped
        self.often = nn.Parameter(torch.tensor([0.3, -0.7, 1.1]))
        self.seldom = nn.Parameter(torch.tensor([-0.2, 0.9]))

    def loss(self) -> Tensor:
        """Return the mean of the squares of what takes part."""
        loss = self.often.square().mean()
        return loss if self.pass_number == self.skipped else loss + self.seldom.square().mean()


class RunningCenter(nn.Module):
    """A normalization layer of no library: it subtracts batch means and keeps a running mean."""

    mean: Tensor
    num_passes: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(8))
        self.register_buffer("num_passes", torch.tensor(0))

    def forward(self, inputs: Tensor) -> Tensor:
        """Center the features."""
        mean = inputs.mean(0)
        self.mean.lerp_(mean.detach(), 0.1)
        self.num_passes += 1
        return inputs - mean


class RecordedDropout(nn.Module):
    """Dropout of half the features.

    Attributes:
        masks: What every pass multiplied with.
    """

    def __init__(self) -> None:
        super().__init__()
        self.masks: list[Tensor] = []

    def forward(self, inputs: Tensor) -> Tensor:
        """Drop features."""
        self.masks.append(F.dropout(torch.ones_like(inputs), 0.5))
        return inputs * self.masks[-1]


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
        takes_scaler: Whether `step` takes a gradient scaler, and so unscales by itself.
        two_steps: Names of the methods between which the caller does the second pass; None if there
            are none.
        switches: Functions of a model that let BatchNorm's statistics move and keep them from it.
    """

    way: str = CLOSURE
    takes_closure: bool = True
    takes_scaler: bool = False
    two_steps: tuple[str, str] | None = None
    switches: tuple[Callable[[nn.Module], Any], Callable[[nn.Module], Any]] | None = None

    def __str__(self) -> str:
        first, second = self.two_steps or ("", "")
        return {
            CLOSURE: "step(closure)",
            SECOND_CLOSURE: "backward(), step(closure)",
            TWO_STEPS: f"backward(), {first}(), backward(), {second}()",
        }[self.way]


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
    base: Optimizer | None = None

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
        if way == TWO_STEPS or (scaler is not None and not self.calling.takes_scaler):
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


PASSED, FAILED, NOT_APPLICABLE = "passed", "failed", "not applicable"
"""What a trap may come to."""


@dataclass(frozen=True)
class TrapResult:
    """What one trap came to.

    Attributes:
        result: `passed`, `failed` or `not applicable`.
        measured: What was measured, or why nothing was.
    """

    result: str
    measured: str


def passed_if(holds: bool, measured: str) -> TrapResult:
    """Return `passed` or `failed`."""
    return TrapResult(PASSED if holds else FAILED, measured)


def not_applicable(reason: str) -> TrapResult:
    """Return `not applicable`."""
    return TrapResult(NOT_APPLICABLE, reason)


def passed_if_agreed(
    found: Tensor,
    expected: Tensor,
    measured: str,
    *,
    holds: Callable[[Tensor, Tensor], bool] = torch.equal,
) -> TrapResult:
    """Return `passed` if two vectors agree, with their distance in front of what was measured."""
    return passed_if(holds(found, expected), f"{farthest(found, expected)} {measured}")
