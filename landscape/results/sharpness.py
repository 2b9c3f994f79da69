"""What is known of sharpness, of one checkpoint and of several.

Nothing here imports torch, so that a stored result can be read and drawn without the model, nor
numpy, so that the command line can take what it needs at once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from landscape.errors import InputError
from landscape.results.display import Displayed, Record
from landscape.results.interval import CONFIDENCE, Number, half_width

if TYPE_CHECKING:
    import numpy as np

    from landscape.results.provenance import Provenance

SCALE = 1e3
"""What S001's Table 2 multiplies sharpness and generalization gap by."""

VERDICTS = ("lower", "higher", "not distinguishable")


def norm_as_json(p: float) -> float | str:
    """Return p, or `inf` as a word."""
    return p if math.isfinite(p) else "inf"


@dataclass(frozen=True)
class Measure(Record):
    """One sharpness measure at one radius.

    Attributes:
        name: `asc`, `avg`, `max`, `nstep` or `first_order`.
        rho: Radius, in the norm of the ball.
        loss: Loss at the perturbed weights (mean over directions for `avg`).
        sharpness: `loss` minus the loss at the weights.
        standard_error: Over random directions; None where there are none.
        p: Norm of the ball.
        adaptive: Whether the ball is scaled elementwise by |w| + eta.
        steps: Gradient steps of the ascent, for `asc`, `nstep` and `max`; 0 for the others.
        radius_share: ||T^-1 e||_p / rho of the perturbation that was used; None for `first_order`.
        m: Examples in each of the batches whose values were averaged; None for the whole set at
            once.
        radius: What kept `nstep` in the ball: `path`, `sphere` or `ball`; empty for the others.
        num_directions: Antithetic pairs of `avg`; None for the others.
        data_error: Standard error for a larger set that the examples were drawn from; None if they
            are all there is.
        gap: Of `max`, by how much the linear model at the best perturbation e still rises inside
            the ball, over the sharpness: 0 where no small step leads further up.
        converged: Whether a goal was met: of `avg` the relative error, of `max` a small gap.
        rounding: Error of the sharpness from rounding, measured against float64; None where it was
            not measured.
    """

    name: str
    rho: float
    loss: float
    sharpness: float
    standard_error: float | None
    p: float
    adaptive: bool
    steps: int
    radius_share: float | None
    m: int | None = None
    radius: str = ""
    num_directions: int | None = None
    data_error: float | None = None
    gap: float | None = None
    converged: bool = True
    rounding: float | None = None

    @property
    def error(self) -> float | None:
        """Standard error from directions and data together; None if there is neither."""
        errors = [error for error in (self.standard_error, self.data_error) if error is not None]
        return math.hypot(*errors) if errors else None

    @property
    def error_with_rounding(self) -> float | None:
        """Standard error plus rounding; None if neither is known."""
        known = [each for each in (self.error, self.rounding) if each is not None]
        return sum(known) if known else None

    @property
    def half_width(self) -> float | None:
        """Half the width of the 95 % interval from directions, by Student's t, and from data.

        None if there is neither. Rounding is added to it.
        """
        if self.error is None:
            return None
        count = self.num_directions if (self.num_directions or 0) > 1 else None
        over_directions = half_width(self.standard_error or 0.0, num_values=count)
        return math.hypot(over_directions, half_width(self.data_error or 0.0))

    def as_dict(self) -> dict[str, Any]:
        """Return fields and errors; JSON has no infinity, which is the norm of a box."""
        errors = {"error": self.error, "half_width": self.half_width}
        return {**super().as_dict(), "p": norm_as_json(self.p), **errors}

    @property
    def key(self) -> tuple[str, float]:
        """What tells it from the other measures of one checkpoint."""
        return self.name, self.rho


