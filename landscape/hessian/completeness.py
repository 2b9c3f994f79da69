"""Whether a spectrum that was computed before is the one that is asked for, and all of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from landscape.hessian.spectrum import Extras
from landscape.problem.problem import Problem
from landscape.problem.weights import layers_of
from landscape.results.spectrum import Density, Spectrum


def parts_left(
    found: Spectrum, problem: Problem, extras: Extras, num_folds: int | None = None
) -> list[str]:
    """Return what was asked for beside the extremes and is not there, or not whole.

    Args:
        found: The spectrum.
        problem: The loss that it is of.
        extras: What was asked for.
        num_folds: Number of subsets that was asked for; None for no subsets.
    """
    is_whole = {
        "trace": not extras.trace or (found.trace is not None and found.trace.converged),
        "density": not extras.density or _has_all_probes(found.density, extras.num_probes),
        "blocks": not extras.blocks or len(found.blocks) == len(layers_of(problem.spec)),
        "folds": num_folds is None or len(found.folds) == num_folds,
    }
    return [name for name, is_so in is_whole.items() if not is_so]


def _has_all_probes(density: Density | None, num_probes: int) -> bool:
    if density is None:
        return False
    return len(density.nodes) == num_probes or len(density.outliers) == density.num_parameters


def first_difference(
    found: Spectrum, problem: Problem, split: str, num_eigenvalues: int, asked: Mapping[str, Any]
) -> tuple[str, str, str] | None:
    """Return how a spectrum differs from the one that is asked for, as name, there, here.

    Only the first difference is returned; it is None if there is none.

    Args:
        found: The spectrum.
        problem: The loss that one is asked for of.
        split: Name of its data.
        num_eigenvalues: At both ends together.
        asked: Field of `Spectrum` -> value; None for any.
    """
    there = found.provenance
    pairs: dict[str, tuple[Any, Any]] = {
        "weights": (there.weights_hash, problem.weights_hash),
        "split": (found.split, split),
        "data": (there.data_hash.get(split, ""), problem.data_hash),
        "batch normalization": (there.batchnorm, problem.batchnorm),
        "dtype": (there.dtype, problem.plan.dtype),
        **{
            name: (getattr(found, name), value)
            for name, value in asked.items()
            if value is not None
        },
    }
    if found.engine == "lanczos":  # others find what they find
        pairs["number of eigenvalues"] = (
            found.eigenvalues.size + found.bottom_eigenvalues.size,
            num_eigenvalues,
        )
    return next(
        ((name, str(one), str(other)) for name, (one, other) in pairs.items() if one != other), None
    )
