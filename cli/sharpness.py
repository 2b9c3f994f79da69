"""`landscape sharpness`: how much the loss rises within a radius of a checkpoint."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import console
from .options import (
    CheckpointArgument,
    Force,
    Json,
    ProblemOptions,
    Seed,
    expand,
    parse_numbers,
)
from .resolve import open_checkpoint, prepare_output, split_names

if TYPE_CHECKING:
    from landscape.results import Sharpness


@expand(ProblemOptions)
def sharpness(
    checkpoint: CheckpointArgument,
    problem: ProblemOptions,
    rho: Annotated[str, typer.Option(help="Radius in weight space (Euclidean), or several: 0.05,0.1.")] = "0.05",
    measure: Annotated[
        str, typer.Option(help="Measures, separated by commas: asc, avg, nstep, first_order.")
    ] = "asc,avg,nstep,first_order",
    steps: Annotated[int, typer.Option(help="Gradient steps of nstep.")] = 5,
    num_directions: Annotated[int, typer.Option(help="Antithetic pairs of random directions of avg.")] = 5,
    split: Annotated[str, typer.Option(help="Data split: train or test.")] = "train",
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="Results file (HDF5); by default nothing is saved.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Measure sharpness around a checkpoint: L^Asc, L^Avg, N-step and first-order."""
    rhos = parse_numbers(rho, "--rho")
    splits = split_names(split, can_be_both=False)
    if out is not None:
        prepare_output(out, force=force, inputs=[checkpoint])
    from landscape.io.store import write_result
    from landscape.sharpness import measure_sharpness

    opened = open_checkpoint(checkpoint, problem, splits)
    result = measure_sharpness(
        opened.problems[split],
        rhos,
        measures=measure.split(","),
        steps=steps,
        num_directions=num_directions,
        seed=seed,
        split=split,
        settings={**opened.settings, "seed": seed},
        progress=console.TerminalProgress(),
    )
    if as_json:
        console.answer_json(
            {
                "loss": result.loss,
                "accuracy": result.accuracy,
                "gradient_norm": result.gradient_norm,
                "split": result.split,
                "measures": [dataclasses.asdict(found) for found in result.measures],
            }
        )
    else:
        _show(result)
    if out is not None:
        write_result(out, result)
        console.say(f"Saved to {out}.")


def _show(result: Sharpness) -> None:
    rows = [
        [
            found.name,
            console.number(found.rho),
            console.number(found.loss),
            console.number(found.sharpness, 4),
            console.number(found.standard_error, 2),
            console.number(found.radius_share, 3),
        ]
        for found in result.measures
    ]
    origin = result.provenance
    console.answer_table(
        f"Sharpness, {origin.num_examples[result.split]} {result.split} examples, BatchNorm {origin.batchnorm}, "
        f"p = 2, {origin.dtype}",
        ["measure", "rho", "loss", "sharpness", "standard error", "||e|| / rho"],
        rows,
    )
    console.answer(
        f"At the weights: loss {result.loss:.6g}, accuracy {console.percent(result.accuracy)}, "
        f"gradient norm {result.gradient_norm:.4g}."
    )
