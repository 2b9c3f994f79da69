"""The quantities of a report: what they are called, what they are, and how an entry has them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from landscape.report.entry import Entry
from landscape.results.interval import Number
from landscape.results.sharpness import SCALE, Measure
from landscape.results.sharpness_measures import MEASURES
from landscape.results.spectral_density import mass_near_zero
from landscape.results.spectrum import Spectrum

PERCENT = 100.0
_SMALL_GAP = 1e-5  # of a search for the maximum: as small as float32 shows it
_UNDEFINED = "undefined: the denominator is 0 within its error"


@dataclass(frozen=True)
class Quantity:
    """A row of the table.

    Attributes:
        key: In JSON, where numbers have no other unit.
        name: In tables.
        of: The number of an entry; without a value where it was not measured.
        meaning: What it is, and what its error is.
        factor: That it is multiplied by in tables.
        group: Heading that it stands under.
    """

    key: str
    name: str
    of: Callable[[Entry], Number]
    meaning: str
    factor: float = 1.0
    group: str = ""

    def shown(self, entry: Entry) -> Number:
        """Return the number as tables show it."""
        return self.of(entry).times(self.factor)


def quantities(rho: float) -> list[Quantity]:
    """Return the rows of the table.

    Args:
        rho: Radius of its sharpness measures.
    """
    return [*_LOSSES, *_CURVATURE, *(_sharpness(name, rho) for name in MEASURES)]


def summary_quantities() -> list[Quantity]:
    """Return the columns of S000's Table I, and the generalization gap."""
    known = {quantity.key: quantity for quantity in (*_LOSSES, *_CURVATURE)}
    keys = (
        "train_loss",
        "train_accuracy",
        "test_loss",
        "test_accuracy",
        "generalization_gap",
        "absolute_ratio",
    )
    return [known[key] for key in keys]


def test_error(entry: Entry) -> float | None:
    """Return the standard error of the test loss over its examples; None without single losses."""
    losses = np.empty(0) if entry.detail is None else entry.detail.test_losses
    return float(np.std(losses, ddof=1) / math.sqrt(losses.size)) if losses.size > 1 else None


def _train_loss(entry: Entry) -> Number:
    if entry.detail is None or entry.sharpness is None:
        return Number()
    return Number(entry.sharpness.loss, entry.detail.train_error)


def _train_accuracy(entry: Entry) -> Number:
    found = entry.sharpness
    if found is None or found.accuracy is None:
        return Number()
    is_sample = entry.detail is not None and entry.detail.measured.sample is not None
    return Number(
        found.accuracy,
        _binomial(found.accuracy, found.provenance.num_examples["train"] * is_sample),
    )


def _test_loss(entry: Entry) -> Number:
    return (
        Number()
        if entry.sharpness is None
        else Number(entry.sharpness.test_loss, test_error(entry))
    )


def _test_accuracy(entry: Entry) -> Number:
    found = entry.sharpness
    if found is None or entry.detail is None or found.test_accuracy is None:
        return Number()
    return Number(
        found.test_accuracy, _binomial(found.test_accuracy, entry.detail.test_losses.size)
    )


def _binomial(share: float, count: int) -> float | None:
    """Return the standard error of a share; None if all or none are correct."""
    return math.sqrt(share * (1 - share) / count) if count and 0 < share < 1 else None


def _gap(entry: Entry) -> Number:
    if entry.sharpness is None or entry.detail is None:
        return Number()
    errors = [error for error in (test_error(entry), entry.detail.train_error) if error is not None]
    return Number(entry.sharpness.generalization_gap, math.hypot(*errors) if errors else None)


def _gradient_norm(entry: Entry) -> Number:
    return Number() if entry.sharpness is None else Number(entry.sharpness.gradient_norm)


def _of_spectrum(find: Callable[[Spectrum], Number]) -> Callable[[Entry], Number]:
    return lambda entry: Number() if entry.spectrum is None else find(entry.spectrum)


def _extreme(spectrum: Spectrum, *, at_bottom: bool) -> Number:
    values, residuals = (
        (spectrum.bottom_eigenvalues, spectrum.bottom_residuals)
        if at_bottom
        else (spectrum.eigenvalues, spectrum.residuals)
    )
    if not values.size:
        return Number()
    error = max(float(residuals[0]), spectrum.noise_floor)
    return Number(float(values[0]), error, remark="" if spectrum.converged else "not converged")


def _ratio(spectrum: Spectrum, name: str) -> Number:
    found = spectrum.ratios[name]
    return (
        Number(remark=_UNDEFINED)
        if found is None
        else Number(found.value, low=found.low, high=found.high)
    )


def _trace(spectrum: Spectrum) -> Number:
    found = spectrum.trace
    return Number() if found is None else Number(found.value, found.standard_error)


def _near_zero(spectrum: Spectrum) -> Number:
    if spectrum.density is None:
        return Number()
    mass = mass_near_zero(spectrum.density)
    return Number(mass.value, mass.standard_error)


