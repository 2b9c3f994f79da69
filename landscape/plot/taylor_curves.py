"""Measures of sharpness by checkpoint, with what the Taylor expansion of the loss predicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from landscape.errors import require
from landscape.plot.names import list_results, shortened
from landscape.plot.scale import require_finite
from landscape.results.interval import half_width
from landscape.results.sharpness import Measure, Sharpness, SharpnessComparison
from landscape.results.sharpness_measures import MEASURES

ORDER = tuple(dict.fromkeys(("asc", "nstep", "max", "avg", "first_order", *MEASURES)))
"""Measures in the order of panels: ascents, the average, and then any other of the list."""

Checkpoints: TypeAlias = (
    "Sharpness | SharpnessComparison | Sequence[Sharpness | SharpnessComparison]"
)


@dataclass(frozen=True)
class Curve:
    """One measure of one checkpoint; arrays are (number of radii,), by radius.

    Attributes:
        result: All that was measured of the checkpoint.
        color: Number of its colour.
        measures: The measure at each radius, in ascending order.
        is_alone: Whether no other checkpoint has this colour, so that there is room for intervals.
    """

    result: Sharpness
    color: int
    measures: tuple[Measure, ...]
    is_alone: bool = True

    @property
    def name(self) -> str:
        """Name of the measure."""
        return self.measures[0].name

    @property
    def rho(self) -> np.ndarray:
        """Radii."""
        return np.array([measure.rho for measure in self.measures])

    @property
    def values(self) -> np.ndarray:
        """Rise of the loss."""
        return np.array([measure.sharpness for measure in self.measures])

    @property
    def errors(self) -> np.ndarray:
        """Half of each 95 % interval; NaN if it is unknown or would hide other curves."""
        return np.array([half_width(m.error if self.is_alone else None) for m in self.measures])

    @property
    def converged(self) -> np.ndarray:
        """Whether each met its goal."""
        return np.array([measure.converged for measure in self.measures])

    def predictions(self, rho: np.ndarray) -> list[tuple[str, np.ndarray]]:
        """Return `first order` and `second order` with what each predicts, as far as it is known.

        The first order is left out for the average, for which it is always 0. For `max` there are
        two of the second order, a lower and an upper one.
        """
        gain = self._gain()
        if gain is None:
            return []
        first = [] if self.name in ("avg", "first_order") else [rho * gain]
        return [
            *(("first order", line) for line in first),
            *(("second order", line) for line in self._second_order(rho, gain)),
        ]

    def second_order_error(self, rho: np.ndarray) -> np.ndarray | None:
        """Return half of the 95 % interval of the prediction for `avg`; None for the others."""
        taylor = self.result.taylor
        if self.name != "avg" or taylor is None or taylor.trace_error is None:
            return None
        reach = half_width(taylor.trace_error) + (taylor.trace_rounding or 0.0)
        share = reach / (2 * taylor.num_parameters)
        return self._square_length(rho) * share

    def _second_order(self, rho: np.ndarray, gain: float) -> list[np.ndarray]:
        """Return what gradient and Hessian predict."""
        taylor, one = self.result.taylor, self.measures[0]
        if taylor is None or one.m is not None:
            return []
        if one.name == "asc" and taylor.ascent_curvature is not None:
            return [rho * gain + rho**2 / 2 * taylor.ascent_curvature]
        if one.name == "max" and one.p == 2 and taylor.lambda_max is not None:
            bend = rho**2 / 2 * taylor.lambda_max
            return [bend, rho * gain + bend]
        if one.name == "avg" and one.p == 2 and taylor.trace is not None:
            return [self._square_length(rho) * taylor.trace / (2 * taylor.num_parameters)]
        return []

    def _gain(self) -> float | None:
        """Return the linear model's rise per unit of radius, on the measure's batches."""
        for measure in self.result.measures:
            if measure.name == "first_order":
                return measure.sharpness / measure.rho
        taylor = self.result.taylor
        return None if taylor is None or self.measures[0].m is not None else taylor.gradient_gain

    def _square_length(self, rho: np.ndarray) -> np.ndarray:
        """Return the mean square of ||T^-1 e||, which is not rho^2 for Gaussian perturbations."""
        shares = [each.radius_share for each in self.measures if each.radius_share is not None]
        return (rho * np.mean(shares)) ** 2 if shares else rho**2


def find_curves(
    results: Checkpoints, labels: Sequence[str] | None
) -> tuple[list[Curve], list[str]]:
    """Return the curves of all checkpoints, and what their colours mean.

    Raises:
        InputError: If nothing finite was measured, or the measures are of several balls or sizes
            of batches.
    """
    named = list(_name_checkpoints(*list_results(results, labels)))
    counts = Counter(name for name, _ in named)
    names = list(counts)
    curves = []
    for name, result in named:
        measures = sorted(result.measures, key=lambda each: each.rho)
        chosen = [tuple(one for one in measures if one.name == each) for each in ORDER]
        curves += [
            Curve(result, names.index(name), each, counts[name] == 1) for each in chosen if each
        ]
    require_finite(
        [np.empty(0), *(curve.values for curve in curves)],
        "sharpness needs at least one finite measure to be drawn",
        "Look at the loss of the checkpoint for NaN and inf, or pass a smaller `rho`.",
    )
    balls = {(each.p, each.adaptive, each.m) for curve in curves for each in curve.measures}
    require(
        len(balls) == 1,
        "the measures in one figure must be of one ball and one size of batches, got "
        f"{'; '.join(_ball(*ball) for ball in sorted(balls, key=str))}.",
        hint="Draw each in a figure of its own.",
    )
    return curves, names


def group_by_measure(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    """Return measure -> curves, in the order of panels.

    The first order is a line in the panels of the other measures, if there are any.
    """
    found = {curve.name for curve in curves}
    if found & {"asc", "nstep", "max"}:
        found.discard("first_order")
    return {name: [c for c in curves if c.name == name] for name in ORDER if name in found}


def ball_of(curves: Sequence[Curve]) -> str:
    """Say in which ball, and on batches of which size, all curves were measured."""
    one = curves[0].measures[0]
    return _ball(one.p, one.adaptive, one.m)


def _name_checkpoints(
    results: Sequence[Sharpness | SharpnessComparison], labels: Sequence[str]
) -> Iterator[tuple[str, Sharpness]]:
    """Yield the name and the sharpness of each checkpoint, those of comparisons one by one."""
    for label, result in zip(labels, results, strict=True):
        if isinstance(result, Sharpness):
            yield label, result
        else:
            prefix = f"{label}: " if label and len(results) > 1 else ""
            own = result.group_of or result.names
            for name, each in zip(own, result.checkpoints, strict=True):
                yield prefix + shortened(name), each


def _ball(p: float, adaptive: bool, m: int | None) -> str:
    norm = "\N{INFINITY}" if np.isinf(p) else f"{p:g}"
    size = "" if m is None else f", m = {m}"
    return f"p = {norm}{', adaptive' if adaptive else ''}{size}"
