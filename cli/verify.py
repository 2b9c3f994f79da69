"""`landscape verify`: whether a certificate of sharpness holds."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from landscape.errors import InputError, LandscapeError

from . import console
from .options import CheckpointArgument, Json, ModelOptions, ProblemOptions, expand
from .processes import open_together, working_together

if TYPE_CHECKING:
    from landscape.results.sharpness import Certificate
    from landscape.sharpness.certificate import Verdict


@dataclasses.dataclass(frozen=True)
class ExactOptions(ModelOptions):
    """How a checkpoint is evaluated: in float64, on all examples."""

    batchnorm: Annotated[
        str | None,
        typer.Option(
            help="Batch normalization: stored, batch or recalibrate; by default the certificate's."
        ),
    ] = None
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto"
    batch_size: Annotated[
        int | None,
        typer.Option(help="Examples a forward pass; by default the certificate's.", metavar="N"),
    ] = None


@expand(ExactOptions)
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
    """Check a certificate of sharpness by evaluating its perturbations in float64 on all data."""
    found = _read(certificate)
    with working_together():
        from landscape.io.open import split_names
        from landscape.sharpness.certificate import check

        (split,) = split_names(found.split)
        verdict = check(
            found, open_together(checkpoint, _exact(options, found), (split,)).problems[split]
        )
    if as_json:
        console.answer_json(
            {**dataclasses.asdict(verdict), "holds": verdict.holds, "file": str(certificate)}
        )
    else:
        _show(found, verdict)
    if not verdict.holds:
        raise LandscapeError(verdict.failure, hint=verdict.hint)


def _read(path: Path) -> Certificate:
    from landscape.io.store import read_result
    from landscape.results.sharpness import Certificate

    found = read_result(path)
    if not isinstance(found, Certificate):
        raise InputError(
            f"{path} holds no certificate.",
            hint="Write one by landscape sharpness CKPT --certify FILE.",
        )
    return found


def _exact(options: ExactOptions, certificate: Certificate) -> ProblemOptions:
    """Return a problem's options in float64 on all data, by default as the certificate records."""
    typed = dataclasses.asdict(options)
    origin = certificate.provenance
    batchnorm = options.batchnorm or origin.batchnorm
    batch_size = options.batch_size or origin.plan.get("batch_size")
    return ProblemOptions(
        **{
            **typed,
            "batchnorm": batchnorm,
            "batch_size": batch_size,
            "dtype": "float64",
            "samples": None,
        }
    )


def _show(certificate: Certificate, verdict: Verdict) -> None:
    for check in verdict.checks:
        ball = f"||e||_{certificate.p:g} {check.norm:.12g} of rho {check.rho:g}"
        console.answer(
            f"{certificate.measure}, {ball}: loss {check.claimed:.12g} claimed, {check.found:.12g} "
            "found: "
            f"{'does not hold' if check.failure else 'holds'}"
        )
    if verdict.holds:
        origin = certificate.provenance
        console.answer(
            f"At the weights: loss {verdict.claimed:.12g} claimed, {verdict.found:.12g} found. All "
            "of "
            f"{origin.num_examples[certificate.split]} {certificate.split} examples, float64, "
            f"BatchNorm {origin.batchnorm}."
        )
