"""All checks of a checkpoint, one after the other."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from landscape.doctor.check_data import (
    check_augmentation,
    check_classes,
    check_inputs,
    check_recorded,
    check_smoothing,
)
from landscape.doctor.check_network import (
    check_filters,
    check_minimum,
    check_normalization,
    check_range,
)
from landscape.doctor.check_state import check_finite, check_names, check_tied
from landscape.doctor.findings import Finding, Severity
from landscape.errors import LandscapeError
from landscape.io.checkpoint import load_checkpoint
from landscape.problem.problem import Problem


def examine(
    path: str | os.PathLike[str],
    open_problems: Callable[[], Mapping[str, Problem]],
    *,
    seed: int = 0,
    state_key: str | None = None,
) -> list[Finding]:
    """Look for what would make a landscape wrong.

    An error on the way is a finding too, and ends the examination; so do values that are not
    finite.

    Args:
        path: Checkpoint.
        open_problems: Returns split name -> problem with the checkpoint's weights: `train`, and
            `test` where there is one. Called once the file has been read.
        seed: Of the random direction and of the augmentation.
        state_key: Which of several state dicts in the file, as for `open_problem`.

    Returns:
        One finding a check, those that found nothing included.
    """
    return list(_until_error(_findings(Path(path), open_problems, seed, state_key)))


def _until_error(findings: Iterator[Finding]) -> Iterator[Finding]:
    """Yield findings; an error that ends the examination is the last of them."""
    try:
        yield from findings
    except LandscapeError as exc:
        yield Finding("loading", Severity.PROBLEM, exc.message, exc.hint)


def _findings(
    path: Path,
    open_problems: Callable[[], Mapping[str, Problem]],
    seed: int,
    state_key: str | None,
) -> Iterator[Finding]:
    checkpoint = load_checkpoint(path, state_key)
    yield check_names(checkpoint.state_dict)
    yield (finite := check_finite(checkpoint.state_dict))
    if finite.severity != Severity.OK:
        return
    problems = open_problems()
    problem = problems["train"]
    yield check_tied(problem.copy_module(), checkpoint.state_dict)
    yield (inputs := check_inputs(problem))
    if inputs.severity == Severity.PROBLEM:
        return
    yield check_normalization(problem)
    yield check_filters(problem)
    loss = problem.loss()
    if not math.isfinite(loss):
        yield Finding(
            "minimum",
            Severity.PROBLEM,
            f"The loss at the weights is {loss}.",
            "Pass `dtype='float64'`, or `batchnorm='recalibrate'`.",
        )
        return
    yield check_classes(problem)
    yield check_recorded(checkpoint.training, problems.get("test"))
    yield check_augmentation(checkpoint.training, problem, seed=seed)
    yield check_smoothing(checkpoint.training)
    yield check_minimum(problem)
    yield check_range(problem, seed=seed)
