"""How sharpness is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from landscape.ascent.steepest import check_norm, check_radius_rule
from landscape.errors import InputError

MEASURES = ("asc", "avg", "max", "nstep", "first_order")


@dataclass(frozen=True)
class Options:
    """How the measures of a call are taken.

    Attributes:
        p: Norm of the ball, at least 1; may be infinite.
        adaptive: Whether the ball is scaled by T = |w| + eta.
        eta: Of that.
        steps: N of `nstep`.
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
        seed: Of directions and batches; the same for checkpoints that are compared.
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


def require_arguments(
    num_examples: int, rhos: Sequence[float], measures: Sequence[str], options: Options
) -> None:
    """Raise an InputError if anything is out of its range.

    Args:
        num_examples: Examples in the set.
        rhos: Radii.
        measures: Names.
        options: The rest.
    """
    for rho in rhos:
        if not (np.isfinite(rho) and rho > 0):
            raise InputError(
                f"rho must be a positive number to measure sharpness, got {rho:g}.",
                hint="Pass --rho 0.05.",
            )
    for name in measures:
        if name not in MEASURES:
            raise InputError(f"measures are {', '.join(MEASURES)}, got {name!r}.")
    if not rhos or not measures:
        raise InputError("sharpness needs at least one radius and one measure.")
    check_norm(options.p)
    check_radius_rule(options.radius)
    _require_counts(options)
    if options.m is not None and not 1 <= options.m <= num_examples:
        raise InputError(
            f"m must be from 1 to the {num_examples} examples of the set, got {options.m}.",
            hint="Leave it out to take the whole set at once.",
        )


def _require_counts(options: Options) -> None:
    if options.steps < 1:
        raise InputError(f"steps must be at least 1, got {options.steps}.")
    if options.num_directions < 2:
        raise InputError(
            f"num-directions must be at least 2 for a standard error, got {options.num_directions}."
        )
    if options.relative_error is not None and not options.relative_error > 0:
        raise InputError(
            f"the relative error must be a positive number, got {options.relative_error:g}.",
            hint="Pass 0.05.",
        )
    if options.max_gradients < 1:
        raise InputError(f"max-gradients must be at least 1, got {options.max_gradients}.")
