"""`landscape sharpness`: checkpoints measured one after the other, compared, saved and shown."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from landscape.errors import require
from landscape.io.open import OpenedProblems, split_names
from landscape.io.store import read_as, write_result
from landscape.problem.problem import Problem
from landscape.results.sharpness import SharpnessComparison
from landscape.results.spectrum import Spectrum
from landscape.runtime.files import names_apart
from landscape.sharpness import Measured, SharpnessOptions, measure_rises
from landscape.sharpness.certificate import certify
from landscape.sharpness.comparison import (
    differences,
    group_differences,
    group_values,
    measure_invariance,
)
from landscape.sharpness.protocols import get_protocol, measure_by, prepared
from landscape.sharpness.rescaling import function_preserving_rescalings
from landscape.sharpness.second_order import measure_taylor, top_directions
from landscape.training.augmentation import get_augmentation

from .. import console
from ..options import call_with_options
from ..outputs import output_of_this_run
from ..processes import open_checkpoint, working_together
from .options import MeasurementOptions, parse_norm, parse_radii, require_protocol_alone
from .summary import show_sharpness


def sharpness_of(
    paths: Sequence[Path],
    groups: Mapping[str, Sequence[Path]],
    asked: MeasurementOptions,
    *,
    out: Path | None,
    certificate: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Measure checkpoints, and compare them if they are several."""
    parse_radii(asked.rho)  # what is no radius is refused before anything is computed
    if certificate is not None:
        _require_certifiable(paths, asked)
    inputs = [*paths, *(asked.hessian or []), *asked.code_files]
    with (
        output_of_this_run(out, [*inputs, certificate], force=force, resume=False),
        output_of_this_run(certificate, [*inputs, out], force=force, resume=False),
        working_together(),
    ):
        split_names(asked.split)
        spectra = [
            read_as(path, Spectrum, hint="Write it by landscape hessian CKPT --out FILE.")
            for path in asked.hessian or []
        ]
        names = names_apart(paths) if len(paths) > 1 else [str(path) for path in paths]
        measured = _measure_each(paths, names, asked, spectra)
        result = measured[0].result if len(paths) == 1 else _compared(names, measured, groups)
        if out is not None and console.is_heard():
            write_result(out, result)
        if certificate is not None:
            _certify(certificate, paths[0], measured[0], asked)
    show_sharpness(result, as_json)
    if certificate is not None:
        words = ["landscape", "verify", str(certificate), str(paths[0])]
        console.say(f"Certified in {certificate}. To check it: {shlex.join(words)}")
    if out is not None:
        console.say(f"Saved to {out}. To draw it: landscape plot {out}")


def _require_certifiable(paths: Sequence[Path], asked: MeasurementOptions) -> None:
    """Refuse a certificate of what has no single perturbation."""
    for is_right, what in (
        (len(paths) == 1, "one checkpoint, got several"),
        ("max" in asked.names, "max, which is not measured"),
        (asked.m is None, "one perturbation, and --m has one for each batch"),
        (asked.protocol is None, "one set and loss, and --protocol has its own"),
    ):
        require(is_right, f"--certify is of {what}.", "Pass one CKPT with --all --certify FILE.")


def _certify(path: Path, checkpoint: Path, measured: Measured, asked: MeasurementOptions) -> None:
    """Evaluate the perturbations of `max` in float64 on all data, and write them."""
    exact = dataclasses.replace(asked, dtype="float64", samples=None)
    opened = open_checkpoint(checkpoint, exact, (asked.split,))
    options = _plan(asked)
    certificate = certify(
        opened.problems[asked.split],
        [
            (rho, rises.perturbation)
            for (name, rho), rises in measured.rises.items()
            if name == "max" and rises.perturbation is not None
        ],
        p=options.p,
        adaptive=options.adaptive,
        eta=options.eta,
        split=asked.split,
        settings={**opened.settings, "seed": asked.seed},
    )
    if console.is_heard():
        write_result(path, certificate)


def _measure_each(
    paths: Sequence[Path],
    names: Sequence[str],
    asked: MeasurementOptions,
    spectra: Sequence[Spectrum],
) -> list[Measured]:
    measured: list[Measured] = []
    first: Problem | None = None
    for path, name in zip(paths, names, strict=True):
        if len(paths) > 1:
            console.say(f"{name}:")
        opened = _open(path, asked)
        problem = opened.problems[asked.split]
        first = first or problem
        for what, is_same in (
            ("model", problem.spec == first.spec),
            ("data", problem.data_hash == first.data_hash),
            ("loss function", problem.passes.loss_name == first.passes.loss_name),
        ):
            require(
                is_same,
                f"checkpoints that are compared must be of the same {what}, {name} is of "
                f"another than {names[0]}.",
                "Measure it in a call of its own.",
            )
        measured.append(_measure(opened, asked, spectra))
    return measured


