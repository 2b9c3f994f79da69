"""What is computed to check conditions, certificates, checkpoints and optimizers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from landscape.audit.suite import audit_optimizer
from landscape.conditions import Known, Quantity
from landscape.conditions.from_checkpoint import Effort, measure_quantities, splits_of
from landscape.doctor import Severity, examine
from landscape.errors import LandscapeError
from landscape.io.open import split_names
from landscape.io.plugins import find_optimizer
from landscape.io.store import read_as
from landscape.problem.problem import Problem
from landscape.results.headlines import certificate_headline
from landscape.results.sharpness import Certificate
from landscape.sharpness.certificate import Verdict, check

from .. import console
from ..hints import in_options
from ..options import ProblemOptions, call_with_options
from ..outputs import with_loss
from ..processes import open_checkpoint, working_together
from .options import EffortOptions, ExactOptions


def measure_checkpoint(
    checkpoint: Path, wanted: Sequence[Quantity], problem: ProblemOptions, effort: EffortOptions
) -> tuple[str, Mapping[Quantity, Known]]:
    """Return the name of the loss, and the quantities that conditions name."""
    with working_together():
        opened = open_checkpoint(checkpoint, problem, splits_of(wanted))
        known = measure_quantities(
            opened.problems,
            wanted,
            effort=call_with_options(Effort, vars(effort)),
            progress=console.TerminalProgress(),
        )
        return _loss_of(opened.problems), known


def _loss_of(problems: Mapping[str, Problem]) -> str:
    return next(iter(problems.values())).passes.loss_name


def verify_certificate(
    certificate: Path, checkpoint: Path, options: ExactOptions, *, as_json: bool
) -> None:
    """Check a certificate, show what was found, and exit with 1 where it does not hold."""
    found = read_as(
        certificate, Certificate, hint="Write one by landscape sharpness CKPT --certify FILE."
    )
    with working_together():
        (split,) = split_names(found.split)
        problems = open_checkpoint(checkpoint, _exact(options, found), (split,)).problems
        verdict = check(found, problems[split])
    if as_json:
        named = {"file": str(certificate), "loss_function": _loss_of(problems)}
        console.answer_json({**dataclasses.asdict(verdict), "holds": verdict.holds, **named})
    else:
        _show_verdict(found, verdict)
    if not verdict.holds:
        console.show_error(LandscapeError(verdict.failure, hint=verdict.hint))
        raise typer.Exit(1)


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


def _show_verdict(certificate: Certificate, verdict: Verdict) -> None:
    console.answer(certificate_headline(certificate, holds=verdict.holds))
    for each in verdict.checks:
        ball = f"||e||_{certificate.p:g} {each.norm:.12g} of rho {each.rho:g}"
        console.answer(
            f"{certificate.measure}, {ball}: loss {each.claimed:.12g} claimed, {each.found:.12g} "
            "found: "
            f"{'does not hold' if each.failure else 'holds'}"
        )
    if verdict.holds:
        origin = certificate.provenance
        found = (
            f"At the weights: loss {verdict.claimed:.12g} claimed, {verdict.found:.12g} found. All "
            "of "
            f"{origin.num_examples[certificate.split]} {certificate.split} examples, float64, "
            f"BatchNorm {origin.batchnorm}"
        )
        console.answer(f"{with_loss(found, origin)}.")


def examine_checkpoint(
    checkpoint: Path, problem: ProblemOptions, *, seed: int, as_json: bool
) -> None:
    """Look for what would make a landscape look wrong, and exit with 1 on a problem."""
    losses: list[str] = []

    def open_problems() -> Mapping[str, Problem]:
        problems = open_checkpoint(checkpoint, problem, ("train",), also=("test",)).problems
        losses.append(_loss_of(problems))
        return problems

    findings = [
        dataclasses.replace(each, message=in_options(each.message), remedy=in_options(each.remedy))
        for each in examine(checkpoint, open_problems, seed=seed, state_key=problem.state_key)
    ]
    counts = {
        severity.value: sum(each.severity == severity for each in findings) for severity in Severity
    }
    if as_json:
        rows = [dataclasses.asdict(each) for each in findings]
        named = {"file": str(checkpoint), "loss_function": "".join(losses)}
        console.answer_json({**named, **counts, "findings": rows})
    else:
        bad = [each.check for each in findings if each.severity == Severity.PROBLEM]
        console.answer(f"Problems: {', '.join(bad)}." if bad else "No problem was found.")
        rows = [(each.check, each.severity, each.message) for each in findings]
        console.answer_table(str(checkpoint), ["check", "result", "found"], rows, num_texts=3)
        for each in findings:
            if each.remedy:
                console.answer(f"{each.check}: {each.remedy}")
        for name in losses:
            console.answer(f"The loss is {name}.")
        console.answer(", ".join(f"{n} {severity}" for severity, n in counts.items()) + ".")
    if counts[Severity.PROBLEM]:
        raise typer.Exit(1)


def audit(optimizer: str, *, as_json: bool) -> None:
    """Try an optimizer on the traps, and exit with 1 if it fails any."""
    report = audit_optimizer(find_optimizer(optimizer))
    if as_json:
        console.answer_json({"optimizer": optimizer, **report.as_dict()})
    else:
        console.answer(f"{optimizer}: {report.headline}")
        rows = [(row.trap, row.result, row.measured) for row in report.rows]
        console.answer_table(optimizer, ["trap", "result", "measured"], rows, num_texts=3)
        console.answer(f"Built as {report.built}; each step is {report.called}.")
        for row in report.failed:
            console.answer(f"Failed {row.trap}: {row.claim}")
        counts = ", ".join(f"{number} {result}" for result, number in report.counts.items())
        console.answer(f"{counts}.")
    if report.failed:
        raise typer.Exit(1)
