"""Both ends of a symmetric operator's spectrum from one Krylov space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from landscape.errors import require
from landscape.hessian.eigenpairs import (
    Eigenpairs,
    RitzPairs,
    certified_pairs,
    gaps_between,
    rayleigh_ritz,
)
from landscape.hessian.krylov.goal import Tolerance, Wanted, noise_floor, require_tolerance
from landscape.hessian.krylov.krylov_sink import NOT_SAVED, KrylovSink
from landscape.hessian.krylov.second_look import SecondRun, Seen
from landscape.hessian.krylov.space import KrylovSpace, RitzDecomposition
from landscape.hessian.memory_plan import NUM_CHECK_MATVECS, MemoryPlan, plan_memory
from landscape.hessian.operator import SymmetricOperator
from landscape.runtime.progress import SILENT, Progress, never, reporting

_CHECKED_SHARE = 32
"""Convergence is looked at after each product up to 64, then after each 32nd part of them."""


def lanczos(
    operator: SymmetricOperator,
    *,
    top_k: int,
    bottom_k: int = 0,
    which: str = "algebraic",
    tolerance: float | None = None,
    max_matvecs: int = 500,
    seed: int = 0,
    start: torch.Tensor | None = None,
    num_check_matvecs: int = NUM_CHECK_MATVECS,
    polish: SymmetricOperator | None = None,
    memory: int | MemoryPlan | None = None,
    sink: KrylovSink = NOT_SAVED,
    should_stop: Callable[[int], bool] = never,
    progress: Progress = SILENT,
) -> Eigenpairs:
    """Find the largest and smallest eigenvalues of a symmetric operator.

    Lanczos with full reorthogonalisation. It stops when, at both ends, min(r, r^2 / gap)
    <= max(tolerance |theta|, floor |lambda|_max), r being the residual, gap the distance to the
    nearest other Ritz value, and floor the rounding of the operator's dtype. One start vector sees
    one copy of a repeated eigenvalue, so short runs beside the vectors that were found look for
    more, until one finds none.

    Args:
        operator: Symmetric, size P.
        top_k: Number of largest eigenvalues.
        bottom_k: Number of smallest eigenvalues.
        which: `algebraic`, or `magnitude` for the `top_k` largest in magnitude.
        tolerance: Relative; by default what the operator's dtype can meet.
        max_matvecs: Limit on products, all included.
        seed: Of the start vectors.
        start: What to begin with (P,), e.g. a sum of eigenvectors of a matrix nearby; random if
            None.
        num_check_matvecs: Products of a look for missed eigenvalues; 0 for none.
        polish: The same matrix with products of a higher precision, which then replace those that
            certify: a value's error is of the order of the square of its vector's. It decides the
            default tolerance and the floor.
        memory: Bytes for the vectors, or a plan of where they are kept; half of what is free if
            None.
        sink: What the Krylov space is saved in, and resumed from.
        should_stop: Asked before each product, with the number of products that are still to be
            made if this one is; True ends the run with what is known. It makes as many as there are
            eigenvalues at least.
        progress: Counts products.

    Returns:
        Ritz pairs with residuals from products of their own: an eigenvalue lies within each.

    Raises:
        InputError: If the numbers asked for do not fit the size, or the vectors the memory.
        NotFiniteError: If a product is not finite.
        StoreError: If the sink holds a space of something else.

    Source:
        Parlett (1998), The Symmetric Eigenvalue Problem, chapters 11 and 13.
    """
    wanted = Wanted.checked(operator.size, top_k, bottom_k, which)
    require(
        max_matvecs >= 2 * wanted.count,
        f"max-matvecs must be at least twice the number of eigenvalues {wanted.count}, got "
        f"{max_matvecs}.",
    )
    require(
        num_check_matvecs >= 0,
        f"the products of a second look must be at least 0, got {num_check_matvecs}.",
    )
    certifier = operator if polish is None else polish
    goal = Tolerance(require_tolerance(tolerance, certifier.dtype), noise_floor(certifier.dtype))
    plan = (
        memory
        if isinstance(memory, MemoryPlan)
        else plan_memory(
            operator.size,
            device=operator.device,
            wanted=wanted.count,
            max_matvecs=max_matvecs,
            num_check_matvecs=num_check_matvecs,
            is_polished=polish is not None,
            budget=memory,
        )
    )
    space = KrylovSpace(operator, plan, seed=seed, start=start, sink=sink)
    look = SecondRun(
        operator, certifier, wanted, goal, plan, num_check_matvecs, max_matvecs, seed, should_stop
    )
    with reporting(progress, "lanczos", None):
        ritz = _extremes(space, wanted, goal, max_matvecs - wanted.count, should_stop, progress)
        pairs = _certified(space, ritz, wanted, certifier, is_polished=polish is not None)
        scale = max(float(np.abs(values).max()) for values in (ritz.values, pairs.values))
        num_matvecs = space.num_matvecs + wanted.count
        seen = (
            look.again(pairs, scale, num_matvecs)
            if goal.is_met_by(pairs, scale)
            else Seen(pairs, None, True)
        )
    pairs, k = seen.pairs, wanted.top
    return Eigenpairs(
        eigenvalues=pairs.values[:k],
        residuals=pairs.residuals[:k],
        bottom_eigenvalues=pairs.values[k:],
        bottom_residuals=pairs.residuals[k:],
        vectors=pairs.vectors,
        num_matvecs=num_matvecs + (seen.report.num_matvecs if seen.report else 0),
        converged=seen.is_complete and goal.is_met_by(pairs, scale),
        tolerance=goal.relative,
        noise_floor=goal.noise * scale,
        gaps=pairs.gaps,
        second_look=seen.report,
        asymmetry=space.deviation / scale if scale else 0.0,
        memory=plan.describe(),
        space=space,
    )


def _extremes(
    space: KrylovSpace,
    wanted: Wanted,
    goal: Tolerance,
    limit: int,
    should_stop: Callable[[int], bool],
    progress: Progress,
) -> RitzDecomposition:
    """Extend the space until its wanted pairs have converged, or it may not any more."""
    while True:
        is_over = (
            space.num_matvecs >= limit
            or should_stop(1 + wanted.count)
            or space.size == space.dimension
        )
        is_due = (
            is_over
            or space.is_full
            or space.num_matvecs % max(1, space.size // _CHECKED_SHARE) == 0
        )
        if space.size >= wanted.count and is_due:
            ritz = space.ritz()
            progress.update(space.num_matvecs, largest=ritz.values[-1], smallest=ritz.values[0])
            if is_over or goal.is_met(ritz.values, ritz.residuals, wanted.indices(ritz.values)):
                return ritz
            if space.is_full:
                space.restart(ritz, wanted.neighbours(ritz.values, space.plan.kept))
        space.extend()


def _certified(
    space: KrylovSpace,
    ritz: RitzDecomposition,
    wanted: Wanted,
    certifier: SymmetricOperator,
    *,
    is_polished: bool,
) -> RitzPairs:
    """Return the wanted pairs in order, with values and residuals from separate products."""
    indices = wanted.indices(ritz.values)
    vectors = (space.vector(ritz.weights[:, index]) for index in indices)
    gaps = gaps_between(ritz.values)
    if is_polished:
        pairs = rayleigh_ritz(certifier, torch.stack(list(vectors)))
        pairs = replace(pairs, gaps=gaps[np.sort(indices)[::-1]])  # both descend
    else:
        pairs = certified_pairs(certifier, vectors, gaps[indices])
    return pairs.take(wanted.indices(pairs.values))
