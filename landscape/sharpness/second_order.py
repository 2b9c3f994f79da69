"""What the Hessian says of sharpness: second-order predictions, and starts for the maximum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from landscape.ascent.ball import Ball
from landscape.errors import InputError, require
from landscape.hessian.krylov.lanczos import lanczos
from landscape.hessian.operator import CurvatureOperator, SymmetricOperator
from landscape.hessian.rounded import with_rounding, with_trace_rounding
from landscape.hessian.trace import trace
from landscape.problem.problem import Problem
from landscape.problem.rounding import Rounding
from landscape.reductions import dot
from landscape.results.identity import loss_trait
from landscape.results.sharpness import Taylor
from landscape.results.spectrum import Spectrum
from landscape.runtime.progress import SILENT, Progress

_ROUGH = 0.05  # relative tolerance of an eigenvector that a search starts from
_MOST_MATVECS = 30  # for it
_NUM_SAMPLES = 30  # of a trace


class ScaledOperator:
    """T A T of a symmetric operator A and a diagonal T.

    It is the curvature in the coordinates in which a ball is round.

    Attributes:
        size: P.
        dtype: Of the arithmetic inside a product.
        device: Where the vectors live.
    """

    def __init__(self, operator: SymmetricOperator, scaling: Tensor) -> None:
        self._operator = operator
        self._scaling = scaling
        self.size: int = operator.size
        self.dtype: torch.dtype = operator.dtype
        self.device: torch.device = operator.device

    def matvec(self, v: Tensor) -> Tensor:
        """Return the product with `v` (P,)."""
        return self._scaling * self._operator.matvec(self._scaling * v)


def top_eigenvector(
    problem: Problem, ball: Ball, *, seed: int = 0, progress: Progress = SILENT
) -> Tensor:
    """Return T v (P,), where v is roughly the top eigenvector of T H T.

    A convex loss rises most in this direction.

    Raises:
        InputError: If the loss cannot be differentiated twice.
    """
    operator = _scaled(CurvatureOperator(problem), ball)
    found = lanczos(
        operator,
        top_k=1,
        tolerance=_ROUGH,
        max_matvecs=min(_MOST_MATVECS, operator.size),
        num_check_matvecs=0,
        seed=seed,
        progress=progress,
    )
    v = found.vectors[0].to(operator.device)
    return v if ball.scaling is None else ball.scaling * v


def top_directions(
    problem: Problem,
    ball: Ball,
    *,
    seed: int = 0,
    announce: Callable[[str], None] = lambda text: None,
    progress: Progress = SILENT,
) -> list[Tensor]:
    """Return what `top_eigenvector` does, or say why not, for a loss without second derivatives."""
    try:
        return [top_eigenvector(problem, ball, seed=seed, progress=progress)]
    except InputError as exc:
        announce(f"max starts from no eigenvector: {exc.message}")
        return []


def measure_taylor(
    problem: Problem,
    ball: Ball,
    spectrum: Spectrum | None = None,
    *,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Taylor:
    """Measure the loss around the weights to second order, in a ball.

    The largest eigenvalue and the trace of T H T predict `max` and `avg` in a ball of p = 2 only;
    in others they are left out.

    Args:
        problem: The loss.
        ball: With its scaling T.
        spectrum: Of the same problem; its eigenvalue and trace are taken, where T is the identity.
        seed: Of random vectors.
        progress: Counts products.

    Raises:
        InputError: If the loss cannot be differentiated twice, or the spectrum is of other weights
            or data.
    """
    if spectrum is not None:
        _require_same(problem, spectrum)
    gradient = problem.gradient().vector
    plain = CurvatureOperator(problem)
    d = ball.steepest(gradient, 1.0)
    found = Taylor(ball.gain(gradient), dot(d, plain.matvec(d)), num_parameters=problem.spec.size)
    if ball.p != 2:
        return found
    if spectrum is not None and ball.scaling is None and spectrum.trace is not None:
        known = spectrum.trace
        return replace(
            found,
            lambda_max=spectrum.lambda_max,
            trace=known.value,
            trace_error=known.standard_error,
            rounding=spectrum.largest_rounding,
            trace_rounding=known.rounding,
        )
    operator = _scaled(plain, ball)
    pairs = lanczos(operator, top_k=1, num_check_matvecs=0, seed=seed, progress=progress)
    whole = trace(
        operator, subspace=pairs.space, num_samples=_NUM_SAMPLES, seed=seed, progress=progress
    )
    rounding = Rounding(plain.problem, seed=seed)
    pairs = with_rounding(pairs, plain, rounding, scaling=ball.scaling)
    largest = pairs.largest_rounding
    whole = with_trace_rounding(
        whole, plain, rounding, largest=largest, seed=seed, scaling=ball.scaling
    )
    return replace(
        found,
        lambda_max=float(pairs.eigenvalues[0]),
        trace=whole.value,
        trace_error=whole.standard_error,
        rounding=largest,
        trace_rounding=whole.rounding,
    )


def _scaled(operator: CurvatureOperator, ball: Ball) -> SymmetricOperator:
    return operator if ball.scaling is None else ScaledOperator(operator, ball.scaling)


def _require_same(problem: Problem, spectrum: Spectrum) -> None:
    recorded = spectrum.provenance
    require(
        recorded.weights_hash == problem.weights_hash,
        "the spectrum must be of the same weights, batch statistics and dtype.",
        hint="Compute it by `landscape.save(FILE, landscape.hessian(problem, trace=True))`.",
    )
    require(
        recorded.data_hash.get(spectrum.split) == problem.data_hash,
        "the spectrum must be of the same data.",
        hint="Pass the same `split`, `samples` and `data` to both.",
    )
    _, there, here = loss_trait(recorded.loss_function, problem.passes.loss_name)
    require(
        there == here,
        f"the spectrum must be of the same loss function, it is of {there}, not of {here}.",
        hint="Pass the same `loss` to both.",
    )
