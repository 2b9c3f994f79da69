"""What the computations return: frozen dataclasses of numpy arrays that know their own error.

Nothing here imports torch, so that a stored result can be read and drawn without the model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from landscape.curvature_results import BlockCurvature, Density, Fold, SecondLook, Trace
from landscape.sharpness_results import Difference, GroupValue, Measure, Rescaled, Taylor

INTERPOLATION = "interpolation"
"""Begins the names of the deviations that a refinement measures at its end, one a split."""


def _nothing() -> np.ndarray:
    return np.empty(0)


@dataclass(frozen=True)
class Provenance:
    """Where a result comes from: enough to tell two results apart and to repeat one.

    Attributes:
        weights_hash: SHA-256 of the weights at the origin, in the dtype of the computation.
        data_hash: Split name -> SHA-256 of the inputs and targets, in evaluation order.
        num_examples: Split name -> number of examples.
        num_parameters: P.
        batchnorm: `stored`, `batch` or `recalibrate`.
        dtype: Of the evaluation; sums are accumulated in float64 in any case.
        plan: The execution plan, under which the numbers repeat bit for bit.
        settings: What the user asked for: names, arguments, seeds, the command line.
        versions: Package -> version.
        created: UTC time, ISO 8601.
    """

    weights_hash: str = ""
    data_hash: dict[str, str] = field(default_factory=dict)
    num_examples: dict[str, int] = field(default_factory=dict)
    num_parameters: int = 0
    batchnorm: str = "stored"
    dtype: str = "float32"
    plan: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    created: str = ""


@dataclass(frozen=True)
class Mark:
    """A point of interest on a line or a plane: a checkpoint, a snapshot of a trajectory, SAM's
    ascent point.

    Attributes:
        label: As a legend names it.
        kind: `checkpoint`, `snapshot` or `ascent`; snapshots are in the order of training.
        coordinates: Of the nearest point of the plane, one a direction.
        distance: Euclidean distance out of the plane; 0 up to rounding for what spans it.
        loss: Split name -> loss at the point of interest itself.
        plane_loss: Split name -> loss at the nearest point of the plane.
    """

    label: str
    kind: str
    coordinates: tuple[float, ...]
    distance: float = 0.0
    loss: dict[str, float] = field(default_factory=dict)
    plane_loss: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Directions:
    """Vectors that span a line or a plane in weight space, to be evaluated again or elsewhere.

    Attributes:
        vectors: (number of directions, P).
        names: What each is, as `landscape surface` was asked for it.
        weight_names: Name of each parameter tensor, in the order of the flat vector.
        weight_shapes: Shape of each.
        normalization: How they were scaled: `filter`, `layer` or `none`.
        origin: Weights at the origin of the plane, (P,); None where they are not known.
    """

    vectors: np.ndarray
    names: tuple[str, ...]
    weight_names: tuple[str, ...]
    weight_shapes: tuple[tuple[int, ...], ...]
    normalization: str
    origin: np.ndarray | None = None


@dataclass(frozen=True)
class Surface:
    """The loss, and where it exists the accuracy, on a line or a plane through the weights.

    Several lines through the same weights (repeats) have a first axis more: (number of lines, nx).

    Attributes:
        x: Coordinates along the first direction, (nx,).
        y: Coordinates along the second direction, (ny,); None for a line.
        loss: Split name -> mean loss, (ny, nx), or (nx,) for a line; element [i, j] is at
            (x[j], y[i]). NaN and inf are values; where `done` is False the entry means nothing.
        accuracy: Split name -> share of correct examples in [0, 1], shaped as `loss`; a split
            for which accuracy does not exist is absent.
        done: Which points have been computed, shaped as `loss`.
        center_loss: Split name -> loss at the origin (0, 0), whether or not it is a grid point.
        center_accuracy: Split name -> accuracy at the origin, where it exists.
        normalization: How the directions were scaled: `filter`, `layer` or `none`.
        direction_norms: Euclidean norm of each direction, (number of directions,).
        direction_hashes: SHA-256 of each direction.
        cosine: Cosine between the two directions, which are not orthogonalised; None for a line.
        provenance: Where it comes from.
        direction_names: What each direction is, as it was asked for: `random`, `to:other.pt`, ...
        standard_error: Split name -> standard error of each loss as an estimate of the whole
            split's, shaped as `loss`; a split that was evaluated whole is absent.
        maps: Name -> what else is known at the points, shaped as `loss`: curvature, eigenvalues.
        marks: Points of interest.
        explained_variance: Share of a trajectory's variance along each direction; None where there
            is none.
        deviations: What was not done in float32, one point at a time -> largest relative difference
            of the loss from what that gives, at some points chosen at random.
        tolerance: Error that points which were left out may have when they are interpolated, by
            estimate; None where none were left out on purpose.
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

    @property
    def num_lines(self) -> int | None:
        """Number of lines through the weights; None for a plane."""
        return None if self.y is not None else 1 if self.done.ndim == 1 else len(self.done)

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
        """Whether no point is left to compute: what is not done, a refinement left out, and then it
        is checked.
        """
        is_refined = all(f"{INTERPOLATION}, {split}" in self.deviations for split in self.splits)
        return self.is_complete or is_refined

    @property
    def trajectory(self) -> tuple[Mark, ...]:
        """The marks that are snapshots, in the order of training."""
        return tuple(mark for mark in self.marks if mark.kind == "snapshot")

    @property
    def largest_distance(self) -> float | None:
        """Of a snapshot out of the plane; None where there is none."""
        return max((mark.distance for mark in self.trajectory), default=None)

    @property
    def largest_loss_gaps(self) -> dict[str, float]:
        """Split name -> largest |loss of a snapshot itself - loss where it is drawn|, NaN where no
        two are finite.
        """
        return {
            split: _largest_gap(self.trajectory, split) for split in self.splits if self.trajectory
        }

    @property
    def largest_standard_errors(self) -> dict[str, float]:
        """Split name -> largest finite standard error; splits that were evaluated whole are
        absent.
        """
        known = {
            split: errors[np.isfinite(errors)] for split, errors in self.standard_error.items()
        }
        return {split: float(errors.max()) for split, errors in known.items() if errors.size}

    def extremes(self) -> tuple[dict[str, float | None], dict[str, float | None]]:
        """Return split -> smallest and split -> largest finite loss at the points done; None if
        none is.
        """
        finite = {
            split: values[self.done & np.isfinite(values)] for split, values in self.loss.items()
        }
        lowest = {
            split: float(values.min()) if values.size else None for split, values in finite.items()
        }
        highest = {
            split: float(values.max()) if values.size else None for split, values in finite.items()
        }
        return lowest, highest


