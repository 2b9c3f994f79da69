"""Measurement of one checkpoint: the evaluations of each measure, on all data or by batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.ascent.ball import Ball
from landscape.ascent.steepest import advance
from landscape.problem.problem import Gradient, Problem
from landscape.problem.sampling_error import Sample
from landscape.reductions import norm
from landscape.results.sharpness import Measure, Taylor
from landscape.runtime import distributed
from landscape.runtime.progress import Progress
from landscape.runtime.random_state import derived_seeds
from landscape.sharpness.maximum import maximise
from landscape.sharpness.objective import Losses, Objective
from landscape.sharpness.options import Options
from landscape.sharpness.rises import Rises, joined, standard_error

FEWEST_PAIRS = 8  # before a standard error decides that there are enough
_MOST_PAIRS = 1000
_ROUNDINGS = 100  # of a gap, below which rounding hides the way up
_SMALL = 0.01  # of the radius: a step on which single losses are nearly linear
_BATCHES = 0x62_61_74_63  # tells the batches of m from other random numbers of the same seed


class Measurement:
    """One checkpoint being measured.

    Attributes:
        sample: How the units were drawn from a larger set; None if they are all there is.
        gradient_norm: At the weights; None where no measure needs the gradient.
        taylor: What the gradient tells; likewise.
    """

    def __init__(
        self, problem: Problem, options: Options, directions: Sequence[Tensor], progress: Progress
    ) -> None:
        self._options = options
        self._progress = progress
        self._directions = directions
        self._num_done = 0
        self._problem = problem
        self.gradient_norm: float | None = None
        self.taylor: Taylor | None = None
        self._ball = Ball.around(
            problem.weights, p=options.p, adaptive=options.adaptive, eta=options.eta
        )
        self._methods: dict[str, Callable[[_Part, float], Rises]] = {
            "asc": self._ascent,
            "max": self._maximum,
            "nstep": self._path,
            "first_order": self._first_order,
        }

    def begin(self, num_rhos: int, measures: Sequence[str], *, num_more: int) -> Losses:
        """Evaluate loss and gradient at the weights; return the loss on all examples.

        Args:
            num_rhos: Number of radii.
            measures: Names.
            num_more: Evaluations that will follow beside those of the measures.
        """
        subsets = batches_of_m(self._problem.num_examples, self._options)
        own = distributed.own_share(torch.arange(len(subsets))).tolist()
        self._progress.start(
            "sharpness", self._num_evaluations(num_rhos, measures, len(own), num_more)
        )
        whole = _Part(Objective(self._problem, count=self._count))
        if any(name != "avg" for name in measures):
            self.gradient_norm = norm(whole.gradient)
            self.taylor = Taylor(
                self._ball.gain(whole.gradient), num_parameters=self._problem.spec.size
            )
        self.sample = self._problem.sample
        self._parts, self._is_cut = [whole], bool(subsets)
        if subsets:
            self._parts = [self._part(subsets[number]) for number in own]
            if self.sample is not None:
                self.sample = Sample(
                    np.array([len(rows) for rows in subsets], dtype=np.float64), self.sample.share
                )
        return whole.here

    def losses_of(self, problem: Problem) -> Losses:
        """Return the loss of another problem at its weights."""
        return Objective(problem, count=self._count).losses([None])[0]

    def _num_evaluations(
        self, num_rhos: int, measures: Sequence[str], num_cut: int, num_more: int
    ) -> int | None:
        """Return the number of loss or gradient evaluations; None if measures decide it."""
        options = self._options
        if "max" in measures or ("avg" in measures and options.relative_error is not None):
            return None
        is_sampled = self._problem.sample is not None and options.m is None
        costs = {
            "asc": 1,
            "avg": 2 * options.num_directions,
            "nstep": options.steps,
            "first_order": 2 * is_sampled,
        }
        before = 1 + any(
            name != "avg" for name in measures
        )  # the loss at the weights, and its gradient
        each = num_rhos * sum(costs[name] for name in measures)
        return before + num_more + (num_cut * (before + each) if options.m is not None else each)

    def rises(self, keys: Sequence[tuple[str, float]]) -> dict[tuple[str, float], Rises]:
        """Return by how much the loss rises by each measure (name, rho)."""
        single = [key for key in keys if key[0] != "avg"]
        of_parts = [self._of_part(part, single) for part in self._parts]
        found = {key: self._over_parts([rises[key] for rises in of_parts]) for key in single}
        return found | {(name, rho): self._average(rho) for name, rho in keys if name == "avg"}

    def _of_part(
        self, part: _Part, keys: Sequence[tuple[str, float]]
    ) -> dict[tuple[str, float], Rises]:
        found = {(name, rho): self._methods[name](part, rho) for name, rho in keys}
        if self._is_cut:  # there are many
            part.forget()
            return {
                key: replace(rises, perturbation=None, units=np.empty(0))
                for key, rises in found.items()
            }
        return found

    def measure(self, name: str, rho: float, rises: Rises) -> Measure:
        """Return a measure of which the rises are known."""
        options = self._options
        return Measure(
            name,
            rho,
            rises.loss,
            rises.value,
            standard_error(rises.directions) if name == "avg" else None,
            p=options.p,
            adaptive=options.adaptive,
            steps=rises.steps,
            radius_share=rises.radius_share,
            m=options.m,
            radius=options.radius if name == "nstep" else "",
            num_directions=len(rises.directions) if name == "avg" else None,
            data_error=None if self.sample is None else self.sample.error(rises.units),
            gap=rises.gap,
            converged=rises.converged,
        )

    def _part(self, rows: Tensor) -> _Part:
        size = self._options.m if self._problem.batchnorm == "batch" else None
        problem = self._problem.on(self._problem.data.take(rows), batch_size=size)
        return _Part(Objective(problem, is_local=True, count=self._count))

    def _over_parts(self, own: list[Rises]) -> Rises:
        """Return the mean over all parts, those of other processes too."""
        if not self._is_cut:
            return own[0]
        sizes = [part.size for part in self._parts]
        gathered = [
            pair
            for share in distributed.gathered(list(zip(sizes, own, strict=True)))
            for pair in share
        ]
        weights = np.array([size for size, _ in gathered], dtype=np.float64)
        every = [rises for _, rises in gathered]
        shares = [rises.radius_share for rises in every if rises.radius_share is not None]
        gaps = [rises.gap for rises in every if rises.gap is not None]
        return Rises(
            float(np.average([rises.loss for rises in every], weights=weights)),
            float(np.average([rises.value for rises in every], weights=weights)),
            units=np.array([rises.value for rises in every]),
            directions=np.average([rises.directions for rises in every], axis=0, weights=weights),
            steps=max(rises.steps for rises in every),
            radius_share=float(np.mean(shares)) if shares else None,
            gap=max(gaps, default=None),
            converged=all(rises.converged for rises in every),
        )

    def _ascent(self, part: _Part, rho: float) -> Rises:
        return part.rises(self._ball.steepest(part.gradient, rho), self._ball, rho, steps=1)

    def _path(self, part: _Part, rho: float) -> Rises:
        vector, e = part.gradient, None
        options = self._options
        scaling = None if self._ball.scaling is None else [self._ball.scaling]
        for step in range(options.steps):
            if e is not None:
                vector = part.objective.gradient(e[0]).vector
            e = advance(
                e,
                [vector],
                rho,
                steps=options.steps,
                step=step,
                radius=options.radius,
                p=options.p,
                scaling=scaling,
            )
        assert e is not None
        return part.rises(e[0], self._ball, rho, steps=options.steps)

    def _first_order(self, part: _Part, rho: float) -> Rises:
        rise = rho * self._ball.gain(part.gradient)
        units = np.full(len(part.here.units), rise)
        if self.sample is not None and not self._is_cut:
            units = self._slopes(part, rho)
        return Rises(part.here.mean + rise, rise, units=units)

    def _slopes(self, part: _Part, rho: float) -> np.ndarray:
        """Return <g_i, e1> of each unit (n,), by central differences.

        Their mean is the first-order rise.

        They only serve its error: the direction e1 is held, which changes the mean by the error
        squared.
        """
        e, objective = self._ball.steepest(part.gradient, _SMALL * rho), part.objective
        ahead, behind = objective.losses([objective.at(e), objective.at(-e)])
        return (ahead.units - behind.units) / (2 * _SMALL)

    def _maximum(self, part: _Part, rho: float) -> Rises:
        found = maximise(
            part.objective,
            self._ball,
            rho,
            part.found,
            directions=self._directions,
            here=Gradient(part.here.mean, part.gradient),
            max_gradients=self._options.max_gradients,
            seed=self._options.seed,
        )
        part.found.clear()  # of this radius and smaller ones, it is the best
        is_known = found.converged or found.gap <= _ROUNDINGS * torch.finfo(self._problem.dtype).eps
        facts = {"steps": found.num_gradients, "gap": found.gap, "converged": is_known}
        return part.rises(found.e, self._ball, rho, **facts)

    def _average(self, rho: float) -> Rises:
        """Draw pairs, as many at a time as fit into a pass, until there are enough."""
        options, generator = self._options, torch.Generator().manual_seed(self._options.seed)
        at_a_time = max(1, self._problem.plan.points_per_pass // 2)
        most = options.num_directions if options.relative_error is None else _MOST_PAIRS
        found: Rises | None = None
        lengths: list[float] = []
        while found is None or (
            not (is_done := self._is_known(found)) and len(found.directions) < most
        ):
            count = min(at_a_time, most - (0 if found is None else len(found.directions)))
            pairs = [self._draw(rho, generator) for _ in range(count)]
            lengths += [self._ball.norm(e) / rho for e in pairs]
            more = self._over_parts([_pairs(part, pairs) for part in self._parts])
            found = more if found is None else joined(found, more)
        return replace(found, radius_share=float(np.mean(lengths)), converged=is_done)

    def _draw(self, rho: float, generator: torch.Generator) -> Tensor:
        draw = self._ball.draw_gaussian if self._options.is_gaussian else self._ball.draw
        return draw(self._problem.spec.size, generator, self._problem.device).mul_(rho)

    def _is_known(self, found: Rises) -> bool:
        """Whether there are as many pairs as were asked for, or a small enough error."""
        count, wanted = len(found.directions), self._options.relative_error
        if wanted is None:
            return count >= self._options.num_directions
        error = standard_error(found.directions)
        return count >= FEWEST_PAIRS and error is not None and error <= wanted * abs(found.value)

    def _count(self, number: int) -> None:
        self._num_done += number
        self._progress.update(self._num_done)


class _Part:
    """A set of examples that the measures are taken on: all of them, or one of the batches of m.

    Attributes:
        objective: Its loss.
        size: Number of examples.
        here: Loss at the weights.
        found: Perturbations that other measures or smaller radii have led to, from which `max`
            starts.
    """

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.size = objective.problem.num_examples
        self.here = objective.losses([None])[0]
        self.found: list[Tensor] = []
        self._gradient: Tensor | None = None

    @property
    def gradient(self) -> Tensor:
        """Gradient at the weights (P,), computed once."""
        if self._gradient is None:
            self._gradient = self.objective.gradient().vector
        return self._gradient

    def forget(self) -> None:
        """Give back the memory of gradient and perturbations."""
        self.found, self._gradient = [], None

    def rises(self, e: Tensor, ball: Ball, rho: float, **facts: Any) -> Rises:
        """Return by how much the loss rises at w + e."""
        self.found.append(e)
        there = self.objective.losses([self.objective.at(e)])[0]
        return Rises(
            there.mean,
            there.mean - self.here.mean,
            units=there.units - self.here.units,
            perturbation=e,
            radius_share=ball.norm(e) / rho,
            **facts,
        )


def _pairs(part: _Part, perturbations: Sequence[Tensor]) -> Rises:
    """Return the rise at +-e, mean over the signs, for each e."""
    objective = part.objective
    there = objective.losses([objective.at(sign * e) for e in perturbations for sign in (1, -1)])
    means = np.array([losses.mean for losses in there])
    units = np.mean([losses.units for losses in there], axis=0)
    directions = means.reshape(-1, 2).mean(1) - part.here.mean
    return Rises(
        float(means.mean()),
        float(directions.mean()),
        units=units - part.here.units,
        directions=directions,
    )


def batches_of_m(num_examples: int, options: Options) -> tuple[Tensor, ...]:
    """Cut the examples into batches of m; the last one may be smaller, and counts by its size."""
    if options.m is None:
        return ()
    if not options.is_shuffled:
        return torch.arange(num_examples).split(options.m)
    generator = torch.Generator().manual_seed(derived_seeds(1, options.seed, _BATCHES)[0])
    return torch.randperm(num_examples, generator=generator).split(options.m)
