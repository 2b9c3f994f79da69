"""Extreme eigenvalues part by part: of the weights of each layer, and on subsets of the data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

import numpy as np
import torch

from landscape.data.subset import disjoint_subsets
from landscape.hessian.krylov.lanczos import lanczos
from landscape.hessian.operator import CurvatureOperator
from landscape.hessian.rounded import with_rounding, with_trace_rounding
from landscape.hessian.trace import trace
from landscape.problem.batches import Data
from landscape.problem.problem import Problem
from landscape.problem.rounding import Rounding
from landscape.problem.weights import layers_of
from landscape.reductions import dot
from landscape.results.curvature_parts import BlockCurvature, Fold
from landscape.runtime.progress import SILENT, Progress, never, reporting

NUM_TRACE_SAMPLES = 10
"""Random vectors for the trace of a block, beside the Krylov space of its largest eigenvalue."""

Part = TypeVar("Part")
Found = TypeVar("Found", BlockCurvature, Fold)


def block_curvatures(
    problem: Problem,
    *,
    kind: str = "hessian",
    tolerance: float | None = None,
    max_matvecs: int = 100,
    seed: int = 0,
    memory: int | None = None,
    graph_bytes: int | None = None,
    should_stop: Callable[..., bool] = never,
    progress: Progress = SILENT,
) -> tuple[BlockCurvature, ...]:
    """Measure the largest eigenvalue and the trace of each layer's diagonal block.

    Args:
        problem: The loss.
        kind: `hessian`, `ggn` or `fisher`.
        tolerance: Relative, of the eigenvalues.
        max_matvecs: Limit on products for each block's eigenvalue.
        seed: Of the random vectors.
        memory: Bytes for the vectors, see `landscape.hessian.krylov.lanczos.lanczos`.
        graph_bytes: What kept graphs may take, see `landscape.hessian.operator.CurvatureOperator`.
        should_stop: Is asked before each product of an eigenvalue, in places with how many are to
            follow; if it says so, the layers that are not done are left out.
        progress: Counts layers.
    """
    layers = layers_of(problem.spec)

    def measure(name: str) -> BlockCurvature | None:
        operator = CurvatureOperator(
            problem, kind=kind, tensors=layers[name], graph_bytes=graph_bytes
        )
        pairs = lanczos(
            operator,
            top_k=1,
            tolerance=tolerance,
            max_matvecs=max_matvecs,
            num_check_matvecs=0,
            seed=seed,
            memory=memory,
            should_stop=should_stop,
        )
        if not pairs.converged and should_stop():
            return None
        rounding = Rounding(operator.problem, seed=seed)
        pairs = with_rounding(pairs, operator, rounding)
        whole = trace(
            operator,
            subspace=pairs.space,
            num_samples=NUM_TRACE_SAMPLES,
            seed=seed,
            should_stop=should_stop,
        )
        whole = with_trace_rounding(
            whole, operator, rounding, largest=pairs.largest_rounding, seed=seed
        )
        return BlockCurvature(
            name=name,
            num_parameters=operator.size,
            lambda_max=float(pairs.eigenvalues[0]),
            residual=float(pairs.residuals[0]),
            trace=whole.value,
            trace_error=whole.standard_error,
            num_matvecs=pairs.num_matvecs + whole.num_matvecs,
            converged=pairs.converged,
            rounding=pairs.largest_rounding,
            trace_rounding=whole.rounding,
        )

    return _of_each("layers", layers, measure, should_stop, progress, {"largest": "lambda_max"})


def folds(
    problem: Problem,
    data: Data,
    *,
    folds: int,
    num_samples: int | None = None,
    tolerance: float | None = None,
    max_matvecs: int = 500,
    seed: int = 0,
    operator: Callable[[Problem], CurvatureOperator] = CurvatureOperator,
    should_stop: Callable[..., bool] = never,
    progress: Progress = SILENT,
) -> tuple[Fold, ...]:
    """Find the largest and the smallest Hessian eigenvalue on each of several disjoint subsets.

    Eigenvalues of a subset are biased outwards: the largest eigenvalue is a convex function of the
    matrix, so on a random subset it is, in expectation, at least that on all data, and the smallest
    at most. The curvature along the subset's top eigenvector on the examples outside the subset is,
    in expectation, at most the largest on all data. If the subsets are of one size and together all
    data, both hold for the means over the subsets exactly, up to the tolerance, with `stored` batch
    normalization.

    Args:
        problem: The loss, at its own weights.
        data: Examples to draw from, those of the problem or more, that can be taken one by one.
        folds: Number of subsets, at least 2.
        num_samples: Examples in each; None for all of the data, in parts.
        tolerance: Relative, see `landscape.hessian.krylov.lanczos.lanczos`.
        max_matvecs: Limit on the products of each, the one for the held-out examples not counted.
        seed: Of the subsets and the start vectors.
        operator: Makes the matrix of a problem.
        should_stop: Is asked before each product, in places with how many are to follow; if it says
            so, the subsets that are not done are left out.
        progress: Counts subsets.

    Returns:
        One fold a subset; fewer if `should_stop` said so.

    Raises:
        InputError: If there are too few examples.
    """
    everything = data.examples
    subsets = disjoint_subsets(everything.labels, folds, num_samples=num_samples, seed=seed)

    def measure(indices: torch.Tensor) -> Fold | None:
        inside = problem.on(everything.take(indices))
        matrix = operator(inside)
        pairs = lanczos(
            matrix,
            top_k=1,
            bottom_k=1,
            tolerance=tolerance,
            max_matvecs=max_matvecs,
            num_check_matvecs=0,
            seed=seed,
            should_stop=should_stop,
        )
        if not pairs.converged and should_stop():
            return None
        pairs = with_rounding(pairs, matrix, Rounding(matrix.problem, seed=seed))
        others = np.setdiff1d(np.arange(data.num_examples), indices.cpu())
        outside = operator(problem.on(everything.take(torch.from_numpy(others))))
        top = pairs.vectors[0]
        return Fold(
            num_examples=inside.num_examples,
            lambda_max=float(pairs.eigenvalues[0]),
            lambda_min=float(pairs.bottom_eigenvalues[0]),
            residual=float(max(pairs.residuals[0], pairs.bottom_residuals[0])),
            held_out=dot(top, outside.matvec(top)),
            converged=pairs.converged,
            rounding=pairs.largest_rounding,
        )

    shown = {"lambda_max": "lambda_max", "held_out": "held_out"}
    return _of_each("folds", subsets, measure, should_stop, progress, shown)


def _of_each(
    task: str,
    parts: Collection[Part],
    measure: Callable[[Part], Found | None],
    should_stop: Callable[[], bool],
    progress: Progress,
    shown: Mapping[str, str],
) -> tuple[Found, ...]:
    """Return what is measured of each part; what is not done when it has to stop is left out.

    Args:
        task: Name of the parts.
        parts: What to measure.
        measure: Measures one of them, or returns None if it has to stop before it is done.
        should_stop: Is asked before each.
        progress: Counts parts.
        shown: Name of a number that the progress shows -> attribute of what is measured.
    """
    found: list[Found] = []
    with reporting(progress, task, len(parts)):
        for part in parts:
            measured = None if should_stop() else measure(part)
            if measured is None:
                break
            found.append(measured)
            values = {name: getattr(measured, attribute) for name, attribute in shown.items()}
            progress.update(len(found), **values)
    return tuple(found)
