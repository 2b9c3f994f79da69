"""What a study is: its runs and measurements, their folders, and the options of its commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Option:
    """What a command's option takes.

    Attributes:
        is_flag: Whether it stands alone.
        is_repeatable: Whether it may come several times, as `--model-arg` does.
        is_reserved: Whether the sweep sets it itself.
    """

    is_flag: bool = False
    is_repeatable: bool = False
    is_reserved: bool = False


CommandOptions = Mapping[str, Option]
"""Name of an option, with underscores -> what it takes."""

LAYOUTS = ("narrow", "rows")
"""Shapes of a study's tables: whichever way is narrower, or as papers have them."""

CODE = ("model", "data", "loss")
"""Options that may name code by an import string."""


def as_arguments(values: Mapping[str, Any], options: CommandOptions) -> list[str]:
    """Return the words of a command line that set options.

    Args:
        values: Name -> a value as TOML has it. Of a repeatable option, a list of texts or a table,
            for `key=value`; a list for any other is joined by commas.
        options: All of the command.
    """
    words = []
    for name, value in values.items():
        option, flag = options[name], f"--{name.replace('_', '-')}"
        texts = repeated(value) if option.is_repeatable else [as_text(value)]
        pairs = [word for text in texts for word in (flag, text)]
        words += [flag] * bool(value) if option.is_flag else pairs
    return words


def repeated(value: Any) -> list[str]:
    """Return what a repeatable option is given, one text a time."""
    if isinstance(value, Mapping):
        return [f"{key}={as_text(item)}" for key, item in value.items()]
    return [as_text(item) for item in value] if isinstance(value, list) else [as_text(value)]


def as_text(value: Any) -> str:
    """Return a value of TOML as a command line and a table have it."""
    if isinstance(value, Mapping):
        return ",".join(repeated(value))
    if isinstance(value, list):
        return ",".join(map(as_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class StudyRun:
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
        layout: Shape of the tables, one of `LAYOUTS`.
        threads: Of each run; None to share the processors among those that run together.
        slurm: Parameters of jobs on a cluster.
    """

    path: Path
    out: Path
    runs: tuple[StudyRun, ...]
    measures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    select: tuple[str, ...] = ("rho",)
    layout: str = LAYOUTS[0]
    threads: int | None = None
    slurm: Mapping[str, Any] = field(default_factory=dict)

    def folder(self, run: StudyRun) -> Path:
        """Return where a run is kept."""
        return self.out / "runs" / run.name
