"""Eigenpairs with the error that the rounding inside the products adds to their residuals."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import torch

from landscape.hessian.eigenpairs import Eigenpairs
from landscape.hessian.operator import CurvatureOperator, multiplied
from landscape.problem.problem import Problem
from landscape.problem.rounding import Rounding, Values


def with_rounding(pairs: Eigenpairs, operator: CurvatureOperator, rounding: Rounding) -> Eigenpairs:
    """Measure the rounding of the products with the eigenvectors.

    With a residual r of rounded products and an exact matrix A = A' + D, A' being the rounded one,
    ||A v - theta v|| <= r + ||D v||: an eigenvalue of A lies within that distance of theta.

    Where all data are evaluated again in float64, ||D v|| is measured of each vector. Where a share
    of them is, it is measured of the vector with the largest |theta|, and of the sum of the others,
    for each of which the error of the sum counts.

    Args:
        pairs: Of the operator.
        operator: At the problem's own weights.
        rounding: Of the operator's problem; if the pairs are from products in float64, although the
            operator is not, with `in_double`.

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
    errors = rounding.of(
        products_with(vectors, operator.kind, operator.tensors),
        own=partial(operator.batch_products, vectors),
    )
    if not np.isfinite(errors).all():
        return pairs
    top, bottom = np.split(errors[row_of], [len(pairs.eigenvalues)])
    return replace(pairs, rounding=top, bottom_rounding=bottom)


def products_with(
    vectors: torch.Tensor, kind: str = "hessian", tensors: tuple[int, ...] | None = None
) -> Values:
    """Return the function that gives the products of the curvature with `vectors` (k, P).

    With numbers of parameter tensors it is the diagonal block of these, and P its size.
    """

    def values(problem: Problem, number: int) -> torch.Tensor:
        spec = problem.spec if tensors is None else problem.spec.only(tensors)
        problem.passes.write(None)
        with problem.derivatives.differentiating():
            graph = problem.derivatives.graph(number, kind, tensors=tensors)
            return multiplied(graph, vectors, spec, problem.passes)

    return values