@dataclass(frozen=True)
class Taylor(Record):
    """The loss around the weights to second order, which the measures are compared with.

    Attributes:
        gradient_gain: ||T g||_q, 1/p + 1/q = 1: how much the linear model gains per unit of radius.
        ascent_curvature: d' H d of the unit step d of one ascent; None if unknown.
        lambda_max: Largest eigenvalue of T H T; None if unknown.
        trace: Of T H T; None if unknown.
        trace_error: Standard error of it.
        num_parameters: P.
        rounding: Error of `lambda_max` from rounding; None if it was not measured.
        trace_rounding: Error of the trace from rounding; None if it was not measured.
    """

    gradient_gain: float
    ascent_curvature: float | None = None
    lambda_max: float | None = None
    trace: float | None = None
    trace_error: float | None = None
    num_parameters: int = 0
    rounding: float | None = None
    trace_rounding: float | None = None


@dataclass(frozen=True)
class Difference(Record):
    """A measure of a checkpoint or group minus another's, on the same data and directions.

    Attributes:
        name: Of the measure.
        rho: Radius.
        first: Name of the one.
        second: Name of the other; the difference is first minus second.
        value: The difference.
        low: Lower end of the confidence interval.
        high: Upper end.
        confidence: Of the interval.
        verdict: One of `VERDICTS`: what `first` is.
        source: What the interval is made of: `directions`, `data`, `directions and data`, `seeds`
            or `rounding`.
    """

    name: str
    rho: float
    first: str
    second: str
    value: float
    low: float
    high: float
    confidence: float
    verdict: str
    source: str

    @classmethod
    def around(
        cls,
        key: tuple[str, float],
        names: tuple[str, str],
        value: float,
        width: float,
        source: str,
        *,
        confidence: float = CONFIDENCE,
    ) -> Difference:
        """Return the difference of `names` in a measure, and the verdict of its interval.

        Args:
            key: Name and radius of the measure.
            names: Of the one and of the other.
            value: The difference.
            width: Half the width of the confidence interval.
            source: What the interval is made of.
            confidence: Of the interval.
        """
        low, high = value - width, value + width
        verdict = VERDICTS[2]
        if high < 0 or low > 0:
            verdict = VERDICTS[0] if high < 0 else VERDICTS[1]
        return cls(*key, *names, value, low, high, confidence, verdict, source)


@dataclass(frozen=True)
class GroupValue(Record):
    """A measure over the checkpoints of a group, such as seeds.

    Attributes:
        group: Its name.
        name: Of the measure, or `generalization_gap`, `loss`, `accuracy`.
        rho: Radius; NaN where there is none.
        mean: Over the checkpoints.
        deviation: Sample standard deviation; NaN of a single one.
        count: Number of checkpoints.
    """

    group: str
    name: str
    rho: float
    mean: float
    deviation: float
    count: int


@dataclass(frozen=True)
class Rescaled(Record):
    """A measure before and after the weights were rescaled without changing the function.

    Attributes:
        rescaling: What was rescaled.
        factor: By how much.
        output_change: Largest change of an output, relative to the largest output: rounding only.
        name: Of the measure.
        rho: Radius.
        before: Sharpness at the network's own weights.
        after: Sharpness at the rescaled ones.
        has_moved: Whether they differ by more than their error and a thousandth.
    """

    rescaling: str
    factor: float
    output_change: float
    name: str
    rho: float
    before: float
    after: float
    has_moved: bool


@dataclass(frozen=True)
class Certificate(Record):
    """Perturbations that prove how large the loss gets near the weights: L^Max is at least theirs.

    Losses are evaluated in float64 on the whole split, so whoever has the weights and the data can
    check them.

    Attributes:
        perturbations: e of each radius, (n, P), float64.
        rho: Radii, (n,): ||T^-1 e||_p <= rho.
        losses: Mean loss at w + e, (n,).
        loss: Mean loss at the weights w.
        p: Norm of the balls, at least 1; may be infinite.
        adaptive: Whether T = |w| + eta, in place of the identity.
        eta: Of that.
        measure: Name of the measure whose perturbations these are.
        split: Name of the data split.
        provenance: Where it comes from: hashes of weights and data, batch normalization.
    """

    perturbations: np.ndarray
    rho: np.ndarray
    losses: np.ndarray
    loss: float
    p: float
    adaptive: bool
    eta: float
    measure: str
    split: str
    provenance: Provenance


