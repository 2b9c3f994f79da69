"""The part of a surface that is drawn: one quantity on one split, with what is missing kept apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from landscape.errors import InputError
from landscape.plot.kinds import QUANTITIES
from landscape.results import Surface

_NORMS = {"filter": "filter norms", "layer": "layer norms", "none": "raw"}


@dataclass(frozen=True)
class Field:
    """One quantity of a surface on one split.

    Attributes:
        x: Coordinates along the first direction, (nx,).
        y: Coordinates along the second direction, (ny,); empty for a line.
        values: In the unit that is drawn, (ny, nx) or (nx,); masked where not computed or not finite.
        is_not_finite: Computed points whose value is NaN or infinite, shaped as `values`.
        is_not_done: Points that have not been computed, shaped as `values`.
        not_finite_name: What the values that are not finite are: `NaN`, `inf` or `NaN or inf`.
        center: Value at the origin; None where it was not recorded.
        quantity: `loss` or `accuracy`.
        split: Name of the data split.
        axis_labels: Of the first and second direction, with the unit.
    """

    x: np.ndarray
    y: np.ndarray
    values: np.ma.MaskedArray
    is_not_finite: np.ndarray
    is_not_done: np.ndarray
    not_finite_name: str
    center: float | None
    quantity: str
    split: str
    axis_labels: tuple[str, str]

    @property
    def name(self) -> str:
        """Split, quantity and unit, as on a colour bar."""
        return f"{self.split} {quantity_label(self.quantity)}"

    @property
    def finite(self) -> np.ndarray:
        """The values that may decide a scale, (n,)."""
        return np.asarray(self.values.compressed())


def quantity_label(quantity: str) -> str:
    """Name a quantity with its unit; a loss has none."""
    return "accuracy (%)" if quantity == "accuracy" else quantity


def select_field(surface: Surface, split: str, quantity: str) -> Field:
    """Take one quantity of a surface on one split, accuracy in percent.

    Raises:
        InputError: If the surface does not have them.
    """
    _require_split(split, choose_splits([surface], None, quantity), quantity)
    stored = getattr(surface, quantity)[split]
    factor = 100.0 if quantity == "accuracy" else 1.0
    raw = np.asarray(stored, dtype=np.float64) * factor
    done = np.asarray(surface.done, dtype=bool)
    is_finite = np.isfinite(raw)
    centers = surface.center_accuracy if quantity == "accuracy" else surface.center_loss
    return Field(
        x=np.asarray(surface.x, dtype=np.float64),
        y=np.empty(0) if surface.y is None else np.asarray(surface.y, dtype=np.float64),
        values=np.ma.masked_array(raw, mask=~(done & is_finite)),
        is_not_finite=done & ~is_finite,
        is_not_done=~done,
        not_finite_name=_not_finite_name(raw[done & ~is_finite]),
        center=centers[split] * factor if split in centers else None,
        quantity=quantity,
        split=split,
        axis_labels=(_axis_label(1, surface.normalization), _axis_label(2, surface.normalization)),
    )


def choose_splits(surfaces: Sequence[Surface], split: str | None, quantity: str) -> tuple[str, ...]:
    """Return the splits to draw, which every surface has.

    Args:
        surfaces: One or more.
        split: A name; `all` or None for every split that the surfaces share.
        quantity: `loss` or `accuracy`.

    Raises:
        InputError: If the quantity or the split is not there in each of them.
    """
    if quantity not in QUANTITIES:
        raise InputError(
            f"the quantity must be one of {', '.join(QUANTITIES)}, got {quantity!r}.",
            hint=f"Pass {QUANTITIES[0]} or {QUANTITIES[1]}.",
        )
    stored = [getattr(surface, quantity) for surface in surfaces]
    shared = tuple(name for name in stored[0] if all(name in each for each in stored))
    if not shared:
        raise InputError(
            f"the surfaces must have the {quantity} on one split at least, got none in common.",
            hint=f"Quantities that are there: {_available(surfaces)}.",
        )
    if split is None or split == "all":
        return shared
    _require_split(split, shared, quantity)
    return (split,)


def _require_split(split: str, splits: Sequence[str], quantity: str) -> None:
    """Check that a split was evaluated."""
    if split not in splits:
        raise InputError(
            f"the split must be one that was evaluated, got {split!r}.",
            hint=f"Splits with the {quantity}: {', '.join(splits)}.",
        )


def _available(surfaces: Sequence[Surface]) -> str:
    """List what each surface holds, as `loss (train, test)`."""
    found: dict[str, None] = {}
    for surface in surfaces:
        for quantity in QUANTITIES:
            if splits := getattr(surface, quantity):
                found[f"{quantity} ({', '.join(splits)})"] = None
    return "; ".join(found) or "none"


def _axis_label(number: int, normalization: str) -> str:
    return f"direction {number} ({_NORMS.get(normalization, normalization)})"


def _not_finite_name(values: np.ndarray) -> str:
    """Name the values that are not finite by those that occur."""
    has_nan, has_inf = np.isnan(values).any(), np.isinf(values).any()
    return "NaN or inf" if has_nan and has_inf else "inf" if has_inf else "NaN"
