"""`landscape audit-optimizer`: does an implementation of SAM hold up?"""

from __future__ import annotations

from typing import Annotated

import typer

from . import console
from .options import Json


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
    any trap failed.
    """
    from landscape.audit.suite import audit_optimizer as audit
    from landscape.io.plugins import find_optimizer

    report = audit(find_optimizer(optimizer))
    if as_json:
        console.answer_json({"optimizer": optimizer, **report.as_dict()})
    else:
        rows = [(row.trap, row.result, row.measured) for row in report.rows]
        console.answer_table(optimizer, ["trap", "result", "measured"], rows, num_texts=3)
        console.answer(f"Built as {report.built}; each step is {report.called}.")
        for row in report.failed:
            console.answer(f"Failed {row.trap}: {row.claim}")
        counts = ", ".join(f"{number} {result}" for result, number in report.counts.items())
        console.answer(f"{counts}.")
    if report.failed:
        raise typer.Exit(1)
