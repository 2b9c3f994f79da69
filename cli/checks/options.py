"""The options of the commands that check something."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from ..options import ModelOptions, Seed


@dataclasses.dataclass(frozen=True)
class EffortOptions:
    """How exactly a checkpoint is measured."""

    tolerance: Annotated[
        float | None,
        typer.Option(
            help="Relative tolerance of eigenvalues; by default 1e-8 in float64, 1e-4 in float32."
        ),
    ] = None
    max_matvecs: Annotated[
        int, typer.Option(help="Limit on Hessian-vector products for eigenvalues.")
    ] = 500
    num_directions: Annotated[
        int, typer.Option(help="Antithetic pairs of random directions of avg.", metavar="N")
    ] = 20
    seed: Seed = 0


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
        typer.Option(help="Examples per forward pass; by default the certificate's.", metavar="N"),
    ] = None
