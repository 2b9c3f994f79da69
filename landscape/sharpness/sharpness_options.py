"""How sharpness is measured: ball, batches and effort, with their checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from landscape.ascent.ball import Ball
from landscape.ascent.steepest import RADII, check_norm
from landscape.errors import InputError, require_one_of
from landscape.problem.problem import Problem
from landscape.results.sharpness_measures import MEASURES
from landscape.runtime.random_state import derived_seeds

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
    num_directions: int = 5
    relative_error: float | None = None
    is_gaussian: bool = False
    max_gradients: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        check_norm(self.p)
        require_one_of("radius", self.radius, RADII)
        if self.steps < 1:
            raise InputError(f"steps must be at least 1, got {self.steps}.")
        if self.num_directions < 2:
            raise InputError(
                "num-directions must be at least 2 for a standard error, got "
                f"{self.num_directions}."
            )
        if self.relative_error is not None and not self.relative_error > 0:
            raise InputError(
                f"the relative error must be a positive number, got {self.relative_error:g}.",
                hint="Pass 0.05.",
            )
        if self.max_gradients < 1:
            raise InputError(f"max-gradients must be at least 1, got {self.max_gradients}.")

    def ball(self, problem: Problem) -> Ball:
        """Return the ball around a problem's weights, of any radius."""
        return Ball.around(problem.weights, p=self.p, adaptive=self.adaptive, eta=self.eta)


def require_arguments(
    num_examples: int, rho: Sequence[float], measures: Sequence[str], options: SharpnessOptions
) -> None:
    """Raise an InputError unless radii, names and batches can be measured on so many examples."""
    for radius in rho:
        if not (np.isfinite(radius) and radius > 0):
            raise InputError(
                f"rho must be a positive number to measure sharpness, got {radius:g}.",
                hint="Pass `rho=0.05`.",
            )
    for name in measures:
        if name not in MEASURES:
            raise InputError(f"measures are {', '.join(MEASURES)}, got {name!r}.")
    if not rho or not measures:
        raise InputError("sharpness needs at least one radius and one measure.")
    if options.m is not None and not 1 <= options.m <= num_examples:
        raise InputError(
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
