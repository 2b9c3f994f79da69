"""The largest loss in a ball, approached from below."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape.ascent.ball import Ball
from landscape.errors import NotFiniteError
from landscape.problem.problem import Gradient
from landscape.reductions import accumulation_dtype, dot
from landscape.sharpness.quadratic_model import QuadraticModel
from landscape.sharpness.rises import Objective

TOLERANCE = 1e-7
"""Of the gap, relative to the rise. The error is larger where the ascent is slow: on a quadratic
whose second eigenvalue is nine tenths of the first, a gap of 1e-6 leaves 1e-5."""

_TRIAL = 3  # gradients spent on each start: enough to see whether it leads to a higher hill
_PATIENCE = 10  # gradients that bring so little that a method gives up:
_WORTH = 1e-5  # of the rise
_NARROW = 1e-4  # gap below which momentum has nothing left to win
_ESCAPE = 15  # gradients spent on looking whether a maximum is only a saddle
_DISPLACEMENT = 0.3  # of a suspected saddle, as a share of the way to a random point of the sphere
_MOST_FAILURES = 3  # of extrapolations, after which they are not tried again
_MEMORY = 5  # points that a line search compares with: the loss may fall for a while
_SUFFICIENT = 1e-4  # of the slope, that a step must rise by
_SHORTEST = 1e-3  # share of a step that a line search goes down to
_MOMENTUM = 0.75
"""And the share of steps that must rise between two checkpoints: both from Croce & Hein (2020)."""

_CHECKPOINTS = (8, 7, 6, 5, 4)  # steps between two checkpoints, the last number for all that follow


@dataclass(frozen=True)
class Maximum:
    """The best perturbation that was found.

    Attributes:
        e: Perturbation (P,), ||T^-1 e||_p <= rho.
        loss: Mean loss at w + e.
        num_gradients: Gradients used.
        gap: max over the ball of <gradient, e' - e> at w + e, over the rise of the loss: 0 where no
            small step inside the ball leads further up.
        converged: Whether the gap is below the tolerance, or, at a maximum inside the ball, where
            the gap says less, the rise that the step of the curvature's own length promises.
        num_not_finite: Points that were looked at where the loss or its gradient is NaN or inf;
            none of them counts as a maximum, so with any the supremum may be infinite.
    """

    e: Tensor
    loss: float
    num_gradients: int
    gap: float
    converged: bool
    num_not_finite: int = 0


def maximise(
    objective: Objective,
    ball: Ball,
    rho: float,
    starts: Sequence[Tensor] = (),
    *,
    directions: Sequence[Tensor] = (),
    here: Gradient | None = None,
    max_gradients: int = 200,
    seed: int = 0,
) -> Maximum:
    """Return the e of the largest loss that was found in the ball {e : ||T^-1 e||_p <= rho}.

    1. From each start a few steps of the parameter-free iteration e <- argmax of <grad L(w + e),
       e'> over the ball, for p = 2 rho g / ||g||. Starts are 0, those given, both ends of each
       direction, and a random point.
    2. From the best, that iteration where the loss curves up, and steps of Barzilai and Borwein's
       length, projected, where it curves down, each with a line search: so maxima inside the ball
       are reached too. For p = 2 they are taken from where a quadratic model of the last points is
       largest, as long as that leads higher.
    3. Where this gets stuck, as it may on the kinks of ReLU, projected ascent with momentum and
    step halving (APGD).
    4. A maximum is left once for a nearby random point: if that leads higher, it was a saddle.

    The best point of all is kept; the loss may be NaN or inf elsewhere in the ball, where the
    search turns back. Projections are as in `Ball.project`.

    Args:
        objective: Loss and gradient.
        ball: Norm and scaling.
        rho: Radius, positive.
        starts: Perturbations (P,) that are tried as they are; those outside are scaled to the
            surface.
        directions: Vectors (P,) of any length, such as eigenvectors, of which both ends on the
            surface are tried.
        here: Loss and gradient at w, if they are known.
        max_gradients: No more than so many are computed, at least 1.
        seed: Of the random points.

    Raises:
        NotFiniteError: If loss or gradient at w itself is not finite.

    Source:
        Birgin, Martinez & Raydan (2000), "Nonmonotone spectral projected gradient methods on convex
        sets"; Croce & Hein (2020), "Reliable evaluation of adversarial robustness", Algorithm 1
        (APGD). Its steps between checkpoints are fewer, and no share of a fixed number of
        iterations.
    """
    search = _Search(objective, ball, rho, here, max_gradients, seed)
    with suppress(_SpentError):
        search.run(starts, directions)
    best = search.best
    return Maximum(
        best.e,
        best.loss,
        search.num_gradients,
        search.gap,
        search.is_converged,
        num_not_finite=search.num_not_finite,
    )


class _SpentError(Exception):
    """There are no gradients left."""


@dataclass(frozen=True)
class _Point:
    """A perturbation e (P,), its loss, and its gradient (P,): -inf and 0 if not finite."""

    e: Tensor
    loss: float
    gradient: Tensor

    @property
    def is_finite(self) -> bool:
        """Whether loss and gradient are."""
        return math.isfinite(self.loss)


class _Search:
    """The points seen so far, and how to get to others.

    Attributes:
        best: The point of the largest finite loss.
        num_gradients: Gradients computed.
        num_not_finite: Of these, how many came out NaN or inf.
    """

    def __init__(
        self,
        objective: Objective,
        ball: Ball,
        rho: float,
        here: Gradient | None,
        max_gradients: int,
        seed: int,
    ) -> None:
        self._objective, self._ball, self._rho = objective, ball, rho
        self._max_gradients = max_gradients
        self._generator = torch.Generator().manual_seed(seed)
        self.num_gradients, self.num_not_finite = int(here is None), 0
        self._settled: _Point | None = None
        found = objective.gradient() if here is None else here
        if not math.isfinite(found.loss):
            raise NotFiniteError(
                "the loss at the weights is NaN or inf.", hint="Use an earlier checkpoint."
            )
        w = objective.weights
        zero = torch.zeros_like(w, dtype=accumulation_dtype(w.device))
        self._here = self.best = _Point(zero, found.loss, found.vector)

    def run(self, starts: Sequence[Tensor], directions: Sequence[Tensor]) -> None:
        """Look everywhere; ends by a _SpentError when the gradients are used up."""
        for e in self._starts(starts, directions):
            self._try(e)
        self._climb()
        while self.is_converged and self._escape():
            self._climb()

    @property
    def gap(self) -> float:
        """Gap at the best point, over its rise."""
        gap, rise = self._gap(self.best), self.rise
        if rise > 0:
            return gap / rise
        return math.inf if gap > 0 else 0.0

    @property
    def is_converged(self) -> bool:
        """Whether no step from the best point promises a rise worth naming."""
        return self.best is self._settled or self.gap <= TOLERANCE

    @property
    def rise(self) -> float:
        """Of the loss at the best point."""
        return self.best.loss - self._here.loss

    def _starts(self, starts: Sequence[Tensor], directions: Sequence[Tensor]) -> list[Tensor]:
        """Return what to start from, each once; the step from 0 comes first."""
        zero = self._here.e
        lines = [self._to_surface(v.to(zero)) for v in directions]
        ends = [sign * e for e in lines for sign in (1, -1)]
        given = [e.to(zero) for e in starts]
        chosen: list[Tensor] = []
        for e in [self._uphill(self._here), *given, *ends, self._random()]:
            if e.any() and not any(torch.equal(e, other) for other in chosen):
                chosen.append(e)
        return chosen

    def _to_surface(self, v: Tensor) -> Tensor:
        """Return a vector (P,) scaled to the surface; 0 where that cannot be."""
        length = self._ball.norm(v)
        return v * (self._rho / length if length else 0.0)

    def _random(self) -> Tensor:
        w = self._objective.weights
        return self._rho * self._ball.draw(len(w), self._generator, w.device)

    def _visit(self, e: Tensor) -> _Point:
        """Evaluate a point; what is outside the ball is scaled into it."""
        if self.num_gradients == self._max_gradients:
            raise _SpentError
        self.num_gradients += 1
        e = self._ball.shrink(e, self._rho)
        found = None
        with suppress(NotFiniteError):
            found = self._objective.gradient(e)
        if found is None or not math.isfinite(found.loss):
            self.num_not_finite += 1
            return _Point(e, -math.inf, torch.zeros_like(e))
        point = _Point(e, found.loss, found.vector)
        if point.loss > self.best.loss:
            self.best = point
        return point

    def _uphill(self, point: _Point) -> Tensor:
        """Return the e of the ball where the linear model at a point is largest."""
        return self._ball.steepest(point.gradient, self._rho)

    def _gap(self, point: _Point) -> float:
        return max(0.0, self._rho * self._ball.gain(point.gradient) - dot(point.gradient, point.e))

    def _try(self, e: Tensor) -> None:
        """Take a few steps of the parameter-free iteration, as long as they rise."""
        point = self._visit(e)
        for _ in range(_TRIAL - 1):
            before = point
            if not point.gradient.any():
                return
            point = self._visit(self._uphill(point))
            if point.loss <= before.loss:
                return

    def _climb(self) -> None:
        """Go on from the best point until there is no way up that a gradient shows."""
        self._ascend_spectrally(self.best, math.inf)
        if not self.is_converged and self.gap > _NARROW:
            self._ascend_with_momentum()

    def _escape(self) -> bool:
        """Leave the best point for one nearby; return whether a higher one was found."""
        before, settled = self.best.loss, self._settled
        displaced = (1 - _DISPLACEMENT) * self.best.e + _DISPLACEMENT * self._random()
        point = self._visit(displaced)
        if point.is_finite:
            self._ascend_spectrally(point, _ESCAPE)
        if self.best.loss == before:
            self._settled = settled
        return self.best.loss - before > _WORTH * self.rise

    def _ascend_spectrally(self, point: _Point, most: float) -> None:
        """Take steps whose length is set by the curvature of the last step.

        Where the last step curved up, the next one goes to the surface of the ball.

        Args:
            point: Where to start; its loss is finite.
            most: Gradients to spend at most.
        """
        start, length = self.num_gradients, math.inf
        recent, num_failures = [point.loss], 0
        model = QuadraticModel(self._scaled_gradient(self._here)) if self._ball.p == 2 else None
        for _ in self._until_stalled():
            if self.num_gradients - start >= most:
                return
            before, aim = point, self._aim(point, length)
            if self._slope(point, aim) <= TOLERANCE * self.rise:
                self._settled = point
                return
            found = None if model is None else self._extrapolate(before, length, model)
            if found is None or found.loss <= before.loss:
                num_failures += found is not None
                model = model if num_failures < _MOST_FAILURES else None
                found = self._search_line(before, aim, min(recent[-_MEMORY:]))
            point = found
            if point.loss < min(recent[-_MEMORY:]):
                return
            recent.append(point.loss)
            length = self._spectral_length(before, point)

    def _extrapolate(self, point: _Point, length: float, model: QuadraticModel) -> _Point | None:
        """Take the step of `_aim` from a quadratic model's best point; None without one."""
        model.add(self._ball.unscaled(point.e), self._scaled_gradient(point))
        place = model.largest(self._rho)
        if place is None:
            return None
        guess = _Point(self._ball.scaled(place.z), math.nan, self._ball.unscaled(place.gradient))
        return self._visit(self._aim(guess, length))

    def _scaled_gradient(self, point: _Point) -> Tensor:
        """Return T g (P,), the gradient in the coordinates T^-1 e."""
        return self._ball.scaled(point.gradient)

    def _aim(self, point: _Point, length: float) -> Tensor:
        """Return the e of the ball to go towards; the way there rises."""
        if math.isfinite(length):
            preconditioned = self._ball.scaled(self._ball.scaled(point.gradient))
            e = self._ball.project(point.e + length * preconditioned, self._rho)
            if self._slope(point, e) > 0:
                return e
        return self._uphill(point)

    def _slope(self, point: _Point, aim: Tensor) -> float:
        """Return by how much the linear model at a point is larger at `aim`."""
        return dot(point.gradient, aim - point.e)

    def _search_line(self, point: _Point, aim: Tensor, reference: float) -> _Point:
        """Return a point towards `aim` that rises enough above `reference`, or the last tried.

        The points lie between this point and `aim`.
        """
        way, share, slope = aim - point.e, 1.0, self._slope(point, aim)
        found = self._visit(aim)
        while found.loss < reference + _SUFFICIENT * share * slope and share > _SHORTEST:
            missing = share * slope - (found.loss - point.loss)  # of the linear model's rise
            best = 0.5 * share * slope / missing if math.isfinite(missing) else 0.5
            share *= min(max(best, 0.1), 0.5)
            found = self._visit(point.e + share * way)
        return found

    def _spectral_length(self, before: _Point, point: _Point) -> float:
        """Return the step length of Barzilai and Borwein; infinite where the loss curved up."""
        step = self._ball.unscaled(point.e - before.e)
        change = self._scaled_gradient(point) - self._scaled_gradient(before)
        curvature = -dot(step, change)
        return dot(step, step) / curvature if curvature > 0 else math.inf

    def _ascend_with_momentum(self) -> None:
        """Take steps of one length, halved where they do not pay."""
        length, was_halved = 2 * self._rho, False
        intervals = itertools.chain(_CHECKPOINTS, itertools.repeat(_CHECKPOINTS[-1]))
        for num_steps, _ in zip(intervals, self._until_stalled(), strict=False):
            if self.is_converged:
                return
            before = self.best.loss
            num_rises = self._take_steps(length, num_steps)
            is_stuck = self.best.loss == before and not was_halved
            was_halved = num_rises < _MOMENTUM * num_steps or is_stuck
            length = length / 2 if was_halved else length

    def _until_stalled(self) -> Iterator[None]:
        """Yield before each round of a method, until its last gradients bring too little."""
        loss, since = self.best.loss, self.num_gradients
        while self.num_gradients - since < _PATIENCE:
            yield
            if self.best.loss - loss > _WORTH * self.rise:
                loss, since = self.best.loss, self.num_gradients

    def _take_steps(self, length: float, num_steps: int) -> int:
        """Take so many steps with momentum from the best point; return how many of them rose."""
        point, previous, num_rises = self.best, self.best.e, 0
        for number in range(num_steps):
            if not point.is_finite:
                break
            aim = self._ball.project(
                point.e + self._ball.steepest(point.gradient, length), self._rho
            )
            if number > 0:
                e = point.e + _MOMENTUM * (aim - point.e) + (1 - _MOMENTUM) * (point.e - previous)
                aim = self._ball.project(e, self._rho)
            found = self._visit(aim)
            num_rises += found.loss > point.loss
            previous, point = point.e, found
        return num_rises
