"""`landscape train`: train a model, recording what later commands need to know."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..options import Force, Json, ModelOptions, command
from .options import TrainOptions


@command(
    ModelOptions,
    TrainOptions,
    everyday=("model", "data", "optim", "lr", "rho", "epochs", "seed", "out"),
)
def train(
    problem: ModelOptions,
    options: TrainOptions,
    init: Annotated[
        Path | None,
        typer.Option(
            help="Start from these weights: a checkpoint of ours, or any state dict; without "
            "--model and --data,"
            " those that it records.",
            metavar="CKPT",
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            help="Seeds of several runs, which are kept in OUT-0, OUT-1, ...", metavar="0,1,..."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for checkpoint.pt and history.h5; by default runs/OPTIM.", metavar="DIR"
        ),
    ] = None,
    save_every: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Keep the weights at the start and every N epochs in DIR/snapshots; surface --x "
            "pca:DIR draws them.",
            metavar="N",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a run from where it was saved last.")
    ] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train a model with SGD, Adam, AdamW or SAM and its relatives."""
    from .run import train_runs

    train_runs(
        problem,
        options,
        init=init,
        seeds=seeds,
        device=device,
        out=out or Path("runs") / options.optim,
        save_every=save_every,
        resume=resume,
        force=force,
        as_json=as_json,
    )
