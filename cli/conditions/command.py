"""`landscape assert`: whether conditions on a checkpoint or a stored result hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..options import Json, ProblemOptions, expand
from .options import EffortOptions


@expand(ProblemOptions, EffortOptions)
def assert_conditions(
    file: Annotated[
        Path,
        typer.Argument(
            help="Checkpoint, of which only what the conditions name is computed; or a results "
            "file.",
            metavar="CKPT_OR_RESULT",
        ),
    ],
    conditions: Annotated[
        list[str],
        typer.Argument(
            help="Comparisons by <, <=, >, >= of numbers and names, with + - * /, parentheses and "
            "abs()."
            " Names: train_loss (or loss), test_loss, train_accuracy (or accuracy), test_accuracy, "
            "generalization_gap,"
            " gradient_norm, lambda_max, lambda_min, lambda_ratio (the signed lambda_max / "
            "lambda_min), trace; and"
            " sharpness at a radius: asc@0.05, avg@0.05, max@0.05, nstep@0.05, first_order@0.05."
            " Quote them for the shell.",
            metavar="CONDITION...",
        ),
    ],
    problem: ProblemOptions,
    effort: EffortOptions,
    lenient: Annotated[
        bool,
        typer.Option("--lenient", help="Let conditions pass that are undecided within the error."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Check conditions such as 'lambda_max < 50' or 'asc@0.05 < 0.02'; exit 1 unless all hold.

    Quantities have intervals: eigenvalues by their residuals, estimates by 95 % confidence. A
    condition that the interval does not decide counts as failed. Curvature and sharpness are of the
    train split.
    """
    from .run import check_conditions

    check_conditions(file, conditions, problem, effort, lenient=lenient, as_json=as_json)
