"""`landscape hessian`: eigenvalues at both ends of the spectrum of a checkpoint's Hessian."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from landscape.errors import InputError

from . import console
from .options import CheckpointArgument, Force, Json, ProblemOptions, Seed, expand
from .resolve import open_checkpoint, prepare_output, split_names

if TYPE_CHECKING:
    from landscape.results import Spectrum


@expand(ProblemOptions)
def hessian(
    checkpoint: CheckpointArgument,
    problem: ProblemOptions,
    top_k: Annotated[int, typer.Option(help="Number of algebraically largest eigenvalues.")] = 5,
    bottom_k: Annotated[int, typer.Option(help="Number of algebraically smallest eigenvalues.")] = 1,
    split: Annotated[str, typer.Option(help="Data split: train or test.")] = "train",
    tol: Annotated[
        float | None, typer.Option(help="Relative tolerance; by default 1e-8 in float64, 1e-4 in float32.")
    ] = None,
    max_matvecs: Annotated[int, typer.Option(help="Limit on Hessian-vector products.")] = 500,
    engine: Annotated[str, typer.Option(help="lanczos, or pyhessian for the PyHessian package.")] = "lanczos",
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option(help="Results file (HDF5); by default nothing is saved.")] = None,
    vectors: Annotated[
        bool, typer.Option("--vectors", help="Save the eigenvectors too, for landscape surface --x eigen:1:FILE.")
    ] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Compute top and bottom Hessian eigenvalues with their residuals; exit 1 if not converged."""
    splits = split_names(split, can_be_both=False)
    if vectors and out is None:
        raise InputError("--vectors saves eigenvectors, and there is no file to save them in.", hint="Pass --out FILE.")
    if out is not None:
        prepare_output(out, force=force, inputs=[checkpoint])
    from landscape.hessian.spectrum import hessian_spectrum
    from landscape.io.store import write_result

    opened = open_checkpoint(checkpoint, problem, splits)
    result = hessian_spectrum(
        opened.problems[split],
        top_k=top_k,
        bottom_k=bottom_k,
        tolerance=tol,
        max_matvecs=max_matvecs,
        seed=seed,
        engine=engine,
        split=split,
        keep_vectors=vectors,
        settings={**opened.settings, "seed": seed},
        progress=console.TerminalProgress(),
    )
    console.answer_json(_as_json(result)) if as_json else _show(result)
    if out is not None:
        write_result(out, result)
        console.say(f"Saved to {out}. To draw it: landscape plot {out}")
    if not result.converged:
        console.say(
            f"Not converged to {result.tolerance:g} in {result.num_matvecs} Hessian-vector products; "
            "the residuals say how far each value can be off. Raise --max-matvecs or --tol."
        )
        raise typer.Exit(1)


def _as_json(result: Spectrum) -> dict[str, object]:
    return {
        "eigenvalues": result.eigenvalues.tolist(),
        "residuals": result.residuals.tolist(),
        "bottom_eigenvalues": result.bottom_eigenvalues.tolist(),
        "bottom_residuals": result.bottom_residuals.tolist(),
        "lambda_max": result.lambda_max,
        "lambda_min": result.lambda_min,
        "ratio": result.ratio,
        "absolute_ratio": result.absolute_ratio,
        "nonconvexity": result.nonconvexity,
        "top_to_fifth": result.top_to_fifth,
        "num_matvecs": result.num_matvecs,
        "converged": result.converged,
        "tolerance": result.tolerance,
        "noise_floor": result.noise_floor,
        "engine": result.engine,
        "split": result.split,
        "loss": result.loss,
        "accuracy": result.accuracy,
    }


def _show(result: Spectrum) -> None:
    rows = [
        [f"lambda_{i}", console.number(value), console.number(residual, 2)]
        for i, (value, residual) in enumerate(zip(result.eigenvalues, result.residuals, strict=True), start=1)
    ]
    bottom = list(zip(result.bottom_eigenvalues, result.bottom_residuals, strict=True))
    size = result.provenance.num_parameters
    rows += [
        [f"lambda_{size - i}", console.number(value), console.number(residual, 2)]
        for i, (value, residual) in reversed(list(enumerate(bottom)))
    ]
    examples = result.provenance.num_examples[result.split]
    console.answer_table(
        f"Hessian eigenvalues, {size} parameters, {examples} {result.split} examples",
        ["eigenvalue", "value", "residual"],
        rows,
    )
    console.answer_table("Ratios", ["ratio", "value"], _ratios(result))
    state = "converged" if result.converged else "NOT converged"
    console.answer(
        f"{state} to {result.tolerance:g} relative, or {result.noise_floor:.2g} absolute, the rounding of "
        f"{result.provenance.dtype}, with {result.num_matvecs} Hessian-vector products ({result.engine})."
    )


def _ratios(result: Spectrum) -> list[list[str]]:
    undefined = "undefined: denominator 0 within its error, or not computed"
    named = {
        "lambda_max / lambda_min": result.ratio,
        "|lambda_max / lambda_min|": result.absolute_ratio,
        "|lambda_min / lambda_max|": result.nonconvexity,
        "lambda_1 / lambda_5": result.top_to_fifth,
    }
    return [[name, undefined if value is None else console.number(value)] for name, value in named.items()]
