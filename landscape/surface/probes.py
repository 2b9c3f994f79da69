"""The Hessian at the points of a plane: its part in the plane, and its extreme eigenvalues."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations_with_replacement

from torch import Tensor

from landscape.directions.plane import Plane
from landscape.errors import NotFiniteError
from landscape.hessian.krylov.lanczos import lanczos
from landscape.hessian.operator import CurvatureOperator
from landscape.problem.problem import Problem
from landscape.reductions import dot


class PlaneCurvature:
    """Exact curvature of a loss in a plane: `curvature_xx`, `curvature_xy`, `curvature_yy`.

    They are the second derivatives of the loss by the plane's coordinates, d_i' H d_j, from one
    Hessian-vector product a direction; on a line there is `curvature_xx` alone.

    Args:
        problem: The loss.
        num_directions: Of the plane: 1 or 2.
    """

    def __init__(self, problem: Problem, num_directions: int) -> None:
        self._problem = problem
        self._pairs = list(combinations_with_replacement(range(num_directions), 2))
        self.names = tuple(f"curvature_{'xy'[i]}{'xy'[j]}" for i, j in self._pairs)

    def __call__(self, plane: Plane, w: Tensor) -> Mapping[str, float]:
        """Return name -> second derivative at weights `w` (P,)."""
        directions = plane.directions
        products = [self._problem.hessian_vector_product(direction, w) for direction in directions]
        values = [
            (
                dot(directions[i].to(products[j]), products[j])
                + dot(directions[j].to(products[i]), products[i])
            )
            / 2
            for i, j in self._pairs
        ]
        return dict(zip(self.names, values, strict=True))


class SpectrumMap:
    """Measures the extreme eigenvalues of the whole Hessian at a point.

    `lambda_max`, `lambda_min`, `lambda_ratio` = |lambda_min / lambda_max|, and `lambda_error`, the
    larger of the two residuals, within which there is an eigenvalue. All are NaN where the loss is
    not finite.

    Args:
        problem: The loss.
        tolerance: Relative, of both eigenvalues.
        max_matvecs: Limit on Hessian-vector products a point; where it ends the search,
            `lambda_error` shows it.

    Source:
        Li et al. (2018), Visualizing the Loss Landscape of Neural Nets, section 6 and Fig. 7 (the
        ratio).
    """

    names: tuple[str, ...] = ("lambda_max", "lambda_min", "lambda_ratio", "lambda_error")

    def __init__(
        self, problem: Problem, *, tolerance: float = 1e-2, max_matvecs: int = 100
    ) -> None:
        self._problem = problem
        self._tolerance = tolerance
        self._max_matvecs = min(max_matvecs, problem.spec.size + 2)

    def __call__(self, plane: Plane, w: Tensor) -> Mapping[str, float]:
        """Return name -> value at weights `w` (P,)."""
        try:
            pairs = lanczos(
                CurvatureOperator(self._problem, w),
                top_k=1,
                bottom_k=1,
                tolerance=self._tolerance,
                max_matvecs=self._max_matvecs,
                num_check_matvecs=0,
            )
        except NotFiniteError:
            return dict.fromkeys(self.names, math.nan)
        largest, smallest = float(pairs.eigenvalues[0]), float(pairs.bottom_eigenvalues[0])
        ratio = abs(smallest / largest) if largest else math.nan
        error = max(float(pairs.residuals[0]), float(pairs.bottom_residuals[0]))
        return dict(zip(self.names, (largest, smallest, ratio, error), strict=True))
