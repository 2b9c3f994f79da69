"""Measures of sharpness of one checkpoint, and how far rounding puts them off."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from torch import Tensor

from landscape.errors import LandscapeError
from landscape.problem.problem import Problem
from landscape.problem.rounding import NUM_PIECES, Rounding, error_reach
from landscape.results.provenance import make_provenance
from landscape.results.sharpness import Sharpness, Taylor
from landscape.results.sharpness_measures import MEASURES
from landscape.runtime.progress import SILENT, Progress
from landscape.sharpness.measurement import Measurement, SharpnessOptions, require_arguments
from landscape.sharpness.rises import Key, Measured, Objective, Rises

_NUM_EXAMPLES = 8  # of a piece of a batch on which everything is measured again
_STAND_IN = "asc"  # measure of which the relative error counts for `max` in batches of m
_LOSS, _GRADIENT = ("loss", 0.0), ("gradient", 0.0)

Facts: TypeAlias = dict[Key, tuple[float, float]]
"""Measure, `_LOSS` or `_GRADIENT` -> its value, and the loss there."""


def measure_sharpness(
    problem: Problem,
    rho: float | Sequence[float] = 0.05,
    *,
    measures: Sequence[str] = tuple(MEASURES),
    held_out: Problem | None = None,
    taylor: Taylor | None = None,
    directions: Sequence[Tensor] = (),
    split: str = "train",
    settings: Mapping[str, Any] | None = None,
    progress: Progress = SILENT,
    p: float = 2.0,
    adaptive: bool = False,
    eta: float = 0.01,
    steps: int = 5,
    radius: str = "path",
    m: int | None = None,
    is_shuffled: bool = True,
    num_directions: int = 20,
    relative_error: float | None = None,
    is_gaussian: bool = False,
    max_gradients: int = 200,
    seed: int = 0,
    rounding: bool = True,
) -> Sharpness:
    """Measure sharpness in balls {e : ||T^-1 e||_p <= rho} around the problem's own weights w.

    Args:
        problem: The loss; its data decide the number (full set or batches of it). If they are a
            sample of a larger set, the measures have a `data_error`.
        rho: Radius, or radii, each positive.
        measures: Names of measures, see `measure_rises`.
        held_out: The same model on the test set, for the generalization gap.
        taylor: What is known of the loss to second order, to be recorded.
        directions: Vectors (P,) of any length, such as the top eigenvector, from both ends of which
            the search for `max` starts too.
        split: Name of the data split, to be recorded.
        settings: What the user asked for, to be recorded.
        progress: Counts evaluations of loss or gradient.
        p: Norm of the ball; this and what follows are described at `SharpnessOptions`.
        adaptive: Whether the ball is scaled by T = |w| + eta.
        eta: Smallest scale of an adaptive ball.
        steps: Number of gradient steps of `nstep`.
        radius: What keeps `nstep` in the ball: `path`, `sphere` or `ball`.
        m: Examples per batch of m-sharpness; None for the whole set at once.
        is_shuffled: Whether the batches of m are drawn at random.
        num_directions: Antithetic pairs of `avg`.
        relative_error: Standard error that `avg` is to reach, relative to its value.
        is_gaussian: Whether `avg` perturbs by Gaussian noise.
        max_gradients: Limit on the gradients of one `max`.
        seed: Seed of directions and batches.
        rounding: Whether to measure how far rounding puts each measure off.

    Returns:
        One measure for each radius and name, radius by radius.

    Raises:
        InputError: If a radius, a name or an option is out of range.
        NotFiniteError: If a gradient is not finite.
    """
    options = SharpnessOptions(
        p=p,
        adaptive=adaptive,
        eta=eta,
        steps=steps,
        radius=radius,
        m=m,
        is_shuffled=is_shuffled,
        num_directions=num_directions,
        relative_error=relative_error,
        is_gaussian=is_gaussian,
        max_gradients=max_gradients,
        seed=seed,
    )
    return measure_rises(
        problem,
        [rho] if isinstance(rho, int | float) else rho,
        options,
        measures=measures,
        held_out=held_out,
        taylor=taylor,
        directions=directions,
        split=split,
        settings=settings,
        progress=progress,
        rounding=rounding,
    ).result


def measure_rises(
    problem: Problem,
    rho: Sequence[float],
    options: SharpnessOptions | None = None,
    *,
    measures: Sequence[str] = tuple(MEASURES),
    held_out: Problem | None = None,
    taylor: Taylor | None = None,
    directions: Sequence[Tensor] = (),
    split: str = "train",
    settings: Mapping[str, Any] | None = None,
    progress: Progress = SILENT,
    rounding: bool = True,
) -> Measured:
    """Measure sharpness as `measure_sharpness` does, and return what it was computed from too.

    - `asc`: L(w + e1), one step of steepest ascent, rho g/||g|| for p = 2 (S001 Table 1, L^Asc; the
      standardized sharpness of its section 4.1 is the difference to L(w)).
    - `avg`: mean of L(w + rho u) over u on the sphere (S001 Table 1, L^Avg), by antithetic pairs
      +-u; the standard error is over the pairs.
    - `max`: the largest L(w + e) in the ball (S001 Table 1, L^Max) that was found, a lower bound of
      it; never below what `asc` and `nstep` of the same call, or `max` at a smaller radius, found.
    - `nstep`: L(w + e_N) after N steps of length rho/N (S001 Eqs. 5 and 6). The path has length
      rho, so ||e_N|| <= rho: `radius_share` says what it was.
    - `first_order`: L(w) + rho ||T g||_q (S003 Proposition 1).

    Inside `landscape.runtime.distributed.joined` the batches are shared by all processes. Arguments
    and errors are those of `measure_sharpness`.
    """
    options = options or SharpnessOptions()
    require_arguments(problem.num_examples, rho, measures, options)
    origin: dict[str, Any] = {
        "split": split,
        "provenance": make_provenance({split: problem}, dict(settings or {})),
        "taylor": taylor,
    }

    def again(other: Problem, is_whole: bool) -> Measured:
        m = options.m if is_whole else None
        there = replace(options, relative_error=None, num_directions=2, m=m)
        names = [name for name in measures if not MEASURES[name].is_lower_bound]
        if options.m is not None and len(names) < len(measures):
            names = list({*names, _STAND_IN})
        return _measured(Measurement(other, there, (), SILENT), rho, names, None, **origin)

    work = Measurement(problem, options, directions, progress)
    found = _measured(work, rho, measures, held_out, **origin)
    return _with_rounding(problem, found, again) if rounding else found


def _measured(
    work: Measurement,
    rho: Sequence[float],
    measures: Sequence[str],
    held_out: Problem | None,
    *,
    taylor: Taylor | None,
    **origin: Any,
) -> Measured:
    """Measure at the weights, and on held-out data, but not what rounding does."""
    try:
        here = work.begin(len(rho), measures, num_more=int(held_out is not None))
        ordered = sorted(measures, key=lambda name: MEASURES[name].is_lower_bound)
        found = work.rises([(name, radius) for radius in sorted(rho) for name in ordered])
        tested = None
        if held_out is not None:
            tested = Objective(held_out, count=work.count).losses([None])[0]
    finally:
        work.progress.stop()
    keys = [(name, radius) for radius in rho for name in measures]
    result = Sharpness(
        loss=here.mean,
        accuracy=here.accuracy,
        gradient_norm=work.gradient_norm,
        measures=tuple(work.measure(key, found[key]) for key in keys),
        test_loss=None if tested is None else tested.mean,
        test_accuracy=None if tested is None else tested.accuracy,
        taylor=taylor or work.taylor,
        **origin,
    )
    return Measured(result, found, work.sample)


def _with_rounding(
    problem: Problem, measured: Measured, again: Callable[[Problem, bool], Measured]
) -> Measured:
    """Add to each measure by how much float64 differs from the problem's dtype.

    Gradients, the steps along them and losses are all computed anew. The perturbation of `max` is
    kept and its loss evaluated: it proves what it proves. Of its perturbations in batches of m,
    which are not kept, those of `asc` take the place. Where that is cheap it is done on all data.
    Else on pieces: the relative error on the examples with the largest losses, and added to it the
    reach of the errors on some that are drawn at random, by Student's t.

    Args:
        problem: The loss.
        measured: Its sharpness, with the rises.
        again: Measures the same on another problem, but for `max`: on all data, or on a piece.

    Returns:
        The same, with `rounding` of each measure where it can be measured.
    """
    rounding, found = Rounding(problem), _facts(measured)
    try:
        if rounding.is_cheap:
            pairs = [rounding.pair(problem.batches)]
        else:
            pairs = [rounding.pair([each]) for each in rounding.pieces(NUM_PIECES, _NUM_EXAMPLES)]
        rows = [
            [_again(each, measured.rises, again, rounding.is_cheap) for each in pair]
            for pair in pairs
        ]
    except LandscapeError:
        return measured
    errors: dict[Key, float | None] = {}
    for key, (_, loss) in found.items():
        errors[key] = None
        if all(key in low for low, _ in rows):
            first, *others = (abs(low[key][0] - high[key][0]) for low, high in rows)
            there = rows[0][0][key][1]
            scale = abs(loss / there) if there else 1.0
            error = rounding.factor * (scale * first + float(error_reach(others)))
            errors[key] = error if math.isfinite(error) else None
    return replace(measured, result=_with_errors(measured.result, errors))


def _facts(measured: Measured) -> Facts:
    result = measured.result
    found = {key: (rises.value, rises.loss) for key, rises in measured.rises.items()}
    found[_LOSS] = (result.loss, result.loss)
    if result.gradient_norm is not None:
        found[_GRADIENT] = (result.gradient_norm, result.loss)
    return found


def _again(
    problem: Problem,
    rises: Mapping[Key, Rises],
    again: Callable[[Problem, bool], Measured],
    is_whole: bool,
) -> Facts:
    found = _facts(again(problem, is_whole))
    objective = Objective(problem)
    for key, each in rises.items():
        if key in found:
            continue
        if each.perturbation is None:
            found[key] = found[_STAND_IN, key[1]]
        else:
            here, there = objective.losses([None, objective.at(each.perturbation)])
            found[key] = (there.mean - here.mean, there.mean)
    return found


def _with_errors(result: Sharpness, errors: Mapping[Key, float | None]) -> Sharpness:
    return replace(
        result,
        measures=tuple(replace(each, rounding=errors[each.key]) for each in result.measures),
        loss_rounding=errors[_LOSS],
        gradient_rounding=errors.get(_GRADIENT),
    )
