"""The options of `landscape hessian`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from ..options import ProblemOptions, SplitOptions


@dataclasses.dataclass(frozen=True)
class ExtremesOptions:
    """Which eigenvalues, and how exactly."""

    top_k: Annotated[int, typer.Option(help="Number of largest eigenvalues.")] = 5
    bottom_k: Annotated[
        int | None,
        typer.Option(
            help="Number of algebraically smallest eigenvalues; by default 1.", show_default=False
        ),
    ] = None
    which: Annotated[
        str,
        typer.Option(
            help="What largest means: by value (algebraic) or by magnitude, of both signs."
        ),
    ] = "algebraic"
    curvature: Annotated[
        str,
        typer.Option(
            help="Matrix: hessian, ggn (Gauss-Newton) or fisher (empirical: single examples' "
            "gradients)."
        ),
    ] = "hessian"
    tolerance: Annotated[
        float | None,
        typer.Option(help="Relative tolerance; by default 1e-8 in float64, 1e-4 in float32."),
    ] = None
    max_matvecs: Annotated[
        int, typer.Option(help="Limit on matrix-vector products for the eigenvalues.")
    ] = 500
    polish: Annotated[
        bool, typer.Option("--polish", help="Refine values and residuals by products in float64.")
    ] = False
    products: Annotated[
        str,
        typer.Option(
            help="Products of the Hessian: exact, or differences (of gradients, where torch lacks "
            "a second derivative; their measured error counts as rounding)."
        ),
    ] = "exact"
    engine: Annotated[
        str, typer.Option(help="lanczos, or pyhessian for the PyHessian package.")
    ] = "lanczos"
    verify: Annotated[
        str | None,
        typer.Option(
            help="Run this engine too; exit 1 where the two differ beyond residuals.",
            metavar="ENGINE",
        ),
    ] = None


@dataclasses.dataclass(frozen=True)
class ExtrasOptions:
    """What else is measured."""

    trace: Annotated[
        bool, typer.Option("--trace", help="Estimate the trace, with a confidence interval.")
    ] = False
    relative_error: Annotated[
        float | None,
        typer.Option(
            help="Sample until the trace is known to this relative error; implies --trace.",
            metavar="ERROR",
        ),
    ] = None
    density: Annotated[
        bool,
        typer.Option("--density", help="Estimate the density of all eigenvalues, with a band."),
    ] = False
    num_probes: Annotated[
        int, typer.Option(min=1, help="Random vectors of the density.", metavar="N")
    ] = 5
    blocks: Annotated[
        bool,
        typer.Option(
            "--blocks", help="Measure the largest eigenvalue and the trace of each layer."
        ),
    ] = False
    folds: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Measure the extremes on this many disjoint subsets, of --samples examples each.",
            metavar="N",
        ),
    ] = None
    align: Annotated[
        Path | None,
        typer.Option(
            help="Compare the eigenvectors with those in another checkpoint's results file.",
            metavar="FILE",
        ),
    ] = None
    every: Annotated[
        int,
        typer.Option(
            min=1, help="With a folder of snapshots: measure every Nth of them.", metavar="N"
        ),
    ] = 1


@dataclasses.dataclass(frozen=True)
class LimitOptions:
    """Limits of time and memory."""

    minutes: Annotated[
        float | None,
        typer.Option(
            help="Stop after this many minutes with what is known; --resume continues.",
            metavar="N",
        ),
    ] = None
    memory: Annotated[
        str | None,
        typer.Option(
            help="Memory for vectors and graphs, such as 8GiB; by default a share of what is free."
        ),
    ] = None


@dataclasses.dataclass(frozen=True)
class HessianOptions(SplitOptions, LimitOptions, ExtrasOptions, ExtremesOptions, ProblemOptions):
    """All that is measured, of one checkpoint or of several, and how."""

    @property
    def num_smallest(self) -> int:
        """Number of smallest eigenvalues; by default one, or none if chosen by magnitude."""
        return int(self.which == "algebraic") if self.bottom_k is None else self.bottom_k