def _largest_gap(marks: tuple[Mark, ...], split: str) -> float:
    gaps = np.array([abs(mark.loss[split] - mark.plane_loss[split]) for mark in marks])
    return float(gaps[np.isfinite(gaps)].max()) if np.isfinite(gaps).any() else float("nan")


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues of a Hessian at both ends of its spectrum, with what is known of their error.

    Attributes:
        eigenvalues: The algebraically largest ones, descending, (k,).
        residuals: ||H v - lambda v|| of each, (k,): an eigenvalue lies within it.
        bottom_eigenvalues: The algebraically smallest ones, ascending, (kb,).
        bottom_residuals: Their residuals, (kb,).
        num_matvecs: Hessian-vector products used, those for the residuals included.
        converged: Whether every one met the tolerance.
        tolerance: Relative tolerance that was asked for.
        noise_floor: Absolute error that counts as rounding: a value also meets the tolerance within
            it.
        engine: `lanczos` or `pyhessian`.
        loss: Mean loss at the weights.
        accuracy: Accuracy there; None where it does not exist.
        split: Name of the data split.
        provenance: Where it comes from.
        vectors: Eigenvectors, (k + kb, P), top ones first; None unless asked for.
        estimates: r^2 / gap of each of the largest, (k,): an estimate of its error, which certifies
            nothing; empty where unknown.
        bottom_estimates: Of the smallest, (kb,).
        curvature: Of which matrix: `hessian`, `ggn` or `fisher`.
        which: `algebraic`; or `magnitude`, where `eigenvalues` are the k largest in magnitude of
            all, and there are none at the bottom.
        second_look: What a second run found that was to find missed and repeated eigenvalues.
        asymmetry: Largest |u'Hv - v'Hu| / |lambda|_max that was seen: the rounding of the products,
            or a sign that they are no Hessian's.
        memory: Where the vectors were kept.
        polished: Whether values and residuals were computed anew by products in float64.
        trace: Of the matrix.
        density: Of the eigenvalues.
        blocks: Curvature layer by layer.
        folds: Extremes on disjoint subsets.
        layer_shares: Parameter tensor -> share of the squared length of each eigenvector, (k +
            kb,).
        gradient_norm: Euclidean norm of the gradient; None where it was not computed.
        gradient_overlaps: |cosine| between the gradient and each eigenvector, (k + kb,); empty
            where not computed.
        alignment: |cosine| between these and another checkpoint's eigenvectors, (k + kb, those);
            empty where not asked for.
        aligned_with: Name of that checkpoint's file.
        remark: What was asked for and not found; empty if there is nothing.
    """

    eigenvalues: np.ndarray
    residuals: np.ndarray
    bottom_eigenvalues: np.ndarray
    bottom_residuals: np.ndarray
    num_matvecs: int
    converged: bool
    tolerance: float
    noise_floor: float
    engine: str
    loss: float
    accuracy: float | None
    split: str
    provenance: Provenance
    vectors: np.ndarray | None = None
    estimates: np.ndarray = field(default_factory=_nothing)
    bottom_estimates: np.ndarray = field(default_factory=_nothing)
    curvature: str = "hessian"
    which: str = "algebraic"
    second_look: SecondLook | None = None
    asymmetry: float | None = None
    memory: str = ""
    polished: bool = False
    trace: Trace | None = None
    density: Density | None = None
    blocks: tuple[BlockCurvature, ...] = ()
    folds: tuple[Fold, ...] = ()
    layer_shares: dict[str, np.ndarray] = field(default_factory=dict)
    gradient_norm: float | None = None
    gradient_overlaps: np.ndarray = field(default_factory=_nothing)
    alignment: np.ndarray = field(default_factory=_nothing)
    aligned_with: str = ""
    remark: str = ""

    @property
    def lambda_max(self) -> float | None:
        """The algebraically largest eigenvalue."""
        return float(self.eigenvalues[0]) if self.eigenvalues.size else None

    @property
    def lambda_min(self) -> float | None:
        """The algebraically smallest eigenvalue; None where the engine does not find it."""
        return float(self.bottom_eigenvalues[0]) if self.bottom_eigenvalues.size else None

    @property
    def ratios(self) -> dict[str, Ratio | None]:
        """By name, with the interval that residuals and noise floor allow; None where the
        denominator's contains 0.
        """
        top, bottom = self._intervals(), self._intervals(at_bottom=True)
        signed = _ratio(top[:1], bottom[:1])
        return {
            "lambda_max / lambda_min": signed,
            "|lambda_max / lambda_min|": _magnitude(signed),
            "|lambda_min / lambda_max|": _magnitude(_ratio(bottom[:1], top[:1])),
            "lambda_1 / lambda_5": _ratio(top[:1], top[4:5]),
        }

    @property
    def ratio(self) -> float | None:
        """lambda_max / lambda_min, signed (S000 Table I); None if lambda_min is 0 within its
        error.
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
        """lambda_1 / lambda_5; None with fewer than five eigenvalues, or a fifth of 0 within its
        error.
        """
        return _value(self.ratios["lambda_1 / lambda_5"])

    def _intervals(self, *, at_bottom: bool = False) -> list[tuple[float, float, float]]:
        """Return value, lower and upper end of each eigenvalue at one end of the spectrum.

        The residual of an invariant space is 0 whatever the rounding of its products was.
        """
        values, residuals = (
            (self.bottom_eigenvalues, self.bottom_residuals)
            if at_bottom
            else (self.eigenvalues, self.residuals)
        )
        errors = np.maximum(residuals, self.noise_floor)
        return [
            (value, value - error, value + error)
            for value, error in zip(values.tolist(), errors, strict=True)
        ]


