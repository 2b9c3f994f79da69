"""`landscape sharpness`: checkpoints measured one after the other, compared, saved and shown."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from landscape.ascent.ball import Ball
from landscape.errors import InputError
from landscape.io.open import OpenedProblems, split_names
from landscape.io.store import read_result, write_result
from landscape.problem.plan import choose_device
from landscape.problem.problem import Problem
from landscape.results.sharpness import Sharpness, SharpnessComparison
from landscape.results.spectrum import Spectrum
from landscape.runtime.files import names_apart
from landscape.sharpness import Measured, measure_rises
from landscape.sharpness.certificate import certify
from landscape.sharpness.comparison import (
    differences,
    group_differences,
    group_values,
    measure_invariance,
)
from landscape.sharpness.protocols import get_protocol, measure_by, prepared
from landscape.sharpness.rescaling import function_preserving_rescalings
from landscape.sharpness.second_order import measure_taylor, top_eigenvector
from landscape.training.augmentation import get_augmentation

from .. import console
from ..outputs import output_of_this_run
from ..processes import open_together, working_together
from .options import Asked, require_protocol_alone
from .summary import show_comparison, show_sharpness


@dataclasses.dataclass(frozen=True)
class Outputs:
    """Files that are written."""

    out: Path | None
    certificate: Path | None
    force: bool


def sharpness_of(
    paths: Sequence[Path],
    groups: Mapping[str, Sequence[Path]],
    asked: Asked,
    outputs: Outputs,
    *,
    as_json: bool,
) -> None:
    """Measure checkpoints, and compare them if they are several."""
    if outputs.certificate is not None:
        _require_certifiable(paths, asked)
    with _writing(outputs, paths):
        split_names(asked.split)
        spectra = [_read_spectrum(path) for path in asked.measures.hessian or []]
        names = names_apart(paths) if len(paths) > 1 else [str(path) for path in paths]
        measured = _measure_each(paths, names, asked, spectra)
        result = measured[0].result if len(paths) == 1 else _compared(names, measured, groups)
        if outputs.out is not None and console.is_heard():
            write_result(outputs.out, result)
        if outputs.certificate is not None:
            _certify(outputs.certificate, paths[0], measured[0], asked)
    if isinstance(result, SharpnessComparison):
        show_comparison(result, as_json)
    else:
        show_sharpness(result, as_json)
    if outputs.certificate is not None:
        console.say(
            f"Certified in {outputs.certificate}. To check it: "
            f"{_to_check(outputs.certificate, paths[0])}"
        )
    if outputs.out is not None:
        console.say(f"Saved to {outputs.out}. To draw it: landscape plot {outputs.out}")


def _require_certifiable(paths: Sequence[Path], asked: Asked) -> None:
    """Refuse a certificate of what has no single perturbation."""
    for is_wrong, what in (
        (len(paths) > 1, "one checkpoint, got several"),
        ("max" not in asked.measures.names, "max, which is not measured"),
        (asked.measures.m is not None, "one perturbation, and --m has one for each batch"),
        (asked.measures.protocol is not None, "one set and loss, and --protocol has its own"),
    ):
        if is_wrong:
            raise InputError(
                f"--certify is of {what}.", hint="Pass one CKPT with --all --certify FILE."
            )


def _certify(path: Path, checkpoint: Path, measured: Measured, asked: Asked) -> None:
    """Evaluate the perturbations of `max` in float64 on all data, and write them."""
    exact = dataclasses.replace(asked.problem, dtype="float64", samples=None)
    opened = open_together(checkpoint, exact, (asked.split,))
    options = asked.measures.plan(asked.seed)
    largest = {
        rho: rises.perturbation for (name, rho), rises in measured.rises.items() if name == "max"
    }
    certificate = certify(
        opened.problems[asked.split],
        [(rho, e) for rho, e in largest.items() if e is not None],
        p=options.p,
        adaptive=options.adaptive,
        eta=options.eta,
        split=asked.split,
        settings={**opened.settings, "seed": asked.seed},
    )
    if console.is_heard():
        write_result(path, certificate)


def _to_check(certificate: Path, checkpoint: Path) -> str:
    return shlex.join(["landscape", "verify", str(certificate), str(checkpoint)])


@contextmanager
def _writing(outputs: Outputs, inputs: Sequence[Path]) -> Iterator[None]:
    """Reserve the outputs, if there are any, and work with the other processes of torchrun."""
    with ExitStack() as stack:
        for path, other in ((outputs.out, outputs.certificate), (outputs.certificate, outputs.out)):
            if path is not None:
                taken = [*inputs, *filter(None, [other])]
                stack.enter_context(
                    output_of_this_run(path, taken, force=outputs.force, resume=False)
                )
        stack.enter_context(working_together())
        yield


def _measure_each(
    paths: Sequence[Path], names: Sequence[str], asked: Asked, spectra: Sequence[Spectrum]
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
        ):
            if not is_same:
                raise InputError(
                    f"checkpoints that are compared must be of the same {what}, {name} is of "
                    f"another than {names[0]}.",
                    hint="Measure it in a call of its own.",
                )
        measured.append(_measure(opened, asked, spectra))
    return measured


def _open(path: Path, asked: Asked) -> OpenedProblems:
    """Open a checkpoint as requested, or as a protocol prescribes.

    The test set is included if the generalization gap needs it.
    """
    also = ("test",) if asked.split == "train" else ()
    if asked.measures.protocol is None:
        return open_together(
            path, asked.problem, (asked.split,), also=also, points_per_pass=_points_per_pass(asked)
        )
    protocol = get_protocol(asked.measures.protocol)
    require_protocol_alone(asked.measures, asked.problem, asked.split)
    augment = get_augmentation(protocol.augmentation)
    return open_together(
        path,
        dataclasses.replace(asked.problem, batchnorm=protocol.batchnorm),
        (asked.split,),
        also=also if protocol.has_gap else (),
        prepare=partial(prepared, protocol, augment=augment, seed=asked.seed),
        loss=protocol.loss,
    )


def _points_per_pass(asked: Asked) -> int | None:
    """On CUDA, evaluate as many random directions at a time as is fastest."""
    is_cuda = choose_device(asked.problem.device).type == "cuda"
    return None if is_cuda and "avg" in asked.measures.names else 1


def _measure(opened: OpenedProblems, asked: Asked, spectra: Sequence[Spectrum]) -> Measured:
    """Measure one checkpoint, and, if that is asked for, again at rescaled weights."""
    problem, progress = opened.problems[asked.split], console.TerminalProgress()
    spectrum = _spectrum_of(problem, spectra, opened)
    is_wanted = asked.measures.taylor or spectrum is not None
    ball = _ball(problem, asked)
    taylor = (
        measure_taylor(problem, ball, spectrum, seed=asked.seed, progress=progress)
        if is_wanted
        else None
    )
    held_out = (
        opened.problems["test"] if asked.split == "train" and "test" in opened.problems else None
    )
    settings = {**opened.settings, "seed": asked.seed}
    found = _measure_problem(
        problem, asked, spectrum, held_out=held_out, taylor=taylor, settings=settings
    )
    return _rescaled(problem, asked, found) if asked.measures.invariance else found


def _measure_problem(
    problem: Problem, asked: Asked, spectrum: Spectrum | None = None, **arguments: Any
) -> Measured:
    progress = console.TerminalProgress()
    arguments |= {"split": asked.split, "progress": progress}
    if asked.measures.protocol is not None:
        protocol = get_protocol(asked.measures.protocol)
        directions = (
            _directions(problem, asked, None, progress) if "max" in protocol.measures else []
        )
        return measure_by(protocol, problem, directions=directions, seed=asked.seed, **arguments)
    directions = (
        _directions(problem, asked, spectrum, progress) if "max" in asked.measures.names else []
    )
    return measure_rises(
        problem,
        asked.rhos,
        asked.measures.plan(asked.seed),
        measures=asked.measures.names,
        directions=directions,
        **arguments,
    )


def _rescaled(problem: Problem, asked: Asked, found: Measured) -> Measured:
    """Add what is measured at rescaled weights."""
    rescalings = function_preserving_rescalings(problem, progress=console.TerminalProgress())
    rows = measure_invariance(found, rescalings, partial(_measure_problem, asked=asked))
    return dataclasses.replace(found, result=dataclasses.replace(found.result, rescaled=rows))


def _spectrum_of(
    problem: Problem, spectra: Sequence[Spectrum], opened: OpenedProblems
) -> Spectrum | None:
    """Return the spectrum of the problem's weights, if there are spectra."""
    found = next(
        (known for known in spectra if known.provenance.weights_hash == problem.weights_hash), None
    )
    if spectra and found is None:
        raise InputError(
            f"no --hessian file is of {opened.settings['checkpoint']}.",
            hint="Compute one by landscape hessian CKPT --trace --save-vectors --out FILE, with "
            "the same options.",
        )
    return found


