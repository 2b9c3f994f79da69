"""The options of `landscape assert`."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from ..options import Seed


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
    ] = 5
    seed: Seed = 0
