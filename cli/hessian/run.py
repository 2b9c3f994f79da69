"""`landscape hessian CKPT`: compute, check, save and show the curvature spectrum."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import typer

from landscape.errors import InputError, StoreError
from landscape.hessian.eigenvectors import alignment
from landscape.hessian.engines import Agreement, verify
from landscape.hessian.folds import folds
from landscape.hessian.krylov.krylov_sink import NOT_SAVED, FirstProcessSink, KrylovSink
from landscape.hessian.operator import CurvatureOperator
from landscape.hessian.pyhessian import power_iteration
from landscape.hessian.spectrum import hessian_spectrum, parts_left, spectrum_traits
from landscape.io.krylov_file import KrylovFile
from landscape.io.open import OpenedProblems, split_names
from landscape.io.store import read_result, write_result
from landscape.problem.problem import Problem
from landscape.results.identity import require_same
from landscape.results.spectrum import Spectrum
from landscape.runtime import distributed
from landscape.runtime.progress import Deadline

from .. import console
from ..options import call_with_options, parse_bytes
from ..outputs import output_of_this_run
from ..processes import open_checkpoint, working_together
from .options import HessianOptions
from .summary import agreement_as_json, show_agreement, show_spectrum, spectrum_as_json


def curvature_of(
    checkpoint: Path,
    asked: HessianOptions,
    out: Path | None,
    *,
    save_vectors: bool,
    resume: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Measure one checkpoint, and end with 1 where it is not what was asked for."""
    deadline = Deadline.after_minutes(asked.minutes)
    _require(asked, out, save_vectors=save_vectors, resume=resume)
    inputs = [checkpoint, *filter(None, [asked.align])]
    agreement = None
    with _output(out, inputs, force=force, resume=resume):
        split_names(asked.split)
        others = _stored_vectors(asked.align)
        opened = open_checkpoint(checkpoint, asked, (asked.split,))
        problem = opened.problems[asked.split]
        result = _finished(out, problem, asked, save_vectors=save_vectors) if resume else None
        is_new = result is None
        if result is None:
            result = _measure(
                opened, asked, out, deadline, save_vectors=save_vectors, resume=resume
            )
            if others is not None:
                assert result.vectors is not None
                cosines = alignment(result.vectors, others.vectors)
                result = dataclasses.replace(
                    result, alignment=cosines, aligned_with=str(asked.align)
                )
        left = _left(result, problem, asked)
        if is_new and out is not None and console.is_heard():
            write_result(out, result if save_vectors else dataclasses.replace(result, vectors=None))
            if result.converged and not left:  # the basis is needed no more
                _krylov_path(out).unlink(missing_ok=True)
        if asked.verify is not None:
            theirs = power_iteration(
                problem,
                top_k=asked.top_k,
                tolerance=asked.tolerance,
                max_matvecs=asked.max_matvecs,
                seed=asked.seed,
                progress=console.TerminalProgress(),
            )
            agreement = verify(result, theirs, which=result.which)
    _show(result, agreement, out, as_json)
    _say_what_is_left(result, left, deadline, asked, out)
    if not result.converged or left or (agreement is not None and not agreement.agrees):
        raise typer.Exit(1)


def asked_together(deadline: Deadline, num_steps: int = 1) -> bool:
    """Whether the first process has to stop, for all of them: more steps would end too late."""
    return distributed.from_first(deadline.is_reached(num_steps))


def _require(asked: HessianOptions, out: Path | None, *, save_vectors: bool, resume: bool) -> None:
    """Refuse options that would do nothing, before anything is computed."""
    for option, is_given in (("--save-vectors", save_vectors), ("--resume", resume)):
        if is_given and out is None:
            raise InputError(f"{option} needs a file, and there is none.", hint="Pass --out FILE.")
    if asked.verify not in (None, "pyhessian"):
        raise InputError(f"--verify must be pyhessian, got {asked.verify!r}.")
    if asked.verify == asked.engine:
        raise InputError(
            "--verify compares two engines, got the same one twice.", hint="Leave --engine out."
        )
    if asked.verify is not None and asked.curvature != "hessian":
        raise InputError(
            f"--verify compares eigenvalues of the Hessian, got --curvature {asked.curvature}.",
            hint="PyHessian knows no other matrix; leave one of the two out.",
        )
    if asked.every != 1:
        raise InputError(
            f"--every {asked.every} takes snapshots from a folder, and this is one checkpoint.",
            hint="Pass the folder of the training run.",
        )


@contextmanager
def _output(out: Path | None, inputs: list[Path], *, force: bool, resume: bool) -> Iterator[None]:
    """Keep the output, if there is one, and work together with the other processes of torchrun."""
    basis = Path() if out is None else _krylov_path(out)
    with ExitStack() as stack:
        if out is not None:
            stack.enter_context(
                output_of_this_run(out, inputs, force=force, resume=resume, besides=basis)
            )
        stack.enter_context(working_together(basis))
        yield


def _krylov_path(out: Path) -> Path:
    return out.with_name(f"{out.stem}.krylov.h5")


