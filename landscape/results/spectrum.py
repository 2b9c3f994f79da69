"""What is known of a Hessian: eigenvalues, trace, density, and how they change in training.

Nothing here imports torch, so that a stored result can be read and drawn without the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from landscape.results.curvature_parts import BlockCurvature, Fold
from landscape.results.display import Displayed, Record
from landscape.results.interval import Interval, Number
from landscape.results.provenance import Provenance


@dataclass(frozen=True)
class SecondLook(Record):
    """What a second, short run found beside the eigenvalues of the first, of which it sees nothing.

    Attributes:
        num_matvecs: Products that the second run used.
        largest: Its largest Ritz value; a missed or repeated eigenvalue at the top is one above the
            smallest of the top ones that were found.
        smallest: Its smallest.
        num_missed_top: Eigenvalues that belong among the top ones, and were put there.
        num_missed_bottom: Likewise at the bottom.
    """

    num_matvecs: int
    largest: float
    smallest: float
    num_missed_top: int = 0
    num_missed_bottom: int = 0


@dataclass(frozen=True)
class Trace(Record):
    """Trace of a matrix: exact on a subspace, estimated on its complement.

    Attributes:
        value: The estimate, in loss units.
        standard_error: Standard error of the estimate, from the samples.
        low: Lower end of the confidence interval, by Student's t, with the rounding.
        high: Upper end.
        confidence: Confidence level of the interval.
        num_samples: Number of random vectors.
        num_matvecs: Products used, those that made the subspace included.
        converged: Whether the error that was asked for was reached; True if none was asked for.
        rounding: Error from rounding, which the interval contains; None if it was not measured.
    """

    value: float
    standard_error: float
    low: float
    high: float
    confidence: float
    num_samples: int
    num_matvecs: int
    converged: bool = True
    rounding: float | None = None


@dataclass(frozen=True)
class Density(Record):
    """Spectral density: exact outliers, and Gauss quadratures of the rest from random probes.

    The density integrates to 1. An outlier has the mass 1 / P; the nodes of a probe have 1 -
    (outliers) / P together.

    Attributes:
        outliers: Eigenvalues that are known, (n,).
        outlier_residuals: Residual of each outlier, (n,).
        nodes: Nodes of each probe, (num_probes, m), ascending; NaN where a probe has fewer, since
            its Krylov space was exhausted: then they are eigenvalues.
        weights: Weight of each node, (num_probes, m); 0 where a probe has fewer.
        num_matvecs: Products used for the nodes.
        num_parameters: P.
        noise_floor: Absolute error of an eigenvalue that counts as rounding.
        rounding: Error of an eigenvalue from rounding; None if it was not measured.
    """

    outliers: np.ndarray
    outlier_residuals: np.ndarray
    nodes: np.ndarray
    weights: np.ndarray
    num_matvecs: int
    num_parameters: int
    noise_floor: float = 0.0
    rounding: float | None = None

    @property
    def num_probes(self) -> int:
        """Number of random probes."""
        return len(self.nodes)

    @property
    def num_nodes(self) -> int:
        """Largest number of nodes of a probe."""
        return int((self.weights > 0).sum(axis=1).max(initial=0))

    def _names(self) -> Sequence[str]:
        counts = ("num_probes", "num_nodes", "num_matvecs")
        return "outliers", "outlier_residuals", *counts, "rounding"


@dataclass(frozen=True, repr=False)
class Extremes:
    """Eigenvalues of a matrix at both ends of its spectrum, with what is known of their error.

    Attributes:
        eigenvalues: The algebraically largest ones, descending, (k,).
        residuals: ||A v - lambda v|| of each, (k,): an eigenvalue lies within it.
        bottom_eigenvalues: The algebraically smallest ones, ascending, (kb,).
        bottom_residuals: Their residuals, (kb,).
        num_matvecs: Products used, those for the residuals included.
        converged: Whether every one met the tolerance.
        tolerance: Relative tolerance that was asked for.
        noise_floor: Absolute error that counts as rounding; within it the tolerance is met too.
        rounding: Error of each of the largest from the rounding inside the products, (k,), see
            `landscape.problem.rounding.Rounding`; empty where it was not measured.
        bottom_rounding: The same for the smallest, (kb,).
    """

    eigenvalues: np.ndarray
    residuals: np.ndarray
    bottom_eigenvalues: np.ndarray
    bottom_residuals: np.ndarray
    num_matvecs: int
    converged: bool
    tolerance: float
    noise_floor: float
    rounding: np.ndarray = field(default_factory=partial(np.empty, 0), kw_only=True)
    bottom_rounding: np.ndarray = field(default_factory=partial(np.empty, 0), kw_only=True)

    @property
    def half_widths(self) -> tuple[np.ndarray, np.ndarray]:
        """Distance of each value within which an eigenvalue lies, at the top (k,) and bottom (kb,).

        It is the residual plus the rounding. The residual of an invariant space is 0, so that it
        counts as at least the noise floor.
        """
        top, bottom = (
            np.maximum(residuals, self.noise_floor) + (rounding if rounding.size else 0.0)
            for residuals, rounding in (
                (self.residuals, self.rounding),
                (self.bottom_residuals, self.bottom_rounding),
            )
        )
        return top, bottom

    @property
    def largest_rounding(self) -> float | None:
        """The largest error from rounding of any value; None if it was not measured."""
        return max([*self.rounding.tolist(), *self.bottom_rounding.tolist()], default=None)

    @property
    def is_certified(self) -> bool:
        """Whether every value met the tolerance, and the measured rounding is within it too."""
        values = np.append(self.eigenvalues, self.bottom_eigenvalues)
        rounding = np.append(self.rounding, self.bottom_rounding)
        if rounding.size < values.size:
            return False
        allowed = np.maximum(self.tolerance * np.abs(values), self.noise_floor)
        return self.converged and bool((rounding <= allowed).all())


@dataclass(frozen=True, repr=False)
class Spectrum(Extremes, Displayed):
    """Eigenvalues of a Hessian at both ends of its spectrum, and what else is known of it.

    Attributes:
        engine: `lanczos` or `pyhessian`.
        loss: Mean loss at the weights.
        accuracy: Accuracy there, or None if it does not exist.
        split: Name of the data split.
        provenance: Origin of the result.
        vectors: Eigenvectors, (k + kb, P), top ones first; None unless asked for.
        estimates: r^2 / gap of each of the largest, (k,): an estimate of its error, which certifies
            nothing; empty where unknown.
        bottom_estimates: The same for the smallest, (kb,).
        curvature: Name of the matrix: `hessian`, `ggn` or `fisher`.
        which: `algebraic`; or `magnitude`, where `eigenvalues` are the k largest in magnitude of
            all, and there are none at the bottom.
        second_look: Findings of a second run for missed and repeated eigenvalues, or None without.
        asymmetry: Largest |u'Hv - v'Hu| / |lambda|_max that was seen: the rounding of the products,
            or a sign that they are no Hessian's.
        memory: Place where the vectors were kept, in words.
        polished: Whether values and residuals were computed anew by products in float64.
        products: How products were computed: `exact` or `differences`.
        trace: Trace of the matrix.
        density: Density of the eigenvalues.
        blocks: Curvature layer by layer.
        folds: Extremes on disjoint subsets.
        layer_shares: Parameter tensor -> share of the squared length of each eigenvector, (k +
            kb,).
        gradient_norm: Euclidean norm of the gradient, or None if it was not computed.
        loss_rounding: Error of the loss from rounding, or None if it was not measured.
        gradient_rounding: Error of the norm of the gradient from rounding, likewise.
        gradient_overlaps: |cosine| between the gradient and each eigenvector, (k + kb,); empty if
            not computed.
        alignment: |cosine| between these and another checkpoint's eigenvectors, (k + kb, those);
            empty where not asked for.
        aligned_with: Name of that checkpoint's file.
        remark: What was asked for and not found; empty if there is nothing.
    """

    engine: str
    loss: float
    accuracy: float | None
    split: str
    provenance: Provenance
    vectors: np.ndarray | None = None
    estimates: np.ndarray = field(default_factory=partial(np.empty, 0))
    bottom_estimates: np.ndarray = field(default_factory=partial(np.empty, 0))
    curvature: str = "hessian"
    which: str = "algebraic"
    second_look: SecondLook | None = None
    asymmetry: float | None = None
    memory: str = ""
    polished: bool = False
    products: str = "exact"
    trace: Trace | None = None
    density: Density | None = None
    blocks: tuple[BlockCurvature, ...] = ()
    folds: tuple[Fold, ...] = ()
    layer_shares: dict[str, np.ndarray] = field(default_factory=dict)
    gradient_norm: float | None = None
    loss_rounding: float | None = None
    gradient_rounding: float | None = None
    gradient_overlaps: np.ndarray = field(default_factory=partial(np.empty, 0))
    alignment: np.ndarray = field(default_factory=partial(np.empty, 0))
    aligned_with: str = ""
    remark: str = ""

    def _names(self) -> Sequence[str]:
        fields = [name for name in super()._names() if name != "vectors"]
        ratios = ("absolute_ratio", "nonconvexity", "top_to_fifth", "ratio_intervals")
        single = ("is_certified", "lambda_max", "lambda_min", "ratio", "num_vectors")
        return [*fields, *single, *ratios]

    def summary(self) -> list[tuple[str, str]]:
        """Return both ends of the spectrum and the trace; see `Displayed`."""
        trace = self.trace
        return [
            ("curvature", f"{self.curvature} of the {self.split} loss"),
            ("lambda_max", Number(self.lambda_max).text),
            ("lambda_min", Number(self.lambda_min).text),
            *([] if trace is None else [("trace", Number(trace.value, trace.standard_error).text)]),
            ("converged", "yes" if self.converged else "no"),
            ("certified", "yes" if self.is_certified else "no"),
            ("products", str(self.num_matvecs)),
            *self.provenance.named_loss(),
        ]

    @property
    def lambda_max(self) -> float | None:
        """The algebraically largest eigenvalue."""
        return float(self.eigenvalues[0]) if self.eigenvalues.size else None

    @property
    def lambda_min(self) -> float | None:
        """The algebraically smallest eigenvalue; None where the engine does not find it."""
        return float(self.bottom_eigenvalues[0]) if self.bottom_eigenvalues.size else None

    @property
    def ratios(self) -> dict[str, Interval | None]:
        """Ratios by name, with the interval that residuals and rounding allow.

        A ratio is None if the interval of its denominator contains 0.
        """
        top, bottom = (
            list(map(Interval.around, values.tolist(), errors.tolist()))
            for values, errors in zip(
                (self.eigenvalues, self.bottom_eigenvalues), self.half_widths, strict=True
            )
        )
        signed, inverse = _ratio(top[:1], bottom[:1]), _ratio(bottom[:1], top[:1])
        return {
            "lambda_max / lambda_min": signed,
            "|lambda_max / lambda_min|": signed and abs(signed),
            "|lambda_min / lambda_max|": inverse and abs(inverse),
            "lambda_1 / lambda_5": _ratio(top[:1], top[4:5]),
        }

    @property
    def ratio_intervals(self) -> dict[str, list[float] | None]:
        """Attribute that gives a ratio -> ends of its interval, or None as in `ratios`."""
        names = ("ratio", "absolute_ratio", "nonconvexity", "top_to_fifth")
        return {
            name: ratio and [ratio.low, ratio.high]
            for name, ratio in zip(names, self.ratios.values(), strict=True)
        }

    @property
    def num_vectors(self) -> int:
        """Number of eigenvectors that are kept."""
        return 0 if self.vectors is None else len(self.vectors)

    @property
    def ratio(self) -> float | None:
        """lambda_max / lambda_min, signed (S000 Table I).

        It is None if lambda_min is 0 within its error.
        """
        return _value(self.ratios["lambda_max / lambda_min"])

    @property
    def absolute_ratio(self) -> float | None:
        """|lambda_max / lambda_min|, as S000 Table I prints it; None as for `ratio`."""
        return _value(self.ratios["|lambda_max / lambda_min|"])

    @property
    def nonconvexity(self) -> float | None:
        """|lambda_min / lambda_max| (Li et al. 2018); None if lambda_max is 0 within its error."""
        return _value(self.ratios["|lambda_min / lambda_max|"])

    @property
    def top_to_fifth(self) -> float | None:
        """lambda_1 / lambda_5; None if lambda_5 does not exist or is 0 within its error."""
        return _value(self.ratios["lambda_1 / lambda_5"])


def _ratio(numerator: Sequence[Interval], denominator: Sequence[Interval]) -> Interval | None:
    """Divide the first of each; None if one is missing or the divisor contains 0."""
    if not numerator or not denominator or denominator[0].low <= 0 <= denominator[0].high:
        return None
    return numerator[0] / denominator[0]


def _value(ratio: Interval | None) -> float | None:
    return None if ratio is None else ratio.value
