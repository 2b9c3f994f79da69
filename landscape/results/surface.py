"""The loss on lines and planes, the points of interest on them, and the vectors that span them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from landscape.results.display import Displayed, Record
from landscape.results.interval import Number
from landscape.results.provenance import Provenance

INTERPOLATION = "interpolation"
"""Begins the names of the deviations that a refinement measures at its end, one a split."""


@dataclass(frozen=True)
class Mark(Record):
    """A point of interest on a line or plane: a checkpoint, a snapshot, or SAM's ascent point.

    Attributes:
        label: Name in legends.
        kind: `checkpoint`, `snapshot` or `ascent`; snapshots are in the order of training.
        coordinates: Coordinates of the nearest point of the plane, one per direction.
        distance: Euclidean distance from the plane; 0 up to rounding for what spans it.
        loss: Split name -> loss at the point of interest itself.
        plane_loss: Split name -> loss at the nearest point of the plane.
    """

    label: str
    kind: str
    coordinates: tuple[float, ...]
    distance: float = 0.0
    loss: dict[str, float] = field(default_factory=dict)
    plane_loss: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Surface(Displayed):
    """The loss, and where it exists the accuracy, on a line or a plane through the weights.

    Several lines through the same weights (repeats) have a first axis more: (number of lines, nx).

    Attributes:
        x: Coordinates along the first direction, (nx,).
        y: Coordinates along the second direction, (ny,); None for a line.
        loss: Split name -> mean loss, (ny, nx), or (nx,) for a line; element [i, j] is at
            (x[j], y[i]). NaN and inf are values; where `done` is False the entry means nothing.
        accuracy: Split name -> share of correct examples in [0, 1], shaped as `loss`; a split
            for which accuracy does not exist is absent.
        done: Whether each point has been computed, shaped as `loss`.
        center_loss: Split name -> loss at the origin (0, 0), whether or not it is a grid point.
        center_accuracy: Split name -> accuracy at the origin, where it exists.
        normalization: Scaling of the directions: `filter`, `layer` or `none`.
        direction_norms: Euclidean norm of each direction, (number of directions,).
        direction_hashes: SHA-256 of each direction.
        cosine: Cosine between the two directions, which are not orthogonalised; None for a line.
        provenance: Origin of the result.
        direction_names: Name of each direction, as it was asked for: `random`, `to:other.pt`, ...
        standard_error: Split name -> standard error of each loss as an estimate of the whole
            split's, shaped as `loss`; a split that was evaluated whole is absent.
        maps: Name -> another quantity at the points, shaped as `loss`: curvature, eigenvalues.
        marks: Points of interest.
        explained_variance: Share of a trajectory's variance along each direction, or None without a
            trajectory.
        deviations: Whatever was not done in float32, one point at a time -> largest relative
            difference of the loss from what that gives, at some points chosen at random.
        tolerance: Estimated error of the points that were left out and are interpolated, or None if
            every point is computed.
        rounding: Split name -> error of the loss from rounding, relative to the larger of the loss
            there and at the center, by some points; a split where it was not measured is absent.
    """

    x: np.ndarray
    y: np.ndarray | None
    loss: dict[str, np.ndarray]
    accuracy: dict[str, np.ndarray]
    done: np.ndarray
    center_loss: dict[str, float]
    center_accuracy: dict[str, float]
    normalization: str
    direction_norms: np.ndarray
    direction_hashes: tuple[str, ...]
    cosine: float | None
    provenance: Provenance
    direction_names: tuple[str, ...] = ()
    standard_error: dict[str, np.ndarray] = field(default_factory=dict)
    maps: dict[str, np.ndarray] = field(default_factory=dict)
    marks: tuple[Mark, ...] = ()
    explained_variance: np.ndarray | None = None
    deviations: dict[str, float] = field(default_factory=dict)
    tolerance: float | None = None
    rounding: dict[str, float] = field(default_factory=dict)

    def summary(self) -> list[tuple[str, str]]:
        """Return the size of the grid and the losses on it; see `Displayed`."""
        lowest, highest = self.extremes()
        size = " x ".join(map(str, self.done.shape[::-1]))
        num_left = 0 if self.is_finished else int((~self.done).sum())
        return [
            ("grid", f"{size}, {num_left} points left" if num_left else size),
            ("directions", ", ".join(self.direction_names) or "unnamed"),
            *(
                (
                    f"{split} loss",
                    f"{Number(lowest[split]).text} to {Number(highest[split]).text}, "
                    f"{Number(self.center_loss.get(split)).text} at the center",
                )
                for split in self.splits
            ),
            *self.provenance.named_loss(),
        ]

    @property
    def num_lines(self) -> int | None:
        """Number of lines through the weights; None for a plane."""
        if self.y is not None:
            return None
        return 1 if self.done.ndim == 1 else len(self.done)

    @property
    def splits(self) -> tuple[str, ...]:
        """The data splits that were evaluated."""
        return tuple(self.loss)

    @property
    def is_complete(self) -> bool:
        """Whether every point has been computed."""
        return bool(self.done.all())

    @property
    def is_finished(self) -> bool:
        """Whether no point is left to compute.

        Points that are not done may be left out by a refinement, but only once that refinement has
        been checked.
        """
        is_refined = all(f"{INTERPOLATION}, {split}" in self.deviations for split in self.splits)
        return self.is_complete or is_refined

    @property
    def trajectory(self) -> tuple[Mark, ...]:
        """The marks that are snapshots, in the order of training."""
        return tuple(mark for mark in self.marks if mark.kind == "snapshot")

    @property
    def largest_distance(self) -> float | None:
        """Largest distance of a snapshot from the plane, or None without snapshots."""
        return max((mark.distance for mark in self.trajectory), default=None)

    @property
    def largest_loss_gaps(self) -> dict[str, float]:
        """Split name -> largest |loss of a snapshot itself - loss where it is drawn|.

        The value is NaN if no two such losses are finite.
        """
        return {
            split: _largest_gap(self.trajectory, split) for split in self.splits if self.trajectory
        }

    @property
    def largest_standard_errors(self) -> dict[str, float]:
        """Split name -> largest finite standard error, except splits evaluated as a whole."""
        known = {
            split: errors[np.isfinite(errors)] for split, errors in self.standard_error.items()
        }
        return {split: float(errors.max()) for split, errors in known.items() if errors.size}

    def extremes(self) -> tuple[dict[str, float | None], dict[str, float | None]]:
        """Return the smallest and the largest finite loss of each split at the points done.

        Both are dictionaries by split, with None for a split without such a loss.
        """
        finite = {
            split: values[self.done & np.isfinite(values)] for split, values in self.loss.items()
        }
        lowest, highest = (
            {split: float(end(values)) if values.size else None for split, values in finite.items()}
            for end in (np.min, np.max)
        )
        return lowest, highest


@dataclass(frozen=True)
class Directions(Record):
    """Vectors that span a line or a plane in weight space, to be evaluated again or elsewhere.

    Attributes:
        vectors: (number of directions, P).
        names: Name of each direction, as it was asked for.
        weight_names: Name of each parameter tensor, in the order of the flat vector.
        weight_shapes: Shape of each parameter tensor.
        normalization: Scaling of the directions: `filter`, `layer` or `none`.
        origin: Weights at the origin of the plane, (P,), or None if unknown.
    """

    vectors: np.ndarray
    names: tuple[str, ...]
    weight_names: tuple[str, ...]
    weight_shapes: tuple[tuple[int, ...], ...]
    normalization: str
    origin: np.ndarray | None = None


def _largest_gap(marks: tuple[Mark, ...], split: str) -> float:
    gaps = np.array([abs(mark.loss[split] - mark.plane_loss[split]) for mark in marks])
    return float(gaps[np.isfinite(gaps)].max()) if np.isfinite(gaps).any() else float("nan")
