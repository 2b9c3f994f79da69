"""Extreme eigenvalues at the snapshots of a training run, one after the other, saved as it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from landscape.errors import require
from landscape.hessian.eigenpairs import Eigenpairs
from landscape.hessian.eigenvectors import subspace_overlap
from landscape.hessian.krylov.lanczos import lanczos
from landscape.hessian.operator import CurvatureOperator
from landscape.hessian.rounded import with_rounding
from landscape.problem.problem import Problem
from landscape.problem.rounding import Rounding
from landscape.reductions import norm
from landscape.results.eigenvalue_history import CurvatureHistory
from landscape.results.identity import (
    MODEL_AND_DATA,
    Trait,
    item_traits,
    loss_trait,
    plan_traits,
    require_unchanged,
)
from landscape.results.provenance import make_provenance
from landscape.runtime.progress import SILENT, NullSink, Progress, Sink, never, reporting

_SAME_SETTINGS = (*MODEL_AND_DATA, "curvature", "tolerance", "max_matvecs", "seed")


@dataclass(frozen=True)
class TrainingPoint:
    """A snapshot of a training run, read when it is needed.

    Attributes:
        epoch: After which it was taken, or the step.
        load: Returns the loss with the snapshot's weights and buffers as its own, read anew each
            time.
        learning_rate: Of the optimizer then; NaN where it is not known.
    """

    epoch: float
    load: Callable[[], Problem]
    learning_rate: float = np.nan


def curvature_along(
    points: Sequence[TrainingPoint],
    *,
    top_k: int = 5,
    bottom_k: int = 1,
    every: int = 1,
    tolerance: float | None = None,
    max_matvecs: int = 500,
    seed: int = 0,
    split: str = "train",
    unit: str = "epoch",
    settings: Mapping[str, Any] | None = None,
    operator: Callable[[Problem], CurvatureOperator] = CurvatureOperator,
    sink: Sink[CurvatureHistory] | None = None,
    should_stop: Callable[[], bool] = never,
    progress: Progress = SILENT,
) -> CurvatureHistory:
    """Find both ends of the Hessian's spectrum along a run, and how its top eigenvectors turn.

    They are measured at the snapshots of the run.

    Each Lanczos run starts from the sum of the eigenvectors at the snapshot before and as much
    noise, without which an eigenvalue that has risen out of their span would be missed. What the
    sink holds already is not computed again, except that the eigenvectors of the snapshot before
    the first missing one are.

    Args:
        points: The snapshots, in the order of training.
        top_k: Number of algebraically largest eigenvalues.
        bottom_k: Number of algebraically smallest ones.
        every: Takes each so many-th snapshot, from the first, and the last one in any case.
        tolerance: Relative, see `landscape.hessian.krylov.lanczos.lanczos`.
        max_matvecs: Limit on products at each snapshot.
        seed: Of the start vectors.
        split: Name of the data split, to be recorded.
        unit: What the points' epochs count, see `CurvatureHistory`.
        settings: What the user asked for, to be recorded.
        operator: Makes the matrix of a problem; what it is, is to be in `settings` as `curvature`.
        sink: Takes the result after each snapshot, and writes it.
        should_stop: Is asked before each snapshot; if it says so, those left are not done.
        progress: Counts snapshots.

    Returns:
        The history; complete unless `should_stop` said so.

    Raises:
        InputError: If there are no snapshots, or the numbers asked for do not fit.
        StoreError: If the sink holds the curvature of something else.
    """
    points = _chosen(points, every)
    sink = sink or NullSink()
    asked = {"tolerance": tolerance, "max_matvecs": max_matvecs, "seed": seed}
    history = _empty_history(points, top_k, bottom_k, split, {**(settings or {}), **asked})
    history = replace(history, unit=unit)
    if (stored := sink.load()) is not None:
        require_unchanged(
            stored, CurvatureHistory, "the curvature along a run", _traits(stored, history)
        )
        history = stored
        if not stored.rounding.size:  # of a version that did not measure it
            history = replace(
                stored, rounding=history.rounding, bottom_rounding=history.bottom_rounding
            )

    def eigenpairs(matrix: CurvatureOperator, before: torch.Tensor | None) -> Eigenpairs:
        return lanczos(
            matrix,
            top_k=top_k,
            bottom_k=bottom_k,
            tolerance=tolerance,
            max_matvecs=max_matvecs,
            num_check_matvecs=0,
            seed=seed,
            start=None if before is None else _start(before, seed),
        )

    before: torch.Tensor | None = None
    with reporting(progress, "snapshots", len(points)):
        for index in np.flatnonzero(~history.done).tolist():
            if should_stop():
                break
            if index > 0 and before is None:
                before = eigenpairs(operator(points[index - 1].load()), None).vectors
            problem = points[index].load()
            matrix = operator(problem)
            rounding = Rounding(matrix.problem, seed=seed)
            pairs = with_rounding(eigenpairs(matrix, before), matrix, rounding)
            _write(history, index, problem.loss(), pairs, before)
            before = pairs.vectors
            sink.save(history)
            sink.flush()
            progress.update(index + 1, lambda_max=float(pairs.eigenvalues[0]))
    return history


def _chosen(points: Sequence[TrainingPoint], every: int) -> list[TrainingPoint]:
    require(every >= 1, f"every must be at least 1, got {every}.", "Pass `every=5`.")
    require(points, "curvature along training needs at least one snapshot, got none.")
    taken = list(points[::every])
    return taken if (len(points) - 1) % every == 0 else [*taken, points[-1]]


def _start(before: torch.Tensor, seed: int) -> torch.Tensor:
    """Return the sum of the eigenvectors (k, P) and noise of the same length, (P,)."""
    noise = torch.randn(
        before.shape[1], generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    old, new = before.sum(dim=0), noise.to(before)
    return old / norm(old) + new / norm(new)


def _empty_history(
    points: Sequence[TrainingPoint], top_k: int, bottom_k: int, split: str, settings: dict[str, Any]
) -> CurvatureHistory:
    count = len(points)
    return CurvatureHistory(
        epoch=np.array([point.epoch for point in points], dtype=float),
        eigenvalues=np.full((count, top_k), np.nan),
        residuals=np.full((count, top_k), np.nan),
        rounding=np.full((count, top_k), np.nan),
        bottom_eigenvalues=np.full((count, bottom_k), np.nan),
        bottom_residuals=np.full((count, bottom_k), np.nan),
        bottom_rounding=np.full((count, bottom_k), np.nan),
        num_matvecs=np.zeros(count, dtype=np.int64),
        converged=np.zeros(count, dtype=bool),
        loss=np.full(count, np.nan),
        learning_rate=np.array([point.learning_rate for point in points], dtype=float),
        overlaps=np.full(count, np.nan),
        done=np.zeros(count, dtype=bool),
        split=split,
        provenance=make_provenance({split: points[-1].load()}, settings),
        weights_hashes=tuple(point.load().weights_hash for point in points),
    )


def _write(
    history: CurvatureHistory,
    index: int,
    loss: float,
    pairs: Eigenpairs,
    before: torch.Tensor | None,
) -> None:
    """Put what was computed at a snapshot into the arrays."""
    top_k = len(pairs.eigenvalues)
    found = {
        "eigenvalues": pairs.eigenvalues,
        "residuals": pairs.residuals,
        "bottom_eigenvalues": pairs.bottom_eigenvalues,
        "bottom_residuals": pairs.bottom_residuals,
        "rounding": pairs.rounding if pairs.rounding.size else np.nan,
        "bottom_rounding": pairs.bottom_rounding if pairs.rounding.size else np.nan,
        "num_matvecs": pairs.num_matvecs,
        "converged": pairs.converged,
        "loss": loss,
        "done": True,
        "overlaps": np.nan
        if before is None
        else subspace_overlap(pairs.vectors[:top_k], before[:top_k]),
    }
    for name, value in found.items():
        getattr(history, name)[index] = value


def _traits(stored: CurvatureHistory, wanted: CurvatureHistory) -> Iterator[Trait]:
    """Yield what a history that is continued must share with the one that is asked for."""
    there, here = stored.provenance, wanted.provenance
    yield "number of snapshots", len(stored.epoch), len(wanted.epoch)
    yield "unit of positions", stored.unit, wanted.unit
    yield f"set of {wanted.unit}s", stored.epoch.tolist(), wanted.epoch.tolist()
    yield (
        "number of largest eigenvalues",
        stored.eigenvalues.shape[1],
        wanted.eigenvalues.shape[1],
    )
    yield (
        "number of smallest eigenvalues",
        stored.bottom_eigenvalues.shape[1],
        wanted.bottom_eigenvalues.shape[1],
    )
    yield "split", stored.split, wanted.split
    yield loss_trait(there.loss_function, here.loss_function)
    yield from item_traits(
        vars(there), vars(here), ("dtype", "num_examples", "data_hash", "batchnorm")
    )
    for epoch, before, now in zip(
        wanted.epoch, stored.weights_hashes, wanted.weights_hashes, strict=True
    ):
        yield f"weights_hash at epoch {epoch:g}", before, now
    unrecorded = {"is_default_size": here.plan["is_default_size"]}
    yield from plan_traits({**unrecorded, **there.plan}, here.plan)
    yield from item_traits(there.settings, here.settings, _SAME_SETTINGS)
