"""The rows of a report: what they are called, what they are, and how an entry has them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter

from landscape.report.entry import Detail, Entry
from landscape.results.headlines import RATIO_REMARK
from landscape.results.interval import Number
from landscape.results.sharpness import SCALE, Measure
from landscape.results.sharpness_measures import MEASURES
from landscape.results.spectral_density import Mass, mass_near_zero
from landscape.results.spectrum import Spectrum, Trace
from landscape.sharpness.rises import standard_error

PERCENT = 100.0
_SMALL_GAP = 1e-5  # of a search for the maximum: as small as float32 shows it
_UNDEFINED = "undefined: the denominator is 0 within its error"


@dataclass(frozen=True)
class ReportRow:
    """A quantity of the table.

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


def report_rows(rho: float) -> list[ReportRow]:
    """Return the rows of the table.

    Args:
        rho: Radius of its sharpness measures.
    """
    return [
        *_PLAIN,
        *(
            ReportRow(
                f"sharpness_{kind.name}",
                f"{kind.label}, rho = {rho:g} (x 10^3)",
                partial(number_of, name=kind.name, rho=rho),
                f"{kind.meaning}; {_WITH_ROUNDING}",
                SCALE,
                "Sharpness",
            )
            for kind in MEASURES.values()
        ),
    ]


def summary_rows() -> list[ReportRow]:
    """Return the columns of S000's Table I, and the generalization gap."""
    keys = (
        "train_loss",
        "train_accuracy",
        "test_loss",
        "test_accuracy",
        "generalization_gap",
        "absolute_ratio",
    )
    return [row for row in _PLAIN if row.key in keys]


def _of_sharpness(
    name: str, error: Callable[[Detail], float | None] = lambda detail: None
) -> Callable[[Entry], Number]:
    """Return what reads a value that is stored with the measures, and its standard error."""

    def find(entry: Entry) -> Number:
        if entry.detail is None:
            return Number()
        return Number(getattr(entry.detail.measured.result, name), error(entry.detail))

    return find


def _test_error(detail: Detail) -> float | None:
    """Return the standard error of the test loss over its examples; None without single losses."""
    return standard_error(detail.test_losses)


def _gap_error(detail: Detail) -> float | None:
    errors = [each for each in (_test_error(detail), detail.train_error) if each is not None]
    return math.hypot(*errors) if errors else None


def _train_accuracy_error(detail: Detail) -> float | None:
    result, is_sample = detail.measured.result, detail.measured.sample is not None
    return _binomial(result.accuracy, result.provenance.num_examples["train"] * is_sample)


def _binomial(share: float | None, count: int) -> float | None:
    """Return the standard error of a share; None if unknown, or if all or none are correct."""
    if share is None or not 0 < share < 1 or not count:
        return None
    return math.sqrt(share * (1 - share) / count)


def _of_spectrum(find: Callable[[Spectrum], Number]) -> Callable[[Entry], Number]:
    return lambda entry: Number() if entry.spectrum is None else find(entry.spectrum)


def _extreme(spectrum: Spectrum, *, end: str = "") -> Number:
    values = getattr(spectrum, f"{end}eigenvalues")
    if not values.size:
        return Number()
    error = float(spectrum.half_widths[end == "bottom_"][0])
    return Number(float(values[0]), error, remark="" if spectrum.converged else "not converged")


def _ratio(spectrum: Spectrum, name: str) -> Number:
    found = spectrum.ratios[name]
    if found is None:
        return Number(remark=_UNDEFINED)
    return Number(found.value, low=found.low, high=found.high)


def _estimate(found: Trace | Mass | None) -> Number:
    return Number() if found is None else Number(found.value, found.standard_error)


def number_of(entry: Entry, *, name: str, rho: float) -> Number:
    """Return a sharpness measure with its standard error and rounding together."""
    for measure in entry.measures:
        if measure.key == (name, rho):
            return Number(
                measure.sharpness,
                measure.error_with_rounding,
                remark="not converged" if is_cut_short(measure) else "",
            )
    return Number()


def is_cut_short(measure: Measure) -> bool:
    """Return whether a measure ended before its goal."""
    return not measure.converged and (measure.gap is None or measure.gap > _SMALL_GAP)