def _finished(
    out: Path | None, problem: Problem, asked: HessianOptions, *, save_vectors: bool
) -> Spectrum | None:
    """Return the finished result in a file if it is the requested one."""
    if out is None or not out.exists() or _krylov_path(out).exists():
        return None
    found = read_result(out)
    if not isinstance(found, Spectrum):
        raise StoreError(
            f"{out} holds no spectrum.", hint="Pass --force to replace it, or another --out."
        )
    require_same(
        out,
        spectrum_traits(
            found, problem, asked.split, asked.top_k + asked.num_smallest, _fixed_fields(asked)
        ),
        hint="Run with the same settings, or pass --force to replace it, or another --out.",
    )
    if not found.converged:
        return None
    left = [
        *_left(found, problem, asked),
        *(["vectors"] if save_vectors and found.vectors is None else []),
    ]
    if left:
        raise StoreError(
            f"{out} is complete, without {', '.join(left)}.",
            hint="Pass --force to compute it anew, or another --out.",
        )
    console.say(f"{out} is complete; nothing is left to compute.")
    return found


def _fixed_fields(asked: HessianOptions) -> dict[str, Any]:
    """Return the fields of a `Spectrum` that are fixed by what was asked for; None for any."""
    return {
        **{name: getattr(asked, name) for name in ("curvature", "which", "engine", "tolerance")},
        "polished": asked.polish,
        "aligned_with": asked.align and str(asked.align),
    }


def _left(result: Spectrum, problem: Problem, asked: HessianOptions) -> list[str]:
    """Return by name what was asked for beside the eigenvalues, and was not reached."""
    return call_with_options(parts_left, vars(asked), found=result, problem=problem)


def _measure(
    opened: OpenedProblems,
    asked: HessianOptions,
    out: Path | None,
    deadline: Deadline,
    *,
    save_vectors: bool,
    resume: bool,
) -> Spectrum:
    problem, progress = opened.problems[asked.split], console.TerminalProgress()
    result = call_with_options(
        hessian_spectrum,
        vars(asked),
        problem=problem,
        bottom_k=asked.num_smallest,
        memory=parse_bytes(asked.memory, "--memory") if asked.memory else None,
        save_vectors=save_vectors or asked.align is not None,
        settings={**opened.settings, "seed": asked.seed},
        sink=_krylov_sink(problem, asked, out, resume=resume),
        should_stop=partial(asked_together, deadline),
        announce=console.say,
        progress=progress,
    )
    if asked.folds is None:
        return result
    found = folds(
        problem,
        opened.data[asked.split],
        folds=asked.folds,
        num_samples=asked.samples,
        tolerance=asked.tolerance,
        max_matvecs=asked.max_matvecs,
        seed=asked.seed,
        operator=partial(CurvatureOperator, kind=asked.curvature),
        should_stop=partial(asked_together, deadline),
        progress=progress,
    )
    return dataclasses.replace(result, folds=found)


def _krylov_sink(
    problem: Problem, asked: HessianOptions, out: Path | None, *, resume: bool
) -> KrylovSink:
    """Return what keeps the basis beside the output, of the first process."""
    if out is None or asked.engine != "lanczos":
        return NOT_SAVED
    identity = {
        "weights": problem.weights_hash,
        "data": problem.data_hash,
        "batch normalization": problem.batchnorm,
        "curvature": asked.curvature,
        **{f"plan: {name}": str(value) for name, value in problem.plan.as_dict().items()},
    }
    return FirstProcessSink(KrylovFile(_krylov_path(out), identity, resume=resume))


def _stored_vectors(file: Path | None) -> Spectrum | None:
    if file is None:
        return None
    found = read_result(file)
    if not isinstance(found, Spectrum) or found.vectors is None:
        raise InputError(
            f"{file} holds no eigenvectors.",
            hint="Write it by landscape hessian CKPT --save-vectors --out FILE.",
        )
    return found


def _show(result: Spectrum, agreement: Agreement | None, out: Path | None, as_json: bool) -> None:
    if as_json:
        compared = {} if agreement is None else agreement_as_json(agreement)
        console.answer_json(spectrum_as_json(result) | compared)
    else:
        show_spectrum(result)
        if agreement is not None:
            show_agreement(agreement)
    if out is not None:
        console.say(f"Saved to {out}. To draw it: landscape plot {out}")


def _say_what_is_left(
    result: Spectrum, left: list[str], deadline: Deadline, asked: HessianOptions, out: Path | None
) -> None:
    """Say what was not reached, and what helps."""
    if not result.converged:
        console.say(
            f"Not converged to {result.tolerance:g} in {result.num_matvecs} matrix-vector "
            "products; the residuals say how far each value can be off."
            f"{'' if deadline.has_come else _remedy(result, asked)}"
        )
    if left:
        console.say(f"Not reached: {', '.join(left)}.")
    if deadline.has_come and (left or not result.converged):
        console.say(
            f"Stopped in time. {console.to_go_on() if out is not None else 'Raise --minutes.'}"
        )


def _remedy(result: Spectrum, asked: HessianOptions) -> str:
    """Return what to pass: where products were left, their rounding ended the run."""
    if result.num_matvecs < asked.max_matvecs:
        return (
            f" That is the rounding of {result.provenance.dtype}: pass --polish or --dtype "
            "float64, or raise --tolerance."
        )
    return " Raise --max-matvecs or --tolerance."
