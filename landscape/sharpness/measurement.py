"""Measurement of one checkpoint: its options, and each measure on all data or by batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from landscape.ascent.ball import Ball
from landscape.ascent.steepest import RADII, check_norm
from landscape.errors import require, require_in_limits, require_one_of
from landscape.problem.problem import Problem
from landscape.problem.sampling_error import Sample
from landscape.reductions import norm
from landscape.results.sharpness import Measure, Taylor
from landscape.results.sharpness_measures import MEASURES
from landscape.runtime import distributed
from landscape.runtime.progress import Progress
from landscape.runtime.random_state import derived_seeds
from landscape.sharpness.rises import Key, Losses, Objective, Part, Rises, standard_error

_BATCHES = 0x62_61_74_63  # tells the batches of m from other random numbers of the same seed


@dataclass(frozen=True)
class SharpnessOptions:
    """How the measures of a call are taken.

    Attributes:
        p: Norm of the ball, at least 1; may be infinite.
        adaptive: Whether the ball is scaled by T = |w| + eta.
        eta: Smallest scale of an adaptive ball.
        steps: Number of gradient steps of `nstep`.
        radius: What keeps `nstep` in the ball, see `landscape.ascent.steepest.advance`.
        m: Examples in each of the disjoint batches over which the values are averaged (m-sharpness,
            Foret et al. 2021, section 4.1); None for the whole set at once.
        is_shuffled: Whether the batches of m are drawn at random; else they are consecutive
            examples.
        num_directions: Antithetic pairs of `avg`, at least 2.
        relative_error: Draw pairs until the standard error is this share of the mean rise; None for
            `num_directions`.
        is_gaussian: Whether `avg` perturbs by rho T z with Gaussian z, of length near rho sqrt(P),
            in place of the sphere (Andriushchenko et al. 2023).
        max_gradients: Limit on the gradients of one `max`.
        seed: Seed of directions and batches; the same for checkpoints that are compared.

    Raises:
        InputError: If a value is out of range.
    """

    p: float = 2.0
    adaptive: bool = False
    eta: float = 0.01
    steps: int = 5
    radius: str = "path"
    m: int | None = None
    is_shuffled: bool = True
    num_directions: int = 20
    relative_error: float | None = None
    is_gaussian: bool = False
    max_gradients: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        require_in_limits(vars(self))
        check_norm(self.p)
        require_one_of("radius", self.radius, RADII)
        error = 1.0 if self.relative_error is None else self.relative_error
        require(self.steps >= 1, f"steps must be at least 1, got {self.steps}.")
        require(
            self.num_directions >= 2,
            f"num-directions must be at least 2 for a standard error, got {self.num_directions}.",
        )
        require(
            error > 0,
            f"the relative error must be a positive number, got {error:g}.",
            hint="Pass 0.05.",
        )
        require(
            self.max_gradients >= 1, f"max-gradients must be at least 1, got {self.max_gradients}."
        )

    def ball(self, problem: Problem) -> Ball:
        """Return the ball around a problem's weights, of any radius."""
        return Ball.around(problem.weights, p=self.p, adaptive=self.adaptive, eta=self.eta)


def require_arguments(
    num_examples: int, rho: Sequence[float], measures: Sequence[str], options: SharpnessOptions
) -> None:
    """Raise an InputError unless radii, names and batches can be measured on so many examples."""
    for radius in rho:
        require(
            np.isfinite(radius) and radius > 0,
            f"rho must be a positive number to measure sharpness, got {radius:g}.",
            hint="Pass `rho=0.05`.",
        )
        require_in_limits({"rho": radius})
    for name in measures:
        require(name in MEASURES, f"measures are {', '.join(MEASURES)}, got {name!r}.")
    require_in_limits({"number of radii": len(rho)})
    require(rho and measures, "sharpness needs at least one radius and one measure.")
    require(
        options.m is None or 1 <= options.m <= num_examples,
        f"m must be from 1 to the {num_examples} examples of the set, got {options.m}.",
        hint="Leave it out to take the whole set at once.",
    )


def batches_of_m(num_examples: int, options: SharpnessOptions) -> tuple[Tensor, ...]:
    """Cut the examples into batches of m; the last one may be smaller, and counts by its size."""
    if options.m is None:
        return ()
    if not options.is_shuffled:
        return torch.arange(num_examples).split(options.m)
    generator = torch.Generator().manual_seed(derived_seeds(1, options.seed, _BATCHES)[0])
    return torch.randperm(num_examples, generator=generator).split(options.m)


