"""`landscape hessian FOLDER`: extreme eigenvalues at the snapshots of a training run."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import typer

from landscape.errors import InputError, require
from landscape.hessian.along_training import curvature_along
from landscape.hessian.operator import CurvatureOperator
from landscape.io.open import split_names
from landscape.io.snapshots import SnapshotFiles, find_snapshots
from landscape.io.store import FileSink
from landscape.results.eigenvalue_history import CurvatureHistory
from landscape.results.headlines import curvature_history_headline
from landscape.runtime import distributed
from landscape.runtime.progress import Deadline

from .. import console
from ..options import typed_options
from ..outputs import default_output, output_of_this_run, with_loss
from ..processes import open_checkpoint, reached_together, working_together
from .options import HessianOptions
from .summary import MATRICES

_ALONE = ("trace", "relative_error", "density", "blocks", "folds", "align")
"""Options that are of one checkpoint."""

_COLUMNS = ("lambda_max", "residual", "lambda_min", "2 / lr", "loss", "overlap", "products")

_NOT_IN_JSON = ("provenance", "weights_hashes")


def curvature_along_run(
    folder: Path,
    asked: HessianOptions,
    out: Path | None,
    *,
    save_vectors: bool,
    resume: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Measure the snapshots of a run, one after the other, saved as they are done."""
    one_of_them = "Pass one of its snapshots."
    require(not save_vectors, "--save-vectors is of one checkpoint, got a folder.", one_of_them)
    for name in typed_options(asked, _ALONE):
        raise InputError(f"--{name} is measured at one checkpoint, got a folder.", one_of_them)
    require(
        not asked.polish and asked.memory is None,
        "--polish and --memory are of one checkpoint, got a folder.",
        one_of_them,
    )
    require(
        (asked.engine, asked.verify, asked.which, asked.products)
        == ("lanczos", None, "algebraic", "exact"),
        "snapshots are measured by Lanczos, at both ends of the spectrum, with exact products.",
        "Pass one snapshot.",
    )
    deadline = Deadline.after_minutes(asked.minutes)
    path = out or default_output(folder / "curvature", ".h5")
    paths = find_snapshots(folder)
    histories = [paths[0].parent / place / "history.h5" for place in (".", "..")]
    inputs = [*paths, *histories, *asked.code_files]
    with output_of_this_run(path, inputs, force=force, resume=resume), working_together(path):
        split_names(asked.split)
        opened = open_checkpoint(paths[-1], asked, (asked.split,))
        files = SnapshotFiles(paths, opened.problems, state_key=asked.state_key)
        order = files.order
        if order.remark is not None:
            console.say(order.remark)
        result = curvature_along(
            files.training_points(asked.split),
            top_k=asked.top_k,
            bottom_k=asked.num_smallest,
            every=asked.every,
            tolerance=asked.tolerance,
            max_matvecs=asked.max_matvecs,
            seed=asked.seed,
            split=asked.split,
            unit=order.unit,
            settings={
                **opened.settings,
                "checkpoint": str(order.paths[-1]),
                "curvature": asked.curvature,
            },
            operator=partial(CurvatureOperator, kind=asked.curvature),
            sink=distributed.FirstSink(FileSink(path, resume=resume)),
            should_stop=partial(reached_together, deadline),
            progress=console.TerminalProgress(),
        )
    if as_json:
        found = {key: each for key, each in result.as_dict().items() if key not in _NOT_IN_JSON}
        named = {"loss_function": result.provenance.loss_function}
        console.answer_json({"out": str(path), **found, **named})
    else:
        _show(result, folder)
    console.say(f"Saved to {path}. To draw it: landscape plot {path}")
    if deadline.has_come and not result.done.all():
        console.say(f"Stopped in time. {console.to_go_on()}")
    if not result.converged.all():
        raise typer.Exit(1)


def _show(result: CurvatureHistory, folder: Path) -> None:
    console.answer(curvature_history_headline(result))
    matrix = MATRICES[result.provenance.settings.get("curvature", "hessian")]
    console.answer_table(
        with_loss(
            f"Extreme {matrix} eigenvalues along {folder}, {result.split} examples",
            result.provenance,
        ),
        [
            result.unit,
            "lambda_max",
            "residual",
            "lambda_min",
            "2 / lr",
            "loss",
            "overlap",
            "products",
        ],
        [
            [
                f"{result.epoch[i]:.12g}",
                console.number(result.eigenvalues[i, 0], 5),
                console.number(result.residuals[i, 0], 2),
                console.number(
                    result.bottom_eigenvalues[i, 0] if result.bottom_eigenvalues.size else None, 4
                ),
                console.number(2 / result.learning_rate[i], 4),
                console.number(result.loss[i], 4),
                console.number(result.overlaps[i], 3),
                str(result.num_matvecs[i]),
            ]
            for i in range(len(result.epoch))
            if result.done[i]
        ],
    )
