"""The quantities that conditions name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from landscape.results.interval import Interval
from landscape.results.sharpness_measures import MEASURES

EVALUATED = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
CURVATURES = ("lambda_max", "lambda_min", "trace")
PLAIN = (*EVALUATED, "generalization_gap", "gradient_norm", *CURVATURES, "lambda_ratio")
"""Names that stand alone. `lambda_ratio` is the signed lambda_max / lambda_min."""

ALIASES = {"loss": "train_loss", "accuracy": "train_accuracy"}

_PARENTS = {
    "generalization_gap": ("test_loss", "train_loss"),
    "lambda_ratio": ("lambda_max", "lambda_min"),
}


@dataclass(frozen=True, order=True)
class Quantity:
    """What a condition names.

    Attributes:
        name: One of `PLAIN` or `MEASURES`.
        rho: Radius of a measure; 0 for the others.
    """

    name: str
    rho: float = 0.0

    def __str__(self) -> str:
        return f"{self.name}@{self.rho!r}" if self.name in MEASURES else self.name


@dataclass(frozen=True)
class Known:
    """What is known of a quantity.

    Attributes:
        interval: Value and ends.
        remark: What else is to be said; empty for nothing.
    """

    interval: Interval
    remark: str = ""


def with_parents(wanted: Iterable[Quantity]) -> set[Quantity]:
    """Return these quantities and the two that each gap or ratio is computed from."""
    return {
        Quantity(parent, each.rho)
        for each in wanted
        for parent in _PARENTS.get(each.name, (each.name,))
    }


def with_derived(found: Mapping[Quantity, Known]) -> dict[Quantity, Known]:
    """Add the generalization gap and the ratio of the eigenvalues, where both parts are there."""
    every = dict(found)
    for name, parents in _PARENTS.items():
        first, second = (found.get(Quantity(parent)) for parent in parents)
        if first is not None and second is not None:
            is_ratio = name == "lambda_ratio"
            interval = (
                first.interval / second.interval if is_ratio else first.interval - second.interval
            )
            remarks = dict.fromkeys(filter(None, (first.remark, second.remark)))
            every[Quantity(name)] = Known(interval, "; ".join(remarks))
    return every
