"""The options of `landscape sharpness`."""

from __future__ import annotations

import dataclasses
import glob
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from landscape.errors import InputError, require, require_in_limits
from landscape.results.sharpness_measures import MEASURES

from ..options import ProblemOptions, SplitOptions, typed_options
from ..parsing import parse_numbers


@dataclasses.dataclass(frozen=True)
class MeasureOptions:
    """What is measured."""

    rho: Annotated[
        str, typer.Option(help="Radius, or several: 0.05,0.1, or 0.01:0.5:10log for ten of them.")
    ] = "0.05"
    measures: Annotated[
        str, typer.Option(help=f"Measures, separated by commas: {', '.join(MEASURES)}.")
    ] = "asc,avg,nstep,first_order"
    all_measures: Annotated[bool, typer.Option("--all", help="Measure all five.")] = False
    p: Annotated[str, typer.Option(help="Norm of the ball: 1, 2, inf or any number between.")] = "2"
    adaptive: Annotated[
        bool, typer.Option("--adaptive", help="Scale the ball by |w| + eta, as ASAM does.")
    ] = False
    eta: Annotated[float, typer.Option(min=0, help="Smallest scale of an --adaptive ball.")] = 0.01
    m: Annotated[
        int | None,
        typer.Option(
            "--m",
            "--m-sharpness",  # torchrun takes --m for an option of its own
            help="Average over batches of this many examples (m-sharpness); by default the set.",
            metavar="N",
        ),
    ] = None
    steps: Annotated[int, typer.Option(help="Gradient steps of nstep.", metavar="N")] = 5
    radius: Annotated[
        str, typer.Option(help="What keeps nstep in the ball: path, sphere or ball.")
    ] = "path"
    num_directions: Annotated[
        int, typer.Option(help="Antithetic pairs of random directions of avg.", metavar="N")
    ] = 20
    relative_error: Annotated[
        float | None,
        typer.Option(
            help="Draw random directions until the standard error of avg is this share of avg.",
            metavar="ERROR",
        ),
    ] = None
    max_gradients: Annotated[
        int, typer.Option(help="Limit on the gradients of one max.", metavar="N")
    ] = 200
    protocol: Annotated[
        str | None,
        typer.Option(
            help="Measure as a paper did: s001 (Tiwary and Aananth 2024), s003-text or s003-code "
            "(Khalid et al.), foret (Foret et al. 2021) or andriushchenko2023."
        ),
    ] = None
    taylor: Annotated[
        bool,
        typer.Option(
            "--taylor", help="Compare with what gradient and Hessian at the weights predict."
        ),
    ] = False
    hessian: Annotated[
        list[Path] | None,
        typer.Option(
            help="Results file of landscape hessian to take eigenvalue, vector and trace from.",
            metavar="FILE",
        ),
    ] = None
    invariance: Annotated[
        bool,
        typer.Option(
            "--invariance",
            help="Measure again at rescaled weights that compute the same function.",
        ),
    ] = False

    @property
    def names(self) -> list[str]:
        """Names, in the order in which they are shown."""
        return (
            list(MEASURES)
            if self.all_measures
            else [name.strip() for name in self.measures.split(",")]
        )


@dataclasses.dataclass(frozen=True)
class MeasurementOptions(SplitOptions, MeasureOptions, ProblemOptions):
    """All that is measured of a checkpoint, and how."""


_FREE = ("protocol", "invariance")  # what may stand beside a protocol, which fixes the rest


def require_protocol_alone(asked: MeasurementOptions) -> None:
    """Refuse what a protocol fixes.

    Raises:
        InputError: If anything of that was asked for.
    """
    measures = [each.name for each in dataclasses.fields(MeasureOptions) if each.name not in _FREE]
    for name in typed_options(asked, (*measures, "samples", "loss", "batchnorm", "split")):
        raise InputError(
            f"--protocol {asked.protocol} fixes --{name.removesuffix('-measures')} too.",
            hint="Leave one of the two out.",
        )


def parse_norm(text: str) -> float:
    """Parse the p of a norm.

    Raises:
        InputError: If it is no number.
    """
    try:
        return float(text)
    except ValueError as exc:
        raise InputError(f"--p must be a number or inf, got {text!r}.", hint="Pass --p 2.") from exc


def parse_radii(text: str) -> list[float]:
    """Parse `0.05`, `0.05,0.1`, `0.01:0.5:10` (evenly spaced) or `0.01:0.5:10log` (log-spaced).

    Raises:
        InputError: If it is something else.
    """
    if ":" not in text:
        return parse_numbers(text, "--rho")
    error = InputError(
        f"--rho must be numbers or first:last:count, got {text!r}.",
        hint="Pass --rho 0.01:0.5:10log.",
    )
    try:
        start, stop, number = text.split(":")
        first, last, count = float(start), float(stop), int(number.removesuffix("log"))
    except ValueError as exc:
        raise error from exc
    if count < 2 or not 0 < first < last < math.inf:
        raise error
    require_in_limits({"number of radii": count})
    shares = [i / (count - 1) for i in range(1, count - 1)]
    if number.endswith("log"):
        inner = [first * (last / first) ** share for share in shares]
    else:
        inner = [first + (last - first) * share for share in shares]
    return [first, *inner, last]


def parse_groups(groups: Sequence[str]) -> Mapping[str, list[Path]]:
    """Parse `name=pattern` for each group of checkpoints, and sort each pattern's files by name.

    Raises:
        InputError: If one has no equals sign, a name comes twice, or no file fits.
    """
    found: dict[str, list[Path]] = {}
    for text in groups:
        name, equals, pattern = text.partition("=")
        require(
            equals and name and pattern and name not in found,
            f"--group must be name=files, each name once, got {text!r}.",
            "Pass --group 'sgd=runs/sgd-*/checkpoint.pt'.",
        )
        found[name] = [Path(path) for path in sorted(glob.glob(pattern), key=_by_numbers)]
        require(
            found[name],
            f"no file fits --group {text}.",
            "Check the pattern; quote it for the shell.",
        )
    return found


def _by_numbers(path: str) -> list[Any]:
    """Sort seed 10 after seed 9."""
    return [
        (0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", path)
    ]