@dataclass(frozen=True)
class Ratio:
    """A ratio of two eigenvalues.

    Attributes:
        value: Of the two values.
        low: Smallest that their intervals allow.
        high: Largest.
    """

    value: float
    low: float
    high: float


def _ratio(
    numerator: list[tuple[float, float, float]], denominator: list[tuple[float, float, float]]
) -> Ratio | None:
    """Divide intervals (value, low, high); None where one is missing or the denominator's contains
    0.
    """
    if not numerator or not denominator or denominator[0][1] <= 0 <= denominator[0][2]:
        return None
    (value, *above), (below, *ends) = numerator[0], denominator[0]
    quotients = [a / b for a in above for b in ends]
    return Ratio(value / below, float(min(quotients)), float(max(quotients)))


def _magnitude(ratio: Ratio | None) -> Ratio | None:
    if ratio is None:
        return None
    low, high = sorted((abs(ratio.low), abs(ratio.high)))
    return Ratio(abs(ratio.value), 0.0 if ratio.low <= 0 <= ratio.high else low, high)


def _value(ratio: Ratio | None) -> float | None:
    return None if ratio is None else ratio.value


@dataclass(frozen=True)
class CurvatureHistory:
    """Extreme eigenvalues at the snapshots of a training run; arrays have one row a snapshot.

    Attributes:
        epoch: Of each snapshot, (n,).
        eigenvalues: The algebraically largest, descending, (n, k).
        residuals: Of each, (n, k).
        bottom_eigenvalues: The algebraically smallest, ascending, (n, kb).
        bottom_residuals: Of each, (n, kb).
        num_matvecs: Products used at each snapshot, (n,).
        converged: Whether every value of a snapshot met the tolerance, (n,).
        loss: Mean loss at each snapshot, (n,).
        learning_rate: Of the optimizer at each snapshot, (n,); NaN where it is not known.
        overlaps: Mean squared cosine of the principal angles between the spans of the top-k
            eigenvectors at each snapshot and at the one before, (n,); NaN for the first.
        done: Which snapshots have been computed, (n,).
        split: Name of the data split.
        provenance: Where it comes from; the weights are those of the last snapshot.
        weights_hashes: SHA-256 of the weights and buffers of each snapshot.
    """

    epoch: np.ndarray
    eigenvalues: np.ndarray
    residuals: np.ndarray
    bottom_eigenvalues: np.ndarray
    bottom_residuals: np.ndarray
    num_matvecs: np.ndarray
    converged: np.ndarray
    loss: np.ndarray
    learning_rate: np.ndarray
    overlaps: np.ndarray
    done: np.ndarray
    split: str
    provenance: Provenance
    weights_hashes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sharpness:
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

    @property
    def generalization_gap(self) -> float | None:
        """Test loss minus train loss (S001 Table 2); None where either is not known."""
        return (
            None if self.test_loss is None or self.split != "train" else self.test_loss - self.loss
        )