class Measurement:
    """One checkpoint being measured.

    Attributes:
        problem: The loss on all examples.
        options: How to measure.
        directions: Vectors (P,) from whose ends a search starts too.
        ball: Norm and scaling.
        parts: All examples as one part, or this process's batches of m.
        is_cut: Whether the parts are batches of m.
        sample: How the units were drawn from a larger set; None if they are all there is.
        gradient_norm: Norm of the gradient at the weights; None if no measure needs the gradient.
        taylor: What the gradient tells; likewise.
        progress: Counts evaluations of loss or gradient.
    """

    def __init__(
        self,
        problem: Problem,
        options: SharpnessOptions,
        directions: Sequence[Tensor],
        progress: Progress,
    ) -> None:
        self.problem, self.options, self.directions = problem, options, directions
        self.ball = options.ball(problem)
        self.gradient_norm: float | None = None
        self.taylor: Taylor | None = None
        self.progress = progress
        self._num_done = 0

    def begin(self, num_radii: int, measures: Sequence[str], *, num_more: int) -> Losses:
        """Evaluate loss and gradient at the weights; return the loss on all examples.

        Args:
            num_radii: Number of radii.
            measures: Names.
            num_more: Evaluations that will follow in addition to those of the measures.
        """
        subsets = batches_of_m(self.problem.num_examples, self.options)
        own = distributed.own_share(torch.arange(len(subsets))).tolist()
        needs_gradient = not all(MEASURES[name].has_directions for name in measures)
        is_sample = self.problem.sample is not None and not subsets
        costs = [MEASURES[name].cost(self.options, is_sample) for name in measures]
        total = None
        if None not in costs:
            each, at_weights = num_radii * sum(filter(None, costs)), 1 + needs_gradient
            total = at_weights + num_more
            total += len(own) * (at_weights + each) if subsets else each
        self.progress.start("sharpness", total)
        whole = Part(Objective(self.problem, count=self.count))
        if needs_gradient:
            self.gradient_norm = norm(whole.gradient)
            self.taylor = Taylor(
                self.ball.gain(whole.gradient), num_parameters=self.problem.spec.size
            )
        self.sample = self.problem.sample
        self.parts, self.is_cut = [whole], bool(subsets)
        if subsets:
            self.parts = [self._part(subsets[number]) for number in own]
            if self.sample is not None:
                sizes = np.array([len(rows) for rows in subsets], dtype=np.float64)
                self.sample = Sample(sizes, self.sample.share)
        return whole.here

    def rises(self, keys: Sequence[Key]) -> dict[Key, Rises]:
        """Return by how much the loss rises by each measure."""
        single = [key for key in keys if not MEASURES[key[0]].has_directions]
        of_parts = [self._of_part(part, single) for part in self.parts]
        found = {key: self.over_parts([rises[key] for rises in of_parts]) for key in single}
        random = [key for key in keys if key not in found]
        return found | {(name, rho): MEASURES[name].load()(self, rho) for name, rho in random}

    def _of_part(self, part: Part, keys: Sequence[Key]) -> dict[Key, Rises]:
        found = {(name, rho): MEASURES[name].load()(self, rho, part) for name, rho in keys}
        if not self.is_cut:
            return found
        part.forget()  # there are many
        nothing = {"perturbation": None, "units": np.empty(0)}
        return {key: replace(rises, **nothing) for key, rises in found.items()}

    def measure(self, key: Key, rises: Rises) -> Measure:
        """Return a measure of which the rises are known."""
        (name, rho), options = key, self.options
        kind, count = MEASURES[name], len(rises.directions)
        return Measure(
            name,
            rho,
            rises.loss,
            rises.value,
            standard_error(rises.directions) if kind.has_directions else None,
            p=options.p,
            adaptive=options.adaptive,
            steps=rises.steps,
            radius_share=rises.radius_share,
            m=options.m,
            radius=options.radius if kind.has_steps else "",
            num_directions=count if kind.has_directions else None,
            data_error=None if self.sample is None else self.sample.error(rises.units),
            gap=rises.gap,
            converged=rises.converged,
        )

    def _part(self, rows: Tensor) -> Part:
        size = self.options.m if self.problem.batchnorm == "batch" else None
        problem = self.problem.on(self.problem.data.take(rows), batch_size=size)
        return Part(Objective(problem, is_local=True, count=self.count))

    def over_parts(self, own: list[Rises]) -> Rises:
        """Return the mean over all parts, those of other processes included."""
        if not self.is_cut:
            return own[0]
        sizes = [part.size for part in self.parts]
        gathered = distributed.gathered(list(zip(sizes, own, strict=True)))
        pairs = [pair for share in gathered for pair in share]
        weights = np.array([size for size, _ in pairs], dtype=np.float64)
        every = [rises for _, rises in pairs]
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

    def count(self, number: int) -> None:
        """Tell the progress about evaluations."""
        self._num_done += number
        self.progress.update(self._num_done)
