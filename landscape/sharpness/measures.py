"""The measures of sharpness, and their errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from landscape.problem.problem import Problem
from landscape.problem.sampling_error import Sample
from landscape.results.provenance import make_provenance
from landscape.results.sharpness import Sharpness, Taylor
from landscape.runtime.progress import SILENT, Progress
from landscape.sharpness.measurement import Measurement
from landscape.sharpness.options import MEASURES, Options, require_arguments
from landscape.sharpness.rises import Rises


@dataclass(frozen=True)
class Measured:
    """A result, and what it was computed from.

    Attributes:
        result: The measures.
        rises: Of each measure, by name and radius.
        sample: How the units were drawn from a larger set; None if they are all there is.
    """

    result: Sharpness
    rises: Mapping[tuple[str, float], Rises]
    sample: Sample | None = None


def measure_sharpness(problem: Problem, rhos: Sequence[float], **arguments: Any) -> Sharpness:
    """Measure sharpness in balls around the problem's weights; see `measure` for its `result`."""
    return measure(problem, rhos, **arguments).result


def measure(
    problem: Problem,
    rhos: Sequence[float],
    *,
    measures: Sequence[str] = MEASURES,
    held_out: Problem | None = None,
    taylor: Taylor | None = None,
    directions: Sequence[Tensor] = (),
    split: str = "train",
    settings: Mapping[str, Any] | None = None,
    progress: Progress = SILENT,
    **options: Any,
) -> Measured:
    """Measure sharpness in balls {e : ||T^-1 e||_p <= rho} around the problem's own weights w.

    - `asc`: L(w + e1), one step of steepest ascent, rho g/||g|| for p = 2 (S001 Table 1, L^Asc; the
      standardized sharpness of its section 4.1 is the difference to L(w)).
    - `avg`: mean of L(w + rho u) over u on the sphere (S001 Table 1, L^Avg), by antithetic pairs
      +-u; the standard error is over the pairs.
    - `max`: the largest L(w + e) in the ball (S001 Table 1, L^Max) that was found, a lower bound of
      it; never below what `asc` and `nstep` of the same call, or `max` at a smaller radius, found.
    - `nstep`: L(w + e_N) after N steps of length rho/N (S001 Eqs. 5 and 6). The path has length
      rho, so ||e_N|| <= rho: `radius_share` says what it was.
    - `first_order`: L(w) + rho ||T g||_q (S003 Proposition 1).

    Inside `landscape.runtime.distributed.joined` the batches are shared by all processes.

    Args:
        problem: The loss; its data decide the number (full set or batches of it). If they are a
            sample of a larger set, the measures have a `data_error`.
        rhos: Radii, each positive.
        measures: Names out of `MEASURES`.
        held_out: The same model on the test set, for the generalization gap.
        taylor: What is known of the loss to second order, to be recorded.
        directions: Vectors (P,) of any length, such as the top eigenvector, from both ends of which
            the search for `max` starts too.
        split: Name of the data split, to be recorded.
        settings: What the user asked for, to be recorded.
        progress: Counts evaluations of loss or gradient.
        **options: Fields of `Options`.

    Returns:
        One measure for each radius and name, radius by radius.

    Raises:
        InputError: If a radius, a name or an option is out of range.
        NotFiniteError: If a gradient is not finite.
    """
    chosen = Options(**options)
    require_arguments(problem.num_examples, rhos, measures, chosen)
    work = Measurement(problem, chosen, directions, progress)
    try:
        here = work.begin(len(rhos), measures, num_more=int(held_out is not None))
        found = work.rises([(name, rho) for rho in sorted(rhos) for name in _ordered(measures)])
        tested = None if held_out is None else work.losses_of(held_out)
    finally:
        progress.stop()
    keys = [(name, rho) for rho in rhos for name in measures]
    result = Sharpness(
        loss=here.mean,
        accuracy=here.accuracy,
        gradient_norm=work.gradient_norm,
        measures=tuple(work.measure(name, rho, found[name, rho]) for name, rho in keys),
        split=split,
        provenance=make_provenance({split: problem}, dict(settings or {})),
        test_loss=None if tested is None else tested.mean,
        test_accuracy=None if tested is None else tested.accuracy,
        taylor=taylor or work.taylor,
    )
    return Measured(result, found, work.sample)


def _ordered(measures: Sequence[str]) -> list[str]:
    """Put `max` last, which starts from what the others found."""
    return sorted(measures, key=lambda name: name == "max")
