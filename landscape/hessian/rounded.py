"""Eigenpairs and the trace with the error from the rounding inside the products."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import torch

from landscape.hessian.differences import DifferenceOperator
from landscape.hessian.eigenpairs import Eigenpairs
from landscape.hessian.operator import CurvatureOperator, multiplied
from landscape.hessian.trace import random_signs
from landscape.problem.problem import Problem
from landscape.problem.rounding import NUM_PIECES, Rounding, Values, error_reach, known_error
from landscape.reductions import dot
from landscape.results.spectrum import Trace
from landscape.runtime.random_state import derived_seeds

_NUM_SIGNS = 3  # vectors of random signs, of which Student's t still makes something
_STREAM = 1 << 18  # tells them from other random vectors of the same seed


def with_rounding(
    pairs: Eigenpairs,
    operator: CurvatureOperator,
    rounding: Rounding,
    *,
    scaling: torch.Tensor | None = None,
) -> Eigenpairs:
    """Measure the rounding of the products with the eigenvectors.

    With a residual r of rounded products and an exact matrix A = A' + D, A' being the rounded one,
    ||A v - theta v|| <= r + ||D v||: an eigenvalue of A lies within that distance of theta.

    Where all data are evaluated again in float64, ||D v|| is measured of each vector. Where a share
    of them is, it is measured of the vector with the largest |theta|, and of the sum of the others,
    for each of which the error of the sum counts; batches are compared by their products with the
    sum of all.

    Args:
        pairs: Of the operator.
        operator: At the problem's own weights.
        rounding: Of the operator's problem; if the pairs are from products in float64, although the
            operator is not, with `in_double`.
        scaling: Diagonal T (P,) if the pairs are of T A T; None for A.

    Returns:
        The same pairs with their rounding; as they are where it cannot be measured.
    """
    vectors = pairs.vectors
    if not len(vectors):
        return pairs
    row_of = np.arange(len(vectors))
    if not rounding.is_cheap:
        values = np.append(pairs.eigenvalues, pairs.bottom_eigenvalues)
        row_of = (row_of != np.abs(values).argmax()).astype(int)
        rows = torch.from_numpy(row_of).to(vectors.device)
        vectors = torch.stack([vectors[rows == row].sum(0) for row in (0, 1)])
        vectors = vectors[: row_of.max() + 1]
    scale = partial(_scaled, scaling)
    whole = scale(vectors.sum(0))
    errors = rounding.of(
        products_with(vectors, operator.kind, operator.tensors, scaling=scaling),
        own=lambda number: scale(operator.batch_product(whole, number)),
    )
    if not np.isfinite(errors).all():
        return pairs
    top, bottom = np.split(errors[row_of], [len(pairs.eigenvalues)])
    return replace(pairs, rounding=top, bottom_rounding=bottom)


def with_trace_rounding(
    found: Trace,
    operator: CurvatureOperator | DifferenceOperator,
    rounding: Rounding,
    *,
    largest: float | None,
    seed: int = 0,
    scaling: torch.Tensor | None = None,
) -> Trace:
    """Add the rounding of the products to the interval of a trace.

    With an exact matrix A = A' + D, A' being the rounded one, the traces are tr(D) apart. That is
    the mean of u' D u over random signs u. 95 % of those are below the rounding, by Student's t. As
    they vary much where few eigenvalues of D matter, the largest one that is known is added.

    Args:
        found: Trace of the operator.
        operator: At the problem's own weights.
        rounding: What measures the rounding of the operator's problem.
        largest: Largest error of an eigenvalue from rounding; None if unknown.
        seed: Seed of the random signs.
        scaling: Diagonal T (P,) if the trace is of T A T; None for A, as with an operator of
            differences.

    Returns:
        The same trace with its rounding; as it is where that cannot be measured.
    """
    generator = torch.Generator().manual_seed(derived_seeds(1, seed, _STREAM)[0])
    signs = torch.stack([random_signs(operator, generator) for _ in range(_NUM_SIGNS)])

    def forms(products: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[dot(*each)] for each in zip(signs, products, strict=True)])

    if isinstance(operator, DifferenceOperator):
        errors = forms(operator.errors(signs)).abs().numpy()
    else:
        products = products_with(signs, operator.kind, operator.tensors, scaling=scaling)
        errors = rounding.of(lambda *at: forms(products(*at)), num_others=NUM_PIECES)
    if known_error(errors) is None:
        return found
    reach = float(error_reach(errors.ravel())) + (largest or 0.0)
    return replace(found, low=found.low - reach, high=found.high + reach, rounding=reach)


def products_with(
    vectors: torch.Tensor,
    kind: str = "hessian",
    tensors: tuple[int, ...] | None = None,
    *,
    scaling: torch.Tensor | None = None,
) -> Values:
    """Return the function that gives the products of the curvature with `vectors` (k, P).

    With numbers of parameter tensors it is the diagonal block of these, and P its size. With a
    scaling T (P,), it is T A T of the curvature A.
    """
    moved = _scaled(scaling, vectors)

    def values(problem: Problem, number: int) -> torch.Tensor:
        spec = problem.spec if tensors is None else problem.spec.only(tensors)
        problem.passes.write(None)
        with problem.derivatives.differentiating():
            graph = problem.derivatives.graph(number, kind, tensors=tensors)
            products = multiplied(graph, moved, spec, problem.passes)
        return products if scaling is None else _scaled(scaling, products.to(scaling.dtype))

    return values


def _scaled(scaling: torch.Tensor | None, vectors: torch.Tensor) -> torch.Tensor:
    return vectors if scaling is None else scaling.to(vectors.device) * vectors
