"""Extreme eigenvalues on disjoint subsets of the data: their scatter and their bias."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from landscape.data.subset import disjoint_subsets
from landscape.hessian.eigenpairs import Eigenpairs
from landscape.hessian.krylov.lanczos import lanczos
from landscape.hessian.operator import CurvatureOperator, SymmetricOperator
from landscape.problem.batches import Data
from landscape.problem.problem import Problem
from landscape.reductions import dot
from landscape.results.spectrum import Fold
from landscape.runtime.progress import SILENT, Progress, never, reporting


def folds(
    problem: Problem,
    data: Data,
    *,
    folds: int,
    num_samples: int | None = None,
    tolerance: float | None = None,
    max_matvecs: int = 500,
    seed: int = 0,
    operator: Callable[[Problem], SymmetricOperator] = CurvatureOperator,
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
    subsets = disjoint_subsets(everything.targets, folds, num_samples=num_samples, seed=seed)
    found = []
    with reporting(progress, "folds", folds):
        for indices in subsets:
            if should_stop():
                break
            inside = problem.on(everything.take(indices))
            pairs = lanczos(
                operator(inside),
                top_k=1,
                bottom_k=1,
                tolerance=tolerance,
                max_matvecs=max_matvecs,
                num_check_matvecs=0,
                seed=seed,
                should_stop=should_stop,
            )
            if not pairs.converged and should_stop():
                break
            others = np.setdiff1d(np.arange(data.num_examples), indices.cpu())
            outside = operator(problem.on(everything.take(torch.from_numpy(others))))
            found.append(_fold(pairs, inside.num_examples, outside))
            progress.update(
                len(found), lambda_max=found[-1].lambda_max, held_out=found[-1].held_out
            )
    return tuple(found)


def _fold(pairs: Eigenpairs, num_examples: int, outside: SymmetricOperator) -> Fold:
    top = pairs.vectors[0]
    return Fold(
        num_examples=num_examples,
        lambda_max=float(pairs.eigenvalues[0]),
        lambda_min=float(pairs.bottom_eigenvalues[0]),
        residual=float(max(pairs.residuals[0], pairs.bottom_residuals[0])),
        held_out=dot(top, outside.matvec(top)),
        converged=pairs.converged,
    )
