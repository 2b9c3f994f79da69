"""`landscape assert`, `verify`, `doctor` and `audit-optimizer`: does it hold?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..options import CheckpointArgument, Json, ProblemOptions, Seed, command
from .options import EffortOptions, ExactOptions


@command(
    ProblemOptions,
    EffortOptions,
    everyday=("lenient", "tolerance", "num_directions", "samples", "as_json"),
)
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

    An error, such as a name that is unknown or a file that is missing, exits with 2.

    Quantities have intervals: eigenvalues by their residuals, estimates by 95 % confidence. A
    condition that the interval does not decide counts as failed. Curvature and sharpness are of the
    train split.
    """
    from .conditions import check_conditions

    check_conditions(file, conditions, problem, effort, lenient=lenient, as_json=as_json)


@command(ExactOptions, everyday=("model", "data", "data_dir", "batchnorm", "device"))
def verify(
    certificate: Annotated[
        Path,
        typer.Argument(
            help="File written by landscape sharpness --certify.", metavar="CERTIFICATE"
        ),
    ],
    checkpoint: CheckpointArgument,
    options: ExactOptions,
    as_json: Json = False,
) -> None:
    """Check a certificate of sharpness by evaluating its perturbations in float64 on all data.

    Exits with 1 if it does not hold, with 2 on an error.
    """
    from .run import verify_certificate

    verify_certificate(certificate, checkpoint, options, as_json=as_json)


@command(ProblemOptions, everyday=("model", "data", "data_dir", "samples", "seed"))
def doctor(
    checkpoint: CheckpointArgument, problem: ProblemOptions, seed: Seed = 0, as_json: Json = False
) -> None:
    """Report why a landscape would look wrong, such as dead filters; exit 1 on a problem.

    Looks at names and values in the file, batch normalization, filters, inputs, accuracy,
    augmentation, the loss against the gradient and along a random direction. A checkpoint that
    cannot be loaded is a problem too. Other errors exit with 2.
    """
    from .run import examine_checkpoint

    examine_checkpoint(checkpoint, problem, seed=seed, as_json=as_json)


@command()
def audit_optimizer(
    optimizer: Annotated[
        str,
        typer.Argument(
            help="Class, or function(params, base, rho, **base_options) that builds an optimizer: "
            "pkg.module:Class or"
            " path/to/file.py:Class. It is run.",
            metavar="OPTIMIZER",
        ),
    ],
    as_json: Json = False,
) -> None:
    """Try anyone's sharpness-aware optimizer on the traps that implementations fall into.

    Each trap trains a tiny model for some steps on the CPU, a few seconds in all. Exits with 1 if
    any trap failed, with 2 on an error, such as an optimizer that is not found.
    """
    from .run import audit

    audit(optimizer, as_json=as_json)
