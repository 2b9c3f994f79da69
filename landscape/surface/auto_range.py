"""How far to go along a direction: to where the loss has clearly risen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from landscape.directions.plane import Plane
from landscape.errors import require
from landscape.problem.problem import Problem
from landscape.reductions import norm
from landscape.runtime.progress import SILENT, Progress, reporting

MULTIPLE = 5.0
"""Of the loss at the centre, by default."""

LEAST_RISE = 0.1
"""In units of the loss: where the centre is almost 0, a multiple of it is no rise that one would
see."""

_FARTHEST = 8.0  # norms of the weights: beyond, nothing is left of them
_FIRST = 1 / 8  # norms of the weights, where the search begins
_NEAREST = 2.0**-24  # norms of the weights: below, float32 cannot tell the points apart
_NUM_BISECTIONS = 5  # of a factor of 2: within 2.2 %
_MARGIN = 0.15  # of the extent of what is marked, on each side
_SPARE = 1.1  # a point that has to be in the range is not at its edge


@dataclass(frozen=True)
class FoundRange:
    """Where the loss reaches a level on both sides of the centre of a line.

    Attributes:
        start: Negative coordinate.
        stop: Positive coordinate.
        has_reached: Whether the loss reaches the level on either side, before and after the centre;
            where it does not, the coordinate is the farthest one that was tried.
        num_evaluations: Losses computed for it.
    """

    start: float
    stop: float
    has_reached: tuple[bool, bool]
    num_evaluations: int


def rise_level(center: float, multiple: float) -> float:
    """Return the loss to reach: `multiple` times the centre's, at least `LEAST_RISE` above it.

    Where the loss at the centre is negative, the rise is (multiple - 1) times its magnitude.
    """
    return center + max((multiple - 1) * abs(center), LEAST_RISE)


def find_range(
    problem: Problem,
    line: Plane,
    *,
    multiple: float | None = None,
    include: Sequence[float] = (),
    progress: Progress = SILENT,
) -> FoundRange:
    """Find where the loss along a line reaches a multiple of the loss at its centre.

    On each side, steps are doubled from an eighth of the weights' norm, or halved if the loss is
    above the level there already, until the level lies between two of them, which are then bisected
    to 2.2 % and rounded outwards to three digits. A loss that is not finite is above. Where the
    loss goes up and down, an earlier crossing than the one that is found can lie between two steps.
    The search ends at eight times the weights' norm. It is the same every time.

    Args:
        problem: The loss.
        line: Origin and one direction.
        multiple: Greater than 1, see `rise_level`; `MULTIPLE` if None.
        include: Coordinates that must be in the range, with a tenth of each to spare.
        progress: Counts evaluations.

    Raises:
        InputError: If the multiple is not greater than 1, or the loss at the centre is not finite.
    """
    multiple = MULTIPLE if multiple is None else multiple
    require(
        1 < multiple < math.inf,
        f"the multiple of an automatic range must be greater than 1, got {multiple:g}.",
        hint="Pass `range='auto:5'`.",
    )
    center = problem.loss(line.origin)
    require(
        math.isfinite(center),
        f"an automatic range needs a finite loss at the centre, got {center}.",
        hint="Pass `range='-1:1'`.",
    )
    level, losses = rise_level(center, multiple), [center]

    def is_above(coordinate: float) -> bool:
        losses.append(problem.loss(line.point(coordinate)))
        progress.update(len(losses) - 1)
        return not losses[-1] < level

    scale = (norm(line.origin) or 1.0) / norm(line.directions[0])
    with reporting(progress, "range", None):
        below, above = (_outermost(is_above, sign, scale) for sign in (-1, 1))
    return FoundRange(
        start=-_hold(below[0], [-coordinate for coordinate in include]),
        stop=_hold(above[0], include),
        has_reached=(below[1], above[1]),
        num_evaluations=len(losses),
    )


def find_common_range(
    problem: Problem,
    lines: Sequence[Plane],
    *,
    multiple: float | None = None,
    include: Sequence[float] = (),
    progress: Progress = SILENT,
) -> FoundRange:
    """Find a range in which the loss reaches the level on each line; see `find_range`."""
    found = [
        find_range(problem, line, multiple=multiple, include=include, progress=progress)
        for line in lines
    ]
    return FoundRange(
        start=min(each.start for each in found),
        stop=max(each.stop for each in found),
        has_reached=(
            all(each.has_reached[0] for each in found),
            all(each.has_reached[1] for each in found),
        ),
        num_evaluations=sum(each.num_evaluations for each in found),
    )


def range_of_marks(coordinates: Sequence[float], num_points: int) -> tuple[float, float]:
    """Return a range of the origin and everything marked, with 15 % or more on each side.

    0 is on its grid; where it is the first or the last of them, as on a line from one checkpoint to
    another, both ends of the extent are.

    Args:
        coordinates: Of the marks along one direction; what is not finite does not count.
        num_points: Of the grid.
    """
    known = [0.0, *filter(math.isfinite, coordinates)]
    low, high = min(known), max(known)
    extent = high - low or 1.0
    num_outside = math.ceil((num_points - 1) * _MARGIN / (1 + 2 * _MARGIN))
    num_inside = num_points - 1 - 2 * num_outside
    if num_inside < 1 or 0.0 not in (low, high):
        return center_on_grid(low - _MARGIN * extent, high + _MARGIN * extent, num_points)
    margin = num_outside * extent / num_inside
    return low - margin, high + margin


def center_on_grid(start: float, stop: float, num_points: int) -> tuple[float, float]:
    """Widen a range as little as needed to put 0 on its grid and make its ends short numbers.

    Args:
        start: Negative.
        stop: Positive.
        num_points: Of the grid; where they are 2, there is no point between the ends and the range
            stays.
    """
    if num_points < 3:
        return start, stop
    steps = {
        num: max(-start / num, stop / (num_points - 1 - num)) for num in range(1, num_points - 1)
    }
    num_below = min(steps, key=lambda num: steps[num])
    step = _round_up(steps[num_below])
    return -num_below * step, (num_points - 1 - num_below) * step


def _outermost(is_above: Callable[[float], bool], sign: int, scale: float) -> tuple[float, bool]:
    """Return the distance from the centre to the level on one side, and whether it is reached.

    Args:
        is_above: Whether the loss at a coordinate is at least at the level.
        sign: 1 or -1.
        scale: Coordinate that is as far away as the weights are long.
    """
    step = _FIRST * scale
    has_reached = is_above(sign * step)
    while has_reached and step > _NEAREST * scale and is_above(sign * step / 2):
        step /= 2
    while not has_reached and step < _FARTHEST * scale:
        step *= 2
        has_reached = is_above(sign * step)
    if not has_reached:
        return _round_up(step), False
    below = step / 2
    for _ in range(_NUM_BISECTIONS):
        middle = math.sqrt(below * step)
        if is_above(sign * middle):
            step = middle
        else:
            below = middle
    return _round_up(step), True


def _round_up(value: float, digits: int = 3) -> float:
    """Round a positive number up to some significant digits."""
    unit = 10.0 ** (math.floor(math.log10(value)) - digits + 1)
    # A short number stays as it is.
    return float(f"{math.ceil(value / unit * (1 - 1e-12)) * unit:.{digits}g}")


def _hold(distance: float, include: Sequence[float]) -> float:
    """Widen one side of a range where it must, so that what it has to hold is not at its edge."""
    farthest = _SPARE * max(include, default=0.0)
    return _round_up(farthest) if farthest > distance else distance