def _open(path: Path, asked: MeasurementOptions) -> OpenedProblems:
    """Open a checkpoint as requested, or as a protocol prescribes.

    The test set is included if the generalization gap needs it.
    """
    also = ("test",) if asked.split == "train" else ()
    if asked.protocol is None:
        return open_checkpoint(path, asked, (asked.split,), also=also)
    protocol = get_protocol(asked.protocol)
    require_protocol_alone(asked)
    augment = get_augmentation(protocol.augmentation)
    return open_checkpoint(
        path,
        dataclasses.replace(asked, batchnorm=protocol.batchnorm),
        (asked.split,),
        also=also if protocol.has_gap else (),
        prepare=partial(prepared, protocol, augment=augment, seed=asked.seed),
        loss=protocol.loss,
    )


def _measure(
    opened: OpenedProblems, asked: MeasurementOptions, spectra: Sequence[Spectrum]
) -> Measured:
    """Measure one checkpoint, and, if that is asked for, again at rescaled weights."""
    problem, progress = opened.problems[asked.split], console.TerminalProgress()
    spectrum = _spectrum_of(problem, spectra, opened)
    taylor = None
    if asked.taylor or spectrum is not None:
        ball = _plan(asked).ball(problem)
        taylor = measure_taylor(problem, ball, spectrum, seed=asked.seed, progress=progress)
    found = _measure_problem(
        problem,
        asked,
        spectrum,
        held_out=opened.problems.get("test") if asked.split == "train" else None,
        taylor=taylor,
        settings={**opened.settings, "seed": asked.seed},
    )
    if not asked.invariance:
        return found
    rescalings = function_preserving_rescalings(problem, progress=progress)
    rows = measure_invariance(found, rescalings, partial(_measure_problem, asked=asked))
    return dataclasses.replace(found, result=dataclasses.replace(found.result, rescaled=rows))


def _measure_problem(
    problem: Problem, asked: MeasurementOptions, spectrum: Spectrum | None = None, **arguments: Any
) -> Measured:
    protocol = asked.protocol and get_protocol(asked.protocol)
    names = protocol.measures if protocol else asked.names
    arguments |= {
        "directions": _directions(problem, asked, spectrum) if "max" in names else [],
        "split": asked.split,
        "progress": console.TerminalProgress(),
    }
    if protocol:
        return measure_by(protocol, problem, seed=asked.seed, **arguments)
    return measure_rises(problem, parse_radii(asked.rho), _plan(asked), measures=names, **arguments)


def _spectrum_of(
    problem: Problem, spectra: Sequence[Spectrum], opened: OpenedProblems
) -> Spectrum | None:
    """Return the spectrum of the problem's weights, if there are spectra."""
    found = next(
        (known for known in spectra if known.provenance.weights_hash == problem.weights_hash), None
    )
    require(
        found is not None or not spectra,
        f"no --hessian file is of {opened.settings['checkpoint']}.",
        "Compute one by landscape hessian CKPT --trace --save-vectors --out FILE, with the same "
        "options.",
    )
    return found


def _plan(asked: MeasurementOptions) -> SharpnessOptions:
    """Return the protocol's options, or those whose fields are named as the command's."""
    if asked.protocol is not None:
        return get_protocol(asked.protocol).options
    return call_with_options(SharpnessOptions, vars(asked), p=parse_norm(asked.p))


def _directions(
    problem: Problem, asked: MeasurementOptions, spectrum: Spectrum | None
) -> list[Tensor]:
    """Return the top eigenvector from a file or computed, if the loss has a second derivative."""
    if spectrum is not None and spectrum.vectors is not None and len(spectrum.eigenvalues):
        return [torch.from_numpy(spectrum.vectors[0])]
    return top_directions(
        problem,
        _plan(asked).ball(problem),
        seed=asked.seed,
        announce=console.say,
        progress=console.TerminalProgress(),
    )


def _compared(
    names: Sequence[str], measured: Sequence[Measured], groups: Mapping[str, Sequence[Path]]
) -> SharpnessComparison:
    results = tuple(each.result for each in measured)
    if not groups:
        return SharpnessComparison(tuple(names), results, differences(names, measured))
    remaining = iter(results)
    members = {name: [next(remaining) for _ in paths] for name, paths in groups.items()}
    return SharpnessComparison(
        tuple(names),
        results,
        group_differences(members) if len(groups) > 1 else (),
        group_values(members),
        tuple(name for name, paths in groups.items() for _ in paths),
    )