def _sharpness(name: str, rho: float) -> Quantity:
    return Quantity(
        f"sharpness_{name}",
        f"{MEASURES[name].label}, rho = {rho:g} (x 10^3)",
        partial(_measure, name=name, rho=rho),
        MEASURES[name].meaning,
        SCALE,
        "Sharpness",
    )


def _measure(entry: Entry, *, name: str, rho: float) -> Number:
    found = (
        []
        if entry.sharpness is None
        else [m for m in entry.sharpness.measures if m.key == (name, rho)]
    )
    return number_of(found[0]) if found else Number()


def number_of(measure: Measure) -> Number:
    """Return a sharpness measure with its error."""
    return Number(
        measure.sharpness, measure.error, remark="not converged" if _is_cut_short(measure) else ""
    )


def cut_short(entry: Entry) -> list[Measure]:
    """Return the measures that ended before their goal."""
    return (
        []
        if entry.sharpness is None
        else [measure for measure in entry.sharpness.measures if _is_cut_short(measure)]
    )


def _is_cut_short(measure: Measure) -> bool:
    return not measure.converged and (measure.gap is None or measure.gap > _SMALL_GAP)


def radii(entries: Sequence[Entry]) -> list[float]:
    """Return the radii that were measured, ascending."""
    return sorted(
        {
            measure.rho
            for entry in entries
            if entry.sharpness
            for measure in entry.sharpness.measures
        }
    )


def table_radius(entries: Sequence[Entry]) -> float:
    """Return the middle radius, or the lower of two, for the table; NaN without any."""
    found = radii(entries)
    return found[(len(found) - 1) // 2] if found else math.nan


_RESIDUAL = "\N{PLUS-MINUS SIGN} its residual or the rounding, whichever is larger: an eigenvalue lies within it"
_INTERVAL = "in brackets, what the errors of both eigenvalues allow"
_SE = "\N{PLUS-MINUS SIGN} standard error"
_FIT, _CURVED = "Fit and generalization", "Curvature (Hessian of the training loss)"

_LOSSES = (
    Quantity(
        "train_loss",
        "train loss",
        _train_loss,
        f"mean loss; {_SE} where a subset was taken",
        group=_FIT,
    ),
    Quantity(
        "train_accuracy",
        "train accuracy (%)",
        _train_accuracy,
        f"share of correct examples; {_SE} where a subset was taken",
        PERCENT,
        _FIT,
    ),
    Quantity(
        "test_loss",
        "test loss",
        _test_loss,
        f"mean loss on all test examples; {_SE} over them",
        group=_FIT,
    ),
    Quantity(
        "test_accuracy",
        "test accuracy (%)",
        _test_accuracy,
        f"share of correct test examples; {_SE} (binomial)",
        PERCENT,
        _FIT,
    ),
    Quantity(
        "generalization_gap",
        "generalization gap (x 10^3)",
        _gap,
        f"test loss minus train loss; {_SE} over the test examples",
        SCALE,
        _FIT,
    ),
    Quantity(
        "gradient_norm",
        "gradient norm",
        _gradient_norm,
        "length of the gradient of the training loss",
        group=_FIT,
    ),
)
_CURVATURE = (
    Quantity(
        "lambda_max",
        "lambda_max",
        _of_spectrum(partial(_extreme, at_bottom=False)),
        f"largest eigenvalue; {_RESIDUAL}",
        group=_CURVED,
    ),
    Quantity(
        "lambda_min",
        "lambda_min",
        _of_spectrum(partial(_extreme, at_bottom=True)),
        f"smallest eigenvalue; {_RESIDUAL}",
        group=_CURVED,
    ),
    Quantity(
        "ratio",
        "lambda_max / lambda_min",
        _of_spectrum(partial(_ratio, name="lambda_max / lambda_min")),
        f"signed; {_INTERVAL}",
        group=_CURVED,
    ),
    Quantity(
        "absolute_ratio",
        "|lambda_max / lambda_min|",
        _of_spectrum(partial(_ratio, name="|lambda_max / lambda_min|")),
        f"as S000's Table I prints it; {_INTERVAL}",
        group=_CURVED,
    ),
    Quantity(
        "nonconvexity",
        "|lambda_min / lambda_max|",
        _of_spectrum(partial(_ratio, name="|lambda_min / lambda_max|")),
        f"non-convexity (Li et al. 2018); {_INTERVAL}",
        group=_CURVED,
    ),
    Quantity(
        "top_to_fifth",
        "lambda_1 / lambda_5",
        _of_spectrum(partial(_ratio, name="lambda_1 / lambda_5")),
        f"largest over fifth largest eigenvalue; {_INTERVAL}",
        group=_CURVED,
    ),
    Quantity(
        "trace", "trace", _of_spectrum(_trace), f"sum of all eigenvalues; {_SE}", group=_CURVED
    ),
    Quantity(
        "mass_near_zero",
        "eigenvalues near 0 (%)",
        _of_spectrum(_near_zero),
        f"share of eigenvalues within a hundredth of the largest of 0; {_SE}",
        PERCENT,
        _CURVED,
    ),
)
