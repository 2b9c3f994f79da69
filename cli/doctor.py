"""`landscape doctor`: why a landscape would look wrong."""

from __future__ import annotations

import dataclasses

import typer

from . import console
from .hints import in_options
from .options import CheckpointArgument, Json, ProblemOptions, Seed, expand


@expand(ProblemOptions)
def doctor(
    checkpoint: CheckpointArgument, problem: ProblemOptions, seed: Seed = 0, as_json: Json = False
) -> None:
    """Report why a landscape would look wrong, such as dead filters; exit 1 on a problem.

    Looks at names and values in the file, batch normalization, filters, inputs, accuracy,
    augmentation, the loss against the gradient and along a random direction. A checkpoint that
    cannot be loaded is a problem too.
    """
    from landscape.doctor import Severity, examine

    from .processes import open_checkpoint

    findings = examine(
        checkpoint,
        lambda: open_checkpoint(checkpoint, problem, ("train",), also=("test",)).problems,
        seed=seed,
    )
    findings = [
        dataclasses.replace(each, message=in_options(each.message), remedy=in_options(each.remedy))
        for each in findings
    ]
    counts = {
        severity.value: sum(each.severity == severity for each in findings) for severity in Severity
    }
    if as_json:
        rows = [dataclasses.asdict(each) for each in findings]
        console.answer_json({"file": str(checkpoint), **counts, "findings": rows})
    else:
        rows = [(each.check, each.severity, each.message) for each in findings]
        console.answer_table(str(checkpoint), ["check", "result", "found"], rows, num_texts=3)
        for each in findings:
            if each.remedy:
                console.answer(f"{each.check}: {each.remedy}")
        console.answer(", ".join(f"{n} {severity}" for severity, n in counts.items()) + ".")
    if any(each.severity == Severity.PROBLEM for each in findings):
        raise typer.Exit(1)