@dataclass(frozen=True)
class SharpnessComparison:
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


_LATER_COLUMNS = (
    "ascent_sharpness",
    "ema_test_loss",
    "ema_test_accuracy",
    "validation_loss",
    "validation_accuracy",
    "num_gradients",
)
"""Columns of a History that files of earlier versions do not have."""


@dataclass(frozen=True)
class History:
    """One row an epoch of a training run; every array is (num_epochs,), NaN where not measured.

    Attributes:
        epoch: 1, 2, ...
        learning_rate: At the first step of the epoch.
        train_loss: Mean of the criterion over the epoch's batches, as training saw them:
            augmented, label smoothing included, at the weights of each step.
        train_accuracy: Likewise.
        test_loss: Plain loss on the test set at the end of the epoch.
        test_accuracy: Likewise.
        test_top1_error: 1 - test_accuracy.
        test_top5_error: Share of test examples whose class is not among the five highest outputs.
        first_order_sharpness: Mean over the batches of rho ||g_B|| (S003 Algorithm 1 with the
            divisor corrected to the number of batches).
        seconds: Wall time of the epoch, evaluation included.
        ascent_sharpness: L^Asc - L (S001 Table 1) at the end of the epoch, on a fixed subset of the
            training set, without augmentation.
        ema_test_loss: As `test_loss`, at the moving average of the weights.
        ema_test_accuracy: Likewise.
        validation_loss: As `test_loss`, on what was held out of the training set.
        validation_accuracy: Likewise.
        num_gradients: Gradients of a batch computed in the epoch, those of SAM's ascents included.
        settings: How it was trained.
    """

    epoch: np.ndarray
    learning_rate: np.ndarray
    train_loss: np.ndarray
    train_accuracy: np.ndarray
    test_loss: np.ndarray
    test_accuracy: np.ndarray
    test_top1_error: np.ndarray
    test_top5_error: np.ndarray
    first_order_sharpness: np.ndarray
    seconds: np.ndarray
    ascent_sharpness: np.ndarray = field(default_factory=_nothing)
    ema_test_loss: np.ndarray = field(default_factory=_nothing)
    ema_test_accuracy: np.ndarray = field(default_factory=_nothing)
    validation_loss: np.ndarray = field(default_factory=_nothing)
    validation_accuracy: np.ndarray = field(default_factory=_nothing)
    num_gradients: np.ndarray = field(default_factory=_nothing)
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in _LATER_COLUMNS:
            if (
                getattr(self, name) is None or not getattr(self, name).size
            ):  # None in a file of an earlier version
                object.__setattr__(self, name, np.full(self.epoch.shape, np.nan))
