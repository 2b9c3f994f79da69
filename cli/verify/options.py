"""The options of `landscape verify`."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from ..options import ModelOptions


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
        typer.Option(help="Examples a forward pass; by default the certificate's.", metavar="N"),
    ] = None
