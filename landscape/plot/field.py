"""The part of a surface that is drawn: one quantity on one split, missing points interpolated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from landscape.errors import require
from landscape.plot.interpolation import interpolate_line, interpolate_plane
from landscape.plot.levels import choose_plane_scale
from landscape.plot.look import DEFAULT_LOOK, Look
from landscape.plot.names import QUANTITIES, axis_labels, literal, quantity_label
from landscape.plot.scale import Scale, choose_diverging_scale, choose_scale, choose_share_scale
from landscape.results.surface import Mark, Surface
from landscape.surface.grid import interpolated

_MOST_DOTS = 8000  # on a plane
_NOT_FINITE = {"NaN": np.isnan, "inf": np.isinf}
NO_SPLIT = ""  # of a map, which belongs to the points and not to a split


@dataclass(frozen=True)
class Field:
    """One quantity of a surface on one split.

    Attributes:
        x: Coordinates along the first direction, (nx,).
        y: Coordinates along the second direction, (ny,); empty for lines.
        values: In the unit that is drawn, (ny, nx), (nx,) or (num_lines, nx); masked where not
            computed or not finite.
        drawn: The same with what could be interpolated between the points that were computed.
        is_not_finite: Computed points whose value is NaN or infinite, shaped as `values`.
        is_not_done: Points that have not been computed, shaped as `values`.
        not_finite_name: What the values that are not finite are: `NaN`, `inf` or `NaN or inf`;
            empty if all are.
        center: Value at the origin; None if unknown.
        quantity: `loss`, `accuracy` or the name of a map.
        split: Name of the data split; empty for a map.
        name: Split, quantity and unit, as on a colour bar.
        axis_labels: Names of the first and second direction, with the unit.
        is_signed: Whether values above and below 0 mean opposite things.
        tolerance: Estimated relative error that interpolated points may have; None if they were not
            left out on purpose.
        standard_error: Standard error of the values, shaped alike; None if they are exact.
        marks: Points of interest.
    """

    x: np.ndarray
    y: np.ndarray
    values: np.ma.MaskedArray
    drawn: np.ma.MaskedArray
    is_not_finite: np.ndarray
    is_not_done: np.ndarray
    not_finite_name: str
    center: float | None
    quantity: str
    split: str
    name: str
    axis_labels: tuple[str, str]
    is_signed: bool = False
    tolerance: float | None = None
    standard_error: np.ndarray | None = None
    marks: tuple[Mark, ...] = ()

    @property
    def finite(self) -> np.ndarray:
        """The values that may decide a scale, (n,)."""
        return np.asarray(self.values.compressed())

    @property
    def is_interpolated(self) -> np.ndarray:
        """Points that were not computed and lie between points that were, shaped as `values`."""
        return self.is_not_done & ~np.ma.getmaskarray(self.drawn)

    @property
    def is_unknown(self) -> np.ndarray:
        """Points that were neither computed nor could be interpolated, shaped as `values`."""
        return self.is_not_done & np.ma.getmaskarray(self.drawn)

    @property
    def view(self) -> tuple[tuple[float, float], ...]:
        """Lowest and highest coordinate along each direction."""
        return tuple(
            (float(axis.min()), float(axis.max())) for axis in (self.x, self.y) if axis.size
        )

    @property
    def summary(self) -> tuple[np.ma.MaskedArray, np.ma.MaskedArray | None]:
        """What is drawn, and None; of several lines, the median and the quartiles, (2, nx).

        These are given only where all of the lines are finite.
        """
        if self.y.size:
            return self.drawn, None
        if self.drawn.ndim == 1 or len(self.drawn) == 1:
            return self.drawn.reshape(-1), None
        low, middle, high = np.quantile(self.drawn.filled(np.nan), (0.25, 0.5, 0.75), axis=0)
        return np.ma.masked_invalid(middle), np.ma.masked_invalid(np.stack([low, high]))

    @property
    def snapshots(self) -> tuple[Mark, ...]:
        """The marks that are a trajectory, in the order of training."""
        return tuple(mark for mark in self.marks if mark.kind == "snapshot")


def select_field(surface: Surface, split: str | None, quantity: str) -> Field:
    """Take one quantity of a surface on one split, or on the first if None; accuracy in percent.

    Raises:
        InputError: If the surface does not have them.
    """
    if quantity in QUANTITIES and split is not None:
        _require_split(split, choose_splits([surface], None, quantity), quantity)
    else:
        split = choose_splits([surface], split, quantity)[0]
    stored = getattr(surface, quantity)[split] if quantity in QUANTITIES else surface.maps[quantity]
    factor = 100.0 if quantity == "accuracy" else 1.0
    raw = np.asarray(stored, dtype=np.float64) * factor
    done = np.asarray(surface.done, dtype=bool)
    is_finite = np.isfinite(raw)
    values = np.ma.masked_array(raw, mask=~(done & is_finite))
    errors = surface.standard_error.get(split) if quantity == "loss" else None
    centers = {"loss": surface.center_loss, "accuracy": surface.center_accuracy}.get(quantity, {})
    center = centers[split] * factor if split in centers else None  # of a map none is recorded
    tolerance = surface.tolerance if quantity == "loss" else None
    return Field(
        x=np.asarray(surface.x, dtype=np.float64),
        y=np.empty(0) if surface.y is None else np.asarray(surface.y, dtype=np.float64),
        values=values,
        drawn=_interpolated(surface, values, done, center if tolerance is not None else None),
        is_not_finite=done & ~is_finite,
        is_not_done=~done,
        not_finite_name=" or ".join(
            name for name, occurs in _NOT_FINITE.items() if occurs(raw[done]).any()
        ),
        center=center,
        quantity=quantity,
        split=split,
        name=f"{literal(split)} {quantity_label(quantity)}".strip(),
        axis_labels=axis_labels(surface),
        is_signed=quantity not in QUANTITIES,
        tolerance=tolerance,
        standard_error=None if errors is None else np.asarray(errors, dtype=np.float64),
        marks=surface.marks,
    )


def subtract_fields(second: Field, first: Field) -> Field:
    """Return a field of second - first on a plane, with the marks of neither.

    It is known where both are, and interpolated between such points: interpolating each of them
    would show the error of that as a difference.

    Raises:
        InputError: If the two are not at the same coordinates in the same unit.
    """
    for label, one, other in (("first", first.x, second.x), ("second", first.y, second.y)):
        require(
            one.shape == other.shape and np.allclose(one, other, rtol=1e-9, atol=1e-12),
            f"a difference needs surfaces on the same axes, got {_describe(one)} and "
            f"{_describe(other)} along the {label} one.",
            hint="Compute both with the same `grid` and `range`.",
        )
    require(
        first.axis_labels == second.axis_labels,
        "a difference needs surfaces on the same axes, got "
        f"{' and '.join(repr(', '.join(each.axis_labels)) for each in (first, second))}.",
        hint="Compute both with the same directions and normalization.",
    )
    is_not_finite = first.is_not_finite | second.is_not_finite
    is_not_done = (first.is_not_done | second.is_not_done) & ~is_not_finite
    values = second.values - first.values
    has_centers = None not in (first.center, second.center)
    unit = " (percentage points)" if first.quantity == "accuracy" else ""
    return replace(
        second,
        values=values,
        drawn=interpolate_plane(first.x, first.y, values, ~is_not_done),
        is_not_finite=is_not_finite,
        is_not_done=is_not_done,
        not_finite_name=_joined_name([first, second]),
        center=second.center - first.center if has_centers else None,  # pyright: ignore[reportOperatorIssue]
        name=f"difference of {second.name.replace(' (%)', '')}{unit}",
        is_signed=True,
        tolerance=None,
        standard_error=None,
        marks=(),
    )


def scale_of(fields: Sequence[Field], look: Look = DEFAULT_LOOK) -> Scale:
    """Choose one scale for fields shown together, centred at 0 if both signs occur and matter.

    Args:
        fields: Of one quantity, all on lines or all on planes.
        look: What was asked for, of planes.

    Raises:
        InputError: If no value is finite, or what was asked for does not fit the values.
    """
    arrays = [field.finite for field in fields]
    values = np.concatenate(arrays)
    has_both_signs = bool((values < 0).any() and (values > 0).any())
    is_diverging = any(field.is_signed for field in fields) and has_both_signs
    is_share = fields[0].quantity == "accuracy"
    if fields[0].quantity == "lambda_ratio" and not has_both_signs and look == DEFAULT_LOOK:
        return choose_share_scale(arrays)
    if fields[0].y.size:
        planes = [field.values for field in fields]
        return choose_plane_scale(planes, look, is_share=is_share, is_diverging=is_diverging)
    return (
        choose_diverging_scale(arrays) if is_diverging else choose_scale(arrays, is_share=is_share)
    )


def choose_splits(
    surfaces: Sequence[Surface], split: str | None, quantity: str, *, is_one: bool = False
) -> tuple[str, ...]:
    """Return the splits to draw, which every surface has; for a map, a single nameless one.

    Args:
        surfaces: One or more.
        split: A name; `all` or None for every split that the surfaces share.
        quantity: `loss`, `accuracy` or the name of a map.
        is_one: Whether None stands for the first that they share alone.

    Raises:
        InputError: If the quantity or the split is not there in each of them.
    """
    shared = shared_splits(surfaces, quantity)
    require(
        shared,
        f"the quantity must be one that every surface has, got {quantity!r}.",
        hint=f"Quantities that are there: {_available(surfaces)}.",
    )
    if split in (None, "all", NO_SPLIT) or (shared == (NO_SPLIT,) and split in surfaces[0].splits):
        return shared[:1] if is_one and split is None else shared
    _require_split(split, shared if quantity in QUANTITIES else surfaces[0].splits, quantity)
    return (split,)


def shared_splits(surfaces: Sequence[Surface], quantity: str) -> tuple[str, ...]:
    """Return the splits on which every surface has a quantity; one nameless one for a map."""
    if quantity not in QUANTITIES:
        return (NO_SPLIT,) if all(quantity in surface.maps for surface in surfaces) else ()
    stored = [getattr(surface, quantity) for surface in surfaces]
    return tuple(name for name in stored[0] if all(name in each for each in stored))


def on_same_axes(field: Field, fields: Sequence[Field]) -> list[Field]:
    """Return those of the fields whose coordinates mean the same as those of a field."""
    return [each for each in fields if each.axis_labels == field.axis_labels]


def missing_names(fields: Sequence[Field]) -> dict[str, str]:
    """Name the values of any of the fields that are not finite, and those that are not known."""
    found = {
        "not_finite": _joined_name(fields),
        "not_done": "not computed" * any(field.is_unknown.any() for field in fields),
    }
    return {sign: name for sign, name in found.items() if name}


def dotted_points(fields: Sequence[Field]) -> Literal["evaluated", "interpolated"] | None:
    """Return which points of interpolated fields get dots; None if all would run together.

    On planes, these are the fewer of the evaluated and the interpolated points.
    """
    partial = [field for field in fields if field.is_interpolated.any()]
    is_sparse = any(not field.y.size or field.is_not_done.mean() > 0.5 for field in partial)
    marked = [~field.is_not_done if is_sparse else field.is_interpolated for field in partial]
    if not 0 < max((each.sum() for each in marked), default=0) <= _MOST_DOTS:
        return None
    return "evaluated" if is_sparse else "interpolated"


def shared_name(fields: Sequence[Field]) -> str:
    """Name what fields of one quantity show, with the split if it is one field."""
    return fields[0].name if len(fields) == 1 else quantity_label(fields[0].quantity)


def marked_points(field: Field, fields: Sequence[Field]) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and columns of the points of a plane that get dots, (n,) each.

    The fields are all that share the figure, as in `dotted_points`.
    """
    which, is_interpolated = dotted_points(fields), field.is_interpolated
    is_marked = ~field.is_not_done if which == "evaluated" else is_interpolated
    rows, columns = np.nonzero(is_marked & (which is not None and is_interpolated.any()))
    return rows, columns


