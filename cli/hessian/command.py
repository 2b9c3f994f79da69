"""`landscape hessian`: the curvature spectrum of a checkpoint, or extremes along training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import console
from ..options import Force, Json, command
from .options import HessianOptions


@command(
    HessianOptions,
    everyday=("top_k", "trace", "density", "blocks", "split", "samples", "out"),
)
def hessian(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="Checkpoint, or the folder of a training run with snapshots.", metavar="CKPT"
        ),
    ],
    asked: HessianOptions,
    out: Annotated[
        Path | None, typer.Option(help="Results file (HDF5); by default nothing is saved.")
    ] = None,
    save_vectors: Annotated[
        bool,
        typer.Option(
            "--save-vectors",
            help="Save eigenvectors too, for --align and for surface --x eigen:1:FILE.",
        ),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue what a run with this --out has begun.")
    ] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Measure how sharply the loss curves: eigenvalues of the Hessian, with certified errors.

    Exits with 1 if they did not converge.
    """
    if console.is_restarted():  # by torchrun, after a process of this very run was lost
        resume, force = True, False
    from .run import curvature_of

    curvature_of(
        checkpoint,
        asked,
        out,
        save_vectors=save_vectors,
        resume=resume,
        force=force,
        as_json=as_json,
    )
