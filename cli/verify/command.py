"""`landscape verify`: whether a certificate of sharpness holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..options import CheckpointArgument, Json, expand
from .options import ExactOptions


@expand(ExactOptions)
def verify(
    certificate: Annotated[
        Path,
        typer.Argument(
            help="File written by landscape sharpness --certify.", metavar="CERTIFICATE"
        ),
    ],
    checkpoint: CheckpointArgument,
    options: ExactOptions,
    as_json: Json = False,
) -> None:
    """Check a certificate of sharpness by evaluating its perturbations in float64 on all data."""
    from .run import verify_certificate

    verify_certificate(certificate, checkpoint, options, as_json=as_json)
