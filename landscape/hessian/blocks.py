"""Curvature layer by layer: the diagonal blocks of the matrix."""

from __future__ import annotations

from collections.abc import Callable

from landscape.hessian.krylov.lanczos import lanczos
from landscape.hessian.operator import CurvatureOperator
from landscape.hessian.trace import trace
from landscape.problem.problem import Problem
from landscape.problem.weights import layers_of
from landscape.results.spectrum import BlockCurvature
from landscape.runtime.progress import SILENT, Progress, never, reporting

NUM_TRACE_SAMPLES = 10
"""Random vectors for the trace of a block, beside the Krylov space of its largest eigenvalue."""


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
    layers, found = layers_of(problem.spec), []
    with reporting(progress, "layers", len(layers)):
        for name, tensors in layers.items():
            if should_stop():
                break
            operator = CurvatureOperator(
                problem, kind=kind, tensors=tensors, graph_bytes=graph_bytes
            )
            block = _curvature_of(name, operator, tolerance, max_matvecs, seed, memory, should_stop)
            if not block.converged and should_stop():
                break
            found.append(block)
            progress.update(len(found), largest=found[-1].lambda_max)
    return tuple(found)


def _curvature_of(
    name: str,
    operator: CurvatureOperator,
    tolerance: float | None,
    max_matvecs: int,
    seed: int,
    memory: int | None,
    should_stop: Callable[..., bool],
) -> BlockCurvature:
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
    whole = trace(
        operator,
        subspace=pairs.space,
        num_samples=NUM_TRACE_SAMPLES,
        seed=seed,
        should_stop=should_stop,
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
    )
