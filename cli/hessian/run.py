"""`landscape hessian CKPT`: compute, check, save and show the curvature spectrum."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

import typer

from landscape.errors import InputError, StoreError, require
from landscape.hessian.eigenvectors import alignment
from landscape.hessian.engines import verify
from landscape.hessian.krylov.krylov_sink import NOT_SAVED, FirstProcessSink, KrylovSink
from landscape.hessian.operator import CurvatureOperator
from landscape.hessian.parts import folds
from landscape.hessian.pyhessian import power_iteration
from landscape.hessian.spectrum import hessian_spectrum, parts_left, spectrum_traits
from landscape.io.krylov_file import KrylovFile
from landscape.io.open import OpenedProblems, split_names
from landscape.io.store import read_as, read_result, write_result
from landscape.problem.problem import Problem
from landscape.results.identity import require_same
from landscape.results.spectrum import Spectrum
from landscape.runtime.progress import Deadline

from .. import console
from ..options import call_with_options
from ..outputs import output_of_this_run
from ..parsing import parse_bytes
from ..processes import open_checkpoint, reached_together, working_together
from .along import curvature_along_run
from .options import HessianOptions
from .summary import show_spectrum

_SAME = ("curvature", "which", "engine", "tolerance", "products")
"""Options that a finished result must share with what is asked for."""


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
    """Measure one checkpoint or a run's, and end with 1 where it is not what was asked for."""
    if checkpoint.is_dir():
        curvature_along_run(
            checkpoint,
            asked,
            out,
            save_vectors=save_vectors,
            resume=resume,
            force=force,
            as_json=as_json,
        )
        return
    deadline = Deadline.after_minutes(asked.minutes)
    _require_useful(asked, out, save_vectors=save_vectors, resume=resume)
    agreement = None
    basis = None if out is None else _krylov_path(out)
    output = output_of_this_run(
        out, [checkpoint, asked.align, *asked.code_files], force=force, resume=resume, besides=basis
    )
    with output, working_together(basis):
        split_names(asked.split)
        others = _stored_vectors(asked.align)
        opened = open_checkpoint(checkpoint, asked, (asked.split,))
        problem = opened.problems[asked.split]
        result = _finished(out, problem, asked, save_vectors=save_vectors) if resume else None
        is_new = result is None
        if result is None:
            keep_vectors = save_vectors or others is not None
            result = _measure(
                opened, asked, out, deadline, save_vectors=keep_vectors, resume=resume
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
    show_spectrum(result, agreement, as_json)
    if out is not None:
        console.say(f"Saved to {out}. To draw it: landscape plot {out}")
    _say_what_is_left(result, left, deadline, asked, out)
    if not result.converged or left or (agreement is not None and not agreement.agrees):
        raise typer.Exit(1)


def _require_useful(
    asked: HessianOptions, out: Path | None, *, save_vectors: bool, resume: bool
) -> None:
    """Refuse options that would do nothing, before anything is computed."""
    for option, is_given in (("--save-vectors", save_vectors), ("--resume", resume)):
        require(
            out is not None or not is_given,
            f"{option} needs a file, and there is none.",
            "Pass --out FILE.",
        )
    require(
        asked.verify in (None, "pyhessian"), f"--verify must be pyhessian, got {asked.verify!r}."
    )
    require(
        asked.verify != asked.engine,
        "--verify compares two engines, got the same one twice.",
        "Leave --engine out.",
    )
    require(
        asked.verify is None or asked.curvature == "hessian",
        f"--verify compares eigenvalues of the Hessian, got --curvature {asked.curvature}.",
        "PyHessian knows no other matrix; leave one of the two out.",
    )
    require(
        asked.products == "exact" or (asked.folds is None and asked.verify is None),
        f"--products {asked.products} measures one problem, without --folds and --verify.",
        "Leave one of the two out.",
    )
    require(
        asked.every == 1,
        f"--every {asked.every} takes snapshots from a folder, and this is one checkpoint.",
        "Pass the folder of the training run.",
    )


def _krylov_path(out: Path) -> Path:
    return out.with_name(f"{out.stem}.krylov.h5")


def _finished(
    out: Path | None, problem: Problem, asked: HessianOptions, *, save_vectors: bool
) -> Spectrum | None:
    """Return the finished result in a file if it is the requested one."""
    if out is None or not out.exists() or _krylov_path(out).exists():
        return None
    found = read_as(out, Spectrum, hint="Pass --force to replace it, or another --out.")
    fixed = {
        **{name: getattr(asked, name) for name in _SAME},
        "polished": asked.polish,
        "aligned_with": asked.align and str(asked.align),
    }
    require_same(
        out,
        spectrum_traits(found, problem, asked.split, asked.top_k + asked.num_smallest, fixed),
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
        save_vectors=save_vectors,
        settings={**opened.settings, "seed": asked.seed},
        sink=_krylov_sink(problem, asked, out, resume=resume),
        should_stop=partial(reached_together, deadline),
        announce=console.say_detail,
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
        should_stop=partial(reached_together, deadline),
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
        "loss function": problem.passes.loss_name,
        **{
            f"plan: {name}": str(value)
            for name, value in problem.plan.as_dict().items()
            if (name, value) != ("draws", 1)  # which files of an earlier version lack
        },
        **({} if asked.products == "exact" else {"products": asked.products}),
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


def _say_what_is_left(
    result: Spectrum, left: list[str], deadline: Deadline, asked: HessianOptions, out: Path | None
) -> None:
    """Say what was not reached, and what helps."""
    if not result.converged:
        remedy = " Raise --max-matvecs or --tolerance."
        if deadline.has_come:
            remedy = ""
        elif result.num_matvecs < asked.max_matvecs:  # rounding ended the run, not the limit
            remedy = (
                f" That is the rounding of {result.provenance.dtype}: pass --polish or --dtype "
                "float64, or raise --tolerance."
            )
        console.say(
            f"Not converged to {result.tolerance:g} in {result.num_matvecs} matrix-vector "
            f"products; the residuals say how far each value can be off.{remedy}"
        )
    if left:
        console.say(f"Not reached: {', '.join(left)}.")
    if deadline.has_come and (left or not result.converged):
        console.say(
            f"Stopped in time. {console.to_go_on() if out is not None else 'Raise --minutes.'}"
        )
