"""What a study is: runs, what is measured on each, and where they are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from landscape.study.train_options import as_text


@dataclass(frozen=True)
class Run:
    """One training run of a study.

    Attributes:
        name: Its folder's; tells it from all others.
        variant: Name of the variant that it is of; empty where the study has none.
        train: All options of `landscape train`, the seed included.
        factors: Those of them that the study lists values of, the seed apart, in order.
    """

    name: str
    variant: str
    train: Mapping[str, Any]
    factors: Mapping[str, Any]

    @property
    def seed(self) -> int:
        """Of its random numbers."""
        return self.train["seed"]

    @property
    def setting(self) -> tuple[str, ...]:
        """What it shares with the runs that differ in the seed alone."""
        return (self.variant, *(f"{name}={as_text(value)}" for name, value in self.factors.items()))


@dataclass(frozen=True)
class Study:
    """Runs, and what is done with them.

    Attributes:
        path: The file that says so.
        out: Folder of all that is written.
        runs: In the order of the file.
        measures: Command -> its options, for `sharpness` and `hessian`, where they are wanted.
        select: Options that are chosen on the validation split.
        threads: Of each run; None to share the processors among those that run together.
        slurm: Parameters of jobs on a cluster.
    """

    path: Path
    out: Path
    runs: tuple[Run, ...]
    measures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    select: tuple[str, ...] = ("rho",)
    threads: int | None = None
    slurm: Mapping[str, Any] = field(default_factory=dict)

    def folder(self, run: Run) -> Path:
        """Return where a run is kept."""
        return self.out / "runs" / run.name