def interpolation_note(fields: Sequence[Field]) -> str:
    """Say how many points were computed and that others are interpolated; empty if none are."""
    partial = [field for field in fields if field.is_interpolated.any()]
    if not partial:
        return ""
    counts: dict[int, dict[str, None]] = {}
    for field in partial:
        counts.setdefault(field.is_not_done.size, {})[str(np.sum(~field.is_not_done))] = None
    shares = " and ".join(f"{' / '.join(each)} of {total}" for total, each in counts.items())
    rest = "the rest" if not any(field.is_unknown.any() for field in partial) else "others"
    tolerances = [field.tolerance for field in partial if field.tolerance is not None]
    note = f"{shares} points evaluated, {rest} interpolated"
    if which := dotted_points(fields):
        note = note.replace(which, f"{which} (dots)")
    if len(tolerances) == len(partial):
        note += f" to within {100 * max(tolerances):.2g} % (estimate)"
    return note


def _interpolated(
    surface: Surface, values: np.ma.MaskedArray, done: np.ndarray, refined_around: float | None
) -> np.ma.MaskedArray:
    """Fill what lies between computed points: of a plane, of a line or of each of several lines.

    Losses that a refinement left out are filled in as the refinement supposed, around that at the
    centre: its tolerance is for that.
    """
    if refined_around is not None and done[np.ix_(*[(0, -1)] * done.ndim)].all():
        return np.ma.masked_invalid(interpolated(values.filled(np.nan), done, refined_around))
    if surface.y is not None:
        has_area = min(values.shape) >= 2
        return interpolate_plane(surface.x, surface.y, values, done) if has_area else values
    if values.ndim == 1:
        return interpolate_line(surface.x, values, done)
    return np.ma.stack(
        [interpolate_line(surface.x, *each) for each in zip(values, done, strict=True)]
    )


def _require_split(split: str | None, splits: Sequence[str], quantity: str) -> None:
    """Check that a split was evaluated."""
    require(
        split in splits,
        f"the split must be one that was evaluated, got {split!r}.",
        hint=f"Splits with the {quantity}: {', '.join(splits)}.",
    )


def _available(surfaces: Sequence[Surface]) -> str:
    """List what the surfaces hold, as `loss (train, test); lambda_max`."""
    found: list[str] = []
    for surface in surfaces:
        stored = {quantity: getattr(surface, quantity) for quantity in QUANTITIES}
        found += [f"{name} ({', '.join(splits)})" for name, splits in stored.items() if splits]
        found += map(literal, surface.maps)
    return "; ".join(dict.fromkeys(found)) or "none"


def _describe(coordinates: np.ndarray) -> str:
    """Write the coordinates of an axis as its ends and its number of points."""
    return f"{coordinates[0]:g}:{coordinates[-1]:g} in {coordinates.size} points"


def _joined_name(fields: Sequence[Field]) -> str:
    """Name the values of fields that are not finite; empty if all are."""
    return " or ".join(
        name for name in _NOT_FINITE if any(name in field.not_finite_name for field in fields)
    )