def radii(entries: Sequence[Entry]) -> list[float]:
    """Return the radii that were measured, ascending."""
    return sorted({measure.rho for entry in entries for measure in entry.measures})


_RESIDUAL = (
    "\N{PLUS-MINUS SIGN} its residual or the rounding, whichever is larger: an eigenvalue lies "
    "within it"
)
_INTERVAL = "in brackets, what the errors of both eigenvalues allow"
_SE = "\N{PLUS-MINUS SIGN} standard error"
_WITH_ROUNDING = f"{_SE}, where there is one, plus the rounding"
_FIT, _CURVED = "Fit and generalization", "Curvature (Hessian of the training loss)"

_PLAIN = (
    ReportRow(
        "train_loss",
        "train loss",
        _of_sharpness("loss", attrgetter("train_error")),
        f"mean loss; {_SE} where a subset was taken",
        group=_FIT,
    ),
    ReportRow(
        "train_accuracy",
        "train accuracy (%)",
        _of_sharpness("accuracy", _train_accuracy_error),
        f"share of correct examples; {_SE} where a subset was taken",
        PERCENT,
        _FIT,
    ),
    ReportRow(
        "test_loss",
        "test loss",
        _of_sharpness("test_loss", _test_error),
        f"mean loss on all test examples; {_SE} over them",
        group=_FIT,
    ),
    ReportRow(
        "test_accuracy",
        "test accuracy (%)",
        _of_sharpness(
            "test_accuracy",
            lambda each: _binomial(each.measured.result.test_accuracy, each.test_losses.size),
        ),
        f"share of correct test examples; {_SE} (binomial)",
        PERCENT,
        _FIT,
    ),
    ReportRow(
        "generalization_gap",
        "generalization gap (x 10^3)",
        _of_sharpness("generalization_gap", _gap_error),
        f"test loss minus train loss; {_SE} over the test examples",
        SCALE,
        _FIT,
    ),
    ReportRow(
        "gradient_norm",
        "gradient norm",
        _of_sharpness("gradient_norm"),
        "length of the gradient of the training loss",
        group=_FIT,
    ),
    ReportRow(
        "lambda_max",
        "lambda_max",
        _of_spectrum(_extreme),
        f"largest eigenvalue; {_RESIDUAL}",
        group=_CURVED,
    ),
    ReportRow(
        "lambda_min",
        "lambda_min",
        _of_spectrum(partial(_extreme, end="bottom_")),
        f"smallest eigenvalue; {_RESIDUAL}",
        group=_CURVED,
    ),
    ReportRow(
        "ratio",
        "lambda_max / lambda_min",
        _of_spectrum(partial(_ratio, name="lambda_max / lambda_min")),
        f"signed; {_INTERVAL}",
        group=_CURVED,
    ),
    ReportRow(
        "absolute_ratio",
        "|lambda_max / lambda_min|",
        _of_spectrum(partial(_ratio, name="|lambda_max / lambda_min|")),
        f"as Fainello et al. print it in their Table I; {_INTERVAL}. {RATIO_REMARK}",
        group=_CURVED,
    ),
    ReportRow(
        "nonconvexity",
        "|lambda_min / lambda_max|",
        _of_spectrum(partial(_ratio, name="|lambda_min / lambda_max|")),
        f"non-convexity (Li et al. 2018); {_INTERVAL}",
        group=_CURVED,
    ),
    ReportRow(
        "top_to_fifth",
        "lambda_1 / lambda_5",
        _of_spectrum(partial(_ratio, name="lambda_1 / lambda_5")),
        f"largest over fifth largest eigenvalue; {_INTERVAL}",
        group=_CURVED,
    ),
    ReportRow(
        "trace",
        "trace",
        _of_spectrum(lambda each: _estimate(each.trace)),
        f"sum of all eigenvalues; {_SE}",
        group=_CURVED,
    ),
    ReportRow(
        "mass_near_zero",
        "eigenvalues near 0 (%)",
        _of_spectrum(lambda each: _estimate(each.density and mass_near_zero(each.density))),
        f"share of eigenvalues within a hundredth of the largest of 0; {_SE}",
        PERCENT,
        _CURVED,
    ),
)
