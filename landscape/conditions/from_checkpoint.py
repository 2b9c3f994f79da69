"""Quantities of a network, of which only those that are wanted are computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from landscape.ascent.ball import Ball
from landscape.conditions.quantities import (
    CURVATURES,
    Known,
    Quantity,
    known_curvatures,
    with_derived,
    with_parents,
)
from landscape.errors import InputError
from landscape.hessian.spectrum import hessian_spectrum
from landscape.problem.problem import Problem
from landscape.problem.rounding import NUM_PIECES, Rounding, known_error, losses_at
from landscape.results.provenance import by_split
from landscape.results.sharpness_measures import MEASURES
from landscape.runtime.progress import SILENT, Progress
from landscape.sharpness import measure_sharpness
from landscape.sharpness.second_order import top_directions

_RHO = 0.05
"""Radius at which the error of the gradient's norm is taken, that of the first-order rise over
it."""


@dataclass(frozen=True)
class Effort:
    """How exactly quantities are measured.

    Attributes:
        tolerance: Relative, of eigenvalues; None for what the dtype can meet.
        max_matvecs: Limit on Hessian-vector products for eigenvalues.
        num_directions: Antithetic pairs of `avg`.
        seed: Of random vectors.
    """

    tolerance: float | None = None
    max_matvecs: int = 500
    num_directions: int = 20
    seed: int = 0


def splits_of(wanted: Iterable[Quantity]) -> tuple[str, ...]:
    """Return the splits that are needed: all but test loss and accuracy are of `train`."""
    is_of_test = {quantity.name.startswith("test_") for quantity in with_parents(wanted)}
    return tuple(
        split for split, is_test in (("train", False), ("test", True)) if is_test in is_of_test
    )


def measure_quantities(
    problems: Problem | Mapping[str, Problem],
    wanted: Iterable[Quantity],
    *,
    effort: Effort | None = None,
    progress: Progress = SILENT,
) -> dict[Quantity, Known]:
    """Measure what is wanted, and nothing else.

    Curvature and sharpness are of the train split, in Euclidean balls.

    Args:
        problems: The training problem, or split name -> problem, with `train` and `test` where
            anything wanted is of them.
        wanted: What conditions name.
        effort: How exactly.
        progress: Counts evaluations and products.

    Raises:
        InputError: If something wanted does not exist, such as the accuracy of a regression.
        NotFiniteError: If a gradient or a product is not finite.
    """
    problems, wanted, effort = by_split(problems), list(wanted), effort or Effort()
    needed = with_parents(wanted)
    found: dict[Quantity, Known] = {}
    for split, problem in problems.items():
        found |= _evaluated(problem, split, needed)
    if any(quantity.name in CURVATURES for quantity in needed):
        found |= _curvature(
            problems["train"], {quantity.name for quantity in needed}, effort, progress
        )
    if any(quantity.name in (*MEASURES, "gradient_norm") for quantity in needed):
        found |= _sharpness(problems["train"], needed, effort, progress)
    every = with_derived(found)
    return {quantity: every[quantity] for quantity in wanted}


def _evaluated(problem: Problem, split: str, needed: set[Quantity]) -> dict[Quantity, Known]:
    """Return loss and accuracy of a split, if anything of it is needed."""
    loss, accuracy = Quantity(f"{split}_loss"), Quantity(f"{split}_accuracy")
    if needed.isdisjoint((loss, accuracy)):
        return {}
    here = problem.evaluate()
    rounding = known_error(Rounding(problem).of(losses_at([None]), num_others=NUM_PIECES))
    found = {loss: Known.of_mean(here.loss, here.standard_error, rounding)}
    if accuracy in needed:
        if here.accuracy is None:
            raise InputError(
                "an accuracy needs scores of classes and class numbers as targets; this model or "
                "these data have others.",
                hint="Leave conditions on the accuracy out.",
            )
        found[accuracy] = (
            Known.of_mean(here.accuracy)
            if problem.sample is None
            else Known.of_share(here.accuracy, problem.num_examples, problem.sample.share)
        )
    return found


def _curvature(
    problem: Problem, names: set[str], effort: Effort, progress: Progress
) -> dict[Quantity, Known]:
    result = hessian_spectrum(
        problem,
        top_k=1,
        bottom_k=int("lambda_min" in names),
        tolerance=effort.tolerance,
        max_matvecs=effort.max_matvecs,
        seed=effort.seed,
        trace="trace" in names,
        progress=progress,
    )
    remark = ""
    if problem.sample is not None:
        remark = f"of a subset of {problem.num_examples} examples, whose own error is not counted"
    found = known_curvatures(result)
    return {Quantity(name): found[name].but(remark) for name in found.keys() & names}


def _sharpness(
    problem: Problem, needed: set[Quantity], effort: Effort, progress: Progress
) -> dict[Quantity, Known]:
    """Measure at each radius what is named there."""
    at: dict[float, list[str]] = {}
    for quantity in sorted(needed):
        if quantity.name in MEASURES:
            at.setdefault(quantity.rho, []).append(quantity.name)
    if needs_gradient := Quantity("gradient_norm") in needed:
        at.setdefault(_RHO, []).append("first_order")
    directions = (
        top_directions(problem, Ball(), seed=effort.seed, progress=progress)
        if any("max" in names for names in at.values())
        else []
    )
    found = {}
    for rho, names in at.items():
        result = measure_sharpness(
            problem,
            [rho],
            measures=list(dict.fromkeys(names)),
            directions=directions,
            num_directions=effort.num_directions,
            seed=effort.seed,
            progress=progress,
        )
        found |= {Quantity(*each.key): Known.of_measure(each) for each in result.measures}
        if needs_gradient and rho == _RHO:
            error = next(m.data_error for m in result.measures if m.name == "first_order")
            found[Quantity("gradient_norm")] = Known.of_mean(
                result.gradient_norm or 0.0,
                None if error is None else error / _RHO,
                result.gradient_rounding,
            )
    return found