@dataclass(frozen=True, repr=False)
class Sharpness(Displayed):
    """Sharpness measures of one checkpoint on one set.

    Attributes:
        loss: Mean loss at the weights.
        accuracy: Accuracy there; None where it does not exist.
        gradient_norm: Euclidean norm of the gradient there; None where no measure needed it.
        measures: In the order in which they were asked for.
        split: Name of the data split.
        provenance: Where it comes from.
        test_loss: Mean loss on the test set; None where it was not measured.
        test_accuracy: Accuracy there.
        taylor: The loss around the weights to second order, as far as it is known.
        protocol: Name of the published protocol that was followed; empty for none.
        rescaled: The measures at other weights of the same function; empty if that was not asked
            for.
        loss_rounding: Error of the loss from rounding; None where it was not measured.
        gradient_rounding: Error of the norm of the gradient from rounding, likewise.
    """

    loss: float
    accuracy: float | None
    gradient_norm: float | None
    measures: tuple[Measure, ...]
    split: str
    provenance: Provenance
    test_loss: float | None = None
    test_accuracy: float | None = None
    taylor: Taylor | None = None
    protocol: str = ""
    rescaled: tuple[Rescaled, ...] = ()
    loss_rounding: float | None = None
    gradient_rounding: float | None = None

    def _names(self) -> Sequence[str]:
        return (
            "split",
            "protocol",
            "loss",
            "accuracy",
            "test_loss",
            "test_accuracy",
            "generalization_gap",
            "gradient_norm",
            "loss_rounding",
            "gradient_rounding",
            "measures",
            "taylor",
            "rescaled",
            "provenance",
        )

    def __getitem__(self, key: tuple[str, float]) -> Measure:
        """Return the measure of a name and radius: `sharpness["asc", 0.05]`.

        Raises:
            InputError: If there is none, naming what there is.
        """
        for measure in self.measures:
            if measure.key == key:
                return measure
        known = ", ".join(f"{name!r}, {rho:g}" for name, rho in (m.key for m in self.measures))
        raise InputError(f"there is no measure {key!r}; there are {known or 'none'}.")

    def summary(self) -> list[tuple[str, str]]:
        """Return the loss and every measure; see `Displayed`."""
        return [
            (f"{self.split} loss", Number(self.loss).text),
            *([] if self.accuracy is None else [("accuracy", Number(self.accuracy).text)]),
            *(
                (
                    f"{measure.name} at {measure.rho:g}",
                    Number(measure.sharpness, measure.error).text,
                )
                for measure in self.measures
            ),
            *self.provenance.named_loss(),
        ]

    @property
    def generalization_gap(self) -> float | None:
        """Test loss minus train loss (S001 Table 2); None where either is not known."""
        return (
            None if self.test_loss is None or self.split != "train" else self.test_loss - self.loss
        )


@dataclass(frozen=True, repr=False)
class SharpnessComparison(Displayed):
    """Sharpness of several checkpoints on the same data and directions.

    Attributes:
        names: Of the checkpoints, in order.
        checkpoints: Their measures.
        differences: Of every two checkpoints, or of every two groups.
        groups: Mean and deviation of each group; empty where there are no groups.
        group_of: Name of the group of each checkpoint; empty where there are no groups.
    """

    names: tuple[str, ...]
    checkpoints: tuple[Sharpness, ...]
    differences: tuple[Difference, ...] = ()
    groups: tuple[GroupValue, ...] = ()
    group_of: tuple[str, ...] = ()

    def summary(self) -> list[tuple[str, str]]:
        """Return what was compared and the verdicts; see `Displayed`."""
        verdicts = Counter(difference.verdict for difference in self.differences)
        return [
            ("checkpoints", ", ".join(self.names)),
            *((verdict, f"{verdicts[verdict]} differences") for verdict in VERDICTS),
        ]
