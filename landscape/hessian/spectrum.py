"""The spectrum of a problem's curvature with provenance: extremes, trace, density, layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from landscape.errors import require, require_one_of
from landscape.hessian.density import density as estimate_density
from landscape.hessian.differences import PRODUCTS, DifferenceOperator
from landscape.hessian.eigenpairs import Eigenpairs, RitzPairs
from landscape.hessian.eigenvectors import gradient_overlaps, layer_shares
from landscape.hessian.krylov.goal import Wanted
from landscape.hessian.krylov.krylov_sink import NOT_SAVED, KrylovSink
from landscape.hessian.krylov.lanczos import lanczos
from landscape.hessian.krylov.space import KrylovSpace, RitzDecomposition
from landscape.hessian.memory_plan import NUM_CHECK_MATVECS, plan_memory
from landscape.hessian.operator import CurvatureOperator
from landscape.hessian.parts import block_curvatures
from landscape.hessian.pyhessian import power_iteration, pyhessian_trace, require_pyhessian_can
from landscape.hessian.rounded import with_rounding, with_trace_rounding
from landscape.hessian.trace import trace as estimate_trace
from landscape.problem.problem import Problem
from landscape.problem.rounding import NUM_PIECES, Rounding, gradient_at, known_error, losses_at
from landscape.problem.weights import layers_of
from landscape.results.identity import Trait, loss_trait
from landscape.results.provenance import make_provenance
from landscape.results.spectrum import Spectrum
from landscape.runtime.progress import SILENT, Progress, never

_KNOWN = 1e-3  # of |lambda|_max: a residual up to which an eigenvalue is exact in a density

_SAFETY = 2  # times the largest error of a product with an eigenvector, any eigenvalue may move

ENGINES = ("lanczos", "pyhessian")


def hessian_spectrum(
    problem: Problem,
    *,
    top_k: int = 5,
    bottom_k: int = 1,
    which: str = "algebraic",
    curvature: str = "hessian",
    tolerance: float | None = None,
    max_matvecs: int = 500,
    num_check_matvecs: int = NUM_CHECK_MATVECS,
    seed: int = 0,
    engine: str = "lanczos",
    polish: bool = False,
    products: str = "exact",
    memory: int | None = None,
    trace: bool = False,
    relative_error: float | None = None,
    density: bool = False,
    num_probes: int = 5,
    blocks: bool = False,
    split: str = "train",
    save_vectors: bool = False,
    settings: Mapping[str, Any] | None = None,
    sink: KrylovSink = NOT_SAVED,
    should_stop: Callable[..., bool] = never,
    announce: Callable[[str], None] = lambda text: None,
    progress: Progress = SILENT,
) -> Spectrum:
    """Compute eigenvalues at both ends of the Hessian at the problem's weights.

    Each eigenvalue has a residual, within which an eigenvalue lies for certain. This is also what
    `landscape.hessian` calls.

        spectrum = landscape.hessian(problem, top_k=3, trace=True)
        spectrum.lambda_max, spectrum.trace.value

    Args:
        problem: The loss.
        top_k: Number of largest eigenvalues.
        bottom_k: Number of algebraically smallest eigenvalues; 0 with `which="magnitude"`.
        which: `algebraic`, or `magnitude` for the largest in magnitude.
        curvature: `hessian`, `ggn` (Gauss-Newton) or `fisher` (empirical Fisher matrix), see
            `landscape.hessian.operator.CurvatureOperator`.
        tolerance: Relative residual at which an eigenvalue has converged; None for what the dtype
            allows.
        max_matvecs: Limit on the matrix-vector products for the eigenvalues; trace, density and
            layers have limits of their own.
        num_check_matvecs: Products of the second run that looks for missed eigenvalues; 0 for none.
        seed: Seed of the random vectors.
        engine: `lanczos`, or `pyhessian` for the PyHessian package as a reference, which finds the
            extremes of the Hessian in magnitude, and the trace.
        polish: Whether to compute values and residuals once more by products in float64.
        products: `exact`, by differentiating twice; or `differences`, by central differences of
            gradients, for a Hessian that torch has no second derivative for. Their measured error
            counts as their rounding, and where it is large, as at the kinks of ReLU, they are
            refused. See `landscape.hessian.differences.DifferenceOperator`.
        memory: Bytes that vectors and graphs may take; None for a share of the free memory.
        trace: Whether to estimate the trace, with a confidence interval.
        relative_error: Relative error at which the trace is done, which implies `trace`; None for a
            fixed number of products.
        density: Whether to estimate the spectral density.
        num_probes: Number of random vectors of the density.
        blocks: Whether to compute the largest eigenvalue and the trace of each layer.
        split: Name of the data split, to be recorded.
        save_vectors: Whether the result has the eigenvectors, as `spectrum.vectors` (k, P).
        settings: What the user asked for, to be recorded.
        sink: Keeps the Krylov basis, so that a run that is killed can be resumed.
        should_stop: Is asked between products, in places with how many are to follow; if it says
            so, what is known is returned.
        announce: Is told where the vectors will be kept, before the start.
        progress: Counts products.

    Returns:
        Eigenvalues in loss units with residuals; `spectrum.converged` says whether all of them met
        the tolerance.

    Raises:
        InputError: If an option is unknown, or the numbers asked for do not fit.
    """
    trace = trace or relative_error is not None
    measured: dict[str, Any] = {
        "engine": engine,
        "curvature": curvature,
        "which": which,
        "products": products,
    }
    require_one_of("engine", engine, ENGINES)
    require_one_of("products", products, PRODUCTS)
    require(
        products == "exact"
        or (curvature == "hessian" and engine == "lanczos" and not (blocks or polish)),
        "differences of gradients give products of the whole Hessian, by Lanczos' method alone.",
        hint="Leave out `curvature`, `engine`, `blocks` and `polish`, or pass `products='exact'`.",
    )
    rounding = Rounding(problem, seed=seed)
    if engine == "pyhessian":
        asked = {"density": density, "blocks": blocks, curvature: True}
        require_pyhessian_can(name for name, is_asked in asked.items() if is_asked)
        require(
            which == "algebraic" and not polish,
            "PyHessian finds eigenvalues that are largest in magnitude, in the dtype of the run.",
            "Pass `engine='lanczos'` for `which` and `polish`.",
        )
        require(
            relative_error is None,
            "PyHessian's trace has a fixed number of samples.",
            "Leave `relative_error` out.",
        )
        pairs = power_iteration(
            problem,
            top_k=top_k,
            bottom_k=bottom_k,
            tolerance=tolerance,
            max_matvecs=max_matvecs,
            seed=seed,
            progress=progress,
        )
        if trace:
            found = pyhessian_trace(problem, seed=seed, progress=progress)
            plain = CurvatureOperator(problem)
            measured["trace"] = with_trace_rounding(
                found, plain, rounding, largest=pairs.largest_rounding, seed=seed
            )
        return _spectrum(problem, pairs, rounding, split, save_vectors, settings or {}, measured)
    run: dict[str, Any] = {"seed": seed, "should_stop": should_stop, "progress": progress}
    plan = plan_memory(
        problem.spec.size,
        device=problem.device,
        wanted=Wanted.checked(problem.spec.size, top_k, bottom_k, which).count,
        max_matvecs=max_matvecs,
        num_check_matvecs=num_check_matvecs,
        is_polished=polish,
        budget=memory and memory // 2,
    )
    operator: CurvatureOperator | DifferenceOperator
    if products == "differences":
        operator = DifferenceOperator(problem)
    else:
        graph_bytes = memory and memory - plan.num_bytes
        operator = CurvatureOperator(problem, kind=curvature, graph_bytes=graph_bytes)
    left = memory and 0  # bytes for graphs next to the operator's, which are kept to the end
    announce(plan.describe())
    announce(f"Products: {operator.describe()}.")
    pairs = lanczos(
        operator,
        top_k=top_k,
        bottom_k=bottom_k,
        which=which,
        tolerance=tolerance,
        max_matvecs=max_matvecs,
        num_check_matvecs=num_check_matvecs,
        polish=CurvatureOperator(problem.in_dtype(), kind=curvature, graph_bytes=left)
        if polish
        else None,
        memory=plan,
        sink=sink,
        **run,
    )
    of_products, of_pairs = rounding, rounding
    if isinstance(operator, DifferenceOperator):
        pairs = operator.with_errors(pairs)
    else:
        of_products = rounding.over(operator.problem)
        of_pairs = rounding.over(operator.problem, in_double=polish)
        pairs = with_rounding(pairs, operator, of_pairs)
    largest = pairs.largest_rounding
    if largest is not None:
        largest *= of_products.factor / of_pairs.factor  # of what is polished
    if trace:
        found = estimate_trace(operator, subspace=pairs.space, relative_error=relative_error, **run)
        measured["trace"] = with_trace_rounding(
            found, operator, of_products, largest=largest, seed=seed
        )
    if density:
        known = _known_pairs(pairs)
        measured["density"] = estimate_density(
            operator,
            outliers=known.values,
            residuals=known.residuals,
            vectors=known.vectors,
            num_probes=num_probes,
            floor=pairs.noise_floor,
            rounding=None if largest is None else _SAFETY * largest,
            **run,
        )
    if blocks:
        measured["blocks"] = block_curvatures(
            problem,
            kind=curvature,
            tolerance=tolerance,
            memory=memory and memory // 2,
            graph_bytes=left,
            **run,
        )
    measured["polished"] = polish
    return _spectrum(problem, pairs, rounding, split, save_vectors, settings or {}, measured)


def _known_pairs(pairs: Eigenpairs) -> RitzPairs:
    """Return the pairs of the Krylov space that are good enough not to be estimated by a density.

    Where a second look had to add to that space, only the pairs that were asked for.
    """
    look = pairs.second_look
    if not isinstance(pairs.space, KrylovSpace) or (
        look and look.num_missed_top + look.num_missed_bottom
    ):
        return pairs.pairs.take(_good(pairs.pairs))
    ritz = pairs.space.ritz()
    kept = _good(ritz)
    vectors = [pairs.space.vector(ritz.weights[:, index]) for index in kept]
    return RitzPairs(
        ritz.values[kept],
        ritz.residuals[kept],
        np.zeros(len(kept)),
        torch.stack(vectors) if vectors else pairs.vectors[:0],
    )


def _good(pairs: RitzPairs | RitzDecomposition) -> np.ndarray:
    return np.flatnonzero(pairs.residuals <= _KNOWN * np.abs(pairs.values).max())


def _spectrum(
    problem: Problem,
    pairs: Eigenpairs,
    rounding: Rounding,
    split: str,
    save_vectors: bool,
    settings: Mapping[str, Any],
    measured: dict[str, Any],
) -> Spectrum:
    here = problem.evaluate()
    errors = np.split(pairs.pairs.errors, [len(pairs.eigenvalues)])
    gradient_norm, overlaps = gradient_overlaps(problem, pairs.vectors)
    return Spectrum(
        eigenvalues=pairs.eigenvalues,
        residuals=pairs.residuals,
        bottom_eigenvalues=pairs.bottom_eigenvalues,
        bottom_residuals=pairs.bottom_residuals,
        num_matvecs=pairs.num_matvecs,
        converged=pairs.converged,
        tolerance=pairs.tolerance,
        noise_floor=pairs.noise_floor,
        rounding=pairs.rounding,
        bottom_rounding=pairs.bottom_rounding,
        loss=here.loss,
        accuracy=here.accuracy,
        split=split,
        provenance=make_provenance({split: problem}, settings),
        vectors=pairs.vectors.cpu().numpy() if save_vectors else None,
        estimates=errors[0],
        bottom_estimates=errors[1],
        second_look=pairs.second_look,
        asymmetry=pairs.asymmetry,
        memory=pairs.memory,
        layer_shares=layer_shares(problem.spec, pairs.vectors),
        gradient_norm=gradient_norm,
        loss_rounding=known_error(rounding.of(losses_at([None]), num_others=NUM_PIECES)),
        gradient_rounding=known_error(rounding.of(gradient_at(), num_others=3)),
        gradient_overlaps=overlaps,
        remark=pairs.remark,
        **measured,
    )


def parts_left(
    found: Spectrum,
    problem: Problem,
    *,
    trace: bool = False,
    relative_error: float | None = None,
    density: bool = False,
    num_probes: int = 5,
    blocks: bool = False,
    folds: int | None = None,
) -> list[str]:
    """Return what was asked for in addition to the extremes and is missing or not whole.

    Args:
        found: The spectrum.
        problem: The loss that it is of.
        trace: As for `hessian_spectrum`.
        relative_error: Likewise.
        density: Likewise.
        num_probes: Likewise.
        blocks: Likewise.
        folds: Number of subsets that was asked for; None for no subsets.
    """
    asked = {
        "trace": trace or relative_error is not None,
        "density": density,
        "blocks": blocks,
        "folds": folds is not None,
    }
    is_whole = {
        "trace": found.trace is not None and found.trace.converged,
        "density": found.density is not None
        and (
            found.density.num_probes == num_probes
            or len(found.density.outliers) == found.density.num_parameters
        ),
        "blocks": len(found.blocks) == len(layers_of(problem.spec)),
        "folds": len(found.folds) == folds,
    }
    return [name for name, is_asked in asked.items() if is_asked and not is_whole[name]]


def spectrum_traits(
    found: Spectrum, problem: Problem, split: str, num_eigenvalues: int, asked: Mapping[str, Any]
) -> Iterator[Trait]:
    """Yield what a stored spectrum must share with the one that is asked for.

    Args:
        found: The stored spectrum.
        problem: The loss that one is asked for of.
        split: Name of its data.
        num_eigenvalues: Number of eigenvalues at both ends together.
        asked: Field of `Spectrum` -> value; None for any.
    """
    there = found.provenance
    yield "weights", there.weights_hash, problem.weights_hash
    yield "split", found.split, split
    yield "data", there.data_hash.get(split, ""), problem.data_hash
    yield "batch normalization", there.batchnorm, problem.batchnorm
    yield "dtype", there.dtype, problem.plan.dtype
    yield loss_trait(there.loss_function, problem.passes.loss_name)
    yield "number of draws", there.plan.get("draws", 1), problem.plan.draws
    for name, value in asked.items():
        if value is not None:
            yield name, getattr(found, name), value
    if found.engine == "lanczos":  # others find what they find
        known = found.eigenvalues.size + found.bottom_eigenvalues.size
        yield "number of eigenvalues", known, num_eigenvalues
