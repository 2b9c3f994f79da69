"""`landscape verify`: whether a certificate of sharpness holds."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from landscape.errors import InputError, LandscapeError
from landscape.io.open import split_names
from landscape.io.store import read_result
from landscape.results.sharpness import Certificate
from landscape.sharpness.certificate import Verdict, check

from .. import console
from ..options import ProblemOptions, call_with_options
from ..processes import open_checkpoint, working_together
from .options import ExactOptions


def verify_certificate(
    certificate: Path, checkpoint: Path, options: ExactOptions, *, as_json: bool
) -> None:
    """Check a certificate, show what was found, and raise an error where it does not hold."""
    found = read_result(certificate)
    if not isinstance(found, Certificate):
        raise InputError(
            f"{certificate} holds no certificate.",
            hint="Write one by landscape sharpness CKPT --certify FILE.",
        )
    with working_together():
        (split,) = split_names(found.split)
        verdict = check(
            found, open_checkpoint(checkpoint, _exact(options, found), (split,)).problems[split]
        )
    if as_json:
        console.answer_json(
            {**dataclasses.asdict(verdict), "holds": verdict.holds, "file": str(certificate)}
        )
    else:
        _show(found, verdict)
    if not verdict.holds:
        raise LandscapeError(verdict.failure, hint=verdict.hint)


def _exact(options: ExactOptions, certificate: Certificate) -> ProblemOptions:
    """Return a problem's options in float64 on all data, by default as the certificate records."""
    origin = certificate.provenance
    return call_with_options(
        ProblemOptions,
        vars(options),
        batchnorm=options.batchnorm or origin.batchnorm,
        batch_size=options.batch_size or origin.plan.get("batch_size"),
        dtype="float64",
    )


def _show(certificate: Certificate, verdict: Verdict) -> None:
    for each in verdict.checks:
        ball = f"||e||_{certificate.p:g} {each.norm:.12g} of rho {each.rho:g}"
        console.answer(
            f"{certificate.measure}, {ball}: loss {each.claimed:.12g} claimed, {each.found:.12g} "
            "found: "
            f"{'does not hold' if each.failure else 'holds'}"
        )
    if verdict.holds:
        origin = certificate.provenance
        console.answer(
            f"At the weights: loss {verdict.claimed:.12g} claimed, {verdict.found:.12g} found. All "
            "of "
            f"{origin.num_examples[certificate.split]} {certificate.split} examples, float64, "
            f"BatchNorm {origin.batchnorm}."
        )
