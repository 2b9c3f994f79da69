"""Points of interest on a line or a plane: where they lie, and what the plane says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

from torch import Tensor

from landscape.directions.plane import Plane
from landscape.directions.random import Direction, Landmark
from landscape.problem.problem import Problem
from landscape.results.provenance import by_split
from landscape.results.surface import Mark


def make_mark(
    label: str,
    kind: str,
    w: Tensor,
    plane: Plane,
    problems: Problem | Mapping[str, Problem],
    *,
    loss: Mapping[str, float] | None = None,
) -> Mark:
    """Project a point onto a plane, and evaluate the loss at the point and at its projection.

    Args:
        label: As a legend names it.
        kind: `checkpoint`, `snapshot` or `ascent`.
        w: The point (P,).
        plane: A line or a plane.
        problems: A problem, or split name -> problem.
        loss: Split name -> loss at the point itself, where more than `w` decides it, such as
            running statistics of its own; evaluated at `w` if None.
    """
    problems, found = by_split(problems), plane.project(w)
    nearest = plane.point(*found.coordinates.tolist())
    return Mark(
        label=label,
        kind=kind,
        coordinates=tuple(found.coordinates.tolist()),
        distance=found.distance,
        loss=dict(loss)
        if loss is not None
        else {split: problem.loss(w) for split, problem in problems.items()},
        plane_loss={split: problem.loss(nearest) for split, problem in problems.items()},
    )


def mark_directions(
    directions: Sequence[Direction],
    label: str,
    plane: Plane,
    problems: Problem | Mapping[str, Problem],
) -> tuple[Mark, ...]:
    """Mark a plane's origin and its directions' points of interest; nothing without any points.

    Args:
        directions: Of the plane.
        label: Of the checkpoint at the origin.
        plane: A line or a plane.
        problems: A problem, or split name -> problem.
    """
    if not any(direction.points for direction in directions):
        return ()
    points = chain(
        [Landmark(label, "checkpoint", plane.origin)],
        *(direction.points for direction in directions),
    )
    return tuple(
        make_mark(point.label, point.kind, point.w, plane, problems, loss=point.loss)
        for point in points
    )