def _ball(problem: Problem, asked: Asked) -> Ball:
    """Return the ball in which there is a search for the maximum."""
    name = asked.measures.protocol
    options = asked.measures.plan(asked.seed) if name is None else get_protocol(name).options
    return options.ball(problem)


def _directions(
    problem: Problem, asked: Asked, spectrum: Spectrum | None, progress: console.TerminalProgress
) -> list[Tensor]:
    """Return the top eigenvector from a file or computed, if the loss has a second derivative."""
    if spectrum is not None and spectrum.vectors is not None and len(spectrum.eigenvalues):
        return [torch.from_numpy(spectrum.vectors[0])]
    try:
        return [top_eigenvector(problem, _ball(problem, asked), seed=asked.seed, progress=progress)]
    except InputError as exc:
        console.say(f"max starts from no eigenvector: {exc.message}")
        return []


def _read_spectrum(path: Path) -> Spectrum:
    found = read_result(path)
    if not isinstance(found, Spectrum):
        raise InputError(
            f"{path} holds no spectrum.", hint="Write it by landscape hessian CKPT --out FILE."
        )
    return found


def _compared(
    names: Sequence[str], measured: Sequence[Measured], groups: Mapping[str, Sequence[Path]]
) -> SharpnessComparison:
    results = tuple(each.result for each in measured)
    if not groups:
        return SharpnessComparison(tuple(names), results, differences(names, measured))
    members = _by_group(results, groups)
    return SharpnessComparison(
        tuple(names),
        results,
        group_differences(members) if len(groups) > 1 else (),
        group_values(members),
        tuple(name for name, paths in groups.items() for _ in paths),
    )


def _by_group(
    results: Sequence[Sharpness], groups: Mapping[str, Sequence[Path]]
) -> dict[str, list[Sharpness]]:
    remaining = iter(results)
    return {name: [next(remaining) for _ in paths] for name, paths in groups.items()}
