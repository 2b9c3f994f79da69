"""What each measure of sharpness computes; `landscape.results.sharpness_measures` lists them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from landscape.ascent.steepest import advance
from landscape.problem.problem import Gradient
from landscape.runtime import distributed
from landscape.sharpness.maximum import maximise
from landscape.sharpness.measurement import Measurement
from landscape.sharpness.rises import Part, Rises, standard_error

FEWEST_PAIRS = 8  # before a standard error decides that there are enough
_MOST_PAIRS = 1000
_ROUNDINGS = 100  # of a gap, below which rounding hides the way up
_SMALL = 0.01  # of the radius: a step on which single losses are nearly linear


def one_step(work: Measurement, rho: float, part: Part) -> Rises:
    """Take one step of steepest ascent, of length rho."""
    return part.rises(work.ball.steepest(part.gradient, rho), work.ball, rho, steps=1)


def several_steps(work: Measurement, rho: float, part: Part) -> Rises:
    """Take `steps` steps of length rho / steps, each along the gradient where it starts."""
    options, ball, e = work.options, work.ball, None
    for step in range(options.steps):
        vector = part.gradient if e is None else part.objective.gradient(e[0]).vector
        e = advance(
            e,
            [vector],
            rho,
            steps=options.steps,
            step=step,
            radius=options.radius,
            p=options.p,
            scaling=None if ball.scaling is None else [ball.scaling],
        )
    assert e is not None
    return part.rises(e[0], ball, rho, steps=options.steps)


def first_order(work: Measurement, rho: float, part: Part) -> Rises:
    """Return what the linear model gains, rho ||T g||_q.

    On a sample, the rise of each unit <g_i, e1>, whose mean this is, comes from central
    differences. It serves the error alone: the direction e1 is held, which changes the mean by the
    error squared.
    """
    rise = rho * work.ball.gain(part.gradient)
    units = np.full(len(part.here.units), rise)
    if work.sample is not None and not work.is_cut:
        e, objective = work.ball.steepest(part.gradient, _SMALL * rho), part.objective
        ahead, behind = objective.losses([objective.at(e), objective.at(-e)])
        units = (ahead.units - behind.units) / (2 * _SMALL)
    return Rises(part.here.mean + rise, rise, units=units)


def largest(work: Measurement, rho: float, part: Part) -> Rises:
    """Search for the largest loss, from what the other measures and smaller radii have found."""
    found = maximise(
        part.objective,
        work.ball,
        rho,
        part.found,
        directions=work.directions,
        here=Gradient(part.here.mean, part.gradient),
        max_gradients=work.options.max_gradients,
        seed=work.options.seed,
    )
    part.found.clear()  # of this radius and smaller ones, it is the best
    is_known = found.converged or found.gap <= _ROUNDINGS * torch.finfo(work.problem.dtype).eps
    facts = {"steps": found.num_gradients, "gap": found.gap, "converged": is_known}
    return part.rises(found.e, work.ball, rho, **facts)


def average(work: Measurement, rho: float) -> Rises:
    """Draw antithetic pairs, as many at a time as fit into a pass, until there are enough."""
    options, ball = work.options, work.ball
    generator = torch.Generator().manual_seed(options.seed)
    at_a_time = distributed.from_first(max(1, work.problem.plan.points_per_pass // 2))
    most = options.num_directions if options.relative_error is None else _MOST_PAIRS
    draw = ball.draw_gaussian if options.is_gaussian else ball.draw
    size, device = work.problem.spec.size, work.problem.device
    found: Rises | None = None
    lengths: list[float] = []
    while found is None or (
        not (is_done := _is_known(work, found)) and len(found.directions) < most
    ):
        count = min(at_a_time, most - len(lengths))
        pairs = [draw(size, generator, device).mul_(rho) for _ in range(count)]
        lengths += [ball.norm(e) / rho for e in pairs]
        more = work.over_parts([_pairs(part, pairs) for part in work.parts])
        found = more if found is None else _mean_of(found, more)
    return replace(found, radius_share=float(np.mean(lengths)), converged=is_done)


def _is_known(work: Measurement, found: Rises) -> bool:
    """Whether there are as many pairs as were asked for, or a small enough error."""
    count, wanted = len(found.directions), work.options.relative_error
    if wanted is None:
        return count >= work.options.num_directions
    error = standard_error(found.directions)
    return count >= FEWEST_PAIRS and error is not None and error <= wanted * abs(found.value)


def _pairs(part: Part, perturbations: Sequence[Tensor]) -> Rises:
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


def _mean_of(first: Rises, second: Rises) -> Rises:
    """Return the means over the pairs of both."""
    counts = [len(first.directions), len(second.directions)]
    return Rises(
        float(np.average([first.loss, second.loss], weights=counts)),
        float(np.average([first.value, second.value], weights=counts)),
        units=np.average([first.units, second.units], axis=0, weights=counts),
        directions=np.append(first.directions, second.directions),
    )
